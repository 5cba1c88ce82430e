"""Logging in and out, and how long a session lasts."""

import hashlib
from datetime import timedelta

import pytest

from tests.integration.api.world import PASSWORD, World


async def test_login_gives_a_token_and_a_cookie_that_scripts_cannot_read(api: World) -> None:
    client = await api.anonymous()
    answer = await client.post("/auth/login", json={"username": "ent1", "password": PASSWORD})
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"]
    assert "hazardloop_session=" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie
    user = answer.json()["user"]
    assert user["enterprise"] == {"id": 1, "code": "E1", "name": "示范化工"}
    assert user["role"] == "enterprise"
    assert "cases.step" in user["permissions"]
    assert "alarms.acknowledge" not in user["permissions"]
    assert (await client.get("/me")).json() == user


async def test_over_https_the_cookie_is_for_https_only(api: World) -> None:
    client = await api.anonymous()
    answer = await client.post(
        "https://testserver/api/v1/auth/login",
        json={"username": "operator", "password": PASSWORD},
    )
    assert "Secure" in answer.headers["set-cookie"]
    assert "max-age" in answer.headers["strict-transport-security"]


async def test_only_a_hash_of_the_token_is_stored(api: World) -> None:
    client = await api.client("operator")
    token = client.headers["Authorization"].removeprefix("Bearer ")
    rows = await (await api.conn.execute("SELECT token_sha256 FROM user_session")).fetchall()
    assert [bytes(row[0]) for row in rows] == [hashlib.sha256(token.encode()).digest()]
    assert len(token) >= 43  # 256 bits in base64


async def test_a_wrong_password_and_an_unknown_user_are_told_the_same(api: World) -> None:
    client = await api.anonymous()
    answers = [
        await client.post("/auth/login", json={"username": name, "password": "wrong " + PASSWORD})
        for name in ("operator", "nobody", "no\u0000body")
    ]
    assert [answer.status_code for answer in answers] == [401] * 3
    assert answers[0].json() == answers[1].json() == answers[2].json()
    assert answers[0].json()["code"] == "bad_credentials"


async def test_a_user_that_was_put_out_of_use_is_out_at_once(api: World) -> None:
    client = await api.client("operator")
    await api.conn.execute("UPDATE user_account SET active = false WHERE username = 'operator'")
    assert (await client.get("/me")).status_code == 401
    anonymous = await api.anonymous()
    answer = await anonymous.post(
        "/auth/login", json={"username": "operator", "password": PASSWORD}
    )
    assert answer.json()["code"] == "bad_credentials"


async def test_the_sixth_wrong_password_in_a_minute_has_to_wait(api: World) -> None:
    client = await api.anonymous()
    wrong = {"username": "operator", "password": "wrong"}
    codes = [(await client.post("/auth/login", json=wrong)).status_code for _ in range(6)]
    assert codes == [401] * 5 + [429]
    right = {"username": "operator", "password": PASSWORD}
    refused = await client.post("/auth/login", json=right)
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "60"
    api.now += timedelta(seconds=61)
    assert (await client.post("/auth/login", json=right)).status_code == 200


async def test_a_session_ends_after_half_an_hour_without_use(api: World) -> None:
    client = await api.client("operator")
    for _ in range(3):
        api.now += timedelta(minutes=29)
        assert (await client.get("/me")).status_code == 200
    api.now += timedelta(minutes=31)
    assert (await client.get("/me")).status_code == 401


async def test_a_session_ends_after_twelve_hours_however_busy(api: World) -> None:
    client = await api.client("operator")
    for _ in range(28):
        api.now += timedelta(minutes=25)
        assert (await client.get("/me")).status_code == 200
    api.now += timedelta(minutes=25)
    assert (await client.get("/me")).status_code == 401


async def test_a_token_is_worthless_after_logout(api: World) -> None:
    client = await api.client("operator")
    assert (await client.post("/auth/logout")).status_code == 204
    assert (await client.get("/me")).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({}, 204, id="a program without a browser is let through"),
        pytest.param({"Sec-Fetch-Site": "same-origin"}, 204, id="this site's page is let through"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, 403, id="another site's page is refused"),
        pytest.param({"Sec-Fetch-Site": "same-site"}, 403, id="a sister site's page is refused"),
        pytest.param({"Origin": "http://testserver"}, 204, id="its own origin is let through"),
        pytest.param({"Origin": "http://evil.example"}, 403, id="a foreign origin is refused"),
        pytest.param({"Origin": "null"}, 403, id="an origin of null is refused"),
    ],
)
async def test_a_write_with_the_cookie_must_come_from_this_site(
    api: World, headers: dict[str, str], status: int
) -> None:
    client = await api.anonymous()
    await client.post("/auth/login", json={"username": "operator", "password": PASSWORD})
    assert (await client.post("/auth/logout", headers=headers)).status_code == status


async def test_a_bearer_token_is_not_sent_by_browsers_so_its_origin_is_free(api: World) -> None:
    client = await api.client("operator")
    answer = await client.post("/auth/logout", headers={"Origin": "http://other.example"})
    assert answer.status_code == 204


async def test_nobody_can_be_logged_in_by_another_site(api: World) -> None:
    client = await api.anonymous()
    answer = await client.post(
        "/auth/login",
        json={"username": "operator", "password": PASSWORD},
        headers={"Sec-Fetch-Site": "cross-site"},
    )
    assert answer.json()["code"] == "cross_site"
