"""Shells to files: an AASX package and the same content as JSON. Both appear whole, or neither changes.

In the package the content is JSON too: the library's XML has the namespace of metamodel V3.1, which readers
of V3.0 refuse; the JSON is valid for both.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from basyx.aas import model
from basyx.aas.adapter import aasx
from basyx.aas.adapter.json import write_aas_json_file
from pyecma376_2.core_properties import OPCCoreProperties

from inspection.errors import ConfigError
from inspection_serve.aas.shells import Store


def write(found: Store, out: Path, at: datetime) -> tuple[Path, Path]:
    """Write OUT and, beside it, the same with the suffix `.json`.

    Args:
        found: shells and submodels.
        out: the AASX file; an older one is replaced.
        at: when the content was gathered.

    Raises:
        ConfigError: they cannot be written.
    """
    plain = out.with_suffix(".json")
    if plain == out:
        raise ConfigError(f"--out {out} must not end in .json: the JSON file is written beside it")
    parts = [path.with_name(f".{path.name}.{os.getpid()}.part") for path in (out, plain)]
    try:
        _package(found, parts[0], at)
        with parts[1].open("w", encoding="utf-8") as file:
            write_aas_json_file(file, found, indent=1, ensure_ascii=False)
        for part in parts:
            with part.open("rb") as file:
                os.fsync(file.fileno())
        for part, path in zip(parts, (out, plain), strict=True):
            part.replace(path)
    except OSError as error:
        raise ConfigError(
            f"{out} cannot be written: {error}; free space, or name another file with --out"
        ) from error
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
    return out, plain


def _package(found: Store, path: Path, at: datetime) -> None:
    properties = OPCCoreProperties()
    properties.created = at
    properties.title = "Asset Administration Shell of an inspection station"
    ids = [one.id for one in found if isinstance(one, model.AssetAdministrationShell)]
    with aasx.AASXWriter(str(path), failsafe=False) as writer:
        writer.write_aas(ids, found, aasx.DictSupplementaryFileContainer(), write_json=True)
        writer.write_core_properties(properties)
