"""The folder that `inspection plc map --out` writes: import files, the program, and how to use them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from inspection.commission.map import labels
from inspection.commission.map.companion import COMPANION
from inspection.commission.map.dialects import structured_text
from inspection.commission.map.families import Area, Family
from inspection.commission.map.logix import studio5000_tags
from inspection.errors import ConfigError
from inspection.sentences.language import phrase

Content = dict[str, bytes]

_GX3_LANGUAGE = {"ko": "Korean/한국어", "en": "English"}


def contents(area: Area, language: str) -> Content:
    """Return file name to bytes, of all that `write` puts into the folder."""
    made: dict[Family, Callable[[Area, str], Content]] = {
        "melsec": _melsec, "xgt": _xgt, "s7": _s7, "modbus": _modbus,
        "opcua": _opcua, "ethernet_ip": _ethernet_ip,
    }  # fmt: skip
    told = "\n".join(
        phrase(COMPANION, key, language, db=area.db) for key in ("general", area.family)
    )
    return {**made[area.family](area, language), "READ_ME.txt": _text(told)}


def write(folder: Path, area: Area, language: str) -> list[Path]:
    """Write all files into a folder, made when it is not there; files of the same name are replaced.

    Raises:
        ConfigError: they cannot be written.
    """
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents(area, language).items():
            (folder / name).write_bytes(content)
            written.append(folder / name)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written: {error}; name another --out") from error
    return written


def _melsec(area: Area, language: str) -> Content:
    comments = labels.gx_comments
    return {
        "gxworks3_global_labels.csv": _tabs(labels.gx_works3_global(area, language)),
        "gxworks3_local_labels.csv": _tabs(labels.gx_works3_local(language)),
        "gxworks3_device_comments.csv": _tabs(comments(area, language, _GX3_LANGUAGE[language])),
        "gxworks2_global_labels.csv": _tabs(labels.gx_works2_global(area, language)),
        "gxworks2_device_comments.csv": _tabs(comments(area, language, "Comment")),
        "inspection.st": _text(structured_text(area, language)),
    }


def _xgt(area: Area, language: str) -> Content:
    text = _separated(labels.xg5000_variables(area, language), ",", csv.QUOTE_MINIMAL)
    return {
        "xg5000_variables.csv": text.encode("cp949"),
        "inspection.st": _text(structured_text(area, language)),
    }


def _s7(area: Area, language: str) -> Content:
    return {
        "inspection-data.db": _text("\n".join(labels.s7_data_block(area, language)) + "\n"),
        "inspection.scl": _text(structured_text(area, language)),
    }


def _modbus(area: Area, language: str) -> Content:
    text = _separated(labels.registers(area, language), ",", csv.QUOTE_MINIMAL)
    return {
        "registers.csv": text.encode("utf-8-sig"),
        "inspection.st": _text(structured_text(area, language)),
    }


def _opcua(area: Area, language: str) -> Content:
    text = _separated(labels.nodes(area, language), ",", csv.QUOTE_MINIMAL)
    return {
        "nodes.csv": text.encode("utf-8-sig"),
        "inspection.st": _text(structured_text(area, language)),
    }


def _ethernet_ip(area: Area, language: str) -> Content:
    """Logix Designer keeps its CSV in plain ASCII; the program's comments are for people to paste."""
    return {
        "studio5000_tags.csv": "".join(studio5000_tags(area, language)).encode("ascii"),
        "inspection.st": _text(structured_text(area, language)),
    }


def _tabs(rows: Iterable[list[str]]) -> bytes:
    """UTF-16, low byte first, with its mark; every cell in quotes."""
    return _separated(rows, "\t", csv.QUOTE_ALL).encode("utf-16-le").join([b"\xff\xfe", b""])


def _separated(rows: Iterable[list[str]], delimiter: str, quoting: Literal[0, 1]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator="\r\n").writerows(rows)
    return text.getvalue()


def _text(text: str) -> bytes:
    """UTF-8 with a mark and the line ends of Windows, where all these tools run."""
    return text.replace("\n", "\r\n").encode("utf-8-sig")
