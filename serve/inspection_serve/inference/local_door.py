"""A second way in for inferences, for clients on this host: HTTP/1.1 on a local socket, a thread for each.

    connection ─▶ same user? ─▶ read a whole request ─▶ infer, in this thread when nobody else asks ─▶ reply

Over TCP a request crosses the event loop's thread and the model's, and back. A line that waits for its part
saves that here: it costs about half as much. The socket is an abstract one (Linux): it has no file that stays
behind. Its name is told in a model's configuration (`local_socket`). Everything but inferences goes over TCP.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import threading

from inspection.runtimes.http_bytes import MAX_HEAD, body_length, read_body, split_head
from inspection.runtimes.link import is_same_user
from inspection_serve.inference.infer import ROUTE, Inferences, Reply
from inspection_serve.inference.models import Served
from inspection_serve.inference.protocol import MAX_BODY, RequestError, parse_infer

MAX_CONNECTIONS = 64
"""More are closed at once; their clients go over TCP."""
IDLE = 600.0
"""Seconds after which a client that asks nothing is hung up on, as over TCP; it comes again."""
UNFINISHED = 30.0
"""Seconds that a client may be silent within a request, or leave its answer unread."""
AGAIN = 0.1
"""Seconds until the next try when the system has no room for a connection."""
_PHRASES = {200: "OK", 400: "Bad Request", 404: "Not Found", 413: "Content Too Large"}
_log = logging.getLogger(__name__)


class _BrokenError(RequestError):
    """What came is not a request that can be answered; the connection ends."""


class LocalDoor:
    """Listens from `open` to `close`.

    Attributes:
        name: of the abstract socket, without its leading zero byte; empty while closed.
    """

    def __init__(self, inferences: Inferences) -> None:
        self.name = ""
        self._inferences = inferences
        self._listener: socket.socket | None = None
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()

    def open(self) -> None:
        """Begin to listen. Without abstract sockets on this system nothing happens: TCP is left."""
        name = f"inspection-serve-{os.getpid()}-{secrets.token_hex(8)}"
        listener: socket.socket | None = None
        try:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(f"\0{name}")
            listener.listen(MAX_CONNECTIONS)
        except (OSError, AttributeError) as error:
            if listener is not None:
                listener.close()
            _log.info("no local socket (%s); clients on this host use TCP", error)
            return
        self._listener, self.name = listener, name
        threading.Thread(target=self._accept, args=(listener,), name="door", daemon=True).start()

    def close(self) -> None:
        """Hang up on everybody."""
        self.name = ""
        self._closed.set()
        listener, self._listener = self._listener, None
        with self._lock:
            ends = [*self._connections, *([listener] if listener is not None else [])]
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        if listener is not None:
            listener.close()

    def _accept(self, listener: socket.socket) -> None:
        """Take clients until the end; where the system has no room for one, the next is waited for."""
        while not self._closed.is_set():
            try:
                connection, _ = listener.accept()
            except OSError as error:
                if not self._closed.is_set():
                    _log.warning("nobody can come in by the local socket just now: %s", error)
                    self._closed.wait(AGAIN)
                continue
            try:
                self._welcome(connection)
            except (OSError, RuntimeError) as error:  # the last: no thread can be started
                _log.warning("a client of the local socket was hung up on: %s", error)
                self._leave(connection)
                self._closed.wait(AGAIN)

    def _welcome(self, connection: socket.socket) -> None:
        """Serve a client in a thread of its own, or hang up. Raises OSError, RuntimeError."""
        with self._lock:
            is_welcome = (
                not self._closed.is_set()
                and len(self._connections) < MAX_CONNECTIONS
                and is_same_user(connection)
            )
            if is_welcome:
                self._connections.add(connection)
        if not is_welcome:
            connection.close()
            return
        threading.Thread(
            target=self._serve, args=(connection,), name="door-client", daemon=True
        ).start()

    def _leave(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)
        connection.close()

    def _serve(self, connection: socket.socket) -> None:
        """Answer one client until it hangs up."""
        try:
            while (asked := _read_request(connection)) is not None:
                _send(connection, self._answer(*asked))
        except _BrokenError as error:
            with contextlib.suppress(OSError):
                _send(connection, Reply(error.status, error.body()), last=True)
        except OSError:
            pass  # the client died, or was silent for too long: nobody waits
        finally:
            self._leave(connection)

    def _answer(self, path: str, headers: dict[str, str], body: bytes) -> Reply:
        match = ROUTE.fullmatch(path)
        if match is None:
            error = RequestError("only inferences are taken here", 404, "not_found")
            return Reply(error.status, error.body())
        served: Served | None = None
        inferences = self._inferences
        try:
            served = inferences.find(match[1], match[2])
            request = parse_infer(body, headers)
            images = inferences.images(request)
            answered = served.batcher.infer(images, request.timeout)
            reply = inferences.reply(served, request, images, answered)
        except Exception as error:  # the request's boundary
            return inferences.refuse(served, match[1], error)
        inferences.count(served)
        return reply


def _read_request(connection: socket.socket) -> tuple[str, dict[str, str], bytes] | None:
    """Return path, headers with names in lower case, and body of a POST; None: the client hung up.

    Raises:
        _BrokenError: it is none, or too long; where the next one begins is not known.
    """
    data = b""
    connection.settimeout(IDLE)
    while (end := data.find(b"\r\n\r\n")) < 0:
        if len(data) > MAX_HEAD:
            raise _BrokenError(f"the headers are longer than {MAX_HEAD} bytes")
        more = connection.recv(MAX_HEAD << 2)
        connection.settimeout(UNFINISHED)
        if not more:
            return None
        data += more
    try:
        first, headers = split_head(data[:end])
        method, _, rest = first.partition(" ")
        path, _, version = rest.partition(" ")
        if method != "POST" or version != "HTTP/1.1":
            raise _BrokenError("only POST with HTTP/1.1 is taken here")
        length = body_length(headers, MAX_BODY)
        return path, headers, read_body(connection, data[end + 4 :], length)
    except OverflowError:
        raise _BrokenError(f"the body is larger than {MAX_BODY} bytes", 413, "too_large") from None
    except ValueError as error:
        raise _BrokenError(str(error)) from None


def _send(connection: socket.socket, reply: Reply, *, last: bool = False) -> None:
    lines = [b"HTTP/1.1 %d %s" % (reply.status, _PHRASES.get(reply.status, "-").encode())]
    lines += [b"%s: %s" % header for header in reply.headers()]
    if last:
        lines.append(b"connection: close")
    connection.sendall(b"\r\n".join([*lines, b"", reply.body]))
