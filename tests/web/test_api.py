"""The API as described: complete, without secrets, and it keeps to its own description under nonsense."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from web_inside import HOST, Inside
from web_process import add_people
from web_shift import write_shift

from inspection.store.web import people
from inspection.store.web.people import Role
from inspection_serve.web.api_page import describe
from inspection_serve.web.authorisation import rules

EXAMPLES = 4
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    config = write_shift(tmp_path_factory.mktemp("api"), 12)
    add_people(config)
    with Inside(config) as found:
        yield found


def test_every_route_of_the_api_is_described(inside: Inside) -> None:
    told = describe(inside.app)
    described = {
        (method.upper(), path): operation
        for path, operations in told["paths"].items()
        for method, operation in operations.items()
    }
    hidden = []
    for rule in rules(inside.app):
        operation = described.get((rule.method, rule.path))
        if operation is not None:
            assert operation["x-role"] == (None if rule.role is None else rule.role.value)
            assert operation.get("description"), rule
        elif rule.path.startswith("/api/v1/") and rule.path != "/api/v1/openapi.json":
            hidden.append(f"{rule.method} {rule.path}")
    assert not hidden


def test_the_page_shows_every_operation_with_its_role(inside: Inside) -> None:
    viewer = inside.session("viewer")
    text = inside.ask("GET", "/api", viewer, {"accept-language": "en"}).text
    told = inside.ask("GET", "/api/v1/openapi.json", viewer).json()
    for path, operations in told["paths"].items():
        assert f"<code>{path}</code>" in text
        for method in operations:
            assert f"'http://{HOST}{path}'" in text.replace("&#39;", "'"), (method, path)
    addresses = set(re.findall(r'(?:src|href)="(https?:[^"]*)"', text))
    assert not addresses, "the page works without a network"
    for name in told["components"]["schemas"]:
        assert f'id="schema-{name}"' in text


def test_no_secret_is_in_an_answer(inside: Inside) -> None:
    schemas = describe(inside.app)["components"]["schemas"]
    said = {
        f"{name}.{key}" for name, schema in schemas.items() for key in schema.get("properties", {})
    }
    secret = {
        name for name in said if re.search(r"csrf|token|\.pin$|password|secret", name.lower())
    }
    assert secret <= {
        "MadeKey.secret",
        "Temporary.password",
        "NewPin.pin",
        "NewPin.password",
        "QuickChange.pin",
    }


def plain(value: Any) -> Any:
    """Return the description with tuples as lists: schemathesis 4.32 takes `prefixItems` for an error."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {name: plain(one) for name, one in value.items()}
    if "prefixItems" in found:
        found["items"] = {"anyOf": found.pop("prefixItems")}
    return found


def ask(inside: Inside, case: schemathesis.Case, role: str) -> Any:
    """Send a drawn request as a person whom earlier requests may have locked out; return the answer."""
    with inside.site.store.write("a person for a test") as connection:
        row = people.find(connection, role)
        assert row is not None
        people.change(connection, row["id"], active=True, must_change=False, role=role)
    who = inside.session(role)
    drawn = case.as_transport_kwargs(base_url=f"http://{HOST}")
    names = ("method", "url", "params", "data", "json", "files")
    sent = requests.Request(**{name: drawn[name] for name in names if name in drawn}).prepare()
    kind = {"content-type": sent.headers["content-type"]} if "content-type" in sent.headers else {}
    body = sent.body.encode() if isinstance(sent.body, str) else sent.body
    told = {"accept": "application/json", **kind}
    answer = inside.ask(sent.method, sent.url, who, told, content=body)
    case.validate_response(answer, checks=CHECKS)
    return answer


def draw_one(
    inside: Inside, operation: Any, mode: schemathesis.GenerationMode, role: str, examples: int
) -> tuple[int, str]:
    """Draw requests of an operation as a person of a role; return their number and what was wrong."""
    needed, asked = operation.definition.raw["x-role"], 0
    may = needed is None or Role(role).covers(Role(needed))

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def draw(case: schemathesis.Case) -> None:
        nonlocal asked
        asked += 1
        answer = ask(inside, case, role)
        code = answer.json()["code"] if answer.status_code == 403 else ""
        assert (code == "role") == (not may), f"{answer.status_code} {code} for {role}"

    try:
        draw()
    except Unsatisfiable:
        pass  # nothing can be wrong in a request without parameters and body
    except BaseExceptionGroup as error:
        return asked, f"{operation.label}: {'; '.join(map(str, error.exceptions))}"
    except Exception as error:
        return asked, f"{operation.label}: {error}"
    return asked, ""


def draw_all(
    inside: Inside, mode: schemathesis.GenerationMode, role: str, examples: int
) -> tuple[int, list[str]]:
    """Draw requests of every operation; return their number and what was wrong."""
    schema = schemathesis.openapi.from_dict(plain(describe(inside.app)))
    found = [
        draw_one(inside, result.ok(), mode, role, examples)
        for result in schema.get_all_operations()
    ]
    return sum(asked for asked, _ in found), [wrong for _, wrong in found if wrong]


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
def test_an_answer_is_as_described(inside: Inside, mode: schemathesis.GenerationMode) -> None:
    """schemathesis draws requests from the description, right ones and wrong ones: never a 5xx."""
    asked, wrong = draw_all(inside, mode, "administrator", EXAMPLES)
    assert not wrong, "\n\n".join(wrong)
    assert asked > 100


@pytest.mark.parametrize("role", ["viewer", "operator", "engineer"])
def test_an_answer_is_as_described_to_every_role(inside: Inside, role: str) -> None:
    """Who may not is refused with the code that the description names; who may gets no 5xx."""
    asked, wrong = draw_all(inside, schemathesis.GenerationMode.POSITIVE, role, 2)
    assert not wrong, "\n\n".join(wrong)
    assert asked > 30


def test_an_empty_field_of_a_form_means_any(inside: Inside) -> None:
    """A browser sends every field of a form: `?recipe=&station=` is no error of anybody."""
    viewer = inside.session("viewer")
    for path, operations in describe(inside.app)["paths"].items():
        if "get" not in operations or "{" in path:
            continue
        for one in operations["get"].get("parameters", []):
            asked = {one["name"]: ""}
            answer = inside.ask("GET", path, viewer, {"accept": "application/json"}, params=asked)
            assert answer.status_code < 500, (path, asked, answer.text)


def test_the_refusals_of_a_role_are_described(inside: Inside) -> None:
    for path, operations in describe(inside.app)["paths"].items():
        for method, operation in operations.items():
            answers, needed = operation["responses"], operation["x-role"]
            if needed is None:
                assert not {"401", "403"} & set(answers), path
                continue
            assert "not_signed_in" in answers["401"]["description"], path
            refused = {one.value for one in Role if not one.covers(Role(needed))}
            told = answers["403"]["description"]
            assert {one.value for one in Role if one.value in told} == refused, (method, path)
            assert ("csrf" in told) == (method != "get"), (method, path)
