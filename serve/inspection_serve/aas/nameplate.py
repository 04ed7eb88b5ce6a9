"""Digital Nameplate, IDTA 02006-3-0-1: the station.

Left out: markings and the logo, which nobody here knows; add them where the shell is kept.
"""

from __future__ import annotations

from basyx.aas import model

import inspection
from inspection_serve.aas.elements import Element, group, inside, submodel, text, value
from inspection_serve.aas.gathered import Gathered
from inspection_serve.aas.identifiers import submodel_of

SEMANTIC = "https://admin-shell.io/idta/nameplate/3/0/Nameplate"
NAME = "Nameplate"
ADDRESS = "AddressInformation"
_ADDRESS = "https://admin-shell.io/zvei/nameplate/1/0/ContactInformations/AddressInformation"
_DROP_IN = (
    "https://admin-shell.io/smt-dropin/smt-dropin-use/1/0",
    "0112/2///61360_7#AAS002#001",
    "0173-1#02-AAQ837#008/0173-1#01-ADR448#008",
)


def nameplate(gathered: Gathered) -> model.Submodel:
    """Return the submodel."""
    file = gathered.nameplate
    spoken = file.language
    found: list[Element] = [
        value(
            "URIOfTheProduct",
            model.datatypes.AnyURI(file.uri_of_the_product),
            "0112/2///61987#ABN590#002",
            model.datatypes.AnyURI,
        ),
        text("ManufacturerName", file.manufacturer_name, "0112/2///61987#ABA565#009", spoken),
        text(
            "ManufacturerProductDesignation",
            file.manufacturer_product_designation,
            "0112/2///61987#ABA567#009",
            spoken,
        ),
        group(
            ADDRESS,
            _ADDRESS,
            [
                text("Street", file.street, "0173-1#02-AAO128#002", spoken),
                text("Zipcode", file.zipcode, "0173-1#02-AAO129#002", spoken),
                text("CityTown", file.city_town, "0173-1#02-AAO132#002", spoken),
                text("NationalCode", file.national_code, "0173-1#02-AAO134#002", spoken),
            ],
            _DROP_IN,
        ),
        value(
            "OrderCodeOfManufacturer", file.order_code_of_manufacturer, "0112/2///61987#ABA950#008"
        ),
        *_optional(gathered),
    ]
    return submodel(submodel_of(file.uri_of_the_product, NAME), NAME, SEMANTIC, found)


def _optional(gathered: Gathered) -> list[Element]:
    file, found = gathered.nameplate, list[Element]()
    texts = (
        ("ManufacturerProductRoot", file.product_root, "0112/2///61360_7#AAS011#001"),
        ("ManufacturerProductFamily", file.product_family, "0112/2///61987#ABP464#002"),
    )
    found += [text(n, given, s, file.language) for n, given, s in texts if given]
    serial = None if gathered.redact else file.serial_number
    year = file.year_of_construction
    plain = (
        ("ManufacturerProductType", file.product_type, "0112/2///61987#ABA300#008"),
        ("ProductArticleNumberOfManufacturer", file.article_number, "0112/2///61987#ABA581#007"),
        ("SerialNumber", serial, "0112/2///61987#ABA951#009"),
        ("YearOfConstruction", str(year) if year else None, "0112/2///61987#ABP000#002"),
        ("HardwareVersion", file.hardware_version, "0112/2///61987#ABA926#008"),
        ("SoftwareVersion", inspection.__version__, "0112/2///61987#ABA601#008"),
        ("CountryOfOrigin", file.country_of_origin, "0112/2///61987#ABP462#001"),
    )
    found += [value(name, given, semantic) for name, given, semantic in plain if given]
    if file.date_of_manufacture is not None:
        day = model.datatypes.Date(*file.date_of_manufacture.timetuple()[:3])
        found.append(
            value("DateOfManufacture", day, "0112/2///61987#ABB757#007", model.datatypes.Date)
        )
    return found


def contact(gathered: Gathered) -> model.Reference:
    """Return the reference that other submodels give as their contact: the address of the company."""
    return inside(submodel_of(gathered.nameplate.uri_of_the_product, NAME), ADDRESS)
