"""The OpenAPI description made complete, and a page that shows it without asking anybody else."""

import json
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from hazardloop.service.api.access import COOKIE, Permitted
from hazardloop.service.api.permissions import PERMISSIONS
from hazardloop.service.api.problems import PROBLEM_SCHEMA, problems

TAGS: Final = (
    ("session", "Log in and out. Every other address wants a session: cookie or bearer token."),
    (
        "registry",
        "Enterprises, hazard units, gateways, devices, points; kinds of device are files.",
    ),
    ("readings", "What was measured."),
    ("alarms", "What was raised, with value, limit and the rule version that did it."),
    ("rules", "When alarms are raised: the limits at each point, and where they come from."),
    ("cases", "The handling of each alarm, step by step, until somebody else closes it."),
    ("drills", "Announced before they begin, run through the real chain, counted apart."),
    ("hazards", "What was found wrong, from the finding to the recheck after it was put right."),
    ("figures", "Published figures with their formulas and members."),
    ("reports", "Figures of a day, a week or a month, frozen, as a workbook and as pages."),
    ("ledger", "Every act, chained, and the signed checkpoints that prove it."),
    ("live", "Server-sent events; goes with the snapshot `/alarms/open`."),
    ("intake", "What gateways sent that could not be used."),
    ("notices", "Who is told what, over which channel, and what came of it."),
    ("calendar", "Working days: holidays, days made up for, and times counted in them."),
    ("shifts", "Who stands watch, how it is handed over, and its log."),
    ("simulations", "Fleets that a tester starts and watches, where the setting allows it."),
    ("operation", "Health and metrics."),
)
INTRODUCTION: Final = """Telemetry of major hazard sources, tiered alarms, and a disposal loop in
which every alarm is handled.

Times are RFC 3339 in UTC. An id in an address or filter may be the number or the code; a code that
several enterprises use is written `ENTERPRISE:code`. Lists answer `items` and `next_cursor`. Errors
are `application/problem+json` (RFC 9457) with a machine word in `code`. What an enterprise user may
not see does not exist for it (404)."""


def describe(
    app: FastAPI, declarations: Mapping[str, tuple[APIRoute, Permitted]]
) -> dict[str, Any]:
    """The OpenAPI 3.1 document of `app`.

    Args:
        app: with all its routes.
        declarations: route and permission by operation id.
    """
    document = get_openapi(
        title=app.title,
        version=app.version,
        openapi_version="3.1.0",
        description=INTRODUCTION,
        routes=app.routes,
        tags=[{"name": name, "description": text} for name, text in TAGS],
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = PROBLEM_SCHEMA
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "cookie": {"type": "apiKey", "in": "cookie", "name": COOKIE},
    }
    for operation in _operations(document):
        _, declared = declarations[operation["operationId"]]
        _complete(operation, declared.permission)
    return document


def _operations(document: dict[str, Any]) -> Iterable[dict[str, Any]]:
    for methods in document["paths"].values():
        yield from methods.values()


def _complete(operation: dict[str, Any], permission: str | None) -> None:
    """Adds what every operation shares: who may call it, and the problems anything may answer."""
    responses = operation["responses"]
    common = ["unavailable"]
    if permission is not None:
        common += ["unauthenticated", "forbidden"]
        operation["security"] = [{"bearer": []}, {"cookie": []}]
        roles = ", ".join(sorted(PERMISSIONS[permission]))
        told = operation.get("description", "")
        operation["description"] = f"{told}\n\nPermission `{permission}`: {roles}.".strip()
    if "422" in responses:
        common.append("invalid")
        del responses["422"]
    for status, response in problems(*common).items():
        responses.setdefault(str(status), response)


STYLE: Final = """body{font:15px/1.55 system-ui,"Noto Sans CJK SC",sans-serif;margin:0 auto;
max-width:62rem;padding:1rem 1.5rem 4rem;color:#1d2733}h1{margin-bottom:0}h2{margin-top:2.2rem;
border-bottom:1px solid #ccd3da}details{border:1px solid #dde3e8;border-radius:6px;margin:.5rem 0;
padding:.2rem .8rem}summary{cursor:pointer}code,pre{font-family:ui-monospace,monospace;
font-size:13px}pre{background:#f3f5f7;padding:.6rem;overflow:auto;border-radius:4px}b.get{color:#1b6}
b.post{color:#06c}b.patch{color:#a60}b{display:inline-block;min-width:3.4rem}table{border-collapse:
collapse;width:100%}td,th{border-top:1px solid #e5e9ed;text-align:left;padding:.25rem .5rem;
vertical-align:top}p{white-space:pre-line}"""


def page(document: dict[str, Any]) -> str:
    """`document` as one HTML page: no script, nothing from elsewhere."""
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        f"<title>HazardLoop API</title><style>{STYLE}</style></head><body>",
        f"<h1>HazardLoop API</h1><p>{escape(document['info']['version'])} · ",
        "<a href='/api/v1/openapi.json'>openapi.json</a></p>",
        f"<p>{escape(document['info']['description'])}</p>",
    ]
    for tag in document["tags"]:
        parts.append(
            f"<h2 id='{tag['name']}'>{tag['name']}</h2><p>{escape(tag['description'])}</p>"
        )
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if tag["name"] in operation.get("tags", ()):
                    parts += _shown(document, path, method, operation)
    return "".join([*parts, "</body></html>"])


def _shown(
    document: dict[str, Any], path: str, method: str, operation: dict[str, Any]
) -> Iterable[str]:
    yield f"<details id='{operation['operationId']}'>"
    yield f"<summary><b class={method}>{method.upper()}</b> "
    yield f"<code>{escape(path)}</code> {escape(operation['summary'])}</summary>"
    yield f"<p>{escape(operation.get('description', ''))}</p>"
    if parameters := operation.get("parameters"):
        yield "<table><tr><th>parameter<th>in<th>type<th></tr>"
        for one in parameters:
            kind = escape(_kind(one.get("schema", {})))
            told = escape(one.get("description", ""))
            yield f"<tr><td><code>{escape(one['name'])}</code><td>{one['in']}"
            yield f"<td>{kind}<td>{told}</tr>"
        yield "</table>"
    for content in operation.get("requestBody", {}).get("content", {}).items():
        yield from _example(document, "Body", *content)
    for status, response in sorted(operation["responses"].items()):
        yield f"<h4>{status} {escape(response['description'])}</h4>"
        for content in response.get("content", {}).items():
            yield from _example(document, "", *content)
    yield "</details>"


def _kind(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    kind = str(schema.get("type", schema.get("$ref", "any").rsplit("/", 1)[-1]))
    return " | ".join(map(str, schema["enum"])) if "enum" in schema else kind


def _example(
    document: dict[str, Any], title: str, media: str, content: dict[str, Any]
) -> Iterable[str]:
    examples = [content["example"]] if "example" in content else []
    examples += [one["value"] for one in content.get("examples", {}).values()]
    examples = examples or [example_of(document, content.get("schema", {}))]
    yield f"<div>{title} <code>{escape(media)}</code></div>"
    for example in examples:
        text = (
            example
            if isinstance(example, str)
            else json.dumps(example, ensure_ascii=False, indent=1)
        )
        yield f"<pre>{escape(text)}</pre>"


def example_of(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    """An example of what `schema` describes: the one it gives, else one made of its parts'."""
    if "$ref" in schema:
        return example_of(
            document, document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
        )
    if schema.get("examples"):
        return schema["examples"][0]
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return example_of(document, schema[several][0])
    if schema.get("type") == "object":
        return {
            name: example_of(document, part) for name, part in schema.get("properties", {}).items()
        }
    if schema.get("type") == "array":
        return [example_of(document, schema.get("items", {}))]
    return schema.get("default", (schema.get("enum") or [None])[0])
