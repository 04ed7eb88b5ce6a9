"""Who may ask the inference service: programs, by a name of this host; shared memory for this host alone."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from own_loop import in_own_loop

from inspection.errors import ConfigError
from inspection_serve.inference.app import build_app
from inspection_serve.inference.callers import Programs
from inspection_serve.inference.health import Health
from inspection_serve.inference.metrics import Metrics
from inspection_serve.inference.models import Models
from inspection_serve.inference.process import _listen, _names

CHANGES = [
    "/v2/repository/models/demo/load",
    "/v2/repository/models/demo/unload",
    "/v2/repository/models/demo/rollback",
    "/v2/repository/index",
    "/v2/systemsharedmemory/region/a/register",
    "/v2/systemsharedmemory/region/a/unregister",
    "/v2/systemsharedmemory/unregister",
    "/v2/models/demo/infer",
    "/v2/models/demo/versions/1/infer",
    "/api/v1/inspect?part=demo",
]


def application(tmp_path: Path, names: set[str] = frozenset(), **health: Any) -> Any:
    """Return the real application with no release; its lifespan does not run."""
    metrics = Metrics()
    models = Models(tmp_path, lambda: pytest.fail("nothing is loaded here"), metrics, pytest.fail)
    return build_app(
        models,
        metrics,
        Health(loaded=True, **health),
        stall=30,
        on_fault=pytest.fail,
        on_loaded=lambda: None,
        names=names,
    )


def ask(
    app: Any, method: str, path: str, *, peer: str = "127.0.0.1", url: str = "http://127.0.0.1:8500",
    **more: Any,
) -> httpx.Response:  # fmt: skip
    async def sent() -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(peer, 4711))
        async with httpx.AsyncClient(transport=transport, base_url=url) as client:
            return await client.request(method, path, **more)

    return in_own_loop(sent())


@pytest.mark.parametrize("path", CHANGES)
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:8500"])
def test_a_page_in_a_browser_changes_nothing_and_infers_nothing(
    tmp_path: Path, path: str, origin: str
) -> None:
    app = application(tmp_path)
    answer = ask(app, "POST", path, headers={"Origin": origin, "Content-Type": "text/plain"})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert "web pages" in answer.json()["error"]
    assert ask(app, "POST", path).status_code != 403, "a program's is taken"
    assert ask(app, "OPTIONS", path, headers={"Origin": origin}).status_code == 403
    assert ask(app, "GET", "/v2", headers={"Origin": origin}).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8500", 200),
        ("127.0.0.1", 200),
        ("127.8.0.9:1", 200),
        ("localhost:8500", 200),
        ("LOCALHOST.", 200),
        ("[::1]:8500", 200),
        ("press-7:8500", 200),
        ("Press-7", 200),
        ("evil.example:8500", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example:8500", 403),
        ("press-7x", 403),
        ("10.0.0.5:8500", 403),
        ("", 403),
        ("\xff", 403),
    ],
)
def test_a_name_that_a_page_made_up_for_this_host_reads_nothing(
    tmp_path: Path, host: str, status: int
) -> None:
    app = application(tmp_path, {"Press-7"})
    for method, path in (("GET", "/v2"), ("POST", "/v2/repository/index")):
        answer = ask(app, method, path, headers={"Host": host.encode("latin-1")})
        assert answer.status_code == status
        assert status == 200 or "no name of this host" in answer.json()["error"]


def test_whoever_is_not_bound_to_loopback_is_asked_by_any_name(tmp_path: Path) -> None:
    assert ask(application(tmp_path), "GET", "/v2", url="http://line-pc:8500").status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_names_count_where_loopback_alone_is_listened_on(host: str) -> None:
    try:
        listener = _listen(host, 0)
    except ConfigError:
        pytest.skip(f"no {host} here")
    with listener:
        assert _names(host, listener) == {host, socket.gethostname()}


def test_names_do_not_count_where_others_may_come() -> None:
    with _listen("0.0.0.0", 0) as listener:
        assert _names("0.0.0.0", listener) == frozenset()


IN = {"shared_memory_region": "r", "shared_memory_byte_size": 12}
OUT = [{"name": "detections", "parameters": {"shared_memory_region": "r"} | IN}]


@pytest.mark.parametrize(("where", "outputs"), [(IN, None), ({"binary_data_size": 12}, OUT)])
def test_memory_of_this_host_is_not_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: Any, outputs: Any
) -> None:
    """As for the routes of shared memory itself; before the memory is looked at."""
    monkeypatch.setattr(Models, "find", lambda *_: None)
    tensor = {"name": "images", "datatype": "UINT8", "shape": [1, 2, 2, 3], "parameters": where}
    head = json.dumps({"inputs": [tensor], "outputs": outputs}).encode()
    body = head + bytes(where.get("binary_data_size", 0))
    told = {"Inference-Header-Content-Length": str(len(head))}
    app = application(tmp_path)
    for path in ("/v2/models/demo/infer", "/v2/models/demo/versions/1/infer"):
        answer = ask(app, "POST", path, peer="10.0.0.9", content=body, headers=told)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
        here = ask(app, "POST", path, content=body, headers=told)
        assert here.status_code != 403, "of this host it is taken, and there is no such region"
    answer = ask(app, "GET", "/v2/systemsharedmemory/status", peer="10.0.0.9")
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/models/demo/ready"),
        ("GET", "/v2/models/demo/versions/1/ready"),
        ("POST", "/v2/models/demo/infer"),
        ("POST", "/api/v1/inspect?part=demo"),
        ("POST", "/v2/repository/models/demo/load"),
    ],
)
def test_after_a_fault_nobody_is_answered_whichever_way_he_came(
    tmp_path: Path, method: str, path: str
) -> None:
    answer = ask(application(tmp_path, fault="CUDA error"), method, path)
    assert (answer.status_code, answer.json()["code"]) == (500, "failed")
    assert "CUDA error; the service restarts" in answer.json()["error"]


def test_json_that_would_stop_everybody_is_refused(tmp_path: Path) -> None:
    for path in ("/v2/repository/models/demo/load", "/v2/systemsharedmemory/region/a/register"):
        answer = ask(application(tmp_path), "POST", path, content=b"[" + b"0," * (1 << 20) + b"0]")
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_what_is_no_request_is_passed_on() -> None:
    seen: list[str] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    nothing: Any = None
    in_own_loop(Programs(inner, {"a"})({"type": "lifespan"}, nothing, nothing))
    assert seen == ["lifespan"]
