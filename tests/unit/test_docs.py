"""The docs say what the code does: every field, verb, reason, metric, link and command line in them."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shlex
import subprocess
import textwrap
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from prometheus_client.metrics import MetricWrapperBase
from pydantic import BaseModel, ValidationError

from inspection.types import Reason

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "inspection",
    "datasets/inspection_datasets",
    "training/inspection_training",
    "serve/inspection_serve",
)


def load_generator():
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = load_generator()


@cache
def repository_files() -> tuple[Path, ...]:
    """Tracked files, and new ones that git does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("this is no git checkout: the files of the repository cannot be listed")
    names = sorted(set(listed.stdout.split("\0")) - {""})
    return tuple(ROOT / name for name in names if (ROOT / name).is_file())


@cache
def pages() -> dict[str, str]:
    """Every Markdown file of the repository: its path from the root, and its text."""
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in repository_files()
        if path.suffix == ".md"
    }


# ---------------------------------------------------------------------- what Markdown holds

_FENCE = re.compile(r"^( *)(```+|~~~+) *(\S*)[^\n]*\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)


def fenced(text: str) -> Iterator[tuple[str, str]]:
    """Language and content of each fenced block."""
    for match in _FENCE.finditer(text):
        yield match[3], match[4]


def prose(text: str) -> str:
    """The text without its blocks and spans of code."""
    return re.sub(r"`[^`\n]+`", "", _FENCE.sub("", text))


def code(text: str) -> Iterator[str]:
    """Each line of a fenced or indented block (continued lines joined), and each span of code."""
    for _, block in fenced(text):
        yield from re.sub(r"\\\n\s*", " ", block).splitlines()
    rest = re.sub(r"\\\n\s*", " ", _FENCE.sub("", text))
    for line in rest.splitlines():
        if line.startswith("    ") and not line.startswith("     "):
            yield line
        else:
            yield from re.findall(r"`([^`]+)`", line)


def blocks(text: str) -> Iterator[str]:
    """The content of each fenced block, and of each block that is indented by four spaces."""
    yield from (block for _, block in fenced(text))
    for match in re.finditer(r"(?:^ {4}.*\n(?:^\n(?= {4}))*)+", _FENCE.sub("", text), re.MULTILINE):
        yield textwrap.dedent(match[0])


def rows(text: str) -> Iterator[list[str]]:
    """The cells of each table row."""
    for line in text.splitlines():
        if line.startswith("| ") and not line.startswith("| ---"):
            cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
            yield [cell.strip() for cell in cells]


def sections(text: str, level: str) -> dict[str, str]:
    """Heading to text, for the headings of one level; a section ends at the next heading."""
    parts = re.split(r"^(#+ .*)$", text, flags=re.MULTILINE)
    found = zip(parts[1::2], parts[2::2], strict=True)
    return {h[len(level) + 1 :]: body for h, body in found if h.startswith(f"{level} ")}


# ---------------------------------------------------------------------- reference


def test_the_reference_is_what_the_code_says():
    assert generate.differing() == [], "run `python docs/generate.py`"


def test_the_generator_names_what_differs(tmp_path):
    texts = generate.render()
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert generate.differing(tmp_path) == []
    (tmp_path / "cli.md").write_text("old", encoding="utf-8")
    (tmp_path / "gone.md").write_text("of an older version", encoding="utf-8")
    (tmp_path / "recipe.md").unlink()
    assert generate.differing(tmp_path) == ["cli.md", "gone.md", "recipe.md"]
    assert generate.render() == texts, "the same code gives the same text"


def config_classes() -> dict[str, tuple[str, list[str]]]:
    """`file:class` of every pydantic model in the packages, found in the source, with its fields.

    A class in another file that only lends its fields to others is none: each of those has them.
    """
    classes: dict[str, tuple[str, list[str], list[str]]] = {}
    for path in [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]:
        if "inspection_serve/web" in path.as_posix():
            continue  # questions and answers of the pages' API: their OpenAPI page tells of them
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
                fields = [
                    item.target.id
                    for item in node.body
                    if isinstance(item, ast.AnnAssign)
                    and isinstance(item.target, ast.Name)
                    and not item.target.id.startswith("_")
                    and "ClassVar" not in ast.unparse(item.annotation)
                ]
                source = path.relative_to(ROOT).as_posix()
                classes[f"{source}:{node.name}"] = (source, bases, fields)

    def parent(source: str, base: str) -> str | None:
        if f"{source}:{base}" in classes:
            return f"{source}:{base}"
        named = re.search(
            rf"^from ([\w.]+) import (?:\([^)]*|[^\n]*)\b{base}\b",
            (ROOT / source).read_text(),
            re.MULTILINE,
        )
        file = named[1].replace(".", "/") + ".py" if named else ""
        return next((key for key in classes if key.endswith(f"{file}:{base}") and file), None)

    def lineage(key: str) -> list[str]:
        """The class and those that it inherits from; the last is BaseModel where it is a model."""
        source, bases, _ = classes[key]
        for base in bases:
            if base == "BaseModel":
                return [key, base]
            above = parent(source, base)
            if above is not None:
                return [key, *lineage(above)]
        return [key]

    models = {key: lines[:-1] for key in classes if (lines := lineage(key))[-1] == "BaseModel"}
    lent = {
        above
        for lines in models.values()
        for above in lines[1:]
        if classes[above][0] != classes[lines[0]][0]
    }
    found: dict[str, tuple[str, list[str]]] = {}
    for key, lines in models.items():
        fields = [field for line in reversed(lines) for field in classes[line][2]]
        if fields and key not in lent:
            source, _, name = key.rpartition(":")
            found[key] = (f"`{source}`, class `{name}`", fields)
    return found


CONFIG = config_classes()


def test_config_classes_are_found():
    assert len(CONFIG) >= 18
    assert "inspection/config.py:StationConfig" in CONFIG


@pytest.mark.parametrize("name", CONFIG)
def test_every_config_field_is_in_the_reference(name):
    source, fields = CONFIG[name]
    texts = [text for path, text in pages().items() if path.startswith("docs/reference/")]
    described = [part for text in texts for part in re.split(r"^#+ ", text, flags=re.MULTILINE)]
    section = next((part for part in described if source in part), None)
    assert section, f"docs/reference has no section for {name}: add it to docs/generate.py"
    table = {row[0].strip("`"): row for row in rows(section)}
    for field in fields:
        assert field in table, f"{name}.{field} is not in docs/reference"
        assert table[field][-1], f"{name}.{field} has no description"


def test_the_generator_explains_no_field_that_is_gone():
    known = {f"{name.split(':')[1]}.{f}" for name, (_, fields) in CONFIG.items() for f in fields}
    explained = {key for key in generate.TEXTS if not key.startswith("*.")}
    assert not explained - known


# ---------------------------------------------------------------------- commands


@cache
def verbs():
    return {
        name: generate.command(target)
        for name, target in generate.entry_points("inspection.verbs").items()
    }


def test_every_verb_has_its_section():
    headings = sections(pages()["docs/reference/cli.md"], "##")
    assert set(headings) == {f"inspection {name}" for name in verbs()}


_STOP = {"|", "||", "&&", ";", ">", ">>", "2>", "<", "&"}


def command_lines(text: str) -> Iterator[list[str]]:
    """What follows `inspection` in each command line named in a page."""
    for line in code(text):
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            words = line.split()
        for at, word in enumerate(words[:-1]):
            starts = at == 0 or words[0] in {"$", "sudo", "exec", "time", "env"} or "=" in words[0]
            is_ours = (word == "inspection" and starts) or word.endswith("bin/inspection")
            if is_ours and re.match(r"[a-z]|--", words[at + 1]):
                rest = words[at + 1 :]
                end = next((i for i, x in enumerate(rest) if x in _STOP), len(rest))
                yield rest[:end]
                break


def problem(words: list[str]) -> str | None:
    """Say why `inspection WORDS` is no command of ours; None when it is one."""
    if words[0].startswith("--"):
        return None if words[0] in {"--version", "--help"} else f"no option {words[0]}"
    command, path = verbs().get(words[0]), words[0]
    if command is None:
        return f"there is no verb {words[0]!r}"
    left = words[1:]
    while getattr(command, "commands", None) and left and re.match(r"[a-z]", left[0]):
        path = f"{path} {left[0]}"
        command = command.commands.get(left.pop(0))
        if command is None:
            return f"there is no verb {path!r}"
    options = {"--help"} | {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
    for word in left:
        name = word.strip("[],").split("=")[0]
        if re.match(r"--?[a-zA-Z]", name) and name not in options:
            return f"{path!r} has no option {name}"
    return None


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("inspection line STATION.yaml", None),
        ("    inspection dataset import IMAGES --to DATASET  # a note --nonsense", None),
        ("`sudo -u inspection /opt/x/bin/inspection verify S --plc-log=F | less --x`", None),
        ("`inspection lines`", "there is no verb 'lines'"),
        ("`inspection line --chek`", "'line' has no option --chek"),
        ("```sh\n$ inspection dataset imports X\n```", "there is no verb 'dataset imports'"),
        ("```\ninspection train \\\n  --date X\n```", "'train' has no option --date"),
    ],
)
def test_command_lines_are_read(line, wrong):
    text = line if line.startswith((" ", "`")) else f"`{line}`"
    found = list(command_lines(text))
    assert len(found) == 1
    assert problem(found[0]) == wrong


def test_every_command_in_the_docs_exists():
    wrong = [
        f"{path}: `inspection {shlex.join(words)}`: {problem(words)}"
        for path, text in pages().items()
        for words in command_lines(text)
        if problem(words)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_make_target_and_script_in_the_docs_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    wrong: list[str] = []
    for path, text in pages().items():
        for line in code(text):
            make = re.match(r"\s*(?:\$ )?make ([a-z]+)", line)
            if make and make[1] not in targets:
                wrong.append(f"{path}: `make {make[1]}` is no target")
            script = re.search(r"python3? ((?:docs|examples|tests)/\S+\.py)(.*)", line)
            if script and not (ROOT / script[1]).is_file():
                wrong.append(f"{path}: there is no {script[1]}")
            elif script:
                source = (ROOT / script[1]).read_text(encoding="utf-8")
                given = re.findall(r"(?<!\S)(--[a-z-]+)", script[2].split(" #")[0])
                wrong += [
                    f"{path}: {script[1]} has no {o}" for o in given if f'"{o}"' not in source
                ]
    assert not wrong, "\n".join(wrong)


# ---------------------------------------------------------------------- reasons and metrics


def test_reasons_agree_with_the_code():
    from inspection.readiness import FAULTS

    text = pages()["docs/reasons.md"]
    table = [row for row in rows(text) if row[0].isdigit()]
    told = [(int(row[0]), re.sub(r"\[(\w+)\].*", r"\1", row[1])) for row in table]
    assert told == [(reason.value, reason.name) for reason in Reason]
    explained = sections(text, "###")
    assert list(explained) == [f"{reason.value} {reason.name}" for reason in Reason]
    for row, (heading, body) in zip(table, explained.items(), strict=True):
        assert row[2].endswith("."), heading
        assert re.search("[가-힣]", row[3]), f"{heading}: no Korean"
        for line in ("- Cause: ", "- What to do: ", "- 조치: ", "- PLC: "):
            assert line in body, f"{heading}: no line {line!r}"
        seen = body.partition("- PLC: ")[2]
        number = heading.split()[0]
        if "answer" in row[4] or "idle" in row[4]:
            assert re.search(rf"word 10 = {number}\b", seen), f"{heading}: word 10 is not told"
        for decision in ("PASS", "FAIL", "REVIEW", "NOT INSPECTED"):
            if f"answer {decision}" in row[4]:
                assert f"{decision} (" in seen, f"{heading}: {decision} is not told"
    with_error = {Reason(int(row[0])) for row in table if "ERROR" in row[4]}
    assert with_error == FAULTS


def metrics() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Name to type and labels of every metric that the code makes."""
    from inspection.metrics import LineMetrics
    from inspection_serve.inference.metrics import Metrics
    from inspection_serve.upward.metrics import UpwardMetrics

    all_of_them = (LineMetrics("x"), Metrics(), UpwardMetrics())
    made = [value for one in all_of_them for value in vars(one).values()]
    return {m._name: (m._type, m._labelnames) for m in made if isinstance(m, MetricWrapperBase)}


def test_metrics_agree_with_the_code():
    table = {
        row[0].strip("`"): (row[1], tuple(re.findall(r"`(\w+)`", row[2])))
        for row in rows(pages()["docs/metrics.md"])
        if row[0].startswith("`inspection_")
    }
    assert table == metrics()


def test_metrics_named_in_the_docs_exist():
    known = set(metrics()) | {Path(package).name for package in (*PACKAGES, "inspection_bench")}
    ending = r"(_total|_bucket|_sum|_count|_created)$"
    wrong = [
        f"{path}: {name}"
        for path, text in pages().items()
        for name in re.findall(r"(?<![\w/.-])inspection_[a-z_]+", text)
        if re.sub(ending, "", name) not in known and name not in known and name[-1] != "_"
    ]
    assert not wrong, "\n".join(wrong)


# ---------------------------------------------------------------------- links, files, tests


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.+)$", _FENCE.sub("", text), flags=re.MULTILINE):
        name = generate.slug(re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading))
        again = sum(re.fullmatch(rf"{re.escape(name)}(-\d+)?", x) is not None for x in found)
        found.append(f"{name}-{again}" if again else name)
    return set(found)


def links(path: str) -> Iterator[tuple[str, str]]:
    """File (from the root) and anchor of each relative link in a page."""
    for target in re.findall(r"\]\(<?([^)>\s]+)>?[^)]*\)", prose(pages()[path])):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (ROOT / path).parent / name if name else ROOT / path
        yield os.path.relpath(file, ROOT), anchor


def test_no_link_is_dead():
    dead: list[str] = []
    for path in pages():
        for file, anchor in links(path):
            if file.startswith("..") or not (ROOT / file).exists():
                dead.append(f"{path}: {file}")
            elif anchor and anchor not in anchors(pages().get(file, "")):
                dead.append(f"{path}: {file}#{anchor}")
    assert not dead, "\n".join(dead)


def test_every_page_is_linked_from_the_readme_on():
    reached, todo = set(), ["README.md", "docs/README.md"]
    while todo:
        path = todo.pop()
        if path in pages() and path not in reached:
            reached.add(path)
            todo += [file for file, _ in links(path)]
            todo += [p for f, _ in links(path) for p in pages() if Path(p).parent.as_posix() == f]
    assert not [path for path in pages() if path.startswith("docs/") and path not in reached]


_FILE = re.compile(r"((?:inspection|datasets|training|serve|tests|docs|examples)/[\w./@-]+\.\w+)")


def test_every_file_and_test_named_in_the_docs_exists():
    wrong: list[str] = []
    for path, text in pages().items():
        for span in re.findall(r"`([^`\n]+)`", text):
            match = re.fullmatch(_FILE.pattern + r"(?:::(\w+))?(?:\[.*\])?", span)
            if match is None:
                continue
            file = ROOT / match[1]
            if not file.is_file():
                wrong.append(f"{path}: there is no {match[1]}")
            elif match[2] and f"def {match[2]}(" not in file.read_text(encoding="utf-8"):
                wrong.append(f"{path}: {match[1]} has no {match[2]}")
    assert not wrong, "\n".join(wrong)


def test_every_test_folder_is_explained():
    text = pages()["tests/README.md"]
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert {folder for folder in folders if f"{folder}/" not in text} == set()


def test_the_korean_readme_has_the_same_sections():
    counts = [
        len(re.findall(r"^## ", _FENCE.sub("", pages()[name]), flags=re.MULTILINE))
        for name in ("README.md", "README.ko.md")
    ]
    assert counts[0] == counts[1] > 0


def test_every_decision_record_is_complete():
    records = {p: t for p, t in pages().items() if p.startswith("docs/decisions/")}
    records.pop("docs/decisions/README.md", None)
    assert records
    for path, text in records.items():
        assert re.fullmatch(r"docs/decisions/\d{4}-[a-z0-9-]+\.md", path)
        assert list(sections(text, "##")) == ["Context", "Decision", "Consequence"], path
    numbers = [Path(path).name[:4] for path in records]
    assert len(set(numbers)) == len(numbers), "two records have one number"


# ---------------------------------------------------------------------- examples in the docs


def yaml_problem(block: str) -> str | None:
    """Check a YAML example, or a piece of one, against the file whose fields it has."""
    from inspection.config import StationConfig
    from inspection.recipe import RecipeConfig
    from inspection_training.experiment import Experiment

    try:
        given = yaml.safe_load(block)
    except yaml.YAMLError:
        return None  # a drawing, or a shell session
    models: tuple[type[BaseModel], ...] = (StationConfig, RecipeConfig, Experiment)
    if not isinstance(given, dict):
        return None
    for model in models:
        if given and set(given) <= set(model.model_fields):
            try:
                model.model_validate(given)
            except ValidationError as error:
                found = [e for e in error.errors() if e["type"] != "missing" or len(e["loc"]) > 1]
                return f"{model.__name__}: {found[0]['loc']}: {found[0]['msg']}" if found else None
            return None
    return None


@pytest.mark.parametrize(
    ("block", "fits"),
    [
        ("camera: {type: folder, path: images}", True),
        ("camera: {type: folder, path: images, sorted: true}", False),
        ("timing: {poll: 5}", False),
        ("limits:\n  scratch: {t1: 0.2, t2: 0.5}", True),
        ("limits:\n  scratch: {t1: 0.5, t2: 0.2}", False),
        ("groups: []", True),
    ],
)
def test_yaml_examples_are_checked(block, fits):
    assert (yaml_problem(block) is None) == fits


def test_every_yaml_example_is_valid():
    wrong = [
        f"{path}: {yaml_problem(block)}\n{block}"
        for path, text in pages().items()
        for block in blocks(text)
        if yaml_problem(block)
    ]
    assert not wrong, "\n".join(wrong)


# ---------------------------------------------------------------------- what no file may name

FORBIDDEN = {
    "a path of one machine": re.compile(r"(?<![\w.}-])/(?:work|root|tmp/w)(?![\w-])"),
    "the address of a package registry": re.compile(
        r"pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)/|download\.pytorch\.org|anaconda\.org"
        r"|--(?:extra-)?index-url"
    ),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_names(what):
    found: list[str] = []
    for path in repository_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # no text
        for number, line in enumerate(text.splitlines(), 1):
            if FORBIDDEN[what].search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert not found, "\n".join(found)


def test_forbidden_names_are_recognised():
    path, registry = FORBIDDEN.values()
    assert path.search("see /" + "work/main")
    assert path.search("in /" + "root")
    assert path.search("'/tmp/" + "w/x'")
    assert not path.search("/workspace, net/work/x, /tmp/what, /rooted")
    assert registry.search("https://files.python" + "hosted.org/x")


def test_pyproject_verbs_are_the_installed_ones():
    from importlib.metadata import entry_points

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    installed = {p.name: p.value for p in entry_points(group="inspection.verbs")}
    written = project["entry-points"]["inspection.verbs"]
    assert written.items() <= installed.items(), "run `make setup` again"
