"""Asset Interfaces Description, IDTA 02017-1-0: how programs reach the station: REST and MQTT, where set.

The secrets are not here, only their kind: a session's cookie for the pages' API, name and password or nothing
for a broker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from basyx.aas import model

from inspection_serve.aas.addresses import brokers, rest
from inspection_serve.aas.elements import (
    Element,
    group,
    id_short,
    inside,
    pointers,
    submodel,
    value,
)
from inspection_serve.aas.gathered import Gathered
from inspection_serve.aas.identifiers import submodel_of
from inspection_serve.web.cookies import SESSION_COOKIE, cookie_at

SEMANTIC = "https://admin-shell.io/idta/AssetInterfacesDescription/1/0/Submodel"
NAME = "AssetInterfacesDescription"
_BASE = "https://admin-shell.io/idta/AssetInterfacesDescription/1/0"
_PROPERTY = "https://admin-shell.io/idta/AssetInterfaceDescription/1/0/PropertyDefinition"
_TD = "https://www.w3.org/2019/wot/td"
_MEDIA = "https://www.w3.org/2019/wot/hypermedia"
_SECURITY = "https://www.w3.org/2019/wot/security"
_HTTP = ("http://www.w3.org/2011/http", _TD)
_MQTT = ("http://www.w3.org/2011/mqtt", _TD)
_ANY_URI = model.datatypes.AnyURI
_SCHEMES = {
    "nosec_sc": ("nosec", "NoSecurityScheme"),
    "basic_sc": ("basic", "BasicSecurityScheme"),
    "apikey_sc": ("apikey", "APIKeySecurityScheme"),
}


@dataclass(frozen=True, slots=True)
class _Interface:
    """One way in.

    Attributes:
        name: its idShort.
        title: in words.
        base: address.
        scheme: of `_SCHEMES`.
        also: supplemental semantic ids, which name the protocol.
        points: name, title, href and HTTP method (empty: not HTTP) of what can be read.
    """

    name: str
    title: str
    base: str
    scheme: str
    also: tuple[str, str]
    points: Sequence[tuple[str, str, str, str]]


def interfaces(gathered: Gathered) -> model.Submodel | None:
    """Return the submodel of the station; None where the station file sets no way in."""
    station, asset = gathered.station, gathered.nameplate.uri_of_the_product
    identifier = submodel_of(asset, NAME)
    found: list[_Interface] = []
    if station.web is not None:
        points = (
            ("results", "Parts and their decisions", "/api/v1/results", "GET"),
            ("openapi", "Every request, in OpenAPI", "/api/v1/openapi.json", "GET"),
        )
        title = "Results by REST"
        found.append(
            _Interface("InterfaceHTTP", title, rest(station.web), "apikey_sc", _HTTP, points)
        )
    taken: set[str] = set()
    for link, base in brokers(station):
        topics = [
            (kind, f"Messages of kind {kind}", f"{link.prefix}/{station.station}/{kind}", "")
            for kind in (*link.tell, "state")
        ]
        name = id_short(f"InterfaceMQTT_{link.name}", taken)
        scheme = "nosec_sc" if link.username is None else "basic_sc"
        found.append(_Interface(name, f"Messages, {link.name}", base, scheme, _MQTT, topics))
    if not found:
        return None
    return submodel(identifier, NAME, SEMANTIC, [_element(identifier, one) for one in found])


def _element(identifier: str, one: _Interface) -> Element:
    here = inside(identifier, one.name, "EndpointMetadata", "securityDefinitions", one.scheme)
    endpoint = group(
        "EndpointMetadata",
        f"{_BASE}/EndpointMetadata",
        [
            value("base", _ANY_URI(one.base), f"{_TD}#baseURI", _ANY_URI),
            value("contentType", "application/json", f"{_MEDIA}#forContentType"),
            pointers("security", f"{_TD}#hasSecurityConfiguration", [here]),
            group("securityDefinitions", f"{_TD}#definesSecurityScheme", [_scheme(one)]),
        ],
    )
    points = [_point(point, here) for point in one.points]
    interaction = group(
        "InteractionMetadata",
        f"{_BASE}/InteractionMetadata",
        [group("properties", f"{_TD}#PropertyAffordance", points)],
        [f"{_TD}#InteractionAffordance"],
    )
    title = value("title", one.title, f"{_TD}#title")
    return group(one.name, f"{_BASE}/Interface", [title, endpoint, interaction], one.also)


def _scheme(one: _Interface) -> Element:
    name = one.scheme
    word, kind = _SCHEMES[name]
    found = [value("scheme", word, f"{_SECURITY}#SecurityScheme")]
    if name == "apikey_sc":
        found += [
            value(
                "name", cookie_at(SESSION_COOKIE, urlsplit(one.base).netloc), f"{_SECURITY}#name"
            ),
            value("in", "cookie", f"{_SECURITY}#in"),
        ]
    return group(name, f"{_SECURITY}#{kind}", found)


def _point(point: tuple[str, str, str, str], security: model.Reference) -> Element:
    name, title, href, method = point
    form = [
        value("href", href, f"{_MEDIA}#hasTarget"),
        value("contentType", "application/json", f"{_MEDIA}#forContentType"),
        pointers("security", f"{_TD}#hasSecurityConfiguration", [security]),
    ]
    if method:
        form.append(value("htv_methodName", method, "https://www.w3.org/2011/http#methodName"))
    return group(
        name,
        _PROPERTY,
        [
            value("title", title, f"{_TD}#title"),
            group("forms", f"{_TD}#hasForm", form),
        ],
        [f"{_TD}#name"],
    )
