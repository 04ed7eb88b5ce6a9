"""What others wrote is as they published it."""

import hashlib
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = (
    ROOT / "serve/inspection_serve/web/static/vendor",
    ROOT / "serve/inspection_serve/opcua/nodesets",
    ROOT / "tests/vendor",
)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parts[-2])
def test_files_match_their_hashes(folder: Path) -> None:
    told = tomllib.loads((folder / "VENDOR.toml").read_text(encoding="utf-8"))
    there = {p.name for p in folder.iterdir() if p.suffix in {".js", ".css", ".xml"}}
    assert there == set(told)
    for name, facts in told.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == facts["sha256"], name
        assert facts["licence"]
        assert facts["version"]
        licence = {"htmx.org": "htmx", "axe-core": "axe"}.get(facts["package"], facts["package"])
        assert (folder / f"{licence}.LICENSE").is_file()
