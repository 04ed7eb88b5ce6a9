"""`inspection study`: tables as spreadsheets save them, and the numbers of published studies."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from inspection.errors import ConfigError
from inspection_training.studies.cli import app
from inspection_training.studies.table import read_counts, read_measurements, read_ratings

ORANGE_JUICE = (12, 15, 8, 10, 4, 7, 16, 9, 14, 10, 5, 6, 17, 12, 22, 8, 10, 5, 13, 11, 20, 18, 24, 15, 9,
                12, 7, 13, 9, 6)  # fmt: skip
"""Rejects of 30 samples of 50: NIST/SEMATECH handbook pmc332."""


def run(*args: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(x) for x in args])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def ratings(path: Path, encoding: str = "utf-8", mark: str = ",") -> Path:
    rows = [mark.join(("part", "appraiser", "trial", "rating"))]
    for part, truth in enumerate(("OK", "NG", "NG", "OK")):
        rows.append(mark.join((str(part), "reference", "1", truth)))
        for trial in ("1", "2"):
            rows.append(
                mark.join((str(part), "김검사", trial, "양품" if truth == "OK" else "불량"))
            )
            other = "ok" if part in {0, 3} or (part == 1 and trial == "2") else "ng"
            rows.append(mark.join((str(part), "machine", trial, other)))
    path.write_text("\n".join(rows), encoding=encoding)
    return path


@pytest.mark.parametrize(
    ("encoding", "mark"), [("utf-8", ","), ("utf-8-sig", ";"), ("cp949", "\t")]
)
def test_agreement_of_a_table(tmp_path: Path, encoding: str, mark: str) -> None:
    code, text = run("agreement", ratings(tmp_path / "t.csv", encoding, mark), "--json")
    found = json.loads(text)
    person, machine = found["appraisers"]["김검사"], found["appraisers"]["machine"]
    assert (code, found["parts"], found["bad_parts"]) == (0, 4, 2)
    assert (person["standard_parts"], person["miss"], person["false_alarm"]) == (4, 0.0, 0.0)
    assert (machine["within"], machine["standard_parts"], machine["miss"]) == (3, 3, 0.25)


def test_agreement_says_what_so_few_bad_parts_support(tmp_path: Path) -> None:
    _, text = run("agreement", ratings(tmp_path / "t.csv"))
    assert "2 bad parts support a miss rate of at best 77.6 %" in " ".join(text.split())


def test_the_control_chart_of_a_published_table(tmp_path: Path) -> None:
    path = tmp_path / "juice.csv"
    rows = [f"{i},50,{x}" for i, x in enumerate(ORANGE_JUICE, 1)]
    path.write_text("Sample,Size,Count\n" + "\n".join(rows))
    code, text = run("chart", path, "--kind", "p", "--json")
    found = json.loads(text)
    assert (code, found["outside"]) == (1, ["15", "23"])
    assert found["upper"][0] == pytest.approx(0.410239, abs=1e-6)
    assert run("chart", path, "--kind", "np")[0] == 1


def test_the_gauge_study_of_a_table(tmp_path: Path) -> None:
    path = tmp_path / "gauge.csv"
    rows = [
        f"{part},{who},{trial},{part + 0.1 * trial + 0.2 * (who == 'B')}"
        for part in range(4)
        for who in "AB"
        for trial in (1, 2)
    ]
    path.write_text("part,appraiser,trial,value\n" + "\n".join(rows))
    code, text = run("gage", path, "--json")
    found = json.loads(text)
    assert code == 0
    assert found["average and range"]["mean_range"] == pytest.approx(0.1)
    assert found["ANOVA"]["components"]["pv"] > 1
    assert run("gage", path)[0] == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no column part"),
        ("part,appraiser,trial,rating\n", "no rows"),
        ("part,appraiser,trial,rating\n1,reference,1,maybe\n", "line 2: rating 'maybe'"),
        ("part,appraiser,trial,rating\n1,a,1,\n", "line 2: rating is empty"),
        ("part,appraiser,trial,rating\n1,a,1,ok\n", "no appraiser 'reference'"),
        ("part,appraiser,trial,rating\n1,reference,1,ok\n", "nobody but reference"),
        ("part,appraiser,trial,rating\n1,a,1,ok\n1,a,1,ng\n", "twice"),
        ("part,appraiser,trial,rating\n1,reference,1,ok\n2,reference,1,ok\n1,a,1,ok\n", "no rating of part"),
        ("part,appraiser,trial,rating\n1,reference,1,ok\n1,reference,2,ok\n1,a,1,ok\n", "once, not 2"),
    ],
)  # fmt: skip
def test_a_table_that_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_ratings(path, "reference")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sample,size,count\na,ten,1\n", "whole numbers"),
        ("sample,size,count\na,10,11\n", "count 11 of 10"),
    ],
)
def test_counts_that_cannot_be_are_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_counts(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("part,appraiser,trial,value\n1,a,1,x\n", "no number"),
        ("part,appraiser,trial,value\n1,a,1,2\n1,a,1,3\n", "twice"),
        ("part,appraiser,trial,value\n1,a,1,2\n2,b,1,3\n", "is missing"),
    ],
)
def test_measurements_that_are_wrong_are_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_measurements(path)


def test_a_study_of_one_trial_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("part,appraiser,trial,value\n1,a,1,2\n")
    with pytest.raises(ConfigError, match="two or more of each"):
        run("gage", path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_counts(tmp_path / "none.csv")
