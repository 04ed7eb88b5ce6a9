"""The naive line: `python -m inspection_bench.naive.station FRAMES SERVICE_URL PLC_PORT`.

One loop: it polls CTRL every two milliseconds, and does everything else in its turn. It keeps to the words
of docs/line-protocol.md, and to no more of that page than a part needs.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import requests
from pymodbus.client import ModbusTcpClient

from inspection_bench.frames import load_frames

CTRL, STAT, WORDS = 0, 100, 16
TRIGGER, RESULT_ACK = 1 << 1, 1 << 2
READY, TRIG_ACK, BUSY, RESULT_VALID, ONLINE = 1, 1 << 1, 1 << 2, 1 << 3, 1 << 4
CODES = {"PASS": 1, "FAIL": 2, "REVIEW": 3}
POLL = 0.002


class Plc:
    """The exchange area; one request for each reading and each writing."""

    def __init__(self, port: int) -> None:
        self._client = ModbusTcpClient("127.0.0.1", port=port)
        self._client.connect()
        self._beat = 0

    def read(self) -> list[int]:
        answer = self._client.read_holding_registers(CTRL, count=WORDS)
        if answer.isError():
            raise ConnectionError(str(answer))
        return answer.registers

    def write(self, flags: int, ack: int = 0, result: list[int] | None = None) -> None:
        self._beat = (self._beat + 1) & 0xFFFF
        words = [flags, self._beat, ack, *(result or [0] * 13)]
        if self._client.write_registers(STAT, words).isError():
            raise ConnectionError("the PLC refused the result")


def ask(session: requests.Session, url: str, frame: np.ndarray, part_id: int) -> dict:
    """Send a frame as JPEG; return the service's answer."""
    _, jpeg = cv2.imencode(".jpg", frame)
    answer = session.post(
        f"{url}/inspect", files={"file": ("part.jpg", jpeg.tobytes())}, data={"part_id": part_id}
    )
    answer.raise_for_status()
    return answer.json()


def run(frames: list[np.ndarray], url: str, plc: Plc) -> None:
    """Answer triggers until the process is ended."""
    pause, session, last = threading.Event(), requests.Session(), 0
    while True:
        words = plc.read()
        sequence, part_id = words[2], words[4] | words[5] << 16
        if not words[0] & TRIGGER or sequence == last:
            plc.write(ONLINE | READY, last)
            pause.wait(POLL)
            continue
        last = sequence
        plc.write(ONLINE | TRIG_ACK | BUSY, sequence)
        told = ask(session, url, frames[part_id % len(frames)], part_id)
        code = CODES[told["decision"]]
        result = [sequence, code, 0xFFFF - code, *[0] * 6, told["id"], 0, 1, sequence]
        plc.write(ONLINE, sequence, result)
        plc.write(ONLINE | RESULT_VALID, sequence, result)
        while not plc.read()[0] & RESULT_ACK:
            plc.write(ONLINE | RESULT_VALID, sequence, result)
            pause.wait(POLL)
        plc.write(ONLINE, sequence)
        while plc.read()[0] & RESULT_ACK:
            pause.wait(POLL)


def main() -> None:
    folder, url, port = sys.argv[1:]
    frames = load_frames(Path(folder), "bgr")
    run(frames, url, Plc(int(port)))


if __name__ == "__main__":
    main()
