"""Write the notebooks in both languages: `python notebooks/build.py`.

    source/NAME.py ─▶ en/NAME.ipynb, ko/NAME.ipynb

A source is a script in jupytext's percent format. Text stands in it twice, as markdown cells tagged `en`
and `ko`, one after the other; code stands once. A code cell `# %% same="NAME"` is taken from
`source/same/NAME.py`. Notebooks carry no outputs, and the same source gives the same bytes.
"""

from __future__ import annotations

from pathlib import Path

import jupytext
import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

HERE = Path(__file__).resolve().parent
LANGUAGES = ("en", "ko")
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def sources() -> list[Path]:
    """Return the source of every notebook, in order."""
    return sorted((HERE / "source").glob("*.py"))


def read_cells(source: Path) -> list[dict[str, str]]:
    """Return a source's cells: `{"code": text}`, or `{"en": text, "ko": text}`.

    Raises:
        ValueError: a text is not there in both languages, in turn; or a code cell is empty.
    """
    cells: list[dict[str, str]] = []
    for cell in jupytext.read(source, fmt="py:percent").cells:
        where = f"{source.name}, cell {len(cells) + 1}: {cell.source[:60]!r}"
        if cell.cell_type == "code":
            same = cell.metadata.get("same")
            text = (HERE / "source" / "same" / f"{same}.py").read_text() if same else cell.source
            if not text.strip():
                raise ValueError(f"{where} is empty; write code, or take the cell out")
            cells.append({"code": text.strip()})
            continue
        tags = cell.metadata.get("tags", [])
        if tags == ["en"]:
            cells.append({"en": cell.source})
        elif tags == ["ko"] and cells and set(cells[-1]) == {"en"}:
            cells[-1]["ko"] = cell.source
        else:
            raise ValueError(f"{where} has tags {tags}; write the en text, then the ko text")
    for cell in cells:
        if "code" not in cell and set(cell) != set(LANGUAGES):
            raise ValueError(f"{source.name}: {cell['en'][:60]!r} has no ko text; add it")
    return cells


def build(source: Path, language: str) -> str:
    """Return the notebook of a source in one language, as the text of its file."""
    notebook = new_notebook(metadata={"kernelspec": KERNEL, "language_info": {"name": "python"}})
    for index, cell in enumerate(read_cells(source), start=1):
        made = new_code_cell(cell["code"]) if "code" in cell else new_markdown_cell(cell[language])
        made["id"] = f"{source.stem[:40]}-{index:02d}"
        notebook.cells.append(made)
    nbformat.validate(notebook)
    return nbformat.writes(notebook, ensure_ascii=False).rstrip("\n") + "\n"


def target(source: Path, language: str) -> Path:
    """Return where the notebook of a source belongs."""
    return HERE / language / f"{source.stem}.ipynb"


def main() -> None:
    """Write every notebook."""
    for source in sources():
        for language in LANGUAGES:
            path = target(source, language)
            path.parent.mkdir(exist_ok=True)
            path.write_text(build(source, language), encoding="utf-8", newline="\n")
            print(path.relative_to(HERE.parent))


if __name__ == "__main__":
    main()
