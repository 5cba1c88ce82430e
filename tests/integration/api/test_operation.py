"""Health, metrics, problem documents, headers, the description, and the pages."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hazardloop.alarms.alarm import Tier
from hazardloop.service import heartbeat
from hazardloop.service.api.documentation import example_of
from hazardloop.service.api.problems import CODES
from hazardloop.service.app import CannotListen, create_app, listen, run_api
from hazardloop.service.errors import DatabaseAbsent, SchemaWrong
from hazardloop.service.settings import Settings
from tests.integration.api.test_access import EXPECTED
from tests.integration.api.world import World

ROOT = "http://testserver"


async def test_the_service_tells_how_it_is_itself(api: World) -> None:
    await heartbeat.beat(api.conn, "worker", "w1", {"broker": "connected"})
    answer = await (await api.client("tester")).get("/system/health")
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert [(one["role"], one["instance"]) for one in told["processes"]] == [("worker", "w1")]
    assert {"database", "worker", "path"} <= {one["name"] for one in told["checks"]}
    assert "messages" in told["counted"]
    assert 0 < told["disk_free"] <= told["disk_size"]
    assert told["database_bytes"] > 0
    assert (told["stream_clients"], told["stream_behind"], told["jobs_late_s"]) == (0, 0, 0)


async def test_it_is_ready_once_a_worker_lives_and_has_its_broker(api: World) -> None:
    client = await api.anonymous()
    assert (await client.get(f"{ROOT}/healthz")).json() == {"status": "alive"}

    async def ready() -> tuple[int, dict[str, str]]:
        answer = await client.get(f"{ROOT}/readyz")
        return answer.status_code, answer.json()["parts"]

    status, parts = await ready()
    assert status == 503
    assert parts["database"] == parts["schema"] == "ok"
    assert "start one" in parts["worker"]
    await heartbeat.beat(api.conn, "worker", "w1", {"broker": "connected"})
    assert await ready() == (
        200,
        {
            "database": "ok",
            "schema": "ok",
            "worker": "ok",
            "broker": "ok",
            "spool": "ok",
            "path": "ok: no clerk has watched it yet",
        },
    )
    await heartbeat.beat(api.conn, "worker", "w1", {"broker": "refused: wrong password"})
    status, parts = await ready()
    assert (status, parts["broker"]) == (503, "refused: wrong password")
    await api.conn.execute("UPDATE process_heartbeat SET beat_at = now() - interval '11 s'")
    status, parts = await ready()
    assert status == 503
    assert "silent for 11 s" in parts["worker"]


async def test_it_is_ready_while_somebody_watches_the_path_and_finds_it_whole(api: World) -> None:
    client = await api.anonymous()
    await heartbeat.beat(api.conn, "worker", "w1", {"broker": "connected"})

    async def told(change: str) -> tuple[str, dict[str, Any], str | None]:
        await api.conn.execute(f"UPDATE path_watch SET {change}")
        said = (await client.get(f"{ROOT}/readyz")).json()
        (check,) = (check for check in said["checks"] if check["name"] == "path")
        assert check["detail"] == said["parts"]["path"]
        assert [one["ok"] for one in said["checks"]] == [True] * 5 + [said["ready"]]
        assert (said["heartbeat_age_s"] is None) == (said["heartbeat_at"] is None)
        return said["status"], check, said["heartbeat_at"]

    status, check, heartbeat_at = await told("looked_at = clock_timestamp()")
    assert (status, check["detail"], heartbeat_at) == (
        "ready",
        "ok: no canary has arrived yet",
        None,
    )
    status, check, heartbeat_at = await told("arrived_at = '2026-11-22T08:15:30Z'")
    assert (status, check["ok"], heartbeat_at) == ("ready", True, "2026-11-22T08:15:30Z")
    status, check, _ = await told("broken_since = now(), broken_legs = '{heard,shown}'")
    assert (status, check["ok"]) == ("not_ready", False)
    assert check["detail"].endswith("canaries are not heard, not shown")
    status, check, _ = await told("broken_since = NULL, broken_legs = '{}'")
    assert (status, check["detail"]) == ("ready", "ok")
    status, check, _ = await told("looked_at = clock_timestamp() - interval '1000 s'")
    assert (status, check["ok"]) == ("not_ready", False)
    assert check["detail"].startswith("not watched for 1000 s: start a clerk")


async def test_a_newer_schema_is_not_ready(api: World) -> None:
    await api.conn.execute("INSERT INTO schema_migration VALUES ('9999_later.sql', 'x')")
    client = await api.anonymous()
    answer = await client.get(f"{ROOT}/readyz")
    assert answer.status_code == 503
    assert "9999_later.sql" in answer.json()["parts"]["schema"]


async def test_without_its_database_it_says_so_and_comes_back(
    api: World, postgres: str, database: str
) -> None:
    client = await api.client("operator")
    name = psycopg.conninfo.conninfo_to_dict(database)["dbname"]
    with psycopg.connect(postgres, autocommit=True) as other:
        other.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
        )
        answer = await client.get("/enterprises")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert answer.headers["retry-after"]
        assert (await client.get(f"{ROOT}/healthz")).status_code == 200
        ready = await client.get(f"{ROOT}/readyz")
        assert (ready.status_code, ready.json()["ready"]) == (503, False)
        assert (await client.get(f"{ROOT}/metrics")).status_code == 200
        other.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    async with asyncio.timeout(30):
        while (await client.get("/enterprises")).status_code != 200:
            await asyncio.wait({asyncio.create_task(client.get(f"{ROOT}/healthz"))})


async def test_metrics_show_what_prometheus_was_promised(api: World) -> None:
    await api.raise_alarm("E2:SD-2.smoke", tier=Tier.RED, age_s=86_400)
    client = await api.anonymous()
    answer = await client.get(f"{ROOT}/metrics")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert values["hazardloop_alarms_active", "red"] == 1
    assert values["hazardloop_alarms_active", "blue"] == 0
    assert values["hazardloop_cases_overdue", "dispatched"] == 1
    assert values["hazardloop_gateways_online",] == 0
    promised = {
        "hazardloop_messages_received",
        "hazardloop_readings_stored",
        "hazardloop_readings_rejected",
        "hazardloop_readings_duplicate",
        "hazardloop_batch_seconds",
        "hazardloop_alarm_latency_seconds",
        "hazardloop_spool_bytes",
        "hazardloop_ack_lag_messages",
        "hazardloop_heartbeat_timestamp_seconds",
    }
    assert promised <= set(families)


REFUSALS = [
    pytest.param("GET", "/nonsense", None, 404, "not_found", id="no such address"),
    pytest.param("POST", "/nonsense", "{}", 404, "not_found", id="no such address to write to"),
    pytest.param("DELETE", "/enterprises/E1", None, 405, "method_not_allowed", id="no deleting"),
    pytest.param("POST", "/enterprises", "{", 400, "bad_request", id="not JSON"),
    pytest.param("POST", "/enterprises", "[]", 422, "invalid", id="not an object"),
    pytest.param("POST", "/enterprises", '"' + "x" * 1_000_000 + '"', 413, "too_large", id="1 MB"),
    pytest.param("GET", "/alarms/17", None, 422, "invalid", id="an alarm's id that is none"),
    pytest.param("GET", "/points/99999999999999/readings", None, 404, "not_found", id="huge id"),
    pytest.param("GET", "/devices/%00", None, 422, "invalid", id="NUL in an address"),
    pytest.param("GET", "/devices?kind=%00", None, 422, "invalid", id="NUL in a filter"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "code"), REFUSALS)
async def test_every_refusal_is_a_problem_document(
    api: World, method: str, path: str, body: str | None, status: int, code: str
) -> None:
    client = await api.client("admin")
    answer = await client.request(
        method, path, content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert (document["status"], document["code"]) == (status, code)
    assert {"type", "title", "detail"} <= set(document)
    if status == 405:
        assert "GET" in answer.headers["allow"]


async def test_a_validation_error_names_the_field_and_never_repeats_a_password(api: World) -> None:
    client = await api.anonymous()
    body = {"username": "x" * 65, "password": "geheim"}
    answer = await client.post("/auth/login", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == ["body", "username"]
    assert "geheim" not in answer.text


async def test_an_error_of_ours_is_told_without_its_inside(
    api: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await api.client("operator")

    async def broken(*_: Any) -> None:
        raise RuntimeError("secret of the house")

    monkeypatch.setattr("hazardloop.service.api.enterprises.fetch", broken)
    answer = await client.get("/enterprises")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    "path", ["/api/v1/me", "/api/v1/nonsense", "/", "/docs", "/healthz", "/api/v1/openapi.json"]
)
async def test_every_answer_carries_the_server_s_time_and_the_security_headers(
    api: World, path: str
) -> None:
    client = await api.anonymous()
    headers = (await client.get(ROOT + path)).headers
    assert headers["x-server-time"] == "2026-11-22T01:00:00.000Z"
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    if path.startswith("/api/"):
        assert headers["cache-control"] == "no-store"


async def test_large_answers_are_compressed_for_who_takes_it(api: World) -> None:
    client = await api.anonymous()
    answer = await client.get("/openapi.json", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert len(answer.json()["paths"]) > 30


async def document_of(api: World) -> dict[str, Any]:
    """The api's description."""
    client = await api.anonymous()
    document: dict[str, Any] = (await client.get("/openapi.json")).json()
    return document


async def test_the_description_is_openapi_3_1_and_covers_every_route(api: World) -> None:
    document = await document_of(api)
    assert document["openapi"].startswith("3.1")
    described = {
        f"{method.upper()} {path.removeprefix('/api/v1')}"
        for path, methods in document["paths"].items()
        for method in methods
    }
    assert described == set(EXPECTED)
    tags = {tag["name"] for tag in document["tags"]}
    identities = []
    for methods in document["paths"].values():
        for operation in methods.values():
            assert operation["tags"], operation
            assert set(operation["tags"]) <= tags
            assert operation["summary"]
            assert operation["description"]
            identities.append(operation["operationId"])
    assert len(identities) == len(set(identities))


async def test_every_body_and_every_answer_has_an_example(api: World) -> None:
    document = await document_of(api)
    lacking = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            contents = {"body": operation.get("requestBody", {}).get("content", {})}
            contents |= {
                status: response.get("content", {})
                for status, response in operation["responses"].items()
            }
            for place, content in contents.items():
                for media, one in content.items():
                    if media.startswith(("image/", "application/pdf")):
                        continue
                    if one.get("schema", {}).get("format") == "binary":
                        continue
                    shown = one.get("example") or one.get("examples")
                    if not shown and example_of(document, one.get("schema", {})) in (None, {}, []):
                        lacking.append(f"{method} {path} {place} {media}")
    assert lacking == []


async def test_protected_operations_name_their_permission_and_the_problems_of_it(
    api: World,
) -> None:
    document = await document_of(api)
    for key, roles in EXPECTED.items():
        method, path = key.split(" ")
        paths = document["paths"]
        operation = (paths.get(f"/api/v1{path}") or paths[path])[method.lower()]
        assert ("security" in operation) == (roles is not None), key
        assert ({"401", "403"} <= set(operation["responses"])) or roles is None, key
    problem = document["components"]["schemas"]["Problem"]
    assert set(problem["properties"]["code"]["enum"]) == set(CODES)
    assert "HTTPValidationError" not in json.dumps(document)


async def test_the_docs_page_needs_nothing_from_elsewhere(api: World) -> None:
    client = await api.anonymous()
    text = (await client.get(f"{ROOT}/docs")).text
    assert "<script" not in text
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)
    for key in EXPECTED:
        assert key.split(" ")[1] in text


async def test_an_unbuilt_console_says_how_to_build_it(api: World) -> None:
    client = await api.anonymous()
    answer = await client.get(ROOT + "/")
    assert answer.status_code == 200
    assert "npm run build" in answer.text
    assert (await client.get(ROOT + "/favicon.svg")).status_code == 404


async def test_a_built_console_is_served_with_lasting_assets_and_nothing_beside_it(
    api: World, tmp_path: Path
) -> None:
    built = tmp_path / "dist"
    (built / "assets").mkdir(parents=True)
    (built / "index.html").write_text("<title>console</title>")
    (built / "assets" / "index-1a2b.js").write_text("let a = 1")
    (tmp_path / "secret.txt").write_text("secret")
    client = await api.anonymous()
    page = await client.get(ROOT + "/")
    assert "console" in page.text
    assert page.headers["cache-control"] == "no-cache"
    asset = await client.get(ROOT + "/assets/index-1a2b.js")
    assert "immutable" in asset.headers["cache-control"]
    assert asset.headers["content-type"].startswith("text/javascript")
    for path in ("/assets/..%2f..%2fsecret.txt", "/..%2fsecret.txt", "/assets/%00", "/assets/"):
        assert (await client.get(ROOT + path)).status_code == 404


async def test_a_taken_port_is_one_clear_line(database: str, tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        settings = Settings(database_url=database, home=tmp_path, api_port=port)
        with pytest.raises(CannotListen) as refused:
            await run_api(settings)
    assert re.fullmatch(
        rf"cannot listen on 127.0.0.1:{port} \(Address already in use\): .*HAZARDLOOP_API_PORT",
        str(refused.value),
    )


async def test_a_database_that_is_absent_or_behind_is_one_clear_line(
    postgres: str, tmp_path: Path, free_port: int
) -> None:
    settings = Settings(database_url=f"postgresql://127.0.0.1:{free_port}/none", home=tmp_path)
    with pytest.raises(DatabaseAbsent, match="start PostgreSQL"):
        await run_api(settings)
    settings = Settings(database_url=postgres, home=tmp_path)
    with pytest.raises(SchemaWrong, match="hazardloop migrate"):
        await run_api(settings)


def test_the_app_can_be_described_without_a_database() -> None:
    app = create_app(Settings(database_url="postgresql://nowhere"))
    assert app.openapi()["info"]["title"] == "HazardLoop"
