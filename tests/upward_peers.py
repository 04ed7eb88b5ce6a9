"""Receivers of what a station tells upward: a real mosquitto, a real HTTP server, who listens to them.

with Broker(folder) as broker:            on a free port; stop() and start() keep its sessions
    listener = Listener(broker, "#")      another client, with a session that outlives the broker's restart
with Receiver() as receiver:              HTTP; `answers` says what it answers
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions
from station_rig import free_port, until


class Broker:
    """A mosquitto of ours."""

    def __init__(self, folder: Path, *lines: str) -> None:
        program = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
        if program is None:
            pytest.skip("no mosquitto installed (Debian package mosquitto)")
        self.port = free_port()
        self._program, self._folder = program, folder / "broker"
        self._folder.mkdir()
        self._process: subprocess.Popen[bytes] | None = None
        settings = [
            "per_listener_settings false",
            "persistence true",
            f"persistence_location {self._folder}/",
            "max_queued_messages 100000",
            *(lines if any(x.startswith("listener") for x in lines) else self._open(lines)),
        ]
        self._file = self._folder / "mosquitto.conf"
        self._file.write_text("\n".join([*settings, "user root", ""]))

    def _open(self, lines: Iterable[str]) -> list[str]:
        return [f"listener {self.port} 127.0.0.1", "allow_anonymous true", *lines]

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        with (self._folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-c", str(self._file), "-v"], stdout=log, stderr=log
            )
        until(self._answers, 20, "mosquitto answers")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "mosquitto.log").read_text()
        with socket.socket() as probe:
            probe.settimeout(0.2)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """End in order: sessions and what waits in them are kept."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            self._process = None


class Listener:
    """A client with a session of its own; comes back by itself."""

    def __init__(self, broker: Broker, topic: str = "#") -> None:
        self.messages: list[tuple[str, dict[str, Any], Any, bool]] = []
        self._subscribed = threading.Event()
        self._topic = topic
        self._client = Client(
            CallbackAPIVersion.VERSION2, client_id=f"listener-{id(self)}", protocol=MQTTv5
        )
        self._client.reconnect_delay_set(0.05, 0.05)  # type: ignore[arg-type]
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        session = Properties(PacketTypes.CONNECT)
        session.SessionExpiryInterval = 3600
        self._client.connect("127.0.0.1", broker.port, 10, clean_start=False, properties=session)
        self._client.loop_start()
        assert self._subscribed.wait(20)

    def _on_connect(self, client: Client, *_: Any) -> None:
        # retain handling 1: what is retained comes with a new subscription only
        options = SubscribeOptions(qos=1, retainAsPublished=True, retainHandling=1)
        client.subscribe(self._topic, options=options)

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        said = json.loads(message.payload)
        self.messages.append((message.topic, said, message.properties, message.retain))

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Messages of one kind, each once by its id, in the order of their first arrival."""
        found: dict[str, dict[str, Any]] = {}
        for topic, said, _, _ in list(self.messages):
            if topic.endswith(f"/{kind}"):
                found.setdefault(said.get("id", str(len(found))), said)
        return list(found.values())

    def states(self) -> list[str]:
        return [
            said["state"] for topic, said, _, _ in list(self.messages) if topic.endswith("/state")
        ]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Receiver:
    """An HTTP server that takes what is posted."""

    def __init__(self, answers: Callable[[dict[str, Any]], int] = lambda _: 204) -> None:
        self.answers = answers
        self.headers: dict[str, str] = {"Location": "http://127.0.0.1:9/elsewhere"}
        self.posts: list[tuple[dict[str, str], bytes, int]] = []
        self.open: set[socket.socket] = set()
        self.port = free_port()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?x=1"

    def taken(self) -> list[dict[str, Any]]:
        """What was answered with 2xx, each once by its key, in order."""
        found: dict[str, dict[str, Any]] = {}
        for headers, body, code in list(self.posts):
            if code < 300:
                found.setdefault(headers["Idempotency-Key"], json.loads(body))
        return list(found.values())

    def __enter__(self) -> Receiver:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 5

            def setup(self) -> None:
                receiver.open.add(self.request)
                super().setup()

            def finish(self) -> None:
                receiver.open.discard(self.request)
                super().finish()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                code = receiver.answers(json.loads(body))
                receiver.posts.append((dict(self.headers), body, code))
                text = b"" if code == 204 else b"said\nmore"
                self.send_response(code)
                if 300 <= code < 400:
                    self.send_header("Location", receiver.headers["Location"])
                if code != 204:
                    self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """A client that went away is part of the test."""

        self._server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            for one in list(self.open):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            self._server = None
