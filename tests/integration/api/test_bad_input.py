"""Whatever is sent to any address of the api: an answer, or a refusal that says why."""

import itertools
import json
import random
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Final
from urllib.parse import quote

from hazardloop.alarms.alarm import case_id_of
from tests.integration.api.world import World

FAR: Final = (
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:59-14:00",
)
TEXTS: Final = ("", "\x00", "\ud800", "' OR 1=1 --", "-1", "NaN", "x" * 3_000, "甲\u202e乙", *FAR)
"""In place of a parameter; the second of a pair of surrogates alone is no character."""
NUMBERS: Final = (-1, 0, 2**31, 2**63, 2**70, -(2**63) - 1, 1e308, float("nan"), float("inf"))
VALUES: Final = (*TEXTS, *NUMBERS, None, True, [], {}, [[[[]]]], ["\x00"], {"\x00": "\ud800"})
"""In place of a member of a body."""
AS_A_WHOLE: Final = (
    b"", b"\xff\xfe", b"{", b"null", b"[]", b'"x"', b"NaN", b'{"a":1,"a":2}', b"\x00",
    b"[" * 20_000, b'{"a":' * 5_000 + b"1" + b"}" * 5_000, b'{"revision":1e999}',
)  # fmt: skip
"""In place of a body."""
LEFT_OUT: Final = ("/api/v1/stream", "/api/v1/auth/logout", "/readyz")
"""Does not end by itself; ends what we ask with; says with 503 that there is no worker."""
PROBLEM: Final = "application/problem+json"


def schema_of(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The schema that a reference leads to."""
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def example(document: dict[str, Any], media: dict[str, Any]) -> Any:
    """A body that the description itself gives; None: it gives none."""
    for one in media.get("examples", {}).values():
        return one["value"]
    return next(iter(schema_of(document, media["schema"]).get("examples", [])), None)


def places(body: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in a body something else can stand."""
    members = body.items() if isinstance(body, dict) else enumerate(body)
    for key, value in members:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def with_value(body: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The body with that value at that place."""
    changed = deepcopy(body)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


def encoded(text: str) -> str:
    """As part of an address; half a pair of surrogates as the bytes that it would be."""
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


class Attack:
    """Requests for one operation."""

    def __init__(self, document: dict[str, Any], path: str, method: str, ids: dict[str, str]):
        self.document, self.path, self.method, self.ids = document, path, method, ids
        self.operation = document["paths"][path][method]

    def requests(self, pick: random.Random) -> Iterator[dict[str, Any]]:
        """Each place of the request with something else in it, one at a time."""
        parameters = self.operation.get("parameters", [])
        content = self.operation.get("requestBody", {}).get("content", {})
        media = content.get("application/json")
        body = example(self.document, media) if media else None
        for one in parameters:
            text = pick.choice(TEXTS)
            if one["in"] == "path" and text:
                yield self.sent(body) | {"url": self.url({one["name"]: text})}
            elif one["in"] == "query":
                query = f"{encoded(one['name'])}={encoded(text)}"
                yield self.sent(body) | {"url": f"{self.url({})}?{query}"}
        if media:
            yield self.raw(pick.choice(AS_A_WHOLE))
        for place in places(body) if isinstance(body, dict | list) else ():
            changed = with_value(body, place, pick.choice(VALUES))
            yield self.raw(json.dumps(changed).encode())

    def url(self, instead: dict[str, str]) -> str:
        """The address, with known ids but for those."""
        url = self.path
        for one in self.operation.get("parameters", []):
            if one["in"] == "path":
                name = one["name"]
                url = url.replace(
                    f"{{{name}}}", encoded(instead.get(name, self.ids.get(name, "1")))
                )
        return url

    def sent(self, body: Any) -> dict[str, Any]:
        """The body as it should be."""
        return {} if body is None else self.raw(json.dumps(body).encode())

    def raw(self, content: bytes) -> dict[str, Any]:
        """That as the body."""
        return {
            "url": self.url({}), "content": content,
            "headers": {"content-type": "application/json"},
        }  # fmt: skip


async def test_nothing_that_is_sent_breaks_an_address(api: World) -> None:
    alarm_id = await api.raise_alarm("E1:GD-1.lel")
    ids = {"alarm_id": str(alarm_id), "case_id": str(case_id_of(alarm_id))}
    document = (await (await api.anonymous()).get("/openapi.json")).json()
    clients = itertools.cycle([await api.client(who) for who in ("supervisor", "admin", "ent1")])
    broken = []
    for path, method in operations(document):
        attack = Attack(document, path, method, ids)
        pick = random.Random(f"{method} {path}")  # the same in every run
        for request in attack.requests(pick):
            client = next(clients)
            answer = await client.request(
                method, f"http://testserver{request.pop('url')}", **request
            )
            told = answer.headers.get("content-type")
            if answer.status_code >= 500 or (answer.is_error and told != PROBLEM):
                broken.append((method, str(answer.url), request, answer.status_code))
    assert not broken


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Path and method of each that is to be tried."""
    for path, methods in document["paths"].items():
        if path not in LEFT_OUT:
            yield from ((path, method) for method in methods)
