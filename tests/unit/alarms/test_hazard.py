"""Hazards: no station is skipped, nobody reviews their own work, a major one settles the five."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazardloop.alarms.alarm import Actor, Role
from hazardloop.alarms.errors import HazardForbidden, HazardOvertaken, HazardRefused
from hazardloop.alarms.hazard import (
    ACTS,
    FIVE,
    Act,
    Deed,
    Grade,
    Hazard,
    Origin,
    Regime,
    Station,
    advance,
    allowed,
    records,
)

NOW = datetime(2026, 11, 22, tzinfo=UTC)
SITE = Actor("zhang", "张三", Role.ENTERPRISE, 1)
OFFICER = Actor("li", "李四", Role.AUTHORITY)
SUPERVISOR = Actor("wang", "王五", Role.SUPERVISOR)
STRANGER = Actor("qian", "钱七", Role.ENTERPRISE, 2)
FIRE = tuple(regime for regime in Regime if regime is not Regime.NOTICE)
SETTLED = dict.fromkeys(FIVE, "定了") | {"deadline": date(2026, 12, 1)}


def hazard(grade: Grade = Grade.GENERAL) -> Hazard:
    nothing = dict.fromkeys(FIVE)
    return Hazard(1, 1, grade, Origin.SELF_INSPECTION, Station.FOUND, 1, "zhang", nothing)


def do(one: Hazard, act: Act, actor: Actor, **said: object) -> Hazard:
    said.setdefault("note", "说明")
    return advance(one, Deed(act, actor, one.revision, NOW, **said))  # type: ignore[arg-type]


def closed(grade: Grade = Grade.GENERAL) -> Hazard:
    one = do(hazard(grade), Act.REGISTER, OFFICER, settled=SETTLED)
    one = do(one, Act.NOTIFY, OFFICER)
    return do(do(do(one, Act.RECTIFY, SITE), Act.REPORT, SITE), Act.CLOSE, OFFICER)


def test_a_hazard_goes_from_found_to_closed_and_is_looked_at_again() -> None:
    one = closed()
    assert (one.station, one.revision, one.closed_by) == (Station.CLOSED, 6, "li")
    assert one.recheck_due == (NOW + timedelta(days=30)).date()
    assert do(one, Act.RECHECK, OFFICER).recheck_due is None
    again = do(one, Act.RECHECK, OFFICER, recurred=True)
    assert (again.station, again.recurred, again.closed_by) == (Station.REGISTERED, 1, None)


def test_a_major_one_settles_the_five_and_is_notified_first() -> None:
    one = do(hazard(Grade.MAJOR), Act.REGISTER, OFFICER)
    with pytest.raises(HazardRefused, match="responsible, measures, funds, deadline, plan"):
        do(one, Act.RECTIFY, SITE)
    one = do(do(one, Act.RECTIFY, SITE, settled=SETTLED), Act.REPORT, SITE)
    with pytest.raises(HazardRefused, match="notified"):
        do(one, Act.CLOSE, OFFICER)
    fire = advance(one, Deed(Act.CLOSE, OFFICER, one.revision, NOW), FIRE)
    assert fire.station is Station.CLOSED
    assert do(do(one, Act.NOTIFY, OFFICER), Act.CLOSE, OFFICER).station is Station.CLOSED


def test_who_put_it_right_does_not_review_it() -> None:
    one = do(hazard(), Act.REGISTER, SUPERVISOR)
    one = do(do(one, Act.RECTIFY, SUPERVISOR), Act.REPORT, SITE)
    with pytest.raises(HazardForbidden, match="put it right"):
        do(one, Act.CLOSE, SUPERVISOR)
    assert do(one, Act.RETURN, OFFICER).returned == 1


def test_a_stale_revision_and_another_enterprise_are_refused() -> None:
    with pytest.raises(HazardOvertaken):
        advance(replace(hazard(), revision=2), Deed(Act.REGISTER, SITE, 1, NOW))
    with pytest.raises(HazardForbidden, match="another enterprise"):
        do(hazard(), Act.REGISTER, STRANGER)


def test_a_listed_one_is_not_cleared_to_zero_before_it_is_released() -> None:
    one = do(do(hazard(), Act.REGISTER, OFFICER), Act.SUPERVISE, OFFICER)
    one = do(do(do(one, Act.RECTIFY, SITE), Act.REPORT, SITE), Act.CLOSE, OFFICER)
    assert records(one)[Regime.CLOSE_OUT]
    assert not records(one)[Regime.CLEAR_TO_ZERO]
    assert records(do(one, Act.RELEASE, OFFICER))[Regime.CLEAR_TO_ZERO]


@given(
    st.sampled_from(Grade),
    st.lists(
        st.tuples(
            st.sampled_from(Act),
            st.sampled_from([SITE, OFFICER, SUPERVISOR, STRANGER]),
            st.booleans(),
            st.sampled_from([None, "  ", "说明"]),
        ),
        max_size=25,
    ),
)
def test_no_walk_reaches_closed_another_way(
    grade: Grade, walk: list[tuple[Act, Actor, bool, str | None]]
) -> None:
    one, reported_by = hazard(grade), set[str]()
    for act, actor, full, note in walk:
        before = one
        settled = SETTLED if full else {}
        deed = Deed(act, actor, one.revision, NOW, note, settled, recurred=full)
        try:
            one = advance(one, deed)
        except (HazardRefused, HazardForbidden):
            assert one == before
            continue
        assert act in allowed(before, actor)
        assert one.revision == before.revision + 1
        if act in (Act.RECTIFY, Act.REPORT):
            reported_by.add(actor.username)
        stations = list(Station)
        if stations.index(one.station) > stations.index(before.station):
            assert stations.index(one.station) == stations.index(before.station) + 1
        if one.station is Station.CLOSED:
            assert one.closed_by not in reported_by
            assert reported_by
            assert grade is Grade.GENERAL or (one.notified and all(one.settled.values()))


def test_every_act_is_for_somebody_and_every_station_is_left() -> None:
    assert set(ACTS) == set(Act)
    left = {station for stations, after, _ in ACTS.values() for station in stations if after}
    assert left == set(Station) - {Station.CLOSED}
