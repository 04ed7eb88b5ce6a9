"""Some benchmarks run the tests' own rigs, and so need the repository, not only the packages."""

from __future__ import annotations

from pathlib import Path

from inspection.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]


def tests_folder() -> Path:
    """Return `tests/` of the repository, to be imported from.

    Raises:
        ConfigError: this is no checkout of the repository.
    """
    tests = ROOT / "tests"
    if not (tests / "station_rig.py").exists():
        raise ConfigError(
            f"{tests} is not there; this benchmark runs in a checkout of the repository: make bench"
        )
    return tests
