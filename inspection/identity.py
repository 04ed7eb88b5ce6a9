"""The part's own code: is it there, and is it the right one? Pure.

codes ─▶ those that fit the rule ─┬─ one text ─────────────▶ nothing to say; it names the part
                                  ├─ several texts ────────▶ FAIL CODE_WRONG: which part is it?
                                  └─ none ─┬─ codes were read ─▶ FAIL CODE_WRONG
                                           └─ none was ────────▶ CODE_MISSING, FAIL or REVIEW
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from inspection.types import Code, CodeRule, Decision, Reason, Result

_SEVERITY = {
    Decision.PASS: 0, Decision.REVIEW: 1, Decision.FAIL: 2, Decision.NOT_INSPECTED: 3,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Identity:
    """What the codes of one part say.

    Attributes:
        text: the code that names the part; empty where none does.
        decision: PASS: nothing is wrong with it.
        reason: NONE exactly then.
        detail: a short English text for the log.
    """

    text: str
    decision: Decision = Decision.PASS
    reason: Reason = Reason.NONE
    detail: str = ""


def identify(codes: tuple[Code, ...], rule: CodeRule, serial: str) -> Identity:
    """Return which code names the part, or why none does.

    Args:
        codes: all that were read from this part; one text may have been read more than once.
        rule: what the recipe wants.
        serial: what the PLC gave with the trigger.
    """
    if rule.same_as_plc and not serial:
        return Identity(
            "", Decision.NOT_INSPECTED, Reason.SERIAL_NONE, "the PLC gave no serial to compare with"
        )
    texts = list(dict.fromkeys(code.text for code in codes))
    right = [text for text in texts if _fits(text, rule, serial)]
    if len(right) == 1:
        return Identity(right[0])
    if right:
        return Identity("", Decision.FAIL, Reason.CODE_WRONG, f"several codes fit: {right[:4]}")
    if texts:
        wanted = repr(serial) if rule.same_as_plc else f"pattern {rule.pattern}"
        return Identity(
            "", Decision.FAIL, Reason.CODE_WRONG, f"read {texts[:4]}, expected {wanted}"
        )
    return Identity("", rule.missing, Reason.CODE_MISSING, "no code could be read")


def join(result: Result, identity: Identity) -> Result:
    """Return the decision that holds both for what was found on the part and for its code."""
    if identity.decision is Decision.PASS:
        return result
    if identity.decision is Decision.NOT_INSPECTED and result.decision is not Decision.FAIL:
        return Result.not_inspected(identity.reason, identity.detail)
    if (
        identity.decision is not Decision.NOT_INSPECTED
        and _SEVERITY[identity.decision] > _SEVERITY[result.decision]
    ):
        return Result(
            identity.decision,
            identity.reason,
            (identity.reason, *result.reasons),
            over_t1=result.over_t1,
            counted=result.counted,
            detail="; ".join(filter(None, (identity.detail, result.detail))),
        )
    return replace(
        result,
        reasons=(*result.reasons, identity.reason),
        detail="; ".join(filter(None, (result.detail, identity.detail))),
    )


def name_of(codes: tuple[Code, ...] | None, rule: CodeRule | None, serial: str) -> str:
    """Return the code that names the part; empty where none does."""
    return identify(codes, rule, serial).text if codes and rule else ""


def _fits(text: str, rule: CodeRule, serial: str) -> bool:
    if rule.same_as_plc and text != serial:
        return False
    return not rule.pattern or rule.matches(text)
