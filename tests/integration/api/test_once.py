"""Requests that come again under the key of the first: answered, and done once."""

import asyncio

from hazardloop.alarms.alarm import case_id_of
from hazardloop.service import clerk
from hazardloop.service.settings import Settings
from tests.files import jpeg
from tests.integration.api.world import World


async def test_a_request_with_a_key_takes_effect_once(api: World) -> None:
    case = f"/cases/{case_id_of(await api.raise_alarm())}"
    site, officer = await api.client("ent1"), await api.client("authority")
    revision = (await site.get(case)).json()["revision"]
    sign = {"action": "sign", "revision": revision}
    key = {"Idempotency-Key": "phone-0001"}
    answers = await asyncio.gather(
        *(site.post(f"{case}/steps", json=sign, headers=key) for _ in range(4))
    )
    assert [one.status_code for one in answers] == [201] * 4
    found = (await site.get(case)).json()
    assert found["revision"] == revision + 1
    assert [one["action"] for one in found["steps"]].count("sign") == 1

    other = await site.post(f"{case}/steps", json=sign | {"note": "x"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (409, "key_reused")
    # Each person has keys of their own; one that was refused is free.
    late = await officer.post(f"{case}/steps", json=sign, headers=key)
    assert (late.status_code, late.json()["code"]) == (409, "overtaken")
    signed = {"action": "sign", "revision": late.json()["revision"]}
    assert (await officer.post(f"{case}/steps", json=signed, headers=key)).status_code == 201
    wrong = await site.post(f"{case}/steps", json=sign, headers={"Idempotency-Key": "a b"})
    assert wrong.status_code == 422

    photo = {"Idempotency-Key": "phone-0002"}
    sent = [
        await site.post(
            f"{case}/evidence", files={"file": ("a.jpg", jpeg(), "image/jpeg")}, headers=photo
        )
        for _ in range(2)
    ]
    assert [one.status_code for one in sent] == [201, 201]
    assert sent[0].json() == sent[1].json()
    assert len((await site.get(case)).json()["evidence"]) == 1

    await api.conn.execute("UPDATE taken_request SET taken_at = taken_at - interval '40 days'")
    assert await clerk.do_chores(api.conn, Settings())
    left = await api.conn.execute("SELECT count(*) FROM taken_request")
    assert await left.fetchone() == (0,)
