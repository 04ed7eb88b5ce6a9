"""Check a dataset version against its pictures: there, unchanged, readable, of the stated size."""

from __future__ import annotations

from collections.abc import Callable

from inspection.errors import DatasetError
from inspection_datasets.incoming import image_size, inside
from inspection_datasets.manifest import DatasetVersion, sha256_of


def check_version(
    version: DatasetVersion, tick: Callable[[], None] = lambda: None, *, decode: bool = True
) -> None:
    """Check every sample's picture. Boxes, classes and states were checked when the version was loaded.

    Args:
        version: the version.
        tick: called once a sample.
        decode: also decode each picture and compare its size.

    Raises:
        DatasetError: a picture is missing, altered or of another size; the message names it.
    """
    for sample in version.samples:
        path = inside(version.folder, sample.image, version.version)
        if not path.is_file():
            raise DatasetError(f"{path} is missing; restore it, or import again as a new version")
        if sha256_of(path) != sample.sha256:
            raise DatasetError(
                f"{path} was altered after {version.version} was written; restore it"
            )
        if decode:
            size = image_size(path)
            if size != (sample.width, sample.height):
                raise DatasetError(
                    f"{path} is {size[0]}x{size[1]}, the version says {sample.width}x{sample.height}"
                )
        tick()
