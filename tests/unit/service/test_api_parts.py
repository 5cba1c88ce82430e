"""The small pure parts of the api."""

import base64
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazardloop.alarms.alarm import Role, Tier
from hazardloop.alarms.errors import CaseOvertaken
from hazardloop.service.api.access import require
from hazardloop.service.api.alarm_views import limits_of
from hazardloop.service.api.paging import Page, decode_cursor, encode_cursor, listing
from hazardloop.service.api.permissions import DISPOSERS, PERMISSIONS, permissions_of
from hazardloop.service.api.problems import CODES, EXCEPTIONS, Problem, problems
from hazardloop.service.api.readings import bucket_width
from hazardloop.service.api.throttle import MOST_KEYS, Throttle

KEYS = st.lists(
    st.one_of(
        st.integers(),
        st.text(),
        st.datetimes(timezones=st.just(UTC)),
        st.uuids(),
    ),
    min_size=1,
    max_size=3,
).map(tuple)


@given(KEYS)
def test_a_cursor_gives_back_the_key_it_was_made_of(key: tuple[Any, ...]) -> None:
    expected = tuple(str(part) if isinstance(part, UUID) else part for part in key)
    assert decode_cursor(encode_cursor(key)) == expected


@given(st.text(max_size=60))
def test_a_made_up_cursor_is_a_refusal_and_nothing_worse(text: str) -> None:
    with suppress(Problem):
        decode_cursor(text)


@pytest.mark.parametrize(
    "content", ["[]", "{}", "[null]", "[true]", '[{"x":1}]', '[{"t":"no"}]', "1"]
)
def test_a_cursor_with_other_content_is_refused(content: str) -> None:
    with pytest.raises(Problem, match="bad_request"):
        decode_cursor(base64.urlsafe_b64encode(content.encode()).decode())


def test_the_last_page_has_no_cursor() -> None:
    page = Page(2, None)
    assert listing([1, 2], page, lambda one: (one,)).next_cursor is None
    more = listing([1, 2, 3], page, lambda one: (one,))
    assert more.items == [1, 2]
    assert more.next_cursor is not None
    assert decode_cursor(more.next_cursor) == (2,)


def test_administrators_auditors_and_testers_take_no_step_on_a_case() -> None:
    assert {Role.ENTERPRISE, Role.OPERATOR, Role.SUPERVISOR, Role.AUTHORITY} == DISPOSERS
    for role in (Role.ADMIN, Role.AUDITOR, Role.TESTER):
        may = permissions_of(role)
        assert not [name for name in may if name.startswith("cases.") and name != "cases.read"]
        assert "alarms.acknowledge" not in may


def test_nobody_who_handles_a_case_writes_the_registry_but_the_supervisor() -> None:
    assert PERMISSIONS["registry.write"] & DISPOSERS == {Role.SUPERVISOR}


def test_a_permission_that_is_in_no_table_cannot_be_declared() -> None:
    with pytest.raises(LookupError, match="reactor"):
        require("reactor.start")


def test_every_mapped_exception_becomes_a_problem_with_a_known_code() -> None:
    overtaken = EXCEPTIONS[CaseOvertaken](CaseOvertaken(UUID(int=1), 5, 4))
    assert (overtaken.code, overtaken.document()["revision"]) == ("overtaken", 5)
    for code, (status, title) in CODES.items():
        document = Problem(code, "d", extra=1).document()
        assert document["status"] == status
        assert document["title"] == title
        assert document["extra"] == 1
        assert 400 <= status < 600


def test_problems_of_one_status_are_documented_together() -> None:
    told = problems("changed", "already_acknowledged")
    assert set(told) == {409}
    examples = told[409]["content"]["application/problem+json"]["examples"]
    assert set(examples) == {"changed", "already_acknowledged"}


def test_failures_are_forgotten_after_a_minute() -> None:
    throttle = Throttle()
    assert [throttle.wait_s("a", "1.1.1.1", 0.0) for _ in range(6)] == [0] * 5 + [60]
    assert throttle.wait_s("a", "1.1.1.1", 59.5) == 1
    assert throttle.wait_s("a", "1.1.1.1", 60.0) == 0


def test_failures_elsewhere_do_not_lock_an_account_out() -> None:
    throttle = Throttle()
    for _ in range(6):
        throttle.wait_s("a", "1.1.1.1", 0.0)
    assert throttle.wait_s("a", "2.2.2.2", 0.0) == 0


def test_many_accounts_from_one_address_have_to_wait_too() -> None:
    throttle = Throttle()
    waits = [throttle.wait_s(f"user{number}", "1.1.1.1", 0.0) for number in range(21)]
    assert waits == [0] * 20 + [60]


def test_those_who_know_their_password_never_wait() -> None:
    throttle = Throttle()
    for second in range(100):
        assert throttle.wait_s("a", "1.1.1.1", second / 10) == 0
        throttle.succeeded("a", "1.1.1.1")


def test_made_up_names_do_not_fill_the_memory() -> None:
    throttle = Throttle()
    for number in range(MOST_KEYS + 100):
        throttle.wait_s(f"user{number}", f"10.0.{number}", 0.0)
    assert MOST_KEYS - 10 <= len(throttle) <= MOST_KEYS + 2
    throttle.wait_s("a", "1.1.1.1", 61.0)
    assert len(throttle) == 2


@pytest.mark.parametrize(
    ("text", "width"),
    [
        ("10s", timedelta(seconds=10)),
        ("5m", timedelta(minutes=5)),
        ("1h", timedelta(hours=1)),
        ("31d", timedelta(days=31)),
    ],
)
def test_bucket_widths(text: str, width: timedelta) -> None:
    assert bucket_width(text) == width


@pytest.mark.parametrize("text", ["", "m", "0m", "-1m", "1.5m", "1 m", "1w", "32d", "99999h", "٣m"])
def test_other_widths_are_refused(text: str) -> None:
    with pytest.raises(Problem, match="bucket"):
        bucket_width(text)


def test_limits_that_are_parts_of_a_height_are_shown_in_the_point_s_unit() -> None:
    condition = {"limits": {"yellow": 0.85, "orange": 0.9}, "of": "height_m", "direction": "high"}
    limits = limits_of({"condition": condition}, Tier.ORANGE, 7.2, "high")
    assert [(one.tier, one.limit) for one in limits] == [("yellow", 6.8), ("orange", 7.2)]


def test_an_alarm_of_silence_or_state_has_the_one_limit_that_it_crossed() -> None:
    limits = limits_of({"condition": {"tier": "blue"}}, Tier.BLUE, 180.0, "stale")
    assert [(one.tier, one.limit, one.direction) for one in limits] == [("blue", 180.0, "stale")]


def test_times_in_cursors_keep_their_microseconds() -> None:
    at = datetime(2026, 11, 22, 1, 2, 3, 456789, UTC)
    assert decode_cursor(encode_cursor((at,))) == (at,)
