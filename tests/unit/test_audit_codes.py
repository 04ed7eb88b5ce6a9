"""Every action code of the audit is known to the page and told in docs/audit.md."""

from __future__ import annotations

import re
from pathlib import Path

from inspection.store.web.approvals import Step
from inspection_serve.web.people.words import ACTIONS

ROOT = Path(__file__).parents[2]
CODE = re.compile(
    r'"((?:person|key|sign_in|sign_out|pin|password|sessions|terminal|setting|book|control|recipe|alarm|review|job|'
    r'results|release)\.(?:[a-z]+_)*[a-z]+)"'
)  # fmt: skip
NO_ACTION = re.compile(
    r"\.(xlsx|csv|json|html|yaml|out|pass_share|seed|reasons|second|classes|names)$"
)


def said() -> set[str]:
    """Return the codes that stand in a call of `audit.append` or beside one."""
    found: set[str] = set()
    for folder in (ROOT / "inspection/store/web", ROOT / "serve/inspection_serve/web"):
        for path in folder.rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            if path.name != "words.py" and ("audit.append" in text or "_note(" in text):
                found |= set(CODE.findall(text))
    return {code for code in found if not NO_ACTION.search(code)}


def test_every_code_is_in_words() -> None:
    codes = said() | {f"release.{step.value}" for step in Step}
    assert len(codes) > 25
    assert codes <= set(ACTIONS), codes - set(ACTIONS)


def test_every_code_is_documented() -> None:
    text = (ROOT / "docs/audit.md").read_text(encoding="utf-8")
    assert not {code for code in ACTIONS if f"`{code}`" not in text}
