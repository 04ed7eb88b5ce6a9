import os
import tempfile
import warnings
from io import BytesIO
from pathlib import Path

WORK = Path(tempfile.mkdtemp(prefix="inspection-notebook-"))
os.environ.setdefault("MPLCONFIGDIR", str(WORK))  # nothing is written into your home folder
warnings.filterwarnings("ignore", message="IProgress not found")  # of a bar that is not shown

from IPython.display import HTML, Image, Markdown, display
from matplotlib.figure import Figure

# The notebook's folder tells the language of tables and reports.
LANGUAGE = "ko" if Path.cwd().name == "ko" else "en"


def say(english, korean):
    return korean if LANGUAGE == "ko" else english


def show_table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    display(Markdown("\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)))


def show_figure(figure):
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=80, bbox_inches="tight")
    display(Image(data=picture.getvalue()))
