"""One dead letter looked at, and asked for again."""

import base64
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.integration.api.world import World


async def letter(api: World, payload: bytes, /, **changes: Any) -> int:
    row = {
        "received_at": api.now - timedelta(hours=1),
        "reason": "unknown_point",
        "detail": "GD-9.lel",
        "topic": "hl/v1/E1/GW-1/telemetry",
        "enterprise_id": 1,
        "gateway_id": 1,
        "payload": payload,
        "payload_bytes": len(payload),
        "readings": 1,
    } | changes
    cursor = await api.conn.execute(
        f"INSERT INTO dead_letter ({', '.join(row)}) VALUES ({', '.join('%s' for _ in row)})"
        " RETURNING dead_letter_id",
        list(row.values()),
    )
    found = await cursor.fetchone()
    assert found is not None
    return int(found[0])


async def finish(api: World, **outcome: Any) -> None:
    """What a worker writes; the real one does so in test_retries.py."""
    row = {"stored": 0, "duplicates": 0, "reason": None, "detail": None} | outcome
    await api.conn.execute(
        "UPDATE dead_letter_retry SET done_at = now(), stored = %(stored)s, reason = %(reason)s,"
        " duplicates = %(duplicates)s, detail = %(detail)s WHERE done_at IS NULL",
        row,
    )


async def test_a_letter_shows_its_bytes_and_what_became_of_it(api: World) -> None:
    identity = await letter(api, b"\xff\xfe{")
    client = await api.client("operator")
    shown = (await client.get(f"/dead-letters/{identity}")).json()
    assert base64.b64decode(shown["payload_base64"]) == b"\xff\xfe{"
    assert (shown["payload_hex"], shown["state"], shown["retries"]) == ("fffe7b", "kept", [])
    answer = await client.post(f"/dead-letters/{identity}/retry")
    assert (answer.status_code, answer.json()["state"]) == (202, "waiting")
    again = (await (await api.client("admin")).post(f"/dead-letters/{identity}/retry")).json()
    assert [one["asked_by"] for one in again["retries"]] == ["operator"]
    await finish(api, reason="unknown_point", detail="GD-9.lel")
    assert (await client.get(f"/dead-letters/{identity}")).json()["state"] == "refused_again"
    await client.post(f"/dead-letters/{identity}/retry")
    await finish(api, stored=1)
    shown = (await client.post(f"/dead-letters/{identity}/retry")).json()
    assert (shown["state"], len(shown["retries"])) == ("stored", 2)
    assert (await client.get("/dead-letters")).json()["items"][0]["state"] == "stored"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"payload_bytes": 5_000}, "only 2 of its 5000 bytes were kept"),
        ({"payload": b"", "payload_bytes": 0}, "there is no payload"),
        ({"counted": True, "messages": 12_340, "payload": b"", "payload_bytes": 0}, "12340"),
    ],
)
async def test_what_was_not_kept_whole_is_refused_with_the_reason(
    api: World, changes: dict[str, Any], why: str
) -> None:
    identity = await letter(api, b"{}", **changes)
    client = await api.client("supervisor")
    answer = await client.post(f"/dead-letters/{identity}/retry")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_retryable")
    assert why in answer.json()["detail"]
    asked = (await client.post("/dead-letters/retry", json={"reason": "unknown_point"})).json()
    assert asked == {"asked": 0, "left": 0}


async def test_many_are_asked_for_at_once_within_a_bound(api: World) -> None:
    for nth in range(5):
        await letter(api, b"{}", reason="unknown_point" if nth else "not_json")
    await letter(api, b"{}", enterprise_id=2, gateway_id=2)
    client = await api.client("supervisor")
    wanted = {"gateway": "E1:GW-1", "reason": "unknown_point", "limit": 3}
    assert (await client.post("/dead-letters/retry", json=wanted)).json() == {"asked": 3, "left": 1}
    assert (await client.post("/dead-letters/retry", json=wanted)).json() == {"asked": 1, "left": 0}
    assert (await client.post("/dead-letters/retry", json=wanted)).json() == {"asked": 0, "left": 0}
    refused = await client.post("/dead-letters/retry", json={})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid")


async def test_an_enterprise_sees_its_own_letters_and_asks_for_none(api: World) -> None:
    mine, other = await letter(api, b"{}"), await letter(api, b"{}", enterprise_id=2, gateway_id=2)
    own = await api.client("ent1")
    assert (await own.get(f"/dead-letters/{mine}")).status_code == 200
    assert (await own.get(f"/dead-letters/{other}")).status_code == 404
    assert (await own.post(f"/dead-letters/{mine}/retry")).status_code == 403


async def test_who_asked_cannot_be_changed_by_the_api(api: World) -> None:
    identity = await letter(api, b"{}")
    client = await api.client("operator")
    await client.post(f"/dead-letters/{identity}/retry")
    for statement in (
        "UPDATE dead_letter_retry SET asked_by = 1",
        "UPDATE dead_letter_retry SET done_at = now()",
        "DELETE FROM dead_letter_retry",
        "DELETE FROM dead_letter",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await as_api(api, statement)


async def as_api(api: World, statement: str) -> None:
    async with api.conn.transaction():
        await api.conn.execute("SET LOCAL ROLE hazardloop_api")
        await api.conn.execute(statement)  # type: ignore[arg-type]
