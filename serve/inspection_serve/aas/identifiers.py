"""The ids of shells, assets and submodels: all below the station's own URI, so that they are unique.

URI                            the station             URI/aas           its shell
URI/release/PART/NUMBER        a release               …/aas             its shell
URI/release/PART/NUMBER/sm/X   a submodel of it        URI/sm/X          one of the station
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Identifiers:
    """The ids of one station.

    Attributes:
        station: URI of the station; ids begin with it.
    """

    station: str

    def release(self, name: str) -> str:
        """Return the id of a release, PART/NUMBER."""
        return f"{self.station}/release/{name}"

    def dataset(self, name: str, version: str) -> str:
        """Return the id of a dataset version."""
        return f"{self.station}/dataset/{quote(name, safe='')}/{version}"


def shell_of(asset: str) -> str:
    """Return the id of an asset's shell."""
    return f"{asset}/aas"


def submodel_of(asset: str, name: str) -> str:
    """Return the id of a submodel of an asset."""
    return f"{asset}/sm/{name}"
