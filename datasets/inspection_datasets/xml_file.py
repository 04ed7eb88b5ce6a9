"""Read XML that a label tool wrote: any encoding it declares, no document types, no entities."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from inspection.errors import DatasetError

_DECLARED = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)["'][^>]*\?>""")
_EXPAT = {"utf-8", "utf8", "utf-16", "us-ascii", "ascii", "iso-8859-1"}


class _NoDoctype(ElementTree.TreeBuilder):
    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        del pubid, system
        raise _DoctypeError(name)


class _DoctypeError(Exception):
    pass


def read_xml(path: Path) -> Element:
    """Return the root element.

    A document type is refused before anything in it is used: label tools write none, and entities can
    fill the memory or read other files.

    Raises:
        DatasetError: unreadable, an unknown or wrong encoding, a document type, or not XML.
    """
    try:
        data = path.read_bytes()
        return _parse(data)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error})") from error
    except _DoctypeError as error:
        raise DatasetError(
            f"{path} declares a document type ({error}); label files need none, and entities in it are "
            "not safe. Remove the DOCTYPE"
        ) from error
    except (LookupError, UnicodeError) as error:
        raise DatasetError(
            f"{path} is not in the encoding it says ({error}); save it as UTF-8"
        ) from error
    except ElementTree.ParseError as error:
        raise DatasetError(f"{path} is not XML: {error}; save it again as UTF-8 XML") from error


def _parse(data: bytes) -> Element:
    found = _DECLARED.match(data)
    encoding = found.group(1).decode("ascii").lower() if found else ""
    parser = ElementTree.XMLParser(target=_NoDoctype())  # noqa: S314 no doctype, so no entities
    if found and encoding not in _EXPAT:
        parser.feed(data[found.end() :].decode(encoding))
    else:
        parser.feed(data)
    return parser.close()


def number(element: Element, name: str, where: str) -> float:
    """Return the number in an attribute or child of this name.

    Raises:
        DatasetError: it is missing or no number.
    """
    value = element.get(name) or element.findtext(name)
    try:
        return float(value or "")
    except ValueError as error:
        raise DatasetError(
            f"{where}: <{element.tag}> has no number {name} (found {value!r}); correct the label"
        ) from error
