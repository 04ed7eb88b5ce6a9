"""Runs the subset of Structured Text that our PLC program keeps to, scan by scan with a clock of the test.

Assignments, IF, CASE with numbers, TON, whole numbers, BOOL; of Logix also TONR. Strict where a PLC is
silent: a value that does not fit its type, an unknown name or a flag used as a number is an error.

The text is turned into Python once; `#name` and `"BLOCK".name` of SCL are the name alone.
"""

from __future__ import annotations

import re
from typing import Any

_TOKEN = re.compile(
    r"""\s+|\(\*.*?\*\)|//[^\n]*|\{[^}]*\}
    |(?P<time>T\#\d+(?:ms|s))|(?P<typed>UINT\#\d+)|(?P<number>\d+)
    |(?P<name>S:FS|(?:"\w+"\.|\#)?[A-Za-z_]\w*(?:\.(?:Q|DN|PRE|TimerEnable|Reset)|\[\d+\])?)
    |(?P<text>"\w+")
    |(?P<sign>:=|<>|>=|<=|[=<>+\-/*();:,\[\].'])""",
    re.VERBOSE | re.DOTALL,
)
_COMPARE = {"=": "==", "<>": "!=", ">=": ">=", "<=": "<=", ">": ">", "<": "<"}
_RANGE = {
    "UINT": (0, 0xFFFF), "UDINT": (0, 0xFFFFFFFF),
    "INT": (-0x8000, 0x7FFF), "DINT": (-0x80000000, 0x7FFFFFFF),
}  # fmt: skip


class Ton:
    """IEC TON: Q comes when IN has been on for PT."""

    def __init__(self) -> None:
        self.Q = False
        self._since: float | None = None

    def call(self, on: bool, preset: float, now: float) -> None:
        if not on:
            self._since, self.Q = None, False
            return
        self._since = now if self._since is None else self._since
        self.Q = now - self._since >= preset


class Program:
    """One program with its variables. `scan` runs it once.

    Attributes:
        values: BOOL and whole numbers by name, all zero at first.
    """

    def __init__(self, body: str, types: dict[str, str]) -> None:
        """`types`: name to BOOL, BIT, UINT, UDINT, INT, DINT or TON (or TON_TIME), of every name."""
        self.types = types
        self.values: dict[str, Any] = {
            name: False if kind in ("BOOL", "BIT") else 0
            for name, kind in types.items()
            if not kind.startswith("TON")
        }
        self.timers = {n: Ton() for n, kind in types.items() if kind.startswith("TON")}
        self._code = compile(_Translation(body, types).source(), "program.st", "exec")
        self.now = 0.0

    def scan(self, now: float) -> None:
        self.now = now
        known = {"put": self.put, "call": self._call, "tonr": self.tonr}
        exec(self._code, {"V": self.values, "T": self.timers, **known})

    def put(self, name: str, value: Any) -> None:
        kind = self.types[name]
        if kind == "BOOL":
            if not isinstance(value, bool):
                raise TypeError(f"{name} := {value!r} is no BOOL")
        elif kind == "BIT":  # BOOL of Logix: 0 and 1, too
            if value not in (0, 1):
                raise TypeError(f"{name} := {value!r} is no BOOL")
            value = bool(value)
        elif isinstance(value, bool) or not _RANGE[kind][0] <= value <= _RANGE[kind][1]:
            raise OverflowError(f"{name} := {value!r} does not fit {kind}")
        self.values[name] = value

    def tonr(self, name: str) -> None:
        on = self.values[f"{name}.TimerEnable"] and not self.values[f"{name}.Reset"]
        self.timers[name].call(on, self.values[f"{name}.PRE"] / 1000, self.now)

    def _call(self, name: str, on: bool, preset: float) -> None:
        if not isinstance(on, bool):
            raise TypeError(f"{name}.IN := {on!r} is no BOOL")
        self.timers[name].call(on, preset, self.now)


class _Translation:
    def __init__(self, body: str, types: dict[str, str]) -> None:
        self._types = types
        self._tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(body):
            match = _TOKEN.match(body, at)
            if match is None:
                raise SyntaxError(f"no token at {body[at : at + 40]!r}")
            if match.lastgroup is not None:
                text = match[0]
                if match.lastgroup == "name":
                    text = re.sub(r'^(?:"\w+"\.|#)', "", text)
                self._tokens.append((match.lastgroup, text))
            at = match.end()
        self._at = 0
        self._lines: list[str] = []

    def source(self) -> str:
        self._statements(0, ())
        if self._at != len(self._tokens):
            raise SyntaxError(f"what is {self._tokens[self._at : self._at + 5]}")
        return "\n".join(self._lines)

    # ------------------------------------------------------------------ statements

    def _statements(self, depth: int, ends: tuple[str, ...]) -> None:
        before = len(self._lines)
        while self._at < len(self._tokens) and self._peek() not in ends:
            if "number" in ends and self._tokens[self._at][0] == "number":
                break
            self._statement(depth)
        if len(self._lines) == before:
            self._emit(depth, "pass")

    def _statement(self, depth: int) -> None:
        if self._peek() == "IF":
            self._if(depth)
        elif self._peek() == "CASE":
            self._case(depth)
        elif self._peek() == "TONR":
            self._next()
            self._expect("(")
            self._emit(depth, f"tonr({self._known(self._next())!r})")
            self._expect(")")
            self._expect(";")
        else:
            name = self._known(self._next())
            if self._peek() == "(":
                self._timer(depth, name)
            else:
                self._expect(":=")
                self._emit(depth, f"put({name!r}, {self._expression()})")
            self._expect(";")

    def _timer(self, depth: int, name: str) -> None:
        for word in ("(", "IN", ":="):
            self._expect(word)
        on = self._expression()
        for word in (",", "PT", ":="):
            self._expect(word)
        number, unit = re.fullmatch(r"T#(\d+)(ms|s)", self._next()).groups()  # type: ignore[union-attr]
        self._expect(")")
        seconds = int(number) / (1000 if unit == "ms" else 1)
        self._emit(depth, f"call({name!r}, {on}, {seconds})")

    def _if(self, depth: int) -> None:
        word = "if"
        self._expect("IF")
        while True:
            self._emit(depth, f"{word} {self._expression()}:")
            self._expect("THEN")
            self._statements(depth + 1, ("ELSIF", "ELSE", "END_IF"))
            end = self._next()
            if end == "ELSE":
                self._emit(depth, "else:")
                self._statements(depth + 1, ("END_IF",))
                end = self._next()
            if end == "END_IF":
                self._expect(";")
                return
            word = "elif"

    def _case(self, depth: int) -> None:
        self._expect("CASE")
        of = self._expression()
        self._expect("OF")
        self._emit(depth, f"match {of}:")
        while self._peek() not in ("ELSE", "END_CASE"):
            self._emit(depth + 1, f"case {self._next()}:")
            self._expect(":")
            self._statements(depth + 2, ("number", "ELSE", "END_CASE"))
        if self._peek() == "ELSE":
            self._next()
            self._emit(depth + 1, "case _:")
            self._statements(depth + 2, ("END_CASE",))
        self._expect("END_CASE")
        self._expect(";")

    # ------------------------------------------------------------------ expressions

    def _expression(self) -> str:
        return self._chain("OR", "or", lambda: self._chain("AND", "and", self._comparison))

    def _chain(self, word: str, python: str, inner: Any) -> str:
        found = [inner()]
        while self._peek() == word:
            self._next()
            found.append(inner())
        return f"({f' {python} '.join(found)})"

    def _comparison(self) -> str:
        left = self._sum()
        if self._peek() in _COMPARE:
            return f"({left} {_COMPARE[self._next()]} {self._sum()})"
        return left

    def _sum(self) -> str:
        left = self._product()
        while self._peek() in ("+", "-"):
            left = f"({left} {self._next()} {self._product()})"
        return left

    def _product(self) -> str:
        left = self._unary()
        while self._peek() in ("/", "MOD"):
            sign = "//" if self._next() == "/" else "%"
            left = f"({left} {sign} {self._unary()})"
        return left

    def _unary(self) -> str:
        kind, text = self._tokens[self._at]
        self._at += 1
        if text == "NOT":
            return f"(not {self._unary()})"
        if text == "(":
            inner = self._expression()
            self._expect(")")
            return inner
        if kind in ("number", "typed"):
            return text.removeprefix("UINT#")
        if text in ("TRUE", "FALSE"):
            return text.capitalize()
        if text.endswith((".Q", ".DN")):
            return f"T[{self._known(text.partition('.')[0])!r}].Q"
        return f"V[{self._known(text)!r}]"

    def _known(self, name: str) -> str:
        if name not in self._types:
            raise SyntaxError(f"{name} is not declared")
        return name

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1][1]

    def _expect(self, text: str) -> None:
        found = self._next()
        if found != text:
            raise SyntaxError(f"{text} expected, {found} found at token {self._at}")

    def _emit(self, depth: int, line: str) -> None:
        self._lines.append("    " * depth + line)


def read_program(text: str) -> tuple[str, dict[str, str]]:
    """Split a PROGRAM or an SCL FUNCTION_BLOCK into its body and its declared names."""
    types = dict(re.findall(r"^    (\w+)(?: AT %MW\d+)? : (\w+);", text, re.MULTILINE))
    body = text[text.rindex("END_VAR") + len("END_VAR") :] if "END_VAR" in text else text
    body = re.sub(r"^(?:BEGIN|END_PROGRAM|END_FUNCTION_BLOCK)$", "", body, flags=re.MULTILINE)
    return body, types
