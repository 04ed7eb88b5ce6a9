"""The few kinds of elements that our submodels are made of, over the basyx library.

Importing this file needs the extra `aas`. The semantic ids that callers give are those of the IDTA
templates, read there; an element of our own has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from basyx.aas import model

Element = model.SubmodelElement
Language = str

LONGEST_TEXT = 1023
_LONGEST_ID = 128
_NO_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NO_ID = re.compile(r"[^A-Za-z0-9]+")


def outside(identifier: str) -> model.ExternalReference:
    """Return a reference to something that is in no shell, by its global id."""
    return model.ExternalReference((model.Key(model.KeyTypes.GLOBAL_REFERENCE, identifier),))


def inside(submodel: str, *path: str) -> model.ModelReference[Any]:
    """Return a reference to a submodel, or to a collection in it."""
    keys = [model.Key(model.KeyTypes.SUBMODEL, submodel)]
    keys += [model.Key(model.KeyTypes.SUBMODEL_ELEMENT_COLLECTION, name) for name in path]
    kind: Any = model.SubmodelElementCollection if path else model.Submodel
    return model.ModelReference(tuple(keys), kind)


def value(
    name: str, content: Any, semantic: str = "", kind: Any = str, shown: str = ""
) -> model.Property:
    """Return a property.

    Args:
        name: its idShort.
        content: its value; texts lose what XML cannot hold.
        semantic: id of the template's element; empty: the element is our own.
        kind: its type, `str` or one of basyx's.
        shown: what it is called where the idShort cannot hold it.
    """
    if kind is str:
        content = clean(str(content))
    called = clean(shown)[:_LONGEST_ID]
    return model.Property(
        name,
        kind,
        content,
        semantic_id=_semantic(semantic),
        display_name=model.MultiLanguageNameType({"en": called}) if called else None,
    )


def text(name: str, content: str, semantic: str = "", language: Language = "en") -> Element:
    """Return a text in one language; an empty one is written as a dash, for it must hold something."""
    cut = clean(content)[:LONGEST_TEXT] or "-"
    return model.MultiLanguageProperty(
        name, model.MultiLanguageTextType({language: cut}), semantic_id=_semantic(semantic)
    )


def group(
    name: str | None, semantic: str, children: Iterable[Element], also: Sequence[str] = ()
) -> model.SubmodelElementCollection:
    """Return a collection; `also` are its supplemental semantic ids."""
    return model.SubmodelElementCollection(
        name,
        list(children),
        semantic_id=_semantic(semantic),
        supplemental_semantic_id=[outside(one) for one in also],
    )


def pointer(name: str | None, to: model.Reference, semantic: str = "") -> model.ReferenceElement:
    """Return an element that refers to another."""
    return model.ReferenceElement(name, to, semantic_id=_semantic(semantic))


def pointers(name: str, semantic: str, to: Iterable[model.Reference]) -> Element:
    """Return a list of references."""
    return model.SubmodelElementList(
        name,
        model.ReferenceElement,
        [pointer(None, one) for one in to],
        semantic_id=_semantic(semantic),
        semantic_id_list_element=_semantic(semantic),
    )


def submodel(
    identifier: str, name: str, semantic: str, children: Iterable[Element]
) -> model.Submodel:
    """Return a submodel of a template."""
    return model.Submodel(identifier, list(children), name, semantic_id=outside(semantic))


def shell(
    identifier: str, name: str, asset: str, submodels: Iterable[model.Submodel], *, kind: str = ""
) -> model.AssetAdministrationShell:
    """Return a shell of one asset, an instance; `kind` names what kind of asset it is."""
    return model.AssetAdministrationShell(
        model.AssetInformation(
            model.AssetKind.INSTANCE,
            global_asset_id=asset,
            specific_asset_id=[model.SpecificAssetId("kind", kind)] if kind else (),
        ),
        identifier,
        name,
        submodel={inside_of(one) for one in submodels},
    )


def inside_of(one: model.Submodel) -> model.ModelReference[model.Submodel]:
    """Return the reference to a whole submodel."""
    return model.ModelReference.from_referable(one)


def clean(content: str) -> str:
    """Return a text without the characters that XML cannot hold."""
    return _NO_XML.sub("", content)


def id_short(words: str, taken: set[str]) -> str:
    """Return an idShort for a name that people chose, and add it to `taken`.

    An idShort is letters, digits and underscores of ASCII; of a Korean name nothing is left, so it gets a
    number. The name itself goes into `shown` or a value.
    """
    name = _NO_ID.sub("_", words).strip("_")[: _LONGEST_ID - 8]
    name = name if name[:1].isalpha() else f"x{name}"
    number, free = 1, name
    while free in taken or free == "x":
        number += 1
        free = f"{name}_{number}"
    taken.add(free)
    return free


def _semantic(identifier: str) -> model.ExternalReference | None:
    return outside(identifier) if identifier else None
