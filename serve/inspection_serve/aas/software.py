"""Software Nameplate, IDTA 02007-1-0-1: our software on the station, and each release.

The idShorts and ids are those of the template's file; its document spells two of them differently.
"""

from __future__ import annotations

import platform
import socket
from datetime import date, datetime

from basyx.aas import model

import inspection
from inspection.errors import ReleaseError
from inspection.release import MODEL
from inspection_serve.aas.elements import Element, group, submodel, text, value
from inspection_serve.aas.gathered import Gathered, ReleaseFacts
from inspection_serve.aas.identifiers import Identifiers, submodel_of

SEMANTIC = "https://admin-shell.io/idta/SoftwareNameplate/1/0"
NAME = "SoftwareNameplate"
_TYPE = f"{SEMANTIC}/SoftwareNameplate/SoftwareNameplateType"
_INSTANCE = f"{SEMANTIC}/SoftwareNameplate/SoftwareNameplateInstance"


def station_software(gathered: Gathered) -> model.Submodel:
    """Return the nameplate of the inspection software, as it is installed on this station."""
    file = gathered.nameplate
    kind = group(
        "SoftwareNameplateType",
        _TYPE,
        _type(
            uri=f"{file.uri_of_the_product}/software",
            maker=file.software_manufacturer,
            language=file.language,
            designation="Inspection",
            about="Machine vision inspection: a part passes only when it was proven good",
            software="Application",
            version=inspection.__version__,
            released=file.software_release_date,
            built=file.software_build_date,
        ),
    )
    installed = [
        value("InstanceName", gathered.station.station, f"{_INSTANCE}/InstanceName"),
        value("InstalledVersion", inspection.__version__, f"{_INSTANCE}/InstalledVersion"),
        _day("InstallationDate", file.software_installation_date, f"{_INSTANCE}/InstallationDate"),
        value(
            "InstalledOnArchitecture", platform.machine(), f"{_INSTANCE}/InstalledOnArchitecture"
        ),
        value("InstalledOnOS", platform.system(), f"{_INSTANCE}/InstalledOnOS"),
    ]
    if not gathered.redact:
        installed.append(
            value("InstalledOnHost", socket.gethostname(), f"{_INSTANCE}/InstalledOnHost")
        )
    instance = group("SoftwareNameplateInstance", _INSTANCE, installed)
    return submodel(submodel_of(file.uri_of_the_product, NAME), NAME, SEMANTIC, [kind, instance])


def release_software(gathered: Gathered, release: ReleaseFacts) -> model.Submodel:
    """Return the nameplate of a release: the model as a piece of software."""
    file, card = gathered.nameplate, release.card
    uri = Identifiers(file.uri_of_the_product).release(release.name)
    try:
        made = datetime.fromisoformat(card.created_at).date()
    except ValueError as error:
        raise ReleaseError(
            f"release {release.name}: created_at {card.created_at!r} is no date; release it again"
        ) from error
    kind = _type(
        uri=uri,
        maker=file.model_manufacturer or file.manufacturer_name,
        language=file.language,
        designation=release.name,
        about=f"Model for {card.task}, {card.family}",
        software="AI model",
        version=str(card.number),
        released=made,
        built=made,
    )
    kind += [
        value("ReleaseInformation", f"Licence: {card.licence}", f"{_TYPE}/ReleaseInformation"),
        value(
            "InstallationChecksum", f"sha256:{card.files[MODEL]}", f"{_TYPE}/InstallationChecksum"
        ),
    ]
    children = [group("SoftwareNameplateType", _TYPE, kind)]
    return submodel(submodel_of(uri, NAME), NAME, SEMANTIC, children)


def _type(
    *,
    uri: str,
    maker: str,
    language: str,
    designation: str,
    about: str,
    software: str,
    version: str,
    released: date,
    built: date,
) -> list[Element]:
    return [
        value("URIOfTheProduct", uri, "0173-1#02-AAY811#001"),
        text("ManufacturerName", maker, "0173-1#02-AAO677#002", language),
        text("ManufacturerProductDesignation", designation, "0173-1#02-AAW338#001"),
        text("ManufacturerProductDescription", about, f"{_TYPE}/ManufacturerProductDescription"),
        value("SoftwareType", software, f"{_TYPE}/SoftwareType"),
        value("Version", version, f"{_TYPE}/Version"),
        _day("ReleaseDate", released, f"{_TYPE}/ReleaseDate"),
        _day("BuildDate", built, f"{_TYPE}/BuildDate"),
    ]


def _day(name: str, day: date, semantic: str) -> Element:
    given = model.datatypes.Date(day.year, day.month, day.day)
    return value(name, given, semantic, model.datatypes.Date)
