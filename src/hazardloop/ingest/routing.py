"""Whose topic it is, and which point a code names there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

import numpy as np

from hazardloop.devices import wire
from hazardloop.devices.dialects.dialect import Reader
from hazardloop.devices.dialects.readers import topics_of
from hazardloop.devices.readings import Bools, Quality, Rows
from hazardloop.devices.registry import Gateway, Registry
from hazardloop.devices.wire import Channel, PayloadRefused, Reason
from hazardloop.ingest.texts import Places, Texts, TextTable

CHANNELS: Final = {Channel.TELEMETRY: 0, Channel.BACKFILL: int(Quality.BACKFILL)}
"""What brings readings, and the flags they start with."""
OWN_DIALECT: Final = 0
"""Group of the topics that are in our own dialect."""


@dataclass(frozen=True, slots=True)
class Routes:
    """The topics of all gateways, and their points' codes, ready to be looked up."""

    registry: Registry
    foreign: Mapping[bytes, Reader]
    """What reads the messages of a topic that are not in our own dialect."""
    gateways: Sequence[Gateway]
    """Those that the tables know, as they were when the tables were made."""
    gateway_id: Rows
    """(gateways,)."""
    current: Bools
    """(gateways,) the tables are right for it; a message of any other is opened by itself."""
    topics: TextTable
    """(OWN_DIALECT, topic) of what brings readings in our own dialect; `CHANNELS` of a gateway."""
    codes: TextTable
    """(place of the gateway, code) of each point that may be reported."""
    rows: Rows
    """The row of each entry of `codes`, and -1 for none: its entry is -1."""

    @property
    def whole(self) -> bool:
        """Whether the tables know every gateway as it is."""
        return len(self.gateways) == len(self.registry.gateways) and bool(self.current.all())

    def find(self, topics: Texts) -> Places:
        """(n,) number of each topic; -1: not one of ours, or of a gateway that changed."""
        number = self.topics.find(np.full(len(topics), OWN_DIALECT), topics)
        if not self.current.all():
            number[~self.current[number // len(CHANNELS)]] = -1
        return number


def routes_of(registry: Registry) -> Routes:
    """The routes of a registry."""
    return _with_tables(registry, _foreign(registry, {}))


def moved_to(registry: Registry, before: Routes) -> Routes:
    """`before` for the registry as it is now, at once.

    The tables stay; messages of gateways that changed are opened by themselves until the tables
    have been `renewed`.
    """
    now = registry.gateways
    same = (
        now.get(f"{gateway.enterprise}/{gateway.code}") is gateway for gateway in before.gateways
    )
    return replace(
        before,
        registry=registry,
        foreign=_foreign(registry, before.foreign),
        current=np.fromiter(same, np.bool_, len(before.gateways)),
    )


def renewed(routes: Routes) -> Routes:
    """`routes` with tables of all gateways; takes a second for half a million points."""
    return _with_tables(routes.registry, routes.foreign)


def _foreign(registry: Registry, before: Mapping[bytes, Reader]) -> dict[bytes, Reader]:
    foreign: dict[bytes, Reader] = {}
    for gateway in registry.gateways.values():
        foreign |= topics_of(gateway, registry, before)
    return foreign


def _with_tables(registry: Registry, foreign: Mapping[bytes, Reader]) -> Routes:
    gateways = [*registry.gateways.values()]
    topics = [
        wire.topic(gateway.enterprise, gateway.code, channel).encode()
        for gateway in gateways
        for channel in CHANNELS
    ]
    ours = np.fromiter((OWN_DIALECT if topic not in foreign else -1 for topic in topics), np.int64)
    known = [gateway.rows for gateway in gateways]
    group = np.repeat(np.arange(len(known)), np.fromiter(map(len, known), np.int64, len(known)))
    return Routes(
        registry,
        foreign,
        gateways,
        np.array([gateway.gateway_id for gateway in gateways], np.int32),
        np.ones(len(gateways), np.bool_),
        TextTable(ours, Texts.of(topics)),
        TextTable(group, Texts.of(map(str.encode, chain.from_iterable(known)))),
        np.array([*chain.from_iterable(each.values() for each in known), -1], np.int32),
    )


def sender(topic: bytes, registry: Registry) -> tuple[Gateway, Channel]:
    """The registered gateway that may use this topic, and the topic's last part.

    Raises PayloadRefused: there is none.
    """
    address = wire.address_of(topic)
    if address is None:
        raise PayloadRefused(
            Reason.UNKNOWN_GATEWAY, f"topic {topic[:200]!r} is not hl/v1/ENTERPRISE/GATEWAY/…"
        )
    gateway = registry.gateways.get(f"{address.enterprise}/{address.gateway}")
    if gateway is not None:
        return gateway, address.channel
    homes = registry.gateway_homes.get(address.gateway)
    if homes:
        raise PayloadRefused(
            Reason.WRONG_ENTERPRISE,
            f"gateway {address.gateway} is registered, but not for enterprise {address.enterprise}",
        )
    raise PayloadRefused(
        Reason.UNKNOWN_GATEWAY,
        f"no gateway {address.gateway} of enterprise {address.enterprise} is registered",
    )


def reader_of(topic: bytes, gateway: Gateway, channel: Channel, routes: Routes) -> Reader | None:
    """None: the message is in our own dialect. PayloadRefused: nobody here reads it."""
    if channel is not Channel.SPARKPLUG:
        return routes.foreign.get(topic)
    reader = routes.foreign.get(wire.sparkplug_topic(gateway.enterprise, gateway.code))
    if reader is None:
        raise PayloadRefused(
            Reason.BAD_SHAPE, f"gateway {gateway.code} is not registered to speak Sparkplug B"
        )
    return reader


def why_strange(code: str, gateway: Gateway, registry: Registry) -> tuple[Reason, str]:
    """Why a gateway may not report a point of this code."""
    device, _, quantity = code.rpartition(".")
    device = device or code
    homes = registry.device_homes.get(device, frozenset())
    shown = code[:130]
    ours = registry.own.get((gateway.gateway_id, quantity))
    if ours is not None and registry.devices[ours].code == device:
        return Reason.UNKNOWN_POINT, f"{shown}: only the service itself measures this"
    if homes and gateway.enterprise not in homes:
        detail = f"{shown}: the device is not of enterprise {gateway.enterprise}"
        return Reason.WRONG_ENTERPRISE, detail
    if device in gateway.devices:
        detail = f"{shown}: device {device} has no such point"
    elif homes:
        detail = f"{shown}: device {device} is registered at another gateway"
    else:
        detail = f"{shown}: no such device is registered"
    return Reason.UNKNOWN_POINT, detail
