"""An EtherNet/IP server of another author: cpppo, with the tags CTRL and STAT and some wrong ones.

`python cpppo_server.py PORT` prints the port it listens on, then serves until it is killed. With a
second port its words are elsewhere, and CTRL and STAT are all it has: each access is asked of that
port on 127.0.0.1, one JSON line each way, `[tag, first, count]` or `[tag, first, [words]]` →
`[words]`, or `null` for a refusal.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
from typing import Any

WORDS = 16


def signed(word: int) -> int:
    return word - 0x10000 if word > 0x7FFF else word


class Elsewhere:
    """The elements of one tag, asked of the process that has them."""

    def __init__(self, tag: str, link: Any, lock: threading.Lock) -> None:
        self._tag, self._link, self._lock = tag, link, lock

    def __len__(self) -> int:
        return WORDS

    def __repr__(self) -> str:
        return f"{self._tag} elsewhere"

    def __getitem__(self, key: slice) -> list[int]:
        return [signed(word) for word in self._ask(key.start, key.stop - key.start)]

    def __setitem__(self, key: slice, values: Any) -> None:
        self._ask(key.start, [int(value) & 0xFFFF for value in values])

    def _ask(self, first: int, what: int | list[int]) -> list[int]:
        with self._lock:
            self._link.write(json.dumps([self._tag, first, what]) + "\n")
            self._link.flush()
            answer = json.loads(self._link.readline())
        if answer is None:
            raise KeyError(f"{self._tag} refused")
        return answer


def main() -> None:
    try:
        from cpppo.dotdict import dotdict
        from cpppo.server.enip import device
        from cpppo.server.enip.main import main as serve
    except ImportError as error:
        sys.exit(f"cpppo is not installed: {error}")

    class Attribute(device.Attribute):
        def __init__(self, name: str, type_cls: Any, default: Any = 0, **more: Any) -> None:
            words = Elsewhere(name, link, lock) if link is not None else default
            super().__init__(name, type_cls, default=words, **more)

    logging.disable(logging.CRITICAL)
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    link, lock = None, threading.Lock()
    if len(sys.argv) > 2:
        link = socket.create_connection(("127.0.0.1", int(sys.argv[2]))).makefile("rw")
    server = dotdict({"control": {"latency": 0.1, "timeout": 0.1}})
    address = f"127.0.0.1:{port}"
    tags = [f"CTRL=INT[{WORDS}]", f"STAT=INT[{WORDS}]"]
    if link is None:
        tags += [f"UNSIGNED=UINT[{WORDS}]", f"WIDE=DINT[{WORDS}]", f"SHORT=INT[{WORDS // 2}]"]
    arguments = {"argv": ["--address", address, *tags], "attribute_class": Attribute}
    threading.Thread(target=serve, kwargs={**arguments, "server": server}, daemon=True).start()
    while "address" not in server.control:
        threading.Event().wait(0.005)
    sys.stdout.write(f"{server.control.address[1]}\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main()
