"""What the pages cost the line: trigger to answer, with and without ten browsers and a CSV of everything.

    python -m inspection_bench.web_line [--parts 200] [--rounds 4] [--browsers 10] [--results 200000]
        [--no-export]

Runs a station on loopback with its simulated PLC, beside so many older results in the same store. Rounds
with and without the load take turns. A browser here is what costs the server and the line: one stream of
events for the page of the station, and the picture fetched as often as it changes. The load is a process of
its own with the lowest priority.

Prints one line of JSON for each round, then p50 and p99 of both kinds, their ratio, and the interval in which
the ratio lies with 95 %, from drawing the parts of each round again. The cycle is the row's own: from the
trigger seen to the answer written.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np

from inspection_bench.checkout import tests_folder

sys.path.insert(0, str(tests_folder()))

from station_rig import Rig, until
from web_process import PASSWORD, WebProcess, add_people
from web_shift import bulk

from inspection.config import load_station

DRAWS = 2000


class Browser(threading.Thread):
    """One page of the station: its stream, and its picture."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self.host = address.removeprefix("http://")
        self.events = self.pictures = 0
        self.cookie = self._sign_in()

    def _sign_in(self) -> str:
        connection = http.client.HTTPConnection(self.host, timeout=30)
        body = urlencode({"name": "viewer", "password": PASSWORD})
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", "/sign-in", body, kind)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 303, answer.status
        found = re.search(r"inspection_session\w*=[^;]+", answer.headers["set-cookie"])
        assert found
        return found[0]

    def run(self) -> None:
        pictures = http.client.HTTPConnection(self.host, timeout=30)
        shown = ""
        while True:
            stream = http.client.HTTPConnection(self.host, timeout=30)
            stream.request("GET", "/line/events?station=test", headers={"Cookie": self.cookie})
            for line in stream.getresponse():
                if not line.startswith(b"data: "):
                    continue
                self.events += 1
                told = {one["name"]: one for one in json.loads(line[6:])["stations"]}
                at = told["test"]["picture_at"]
                if at and at != shown:
                    shown = at
                    path = "/api/v1/line/test/picture"
                    pictures.request("GET", path, headers={"Cookie": self.cookie})
                    self.pictures += len(pictures.getresponse().read()) > 0
            stream.close()


def export(browser: Browser) -> int:
    """Download a CSV of everything; return its bytes."""
    connection, got = http.client.HTTPConnection(browser.host, timeout=60), 0
    path = "/api/v1/results/export?format=csv"
    connection.request("GET", path, headers={"Cookie": browser.cookie})
    answer = connection.getresponse()
    while part := answer.read(1 << 16):
        got += len(part)
    return got if answer.status == 200 else 0


def load(address: str, number: int, *, exporting: bool) -> None:
    """Be the browsers until standard input ends; print what they got."""
    os.nice(19)
    browsers = [Browser(address) for _ in range(number)]
    for browser in browsers:
        browser.start()
    until(lambda: all(browser.events > 2 for browser in browsers), 60, "streams")
    done = [0, 0]

    def download() -> None:
        while True:
            done[1] += export(browsers[0])
            done[0] += 1

    if exporting:
        threading.Thread(target=download, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()
    told = {
        "events": sum(browser.events for browser in browsers),
        "pictures": sum(browser.pictures for browser in browsers),
        "exports": done[0],
        "exported_mb": round(done[1] / 1e6, 1),
    }
    print(json.dumps(told), flush=True)


class Load:
    """The browsers as a process."""

    def __init__(self, address: str, number: int, *, exporting: bool) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "inspection_bench.web_line",
                "--load",
                address,
                "--browsers",
                str(number),
            ]
            + ([] if exporting else ["--no-export"]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        assert self.process.stdout.readline() == "ready\n"

    def end(self) -> dict[str, Any]:
        """Let them go; return what they got."""
        told, _ = self.process.communicate(timeout=60)
        return json.loads(told)


def measure(rig: Rig, parts: int) -> tuple[list[float], int]:
    """Return trigger to answer of the next parts in milliseconds, and how many were not inspected."""
    newest = rig.rows("station = 'test'")[-1]["id"]
    mine = f"id > {newest} and station = 'test' and sent_mono is not null"
    until(lambda: len(rig.rows(mine)) >= parts, 600, "parts")
    rows = rig.rows(mine)
    judged = [row for row in rows if row["decision"] != "NOT_INSPECTED"]
    cycles = [1000 * (row["sent_mono"] - row["triggered_mono"]) for row in judged]
    return cycles, len(rows) - len(judged)


def p99(cycles: np.ndarray) -> float:
    return float(np.percentile(cycles, 99))


def compare(off: list[list[float]], on: list[list[float]]) -> dict[str, Any]:
    """Return p50 and p99 of both kinds of rounds, the ratio of p99, and its interval."""
    generator = np.random.default_rng(1)

    def drawn(rounds: list[list[float]]) -> float:
        return p99(np.concatenate([generator.choice(cycles, len(cycles)) for cycles in rounds]))

    ratios = [drawn(on) / drawn(off) for _ in range(DRAWS)]
    without, with_load = np.concatenate(off), np.concatenate(on)
    return {
        "p50_ms": [round(float(np.median(without)), 1), round(float(np.median(with_load)), 1)],
        "p99_ms": [round(p99(without), 1), round(p99(with_load), 1)],
        "p99_ratio": round(p99(with_load) / p99(without), 3),
        "interval_95": [round(float(np.percentile(ratios, q)), 3) for q in (2.5, 97.5)],
        "load_average": round(os.getloadavg()[0], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--parts", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--browsers", type=int, default=10)
    parser.add_argument("--results", type=int, default=200_000)
    parser.add_argument("--no-export", action="store_true")
    parser.add_argument("--load", default="", help="be the load of this address")
    asked = parser.parse_args()
    exporting = not asked.no_export
    if asked.load:
        load(asked.load, asked.browsers, exporting=exporting)
        return
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        rig = Rig(Path(folder), camera={"size": [1280, 1024]})
        config = rig.folder / "station.yaml"
        bulk(load_station(config).store, asked.results)
        stack.enter_context(rig.plc_running(takt=0.15))
        stack.enter_context(rig.line())
        until(lambda: len(rig.rows("station = 'test' and sent_mono is not null")) > 10, 60, "parts")
        add_people(load_station(config).store)
        web = stack.enter_context(WebProcess(config, log=rig.folder / "web.log"))
        found: dict[bool, list[list[float]]] = {False: [], True: []}
        for number in range(2 * asked.rounds):
            loaded = number % 2 == 1
            browsers = Load(web.address, asked.browsers, exporting=exporting) if loaded else None
            cycles, missed = measure(rig, asked.parts)
            found[loaded].append(cycles)
            told = {"round": number, "browsers": asked.browsers if loaded else 0}
            told |= {"parts": len(cycles), "not_inspected": missed}
            told |= {
                "p50_ms": round(float(np.median(cycles)), 1),
                "p99_ms": round(p99(np.array(cycles)), 1),
            }
            print(json.dumps(told | (browsers.end() if browsers else {})), flush=True)
        print(json.dumps(compare(found[False], found[True])), flush=True)


if __name__ == "__main__":
    main()
