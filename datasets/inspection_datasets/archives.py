"""Unpack what a label tool exported, into a folder that nothing in the archive can leave.

Names that are absolute or hold `..`, links, devices and encrypted files are refused, and an archive that
would grow beyond its limits is stopped while it is unpacked, whatever sizes it states.
"""

from __future__ import annotations

import lzma
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from inspection.errors import DatasetError
from inspection_datasets.incoming import IMAGE_SUFFIXES, split_of
from inspection_datasets.manifest import contained_path

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
_BLOCK = 1 << 20
_RATIO_FREE = 16 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may hold.

    Attributes:
        total: bytes of all files together.
        files: number of entries.
        ratio: bytes unpacked for each byte of the archive; only looked at beyond 16 MiB.
    """

    total: int = 64 << 30
    files: int = 500_000
    ratio: float = 200.0


def is_archive(path: Path) -> bool:
    """Return whether this is a file with an archive's suffix."""
    return path.is_file() and path.name.lower().endswith(SUFFIXES)


@contextmanager
def unpacked(archive: Path, beside: Path, limits: Limits | None = None) -> Generator[Path]:
    """Unpack into a temporary folder beside a folder; it is removed at the end, whatever happens.

    Args:
        archive: the file.
        beside: the dataset folder; the temporary one is made in the same parent.
        limits: how much it may hold.

    Yields:
        The folder with the files; where the archive holds a single folder, that one.

    Raises:
        DatasetError: not an archive, damaged, over its limits, or with names that leave the folder.
    """
    parent = beside.resolve().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{beside.name}.unpacked.", dir=parent))
    except OSError as error:
        raise DatasetError(
            f"no folder can be made in {parent} to unpack {archive}: {error}"
        ) from error
    try:
        _unpack(archive, folder, limits or Limits())
        yield _top(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _top(folder: Path) -> Path:
    """Return the folder that was packed: the only one, unless its name or its pictures mean something."""
    inner = [path for path in folder.iterdir() if path.name != "__MACOSX"]
    if len(inner) != 1 or not inner[0].is_dir() or split_of(Path(inner[0].name, "x")):
        return folder
    pictures = any(path.suffix.lower() in IMAGE_SUFFIXES for path in inner[0].iterdir())
    files = [path for path in inner[0].iterdir() if path.suffix.lower() not in IMAGE_SUFFIXES]
    if inner[0].name in {"images", "Annotations"} or (pictures and not files):
        return folder
    return _top(inner[0])


def _unpack(archive: Path, folder: Path, limits: Limits) -> None:
    writer = _Writer(archive, folder, limits)
    try:
        if archive.name.lower().endswith(".zip"):
            with zipfile.ZipFile(archive) as opened:
                for entry in opened.infolist():
                    if entry.external_attr >> 28 == 0xA:
                        raise _link(archive, entry.filename)
                    if entry.flag_bits & 1:
                        raise DatasetError(f"{archive} is encrypted; unpack it by hand")
                    if not entry.is_dir():
                        with opened.open(entry) as file:
                            writer.write(entry.filename, file)
            return
        with tarfile.open(archive) as opened:
            for member in opened:
                if member.issym() or member.islnk():
                    raise _link(archive, member.name)
                file = opened.extractfile(member) if member.isfile() else None
                if file is not None:
                    writer.write(member.name, file)
                elif not member.isdir():
                    raise DatasetError(f"{archive} holds {member.name!r}, which is no plain file")
                else:
                    writer.count(member.name)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DatasetError(f"{archive} is damaged ({error}); export it again") from error
    except (OSError, NotImplementedError, RuntimeError) as error:
        raise DatasetError(f"{archive} cannot be unpacked to {folder}: {error}") from error


def _link(archive: Path, name: str) -> DatasetError:
    return DatasetError(
        f"{archive} holds a link, {name!r}; links could lead out of the folder. Pack the files themselves"
    )


class _Writer:
    def __init__(self, archive: Path, folder: Path, limits: Limits) -> None:
        self._archive, self._folder, self._limits = archive, folder, limits
        self._size = max(1, archive.stat().st_size)
        self._total = self._files = 0

    def count(self, name: str) -> Path:
        """Count an entry and return where it goes."""
        self._files += 1
        if self._files > self._limits.files:
            raise DatasetError(f"{self._archive} holds over {self._limits.files} files; split it")
        return self._folder / contained_path(name, str(self._archive))

    def write(self, name: str, file: IO[bytes]) -> None:
        target = self.count(name)
        if target.exists():
            raise DatasetError(f"{self._archive} holds {name!r} twice; remove one of the two")
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as out:
            while block := file.read(_BLOCK):
                self._total += len(block)
                self._check()
                out.write(block)

    def _check(self) -> None:
        most = max(_RATIO_FREE, int(self._size * self._limits.ratio))
        if self._total > min(most, self._limits.total):
            raise DatasetError(
                f"{self._archive} unpacks to more than {min(most, self._limits.total) >> 20} MiB "
                f"({self._size} bytes packed); if that is right, unpack it by hand and import the folder"
            )
