"""Brokers of a test."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.brokers import Broker, mosquitto, nats

BROKERS = {"mosquitto": mosquitto, "nats": nats}


@pytest.fixture(params=["mosquitto", "nats"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    start: Callable[..., AbstractContextManager[Broker]] = BROKERS[request.param]
    with start(tmp_path) as running:
        yield running


@pytest.fixture
def mosquitto_broker(tmp_path: Path) -> Iterator[Broker]:
    with mosquitto(tmp_path) as running:
        yield running
