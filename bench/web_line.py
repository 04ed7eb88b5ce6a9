"""What browsers cost the line: trigger to answer, with and without ten of them on the live page.

    python bench/web_line.py [--parts 300] [--browsers 10] [--rounds 2]

Runs a station on loopback with its simulated PLC. A browser here is what costs the server and the line: one
stream of events for the page of the station, and the picture fetched as often as it changes. Prints one line
of JSON for each round. The cycle is the row's own: from the trigger seen to the answer written.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import sys
import tempfile
import threading
from pathlib import Path
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from station_rig import Rig, until
from web_process import PASSWORD, WebProcess, add_people

from inspection.config import load_station


class Browser(threading.Thread):
    """One page of the station: its stream, and its picture."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self.host = address.removeprefix("http://")
        self.leave = threading.Event()
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
        found = re.search(r"inspection_session=[^;]+", answer.headers["set-cookie"])
        assert found
        return found[0]

    def run(self) -> None:
        pictures = http.client.HTTPConnection(self.host, timeout=30)
        shown = ""
        while not self.leave.is_set():
            stream = http.client.HTTPConnection(self.host, timeout=30)
            stream.request("GET", "/line/events?station=test", headers={"Cookie": self.cookie})
            answer = stream.getresponse()
            for line in answer:
                if self.leave.is_set():
                    break
                if not line.startswith(b"data: "):
                    continue
                self.events += 1
                at = json.loads(line[6:])["stations"][0]["picture_at"]
                if at and at != shown:
                    shown = at
                    path = "/api/v1/line/test/picture"
                    pictures.request("GET", path, headers={"Cookie": self.cookie})
                    self.pictures += len(pictures.getresponse().read()) > 0
            stream.close()


def cycles(rig: Rig, above: int) -> list[float]:
    """Return trigger to answer of the parts after that record, milliseconds, ascending."""
    rows = rig.rows(f"id > {above} and sent_mono is not null and decision <> 'NOT_INSPECTED'")
    return sorted(1000 * (row["sent_mono"] - row["triggered_mono"]) for row in rows)


def measure(rig: Rig, parts: int) -> dict[str, float]:
    newest = rig.rows()[-1]["id"]
    until(lambda: rig.rows()[-1]["id"] >= newest + parts, 600, "parts")
    found = cycles(rig, newest)
    return {
        "parts": len(found),
        "p50_ms": round(found[len(found) // 2], 1),
        "p99_ms": round(found[int(len(found) * 0.99)], 1),
        "max_ms": round(found[-1], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--parts", type=int, default=300)
    parser.add_argument("--browsers", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=2)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(Path(folder), camera={"size": [1280, 1024]})
        with rig.plc_running(takt=0.15), rig.line():
            until(lambda: len(rig.rows("sent_mono is not null")) > 10, 60, "parts")
            config = rig.folder / "station.yaml"
            add_people(load_station(config).store)
            with WebProcess(config, log=rig.folder / "web.log") as web:
                for number in range(asked.rounds):
                    print(
                        json.dumps({"round": number, "browsers": 0, **measure(rig, asked.parts)}),
                        flush=True,
                    )
                    browsers = [Browser(web.address) for _ in range(asked.browsers)]
                    for browser in browsers:
                        browser.start()
                    until(lambda b=browsers: all(one.events > 2 for one in b), 60, "streams")
                    found = measure(rig, asked.parts)
                    for browser in browsers:
                        browser.leave.set()
                    for browser in browsers:
                        browser.join(10)
                    events = sum(browser.events for browser in browsers)
                    pictures = sum(browser.pictures for browser in browsers)
                    told = {"round": number, "browsers": len(browsers), **found}
                    print(json.dumps({**told, "events": events, "pictures": pictures}), flush=True)


if __name__ == "__main__":
    main()
