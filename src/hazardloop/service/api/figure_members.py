"""Which alarms a published figure counts, one by one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import ConfigDict, Field

from hazardloop.alarms.facts import Facts
from hazardloop.alarms.figures import FIGURES, GroupBy, grouped
from hazardloop.devices.instants import microseconds_of, utc
from hazardloop.service.api import paging
from hazardloop.service.api.access import Conn, Here, require
from hazardloop.service.api.figures import Wanted, facts_asked
from hazardloop.service.api.problems import Problem, problems
from hazardloop.service.api.schema import Instant, Out

router = APIRouter(tags=["figures"])


class Member(Out):
    """One alarm that a figure counts."""

    alarm_id: UUID
    raised_at: Instant


class MembersOut(paging.Listing[Member]):
    """The alarms that a figure counts, oldest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "total": 1,
                    "items": [
                        {
                            "alarm_id": "6a1f7c1e-2d0a-5c3e-9a35-3a1de1fca0a4",
                            "raised_at": "2026-11-22T01:12:07.120Z",
                        }
                    ],
                    "next_cursor": None,
                }
            ]
        }
    )
    total: int = Field(description="As large as the figure is.")


@router.get(
    "/kpi/members",
    dependencies=[require("figures.read")],
    responses=problems("not_found", "invalid", "bad_request"),
)
async def get_members(
    conn: Conn,
    here: Here,
    wanted: Wanted,
    page: paging.Paging,
    figure: Annotated[str, Query(description=f"One of {', '.join(FIGURES)}.")],
    key: Annotated[str | None, Query(description="Of the group, with `group_by`.")] = None,
) -> MembersOut:
    """Which alarms one figure counts, in the whole or in one group."""
    which = Which(figure, wanted.group_by, key, page)
    facts, enterprises = await facts_asked(conn, wanted, here.packed_months)
    return members_of(facts, enterprises, which)


@dataclass(frozen=True, slots=True)
class Which:
    """Whose members are wanted, and which page of them.

    Raises: Problem invalid: no such figure, or half a group; bad_request: a stray cursor.
    """

    figure: str
    group_by: GroupBy | None
    key: str | None
    page: paging.Page

    def __post_init__(self) -> None:
        if self.figure not in FIGURES:
            raise Problem("invalid", f"figure: {self.figure!r} is none of {', '.join(FIGURES)}")
        if (self.key is None) != (self.group_by is None):
            raise Problem("invalid", "key: it goes with group_by, and group_by with it")
        after = self.page.after
        if after and [type(part) for part in after] != [int, str]:
            raise Problem("bad_request", "this cursor is none that this list gave")


def members_of(facts: Facts, enterprises: Mapping[int, str], which: Which) -> MembersOut:
    """The alarms among these that a figure counts."""
    page, key = which.page, which.key
    keep = FIGURES[which.figure](facts)
    if which.group_by is not None:
        groups = grouped(facts, which.group_by, enterprises)
        keep &= groups.codes == (groups.keys.index(key) if key in groups.keys else -1)
    total = int(keep.sum())
    if page.after:
        keep &= facts.after(page.after[0], page.after[1])
    places = facts.first(keep, page.limit + 1)
    listed = [
        Member(alarm_id=one, raised_at=utc(int(at_us)))
        for one, at_us in zip(
            facts.alarm_ids(places), facts.column("raised_us")[places], strict=True
        )
    ]
    shown = paging.listing(listed, page, _place)
    return MembersOut(items=shown.items, next_cursor=shown.next_cursor, total=total)


def _place(one: Member) -> tuple[int, str]:
    return microseconds_of(one.raised_at), str(one.alarm_id)
