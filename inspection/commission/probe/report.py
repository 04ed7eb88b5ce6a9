"""The findings for people and for scripts."""

from __future__ import annotations

import json
from collections.abc import Sequence

from inspection.commission.probe.finding import Finding
from inspection.commission.probe.sentences import FOUND, REMEDIES, STEPS
from inspection.sentences.language import phrase

_MARKS = {"ok": "[green]ok  [/]", "warn": "[yellow]warn[/]", "fail": "[bold red]FAIL[/]"}


class Report:
    """Says each finding as it is made: on standard output, or on standard error where JSON is wanted."""

    def __init__(self, language: str, *, as_json: bool) -> None:
        from rich.console import Console

        self._language = language
        self._console = Console(stderr=as_json, highlight=False, soft_wrap=True)

    def ask(self, step: str, values: dict[str, object]) -> None:
        """Tell the person at the PLC what to do now."""
        from rich.markup import escape

        text = phrase(STEPS, step, self._language, **values)
        self._console.print(f"     [cyan]→[/] {escape(text)}")

    def note(self, finding: Finding) -> None:
        """Tell a finding, and what to do about it where it is not ok."""
        from rich.markup import escape

        self._console.print(f"{_MARKS[finding.state]} {escape(self.found(finding))}")
        if todo := self.todo(finding):
            self._console.print(f"     [bold]{escape(todo)}[/]")

    def found(self, finding: Finding) -> str:
        """Return the sentence of a finding."""
        return phrase(FOUND, finding.code, self._language, **finding.values)

    def todo(self, finding: Finding) -> str:
        """Return what to do; empty when nothing is."""
        if finding.state == "ok":
            return ""
        return phrase(REMEDIES, finding.code, self._language, **finding.values)

    def as_json(self, station: str, findings: Sequence[Finding]) -> str:
        """Return one JSON object."""
        told = [
            {
                "code": finding.code,
                "state": finding.state,
                "values": finding.values,
                "found": self.found(finding),
                "todo": self.todo(finding),
            }
            for finding in findings
        ]
        ok = all(finding.state != "fail" for finding in findings)
        return json.dumps({"station": station, "ok": ok, "findings": told}, ensure_ascii=False)
