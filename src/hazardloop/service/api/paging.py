"""Lists in pages: a limit, and an opaque cursor that says after which item to go on."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from fastapi import Depends, Query
from pydantic import Field

from hazardloop.service.api.problems import Problem
from hazardloop.service.api.schema import Out

Item = TypeVar("Item")
KeyPart = int | str | datetime | UUID


class Listing(Out, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next_cursor: str | None = Field(
        default=None, description="Give it as `cursor` for the next page; null at the end."
    )


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is wanted."""

    limit: int
    after: tuple[Any, ...] | None
    """Key of the last item of the page before; None = from the start."""


async def wanted_page(
    limit: Annotated[int, Query(ge=1, le=1000, description="Most items of one page.")] = 100,
    cursor: Annotated[
        str | None, Query(max_length=1000, description="`next_cursor` of the page before.")
    ] = None,
) -> Page:
    """The page that the query asks for."""
    return Page(limit, decode_cursor(cursor) if cursor else None)


Paging = Annotated[Page, Depends(wanted_page)]


def listing(
    items: Sequence[Item], page: Page, key: Callable[[Item], tuple[KeyPart, ...]]
) -> Listing[Item]:
    """At most `page.limit` of `items` (fetched one longer), and the cursor when there are more."""
    shown = list(items[: page.limit])
    more = len(items) > page.limit
    return Listing(items=shown, next_cursor=encode_cursor(key(shown[-1])) if more else None)


def encode_cursor(key: tuple[KeyPart, ...]) -> str:
    """`key` as an opaque word."""
    parts = [
        {"t": part.isoformat()}
        if isinstance(part, datetime)
        else part
        if isinstance(part, int)
        else str(part)
        for part in key
    ]
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[Any, ...]:
    """The key in `cursor`; Problem bad_request when it is none of ours."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        parts = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        key = tuple(_part(part) for part in parts)
    except (ValueError, TypeError, KeyError, RecursionError, binascii.Error) as error:
        raise Problem("bad_request", "this cursor is none that a list gave") from error
    if not key:
        raise Problem("bad_request", "this cursor is none that a list gave")
    return key


def _part(part: Any) -> Any:
    if isinstance(part, dict):
        return datetime.fromisoformat(part["t"])
    if isinstance(part, int | str) and not isinstance(part, bool):
        return part
    raise ValueError(part)
