"""A client's end of HTTP/1.1: what is no whole and right answer is told as what it is, and hung up on."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from inspection.errors import InferenceError, InferenceTimeoutError, ModelOutputError
from inspection.runtimes.http_bytes import MAX_HEAD, body_length, split_head
from inspection.runtimes.link import MAX_ANSWER, Link

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Told: a: b \r\n\r\n{}"


class Peer:
    """Answers each request on a connection with the next of its answers, then hangs up."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.asked: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                while self.answers and (asked := connection.recv(1 << 20)):
                    self.asked.append(asked)
                    connection.sendall(self.answers.pop(0))

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.stop()


def soon() -> float:
    return time.monotonic() + 10


def test_two_requests_on_one_connection(peer: Peer) -> None:
    peer.answers = [GOOD, GOOD]
    link = Link(f"http://127.0.0.1:{peer.port}")
    for body in (b"", b"abc"):
        answer = link.exchange("POST", "/v2", body, {"A": "1"}, deadline=soon())
        assert (answer.status, answer.body) == (200, b"{}")
        assert answer.headers == {"content-length": "2", "x-told": "a: b"}
    assert link.connections == 1
    assert peer.asked[1] == (
        b"POST /v2 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 3\r\nA: 1\r\n\r\nabc"
        % peer.port
    )
    link.close()


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (b"", InferenceError, "hung up"),
        (b"HTTP/1.1 200 OK\r\nConte", ModelOutputError, "ended too soon"),
        (b"\x16\x03\x01 TLS\r\n\r\n", ModelOutputError, "no last answer of HTTP"),
        (b"HTTP/2 200\r\nContent-Length: 0\r\n\r\n", ModelOutputError, "no last answer of HTTP"),
        (
            b"HTTP/1.1 twohundred\r\nContent-Length: 0\r\n\r\n",
            ModelOutputError,
            "no last answer of HTTP",
        ),
        (
            b"HTTP/1.1 \xb2\xb2\xb2\r\nContent-Length: 0\r\n\r\n",
            ModelOutputError,
            "no last answer of HTTP",
        ),
        (b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n", ModelOutputError, "no last answer"),
        (b"HTTP/1.1 2\r\nContent-Length: 0\r\n\r\n", ModelOutputError, "no last answer"),
        (b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", ModelOutputError, "no last answer"),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", ModelOutputError, "Content-Length is ''"),
        (GOOD.replace(b": 2", b": -2"), ModelOutputError, "Content-Length is '-2'"),
        (GOOD.replace(b": 2", b": 2, 2"), ModelOutputError, "Content-Length is '2, 2'"),
        (GOOD.replace(b": 2", b": %d" % (MAX_ANSWER + 1)), ModelOutputError, "at most"),
        (GOOD.replace(b": 2", b": " + b"9" * 5000), ModelOutputError, "needed: a number"),
        (GOOD.replace(b"X-Told", b"content-length"), ModelOutputError, "twice"),
        (GOOD.replace(b"X-Told", b"Transfer-Encoding"), ModelOutputError, "Transfer-Encoding"),
        (GOOD.replace(b"X-Told:", b" X-Told"), ModelOutputError, "malformed"),
        (GOOD.replace(b"X-Told", b" X-Told"), ModelOutputError, "malformed"),
        (GOOD.replace(b"X-Told", b""), ModelOutputError, "malformed"),
        (GOOD[:-1], ModelOutputError, "ended after 1 of 2"),
        (GOOD + GOOD, ModelOutputError, "more came"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"x" * (MAX_HEAD + 1), ModelOutputError, "headers are longer"),
    ],
)
def test_an_answer_that_is_none(
    peer: Peer, answer: bytes, error: type[InferenceError], said: str
) -> None:
    peer.answers = [answer]
    link = Link(f"http://127.0.0.1:{peer.port}")
    with pytest.raises(error, match=said) as raised:
        link.exchange("GET", "/v2", deadline=soon())
    assert type(raised.value) is error
    peer.answers = [
        GOOD
    ]  # the next is asked on a new connection, and is not answered by what was left
    assert link.exchange("GET", "/v2", deadline=soon()).body == b"{}"
    assert link.connections == 2
    link.close()


@pytest.mark.parametrize(
    "last",
    [
        GOOD.replace(b"X-Told", b"Connection").replace(b"a: b", b"Close"),
        GOOD.replace(b"1.1", b"1.0"),
        GOOD.replace(b"X-Told: a: b", b"Connection: close\r\nConnection: keep-alive"),
    ],
)
def test_a_service_that_will_hang_up_is_hung_up_on(peer: Peer, last: bytes) -> None:
    peer.answers = [last]
    link = Link(f"http://127.0.0.1:{peer.port}")
    for connections in (1, 2):
        assert link.exchange("GET", "/v2", deadline=soon()).status == 200
        assert link.connections == connections
        peer.answers = [last]
    link.close()


def test_a_whole_answer_a_byte_at_a_time_has_one_deadline_for_all() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        link = Link(f"http://127.0.0.1:{listener.getsockname()[1]}")
        done = threading.Event()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                for byte in GOOD:
                    connection.sendall(bytes([byte]))
                    if done.wait(0.05):
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        begun = time.monotonic()
        with pytest.raises(InferenceTimeoutError):
            link.exchange("GET", "/v2", deadline=begun + 0.5)
        done.set()
        thread.join()
        link.close()


def test_a_service_that_takes_no_large_body_has_one_deadline_for_all() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        link = Link(f"http://127.0.0.1:{listener.getsockname()[1]}")
        begun = time.monotonic()
        with pytest.raises(InferenceTimeoutError):
            link.exchange("POST", "/v2", bytes(32 << 20), deadline=begun + 0.5)
        assert time.monotonic() - begun < 5
        link.close()


def test_how_the_host_is_named() -> None:
    for url, host in (
        ("http://[::1]:8000", b"[::1]:8000"),
        ("http://prüfstand:8000", b"xn--prfstand-75a:8000"),
        ("http://triton.example", b"triton.example"),
        ("http://triton.example:80", b"triton.example"),
    ):
        asked = Link(url)._head("GET /v2 HTTP/1.1", b"", {})
        assert b"\r\nHost: %s\r\n" % host in asked


@pytest.mark.parametrize(
    ("path", "value"), [("/v2\r\nX: 1", "1"), ("/v2", "1\n2"), ("/v2", "1\r2")]
)
def test_a_request_with_a_line_within_a_line_is_not_sent(peer: Peer, path: str, value: str) -> None:
    peer.answers = [GOOD]
    link = Link(f"http://127.0.0.1:{peer.port}")
    with pytest.raises(ModelOutputError, match="end of line"):
        link.exchange("GET", path, headers={"A": value}, deadline=soon())
    link.close()


def test_the_head_of_a_message() -> None:
    assert split_head(b"GET / HTTP/1.1") == ("GET / HTTP/1.1", {})
    assert split_head(b"a\r\nB: 1\r\nb: 2") == ("a", {"b": "1, 2"})
    assert body_length({"content-length": "007"}, 7) == 7
