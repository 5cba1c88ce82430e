"""Reads back over the API what a simulated fleet caused, and judges it."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from hazardloop.service.errors import ServiceError
from hazardloop.simulators.district import build_district
from hazardloop.simulators.faults import FaultKind
from hazardloop.simulators.logbook import rfc3339
from hazardloop.simulators.score import Score, score, seen_alarm

if TYPE_CHECKING:
    from hazardloop.service.simulate import Played

SAMPLED: Final = 20
"""Points whose stored readings are counted: one each of gateways spread over the fleet."""
ANSWER_S: Final = 30.0


class ScoreImpossible(ServiceError):
    """The service does not answer, or not as it should."""


def judge(played: "Played", api_url: str, token: str) -> Score:
    """The score of a run that is over. ScoreImpossible: the API refused or did not answer."""
    if played.counts.epoch is None:
        raise ScoreImpossible(f"no gateway was admitted: {played.counts.trouble or 'no answer'}")
    api = _Api(api_url, token)
    district = build_district(
        played.scenario.seed, played.scenario.gateways, played.scenario.points
    )
    gateways = {
        device.code: gateway.code for _, gateway in district.fleet() for device in gateway.devices
    }
    span = {"from": played.counts.epoch, "to": rfc3339(played.ended_s + 60.0)}
    alarms = [
        seen_alarm(found, gateways)
        for found in api.items("/alarms", span)
        if found["device"]["code"] in gateways
    ]
    silent = frozenset(
        fault.gateway
        for fault in played.scenario.faults
        if fault.kind is FaultKind.OFFLINE and fault.gateway is not None
    )
    stored = {}
    fleet = [
        (f"{enterprise}/{gateway.code}", gateway)
        for enterprise, gateway in district.fleet()
        if f"{enterprise}/{gateway.code}" in played.counts.reports_acknowledged
    ]
    for key, gateway in fleet[:: max(1, len(fleet) // SAMPLED)]:
        point = f"{gateway.devices[0].code}.{gateway.devices[0].quantities[0]}"
        if point.rpartition(".")[2] != "entrapment":
            found_readings = sum(1 for _ in api.items(f"/points/{point}/readings", span))
            stored[point] = (played.counts.reports_acknowledged[key], found_readings)
    return score(played.truths, alarms, played.ended_s, silent, stored)


class _Api:
    """GET of lists, page by page, as one user."""

    def __init__(self, url: str, token: str) -> None:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise ScoreImpossible(f"--api-url {url!r} is not http:// or https://")
        self._root = url.rstrip("/") + "/api/v1"
        self._token = token

    def items(self, path: str, query: dict[str, str]) -> Iterator[dict[str, Any]]:
        """All items of a list."""
        page: dict[str, str] = {"limit": "1000"}
        while True:
            answer = self._get(f"{path}?{urllib.parse.urlencode(query | page)}")
            yield from answer["items"]
            if answer["next_cursor"] is None:
                return
            page["cursor"] = answer["next_cursor"]

    def _get(self, path: str) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310  the scheme is checked above
            self._root + path, headers={"Authorization": f"Bearer {self._token}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:  # noqa: S310
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            detail = error.read(300).decode("utf-8", "replace")
            raise ScoreImpossible(f"GET {path}: {error.code} {detail}") from error
        except (OSError, ValueError) as error:
            raise ScoreImpossible(f"{self._root}: {error}") from error
