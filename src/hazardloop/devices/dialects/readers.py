"""The reader for each topic of a gateway that does not speak ours."""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from hazardloop.devices.dialects.dialect import Reader
from hazardloop.devices.registry import Gateway

Maker: TypeAlias = Callable[[Gateway, Reader | None], Reader]
"""A gateway and its reader at the revision before, to the reader that goes on from there."""
MAKERS: Final[Mapping[str, Maker]] = {}
"""By the dialect's name in the registry; ours is not here, it needs no reader."""


def topics_of(gateway: Gateway, before: Mapping[bytes, Reader]) -> dict[bytes, Reader]:
    """Topic to reader of a gateway; empty for one that speaks our own dialect.

    Args:
        gateway: whose topics.
        before: topic to reader of all gateways at the revision before, so that what a reader
            remembers outlives a change of the registry.
    """
    return {}
