"""Codes of the part: DataMatrix, QR and bar codes in the picture, or what the station's scanner read.

Pictures are read with ZXing (zxing-cpp, Apache-2.0). A code with a wrong checksum is no code.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from inspection.errors import ScannerError
from inspection.part import PartInFlight
from inspection.protocols import Scanner
from inspection.recipe import RecipeError
from inspection.types import Code, CodeRule, Reason, Recipe

if TYPE_CHECKING:
    import zxingcpp

FORMATS = {
    "data_matrix": "DataMatrix",
    "qr_code": "QRCode",
    "micro_qr_code": "MicroQRCode",
    "rmqr_code": "RMQRCode",
    "aztec": "Aztec",
    "pdf_417": "PDF417",
    "code_128": "Code128",
    "code_39": "Code39",
    "code_93": "Code93",
    "codabar": "Codabar",
    "itf": "ITF",
    "ean_13": "EAN13",
    "ean_8": "EAN8",
    "upc_a": "UPCA",
    "upc_e": "UPCE",
    "data_bar": "DataBar",
}
"""Our names of the formats, and ZXing's."""

MOST_CHARACTERS = 200
"""Of a code that is kept; a longer one is cut, and so fits no rule that names its end."""


class CodeReader:
    """Reads the code of a part where its recipe says. Used by the detect stage."""

    def __init__(self, scanner: Scanner | None) -> None:
        """Keep the station's scanner; None: it has none."""
        self._scanner = scanner

    def check(self, recipe: Recipe) -> None:
        """Raise RecipeError when no part of this recipe could ever be named at this station."""
        rule = recipe.code
        if rule is not None and rule.source == "scanner" and self._scanner is None:
            raise RecipeError(
                Reason.RECIPE_INVALID,
                f"recipe {recipe.number} wants a scanner's code, and this station has no scanner; "
                "add `scanner:` to the station file",
            )
        wait = self._scanner.wait if self._scanner and rule and rule.source == "scanner" else 0.0
        if wait > recipe.deadline / 2:
            raise RecipeError(
                Reason.RECIPE_INVALID,
                f"the scanner's `wait` of {wait:g} s leaves no time before the deadline of recipe "
                f"{recipe.number}, {recipe.deadline:g} s; make it shorter, or the deadline longer",
            )

    def fault(self, rule: CodeRule | None) -> Reason | None:
        """Return why no part of this rule could be named now; None when it could. Never raises."""
        if rule is None or rule.source != "scanner":
            return None
        lost = self._scanner is None or self._scanner.fault()
        return Reason.SCANNER_LOST if lost else None

    def read(self, part: PartInFlight, rule: CodeRule) -> tuple[Code, ...]:
        """Return the codes of a part.

        Raises:
            ScannerError: the scanner is not connected, or there is none.
        """
        if rule.source == "scanner":
            if self._scanner is None:
                raise ScannerError("this station has no scanner")
            return self._scanner.take(part.trigger.seen_mono)
        return read_codes(part.frame.image, rule) if part.frame else ()


def read_codes(image: NDArray[np.uint8], rule: CodeRule) -> tuple[Code, ...]:
    """Return every code of the rule's formats in the rule's box.

    Args:
        image: uint8 [H, W, 3] RGB.
        rule: of a recipe; a box that leaves the image is cut.

    Returns:
        Codes with their boxes in pixels of `image`, each text as often as it was read.
    """
    import cv2
    import zxingcpp

    left, top, right, bottom = _window(image, rule)
    if left >= right or top >= bottom:
        return ()
    gray = cv2.cvtColor(image[top:bottom, left:right], cv2.COLOR_RGB2GRAY)
    found = zxingcpp.read_barcodes(
        gray, formats=_formats(rule.formats), text_mode=zxingcpp.TextMode.Plain
    )
    return tuple(_code(each, left, top) for each in found if each.valid)


def _window(image: NDArray[np.uint8], rule: CodeRule) -> tuple[int, int, int, int]:
    height, width = image.shape[:2]
    if rule.box is None:
        return 0, 0, width, height
    x1, y1, x2, y2 = rule.box
    return (
        max(0, math.floor(x1)), max(0, math.floor(y1)),
        min(width, math.ceil(x2)), min(height, math.ceil(y2)),
    )  # fmt: skip


def _formats(names: tuple[str, ...]) -> zxingcpp.BarcodeFormats:
    import zxingcpp

    return zxingcpp.barcode_formats_from_str(",".join(FORMATS[name] for name in names))


def _code(found: zxingcpp.Barcode, left: int, top: int) -> Code:
    import zxingcpp

    corners = found.position
    points = [corners.top_left, corners.top_right, corners.bottom_right, corners.bottom_left]
    xs, ys = [left + point.x for point in points], [top + point.y for point in points]
    kinds = (name for name, kind in FORMATS.items() if getattr(zxingcpp, kind) == found.format)
    text = found.text.replace("\0", "").encode("utf-8", "replace").decode()[:MOST_CHARACTERS]
    return Code(text, next(kinds, str(found.format)), (min(xs), min(ys), max(xs), max(ys)))
