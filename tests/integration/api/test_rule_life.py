"""The life of a rule over the api, from what stands at a point to who may change it."""

from tests.integration.api.world import World


async def test_each_limit_of_a_point_says_where_it_comes_from(api: World) -> None:
    client = await api.client("operator")
    await api.conn.execute(
        "UPDATE device SET tags = '{\"height_m\": 7}', hazard_unit_id = 1 WHERE code = 'TK-1'"
    )
    told = (await client.get("/points/TK-1.level/limits")).json()
    assert (told["code"], told["unit"], told["grade"]) == ("TK-1.level", "m", 1)
    (red,) = (
        each for each in told["limits"]
        if each["rule"]["id"] == "tank.level.high" and each["tier"] == "red"
    )  # fmt: skip
    assert (red["limit"], red["deadband"], red["leaves_at"], red["unit"]) == (6.3, 0.07, 6.23, "m")
    assert red["scaled"] == {"tag": "height_m", "value": 7.0, "stands_in": False}
    assert (red["rule"]["version"], red["rule"]["origin"]) == (1, "file")
    assert red["rule"]["source"].startswith("house; H and HH")
    assert (red["on_delay_s"], red["off_delay_s"]) == (5.0, 60.0)
    silent = [each for each in told["limits"] if each["direction"] == "stale"]
    assert {each["unit"] for each in silent} == {"s"}


async def test_an_enterprise_asks_for_limits_of_its_own_points_only(api: World) -> None:
    ours, theirs = await api.client("ent1"), await api.client("ent2")
    assert (await ours.get("/points/E1:TK-1.level/limits")).status_code == 200
    assert (await theirs.get("/points/E1:TK-1.level/limits")).status_code == 404
