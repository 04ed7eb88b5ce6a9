"""Releases as the folder holds them: card, gates, variants, reports, and what is wrong with each.

A release that is damaged is listed with the reason; nothing is left out.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inspection.errors import ReleaseError
from inspection.release import CARD, PART_NAME, ReleaseCard, current_number, read_card, sha256_file
from inspection.sentences.card import note_sentence
from inspection.sentences.claims import release_claim
from inspection.sentences.gates import gate_name
from inspection.sentences.shares import rate_sentence
from inspection.variants import VARIANTS, VariantCard, read_variant
from inspection_datasets.card_findings import gate_in_words

CHECK_TIMEOUT = 120.0
"""Seconds for one look at every file of a release, or at two releases."""
COMPARE_WAIT = 5.0
"""Seconds for which a comparison waits for another one."""
COMPARE_NICE = 15
REPORT_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,80}\.html$"
MAX_CARD = 4 << 20
_one_compare = threading.Semaphore(1)
_RATES = (("defective", "escape"), ("good", "overkill"), ("good", "review"))


def _mark(message: str) -> str:
    """Mark a text for the catalogue where it is translated later."""
    return message


COMPARING = _mark("Another comparison is running. Try again in some seconds.")


@dataclass(slots=True)
class Held:
    """A release folder.

    Attributes:
        part: name of the part.
        number: of the release.
        folder: where it is.
        card: None when it cannot be read.
        card_sha256: hash of `release.json`; empty when it cannot be read.
        problem: what is wrong with it; empty: every file is as its card says.
        variants: cards of faster forms, or what is wrong with one.
        reports: names of HTML files beside the card.
        current: clients that name no number get it.
    """

    part: str
    number: int
    folder: Path
    card: ReleaseCard | None = None
    card_sha256: str = ""
    problem: str = ""
    variants: dict[str, VariantCard | str] = field(default_factory=dict[str, "VariantCard | str"])
    reports: list[str] = field(default_factory=list[str])
    current: bool = False

    @property
    def name(self) -> str:
        """PART/NUMBER."""
        return f"{self.part}/{self.number}"


@functools.lru_cache(8192)
def _known_hash(path: Path, _size: int, _changed: int, _node: int) -> str:
    return sha256_file(path)


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file; read again only when its size, time or inode is another one."""
    found = path.stat()
    return _known_hash(path, found.st_size, found.st_mtime_ns, found.st_ino)


def find(releases: Path | None, part: str, number: int) -> Held | None:
    """Return a release folder as it is now; None when there is none."""
    if releases is None or not re.fullmatch(PART_NAME, part):
        return None
    folder = releases / part / str(number)
    return _look(releases, part, number) if folder.is_dir() else None


def list_all(releases: Path | None) -> dict[str, list[Held]]:
    """Return part to its releases, newest first; a folder without a readable card is one too."""
    found: dict[str, list[Held]] = {}
    if releases is None:
        return found
    for part in sorted(releases.iterdir()):
        if not part.is_dir() or not re.fullmatch(PART_NAME, part.name):
            continue
        numbers = [
            int(path.name)
            for path in part.iterdir()
            if re.fullmatch(r"[1-9][0-9]{0,4}", path.name) and path.is_dir()
        ]
        if numbers:
            found[part.name] = [
                _look(releases, part.name, number) for number in sorted(numbers, reverse=True)
            ]
    return found


def _look(releases: Path, part: str, number: int) -> Held:
    held = Held(part, number, releases / part / str(number))
    try:
        if (held.folder / CARD).stat().st_size > MAX_CARD:
            raise ReleaseError(f"{held.folder / CARD} is larger than {MAX_CARD >> 20} MiB")
        held.card = read_card(held.folder)
        held.card_sha256 = sha256_file(held.folder / CARD)
        held.problem = _problem(held, held.card)
    except ReleaseError as error:
        held.problem = str(error).replace(f"{held.folder}/", "")
    except OSError as error:
        why = error.strerror or error
        held.problem = f"{CARD} cannot be read ({why}); restore the release from its backup"
    try:
        held.current = current_number(releases, part) == number
    except ReleaseError as error:
        held.problem = held.problem or str(error)
    held.variants = _variants(held.folder)
    held.reports = sorted(
        path.name
        for path in held.folder.glob("*.html")
        if re.fullmatch(REPORT_NAME, path.name) and path.is_file() and not path.is_symlink()
    )
    return held


def _problem(held: Held, card: ReleaseCard) -> str:
    if (card.part, card.number) != (held.part, held.number):
        return f"release.json says {card.part}/{card.number}, the folder is {held.name}"
    for name, expected in card.files.items():
        path = held.folder / name
        if path.is_symlink() or not path.is_file():
            return f"{name} is missing or not a plain file; restore the release from its backup"
        actual = hash_of(path)
        if actual != expected:
            return (
                f"{name} was altered: its sha256 is {actual[:12]}…, released was {expected[:12]}…; "
                "restore it"
            )
    return ""


def _variants(folder: Path) -> dict[str, VariantCard | str]:
    found: dict[str, VariantCard | str] = {}
    for name in VARIANTS:
        if (folder / "variants" / name).is_dir():
            try:
                found[name] = read_variant(folder, name)
            except ReleaseError as error:
                found[name] = str(error)
    return found


def verify(held: Held) -> str:
    """Return what is wrong with a release, by reading every file anew and the graph too; empty: nothing.

    It runs beside the pages, so that a large model never lies in their memory.
    """
    done = _inspection("release", "show", str(held.folder), "--json")
    return "" if done.returncode == 0 else _last_line(done.stderr)


def compare(first: Held, second: Held) -> tuple[str, str]:
    """Return what differs between two releases as JSON text, or why nobody can tell.

    Everybody may ask, so one comparison runs at a time, behind the line and behind what holds a lock.
    """
    if not _one_compare.acquire(timeout=COMPARE_WAIT):
        return "", COMPARING
    try:
        folders = (str(first.folder), str(second.folder))
        done = _inspection("release", "diff", *folders, "--json", nice=COMPARE_NICE)
    finally:
        _one_compare.release()
    return (done.stdout, "") if done.returncode == 0 else ("", _last_line(done.stderr))


def _inspection(*arguments: str, nice: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "inspection", *arguments]
    if nice and (program := shutil.which("nice")):
        command = [program, "-n", str(nice), *command]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=CHECK_TIMEOUT, stdin=subprocess.DEVNULL,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        words = f"no answer within {CHECK_TIMEOUT:.0f} s"
        return subprocess.CompletedProcess(command, 124, "", words)


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("inspection: ") if lines else "no reason was given"


def claim_words(card: ReleaseCard, language: str) -> str:
    """Return the claim of a release; empty: it makes none."""
    claims = card.metrics.get("claims")
    return release_claim(claims if isinstance(claims, list) else None, card.claim, language)


def gate_words(results: Any, language: str) -> list[dict[str, Any]]:
    """Return name, outcome and sentence of each gate as a card or a refused training keeps it."""
    found: list[dict[str, Any]] = []
    for result in results if isinstance(results, list) else []:
        try:
            words, name = gate_in_words(result, language), gate_name(result["gate"], language)
        except (KeyError, TypeError, ValueError, IndexError):  # of another version, or damaged
            words = str(result.get("sentence", "")) if isinstance(result, dict) else ""
            name = str(result.get("gate", "?")) if isinstance(result, dict) else "?"
        passed = isinstance(result, dict) and result.get("passed") is True
        found.append({"name": name, "passed": passed, "sentence": words})
    return found


def card_gates(card: ReleaseCard, language: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the gates of a card in words, and the names of those that were not asked."""
    gates = card.metrics.get("gates")
    if not isinstance(gates, dict):
        return [], []
    not_asked = [gate_name(str(name), language) for name in gates.get("not_asked") or []]
    return gate_words(gates.get("results"), language), not_asked


def metric_rows(card: ReleaseCard, language: str) -> list[dict[str, Any]]:
    """Return one row for each measured split: images, rates with intervals in words, mAP50 or AUROC."""
    found: list[dict[str, Any]] = []
    for evaluation in card.metrics.get("evaluations") or []:
        row: dict[str, Any] = {"split": evaluation.get("split"), "images": evaluation.get("images")}
        for side, name in _RATES:
            rate = (evaluation.get(side) or {}).get(name)
            row[name] = rate
            row[f"{name}_words"] = rate_sentence(rate, language) if rate else "–"
        best = evaluation.get("map50")
        row["score"] = evaluation.get("auroc") if best is None else best
        found.append(row)
    return found


def note_words(card: ReleaseCard, language: str) -> str:
    """Return what must be known of the numbers of a card."""
    return note_sentence(card.metrics, language)
