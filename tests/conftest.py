"""For all tests: no example of hypothesis is too slow, speed is measured elsewhere; Ctrl+C is heard; files
that take long come first; what asks for bf16 where there is none is skipped; what failed is kept for the
end of `make test`, whose output a log may hold only the last lines of; searches for garbage are short."""

import gc
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("no deadline", deadline=None, derandomize=True)
settings.load_profile("no deadline")

if "PYTEST_XDIST_WORKER" in os.environ:  # two trainings at once wait for one another's threads
    os.environ.setdefault("OMP_NUM_THREADS", "1")

LINES = 6
"""Last lines of a failure that are kept."""

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as in a shell's background job, and its children
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    """A verb that ran in this process leaves its handlers: the next test's Ctrl+C would go nowhere."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler and handler is not None:
            signal.signal(number, handler)


@pytest.fixture(autouse=True, scope="module")
def _short_searches_for_garbage() -> Iterator[None]:
    """What earlier modules left is not looked through again.

    After two thousand tests in one process a whole search stops it for 0.7 s, on a busy PC for more than
    two: longer than a PLC link of these tests may take to answer.
    """
    gc.freeze()
    yield
    gc.collect()
    gc.freeze()


NO_BF16 = re.compile("computes in bf16, which .* of this machine has not")
"""How OpenVINO's driver refuses what a processor would have to imitate."""
HAS_BF16 = re.search(r"\b(avx512_|amx_|sve)?bf16\b", Path("/proc/cpuinfo").read_text()) is not None
"""By the kernel's own word: where it has, a refusal is a failure."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Iterator[None]:
    """Skip a test whose fixtures ask for bf16 on a processor without it; small PCs have none."""
    yield from _skipped_without_bf16()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Skip a test that itself asks for it."""
    yield from _skipped_without_bf16()


def _skipped_without_bf16() -> Iterator[None]:
    try:
        return (yield)
    except Exception as error:
        if not HAS_BF16 and NO_BF16.search(str(error)):
            pytest.skip(f"this processor has no bf16: {error}")
        raise


def longest_seconds(item: pytest.Item) -> float:
    """Return what a slow test may take at most; 0 for any other."""
    if item.get_closest_marker("slow") is None:
        return 0.0
    limit = item.get_closest_marker("timeout")
    return float(limit.args[0] if limit else item.config.getini("timeout"))


@pytest.hookimpl(trylast=True)  # what is not run has gone
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files in the order of what their slow tests may take, then of their number of tests.

    Of two processes none is left with a long file at the end.
    """
    tests = Counter(item.path for item in items)
    seconds = dict.fromkeys(tests, 0.0)
    for item in items:
        seconds[item.path] += longest_seconds(item)
    items.sort(key=lambda item: (-seconds[item.path], -tests[item.path], item.path))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Append each failure's name and last lines to .pytest_cache/failed.txt."""
    found = [*terminalreporter.getreports("failed"), *terminalreporter.getreports("error")]
    if not found or hasattr(config, "workerinput"):  # a worker of pytest-xdist
        return
    kept = config.rootpath / ".pytest_cache" / "failed.txt"
    kept.parent.mkdir(exist_ok=True)
    with Path(kept).open("a", encoding="utf-8") as file:
        for report in found:
            last = [line for line in str(report.longrepr).splitlines() if line.strip()][-LINES:]
            file.write(f"{report.nodeid} ({report.when})\n" + "".join(f"    {x}\n" for x in last))
