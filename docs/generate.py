"""Writes docs/reference/*.md out of the code, so that the reference cannot grow old.

    pydantic models ─▶ station, recipe, release, experiment, dataset, plc-sim
    typer commands ──▶ cli
    router of pages ─▶ authorisation

`python docs/generate.py` writes the pages; `python docs/generate.py --check` writes nothing, names the
pages that differ, and then exits with code 1. The same code gives the same bytes on every machine.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import re
import sys
import tomllib
import types
import typing
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "reference"
TOP = ("datasets", "training", "serve")
NOTE = (
    "<!-- Written by `python docs/generate.py` out of the code: change the code, then run it. -->"
)

# What the code does not say itself. A description in the model goes before the one here.
TEXTS = {
    "VariantParity.images": "images compared",
    "VariantCard.format": "version of this file's layout",
    "VariantCard.name": "bf16 or int8: the variant's folder",
    "VariantCard.created_at": "when it was made, UTC, ISO 8601",
    "VariantCard.libraries": "library name to version",
    "Change.image": "image path in the dataset",
    "VariantParity.changed": "images that both decide differently",
    "ReleaseCard.format": "version of this file's layout",
    "ReleaseCard.part": "name of the part: the folder below releases",
    "ReleaseCard.number": "release number within the part: the folder's name",
    "ReleaseCard.created_at": "when it was released, UTC, ISO 8601",
    "ReleaseCard.classes": "class names, in the order of the model's class numbers",
    "ReleaseCard.limits": "class to its limits; every class has an entry",
    "ReleaseCard.dataset": "which images the model learned from",
    "ReleaseCard.seeds": "name to seed, of everything random in the training",
    "DatasetCard.name": "name of the dataset",
    "DatasetCard.version": "version of the dataset, for example v0001",
    "DatasetCard.sha256": "hash of the version's file",
    "DatasetCard.train_images": "number of images trained on",
    "DatasetCard.val_images": "number of images that chose the limits",
    "Sample.boxes": "one list for each box: class, x1, y1, x2, y2, pixels; empty for good parts",
    "*.type": "selects this driver",
}
_WORDS: dict[Any, str] = {
    str: "text", int: "integer", float: "number", bool: "true or false", Path: "path", Any: "driver",
}  # fmt: skip
_COMPLETION = {"install_completion", "show_completion"}  # typer's own, for the user's shell
_BOUNDS = (("gt", "> "), ("ge", "≥ "), ("lt", "< "), ("le", "≤ "), ("multiple_of", "multiple of "))


# ---------------------------------------------------------------------- one model, one table


def model_section(heading: str, model: type[BaseModel], links: dict[str, str] | None = None) -> str:
    """Return a section with a table of every field of a model.

    Args:
        heading: with its `#` marks.
        model: the config class.
        links: field name to the heading of the section that describes its value.
    """
    names = sorted(model.model_fields, key=lambda name: name != "type")  # which driver it is, first
    rows = [
        [
            f"`{name}`",
            _link(name, field, links or {}),
            _default(field),
            _bounds(field),
            _text(model, name, field),
        ]
        for name in names
        for field in [model.model_fields[name]]
    ]
    return "\n".join(
        [
            heading,
            "",
            inspect.cleandoc(model.__doc__ or ""),
            "",
            table(["field", "value", "default", "bounds", "meaning"], rows),
            "",
            f"Source: `{_source(model)}`, class `{model.__name__}`.",
            "",
        ]
    )


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    """Return a Markdown table; pipes and line ends inside a cell are made harmless."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in line) + " |"
        for line in lines
    )


def _source(model: type[BaseModel]) -> str:
    """Return the model's file in this checkout, wherever it was imported from."""
    name = model.__module__.replace(".", "/") + ".py"
    found = [path for path in (name, *(f"{x}/{name}" for x in TOP)) if (ROOT / path).is_file()]
    return found[0]


def _text(model: type[BaseModel], name: str, field: FieldInfo) -> str:
    text = field.description or TEXTS.get(f"{model.__name__}.{name}") or TEXTS.get(f"*.{name}")
    if not text:
        raise SystemExit(
            f"{model.__module__}.{model.__name__}.{name} has no description; add one to the field"
        )
    return text


def _link(name: str, field: FieldInfo, links: dict[str, str]) -> str:
    word = _value(field.annotation)
    return f"[{word}](#{slug(links[name])})" if name in links else word


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    text = re.sub(r"[^\w\- ]", "", heading.lstrip("# ").replace("`", "").lower())
    return text.replace(" ", "-")


def _value(kind: Any) -> str:
    """Say in words what a person writes for this type."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is typing.Annotated:
        return _value(inner[0])
    if origin in {types.UnionType, typing.Union}:
        words = [_value(x) for x in inner if x is not type(None)]
        return " or ".join([*words, *(["none"] if type(None) in inner else [])])
    if origin is Literal:
        return ", ".join(f"`{x}`" for x in inner)
    if origin is dict:
        return "names with values" if inner[1] is Any else f"name: {_value(inner[1])}"
    if origin in {list, tuple}:
        return _sequence(inner)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return ", ".join(f"`{member.value}`" for member in kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "section"
    return _WORDS.get(kind, "text")


def _sequence(inner: tuple[Any, ...]) -> str:
    if len(inner) == 1 or inner[1:] == (...,):
        return f"list of {_value(inner[0])}"
    words = [_value(x) for x in inner]
    if len(set(words)) == 1:
        return f"[{', '.join([words[0]] * len(words))}]"
    return f"[{', '.join(words)}]"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    return _shown(field.get_default(call_default_factory=True))


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, BaseModel):
        return "its defaults"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, enum.Enum):
        return f"`{value.value}`"
    if isinstance(value, list | tuple | dict):
        return f"`[{', '.join(str(x) for x in value)}]`" if value else "empty"
    if isinstance(value, Path):
        return f"`{value.as_posix()}`"
    return f"`{value}`" if value != "" else "empty"


def _bounds(field: FieldInfo) -> str:
    found: dict[str, Any] = {}
    for item in field.metadata:
        names = [name for name, _ in _BOUNDS] + ["min_length", "max_length", "pattern"]
        found |= {n: getattr(item, n) for n in names if getattr(item, n, None) is not None}
    words = [f"{sign}{_number(found[name])}" for name, sign in _BOUNDS if name in found]
    least, most = found.get("min_length"), found.get("max_length")
    one, many = ("entry", "entries") if _is_list(field.annotation) else ("character", "characters")
    if most is not None:
        words.append(f"{least or 0}..{most} {many}")
    elif least is not None:
        words.append(f"at least {least} {one if least == 1 else many}")
    if "pattern" in found:
        words.append(f"`{found['pattern']}`")
    return ", ".join(words)


def _is_list(kind: Any) -> bool:
    return get_origin(kind) in {list, tuple, dict}


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


# ---------------------------------------------------------------------- pages of files


def page(title: str, intro: str, *sections: str) -> str:
    """Return a whole page."""
    return "\n".join([NOTE, "", f"# {title}", "", inspect.cleandoc(intro), "", *sections])


def station_page() -> str:
    """Return the page of `station.yaml`, with every driver."""
    from inspection.config import LineTiming, PagesConfig, StationConfig
    from inspection.opcua_server_config import DrivesConfig, OpcUaServerConfig
    from inspection.store.config import ImagesConfig, StoreConfig

    links = {
        name: f"## {name}"
        for name in ("plc", "camera", "runtime", "scanner", "store", "timing", "upward")
    }
    return page(
        "station.yaml",
        """
        One file describes one station. Unknown fields and values out of bounds are refused with path,
        line and remedy. Times are in seconds. Relative paths count from the folder of the file.
        `inspection line --check STATION.yaml` reads the file and leaves.
        [inspection/demo/station.yaml](../../inspection/demo/station.yaml) is an example; the demo fills in
        what begins with `$`.
        """,
        model_section("## The file", StationConfig, links),
        model_section("## timing", LineTiming),
        model_section("## web", PagesConfig),
        model_section("## opcua", OpcUaServerConfig, {"drives": "### opcua.drives"}),
        model_section("### opcua.drives", DrivesConfig),
        model_section("## store", StoreConfig, {"images": "### store.images"}),
        model_section("### store.images", ImagesConfig),
        _drivers("plc", "inspection.plc", "The PLC's memory is the exchange area."),
        _drivers("camera", "inspection.cameras", "Where frames come from."),
        _camera_faults(),
        _drivers("runtime", "inspection.runtimes", "Where the released model runs."),
        _drivers("scanner", "inspection.scanners", "A code scanner beside the line."),
        _drivers("upward", "inspection.upward", "Whom the station tells what it decides; a list."),
    )


def _drivers(field: str, group: str, text: str) -> str:
    sections = [
        model_section(f"### {field}, type {name}", load(target))
        for name, target in entry_points(group).items()
    ]
    return "\n".join([f"## {field}", "", f"{text} `type` selects the driver.", "", *sections])


def _camera_faults() -> str:
    from inspection.cameras import faults

    text = inspect.cleandoc(faults.__doc__ or "").partition("\n")[2].strip()
    return f"### Faults of the simulated camera\n\n{text}\n"


def recipe_page() -> str:
    """Return the page of a recipe file."""
    from inspection.recipe import CodeConfig, FrameConfig, RecipeConfig, RegionConfig
    from inspection.release import LimitsCard

    links = {"limits": "## limits", "regions": "## regions", "frame": "## frame", "code": "## code"}
    return page(
        "A recipe",
        """
        One YAML file for each recipe number, in the folder that `recipes` of the station file names.
        It is read when the line starts, and when the PLC or an engineer on the Line page asks
        for a recipe. A changed file is in force
        from then on, never in the middle of a part.
        A detection under `t1` passes, from `t2` it fails, between them the part is REVIEW.
        [inspection/demo/recipe.yaml](../../inspection/demo/recipe.yaml) is an example.
        """,
        model_section("## The file", RecipeConfig, links),
        model_section("## limits", LimitsCard),
        model_section("## regions", RegionConfig),
        model_section("## frame", FrameConfig),
        model_section("## code", CodeConfig),
    )


def release_page() -> str:
    """Return the page of `release.json`."""
    from inspection.release import DatasetCard, LimitsCard, ReleaseCard, TilingCard
    from inspection.tuned import Shape, Smaller, Times, Tried, TuneCard
    from inspection.variants import (
        Change,
        ClassCount,
        MaskParity,
        SplitCount,
        VariantCard,
        VariantParity,
    )

    links = {"limits": "## limits", "dataset": "## dataset", "tiling": "## tiling"}
    beside = {"parity": "## parity", "limits": "## limits"}

    return page(
        "release.json",
        """
        Every release is a folder `releases/PART/NUMBER/` with `model.onnx` and this file. Training writes
        it; people read it. A release whose files do not have the hashes written here is refused.
        """,
        model_section("## The file", ReleaseCard, links),
        model_section("## limits", LimitsCard),
        model_section("## dataset", DatasetCard),
        model_section("## tiling", TilingCard),
        model_section("## variants/NAME/variant.json", VariantCard, beside),
        model_section(
            "## parity",
            VariantParity,
            {"changed": "## changed", "splits": "## splits", "classes": "## classes"},
        ),
        model_section("## classes", ClassCount),
        model_section("## masks", MaskParity),
        model_section("## splits", SplitCount),
        model_section("## changed", Change),
        model_section(
            "## tune/PC.json",
            TuneCard,
            {"tried": "## tried", "shape": "## shape", "smaller": "## smaller"},
        ),
        model_section("## tried", Tried, {"times": "## times"}),
        model_section("## times", Times),
        model_section("## shape", Shape),
        model_section("## smaller", Smaller),
        "## The model file\n\n"
        + _contract("inspection.release", "One contract", "`releases/PART/current`"),
    )


def _contract(module: str, start: str, end: str) -> str:
    """Return the lines of a module's docstring from the one that begins with `start` up to `end`."""
    text = inspect.cleandoc(importlib.import_module(module).__doc__ or "")
    return text[text.index(start) : text.index(end)].rstrip() + "\n"


def experiment_page() -> str:
    """Return the page of an experiment file."""
    from inspection_training.experiment import Experiment, Gates
    from inspection_training.run_card import RunCard
    from inspection_training.search.space import SearchFile

    return page(
        "An experiment",
        """
        Every setting of one training. `inspection train EXPERIMENT.yaml` reads them from a file; options
        of the command go over the file. What is in force is written into `release.json`.
        """,
        model_section("## The file", Experiment, {"gates": "## gates"}),
        model_section("## gates", Gates),
        model_section("## run.json in the folder of a run", RunCard),
        model_section("## The file of a search", SearchFile),
    )


def dataset_page() -> str:
    """Return the page of a dataset's two files."""
    from inspection_datasets.manifest import DatasetCardFile, Sample
    from inspection_datasets.publishing.card import PrivateRegion, SharingCard

    return page(
        "A dataset",
        """
        A folder with `card.yaml` and one file for each version: `v0001.jsonl`, `v0002.jsonl` and so on. A
        version is never changed; `inspection dataset import` adds the next one.
        """,
        model_section("## card.yaml", DatasetCardFile, {"sharing": "## sharing"}),
        model_section("## sharing", SharingCard, {"private_regions": "## private_regions"}),
        model_section("## private_regions", PrivateRegion),
        model_section("## One line of a version", Sample),
    )


def nameplate_page() -> str:
    """Return the page of the file that the Asset Administration Shell needs."""
    from inspection_serve.aas.nameplate_file import NameplateFile

    return page(
        "nameplate.yaml",
        """
        What a nameplate must say and no program can know. It lies beside the station file, and
        `inspection aas export` reads it.
        """,
        model_section("## The file", NameplateFile),
    )


def plc_sim_page() -> str:
    """Return the page of the simulated PLC."""
    from inspection.plc.simulated_config import Fault, SimulatedPlcConfig

    faults = inspect.cleandoc(Fault.__doc__ or "").partition("Attributes:")[0].strip()
    return page(
        "The simulated PLC",
        """
        It plays the PLC's side of the line protocol over Modbus TCP or another protocol
        (`--protocol`). `inspection plc-sim` runs it as a
        process, with options for most of these fields: see [cli.md](cli.md#inspection-plc-sim). Tests use
        the class.
        """,
        model_section("## Settings", SimulatedPlcConfig, {"faults": "## Faults"}),
        "## Faults\n\nWritten as `KIND@N`: at the n-th trigger. `frozen_heartbeat:SECONDS@N` says for how"
        f" long.\n\n{faults}\n",
    )


# ---------------------------------------------------------------------- the page of the command


def cli_page() -> str:
    """Return the page of `inspection` with every verb."""
    verbs = {name: command(target) for name, target in entry_points("inspection.verbs").items()}
    listed = [
        [f"[`inspection {name}`](#inspection-{name})", first_sentence(verb)]
        for name, verb in verbs.items()
    ]
    sections = [part for name, verb in verbs.items() for part in _verb(f"inspection {name}", verb)]
    return page(
        "The command",
        """
        `inspection VERB --help` shows the same. Exit codes: 0 all is well; 1 the verb ran and something is
        not well; 2 a wrong option, or a file that cannot be used. More is said with each verb.
        """,
        table(["verb", "what it does"], listed),
        "",
        *sections,
    )


def _verb(path: str, verb: Any) -> list[str]:
    """Return the section of one verb, then those of its own verbs."""
    inner: dict[str, Any] = getattr(verb, "commands", {})
    level = "#" * len(path.split())
    if inner:
        parts = [part for name in sorted(inner) for part in _verb(f"{path} {name}", inner[name])]
        return [f"{level} {path}\n\n{_paragraphs(verb)}\n", *parts]
    arguments = [p for p in verb.params if _is_argument(p)]
    usage = " ".join([path, *(_metavar(p) for p in arguments), "[OPTIONS]"])
    rows = [_parameter(p) for p in verb.params if p.name not in _COMPLETION]
    return [
        f"{level} {path}\n\n    {usage}\n\n{_paragraphs(verb)}\n",
        table(["option", "value", "default", "meaning"], rows),
        "",
    ]


def _paragraphs(verb: Any) -> str:
    return inspect.cleandoc(verb.help or "")


def first_sentence(verb: Any) -> str:
    """Return the first sentence of a command's help."""
    text = " ".join(_paragraphs(verb).split("\n\n", maxsplit=1)[0].split())
    return re.split(r"(?<=[.!?])\s", text, maxsplit=1)[0]


def _is_argument(parameter: Any) -> bool:
    return not parameter.opts[0].startswith("-")


def _metavar(parameter: Any) -> str:
    name = (parameter.metavar or parameter.name.upper()).strip("[]")
    return name if parameter.required else f"[{name}]"


def _parameter(parameter: Any) -> list[str]:
    names = [*parameter.opts, *parameter.secondary_opts]
    shown = _metavar(parameter) if _is_argument(parameter) else ", ".join(names)
    flag = getattr(parameter, "is_flag", False)
    value = "" if flag else _value(parameter.type_descriptor.annotation)
    text = parameter.help or ""
    limits = [("≥", parameter.min), ("≤", parameter.max)]
    bounds = ", ".join(f"{sign} {limit}" for sign, limit in limits if limit is not None)
    default = "**required**" if parameter.required else _shown(parameter.default)
    off = flag and parameter.default is False
    return [
        f"`{shown}`",
        f"{value}, {bounds}" if bounds else value,
        "" if off else default,
        text,
    ]


# ---------------------------------------------------------------------- entry points of this checkout


def entry_points(group: str) -> dict[str, str]:
    """Return name to `module:attribute` as pyproject.toml has it; plug-ins of others are left out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return dict(sorted(project["entry-points"][group].items()))


def load(target: str) -> Any:
    """Import what `module:attribute` names."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def command(target: str) -> Any:
    """Return a verb as the command that typer makes of it."""
    import typer.main

    return typer.main.get_command(load(target))


def authorisation_page() -> str:
    """Return who may do what at the pages, as the router's guards say."""
    import tempfile

    from inspection.store.config import StoreConfig
    from inspection.store.sql import SqlStore
    from inspection_serve.web.app import build_app
    from inspection_serve.web.authorisation import table
    from inspection_serve.web.site import open_site

    with tempfile.TemporaryDirectory() as folder:
        store = f"{folder}/results.db"
        SqlStore(StoreConfig(url=store)).close()
        site = open_site(store)
        try:
            rows = table(build_app(site, names=["localhost"]))
        finally:
            site.close()
    return f"""# Who may do what

{NOTE.strip()}

Read from the router of the pages: every route names its guard, and `tests/web/test_authorisation.py` asks
each of them as nobody and as each role. Each role may do what the ones before it may. A request that changes
something also needs the session's CSRF token and must come from our own page. The folder `/static` is open
to everybody. Until a temporary password is changed, only `/people/me` and `/sign-out` answer. The column
`key` says what a [key of a machine](../how-to/keys-for-machines.md) opens; every other route refuses it.

{rows.strip()}
"""


PAGES: dict[str, Callable[[], str]] = {
    "station.md": station_page,
    "recipe.md": recipe_page,
    "release.md": release_page,
    "experiment.md": experiment_page,
    "dataset.md": dataset_page,
    "nameplate.md": nameplate_page,
    "plc-sim.md": plc_sim_page,
    "cli.md": cli_page,
    "authorisation.md": authorisation_page,
}


def render() -> dict[str, str]:
    """Return file name to text of every page."""
    return {name: make().rstrip() + "\n" for name, make in PAGES.items()}


def differing(folder: Path = FOLDER) -> list[str]:
    """Return the names of pages that are missing, differ, or belong to nothing any more."""
    texts = render()
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    return sorted(name for name in {*texts, *there} if texts.get(name) != there.get(name))


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` compare them."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python docs/generate.py [--check]\n")
        return 2
    differ = differing()
    for name in differ:
        sys.stdout.write(f"docs/reference/{name}\n")
    if arguments:
        return 1 if differ else 0
    FOLDER.mkdir(exist_ok=True)
    texts = render()
    for name in differ:
        if name in texts:
            (FOLDER / name).write_text(texts[name], encoding="utf-8")
        else:
            (FOLDER / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
