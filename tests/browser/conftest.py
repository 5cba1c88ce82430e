"""The whole service as processes, and a real Chromium that looks at its page."""

import itertools
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import paho.mqtt.client as paho
import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect, sync_playwright

from hazardloop.service.api.access import COOKIE
from hazardloop.service.passwords import hash_password
from tests import worlds
from tests.brokers import free_port, mosquitto
from tests.worlds import eventually, query

PASSWORD: Final = "correct horse 9"
PEOPLE: Final = {
    "operator": "operator",
    "supervisor": "supervisor",
    "admin": "admin",
    "authority": "authority",
    "zhang": "enterprise",
    "tester": "tester",
}
"""User names with their roles; zhang is of enterprise E1."""

PATIENCE_MS: Final = 60_000
"""How long a busy machine may take for what people see at once."""
DIST: Final = worlds.REPOSITORY / "src" / "hazardloop" / "service" / "console_dist"
CHROMIUMS: Final = ("chromium", "chromium-browser", "google-chrome")
FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Nothing but this machine can be asked, by workers neither.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


@dataclass
class Town:
    """The running service, and a gateway that publishes into it."""

    database: str
    home: Path
    port: int
    publisher: paho.Client
    tokens: dict[str, str] = field(default_factory=dict)
    said_ms: int = 0
    _api: ExitStack = field(default_factory=ExitStack)
    _devices: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def url(self) -> str:
        """Of the page."""
        return f"http://127.0.0.1:{self.port}"

    def device(self, kind: str) -> str:
        """Code of a device that no other test uses; one is ready for each number."""
        return f"{kind}-{next(self._devices)}"

    def read(self, values: dict[str, Any]) -> None:
        """One message of the gateway, later than the one before, confirmed by the broker."""
        self.said_ms = max(self.said_ms + 1, time.time_ns() // 1_000_000)
        body = json.dumps({"ts": self.said_ms, "values": values}).encode()
        self.publisher.publish("hl/v1/E1/G1/telemetry", body, qos=1).wait_for_publish(30)

    def start_api(self) -> None:
        """Starts it and waits until it answers."""
        api = self._api.enter_context(
            worlds.process("api", self.home, database_url=self.database, api_port=self.port)
        )

        def answers() -> bool:
            assert api.poll() is None, (self.home / "api.log").read_text()
            try:
                return httpx.get(f"{self.url}/healthz").is_success
            except httpx.TransportError:
                return False

        eventually(answers, "the api answers")

    def stop_api(self) -> None:
        """Ends it in good order."""
        self._api.close()

    def token(self, username: str) -> str:
        """Of a session of that person, opened at the first asking."""
        if username not in self.tokens:
            known = {"username": username, "password": PASSWORD}
            answer = httpx.post(f"{self.url}/api/v1/auth/login", json=known)
            self.tokens[username] = answer.raise_for_status().json()["token"]
        return self.tokens[username]

    def client(self, username: str) -> httpx.Client:
        """Somebody who works on the API instead of the page."""
        bearer = {"Authorization": f"Bearer {self.token(username)}"}
        return httpx.Client(base_url=f"{self.url}/api/v1", headers=bearer)

    def end_sessions(self) -> None:
        """Nobody is logged in any more."""
        self.ask("DELETE FROM user_session RETURNING 1")
        self.tokens.clear()

    def ask(self, text: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """Rows of a query."""
        return query(self.database, text, list(arguments))


@pytest.fixture(scope="module")
def town(postgres: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """Broker, database, worker and api with their people and devices, for the tests of a module."""
    home = tmp_path_factory.mktemp("town")
    with ExitStack() as stack:
        database = stack.enter_context(worlds.cloned(postgres, template))
        (home / "broker").mkdir()
        broker = stack.enter_context(mosquitto(home / "broker"))
        people(database)
        stack.enter_context(
            worlds.process("worker", home / "worker", database_url=database, mqtt_url=broker.url)
        )
        publisher = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="gateway")
        publisher.connect("127.0.0.1", broker.port)
        publisher.loop_start()
        stack.callback(publisher.loop_stop)
        stack.callback(publisher.disconnect)
        here = Town(database, home, free_port(), publisher)
        stack.callback(here.stop_api)
        here.start_api()
        eventually(lambda: _listening(database), "the worker listens")
        yield here


def _listening(database: str) -> bool:
    beat = "SELECT FROM process_heartbeat WHERE role = 'worker' AND detail->>'broker' = 'connected'"
    return bool(query(database, beat))


def people(database: str) -> None:
    """Enterprise E1 with forty devices of two kinds, and everybody who works with it."""
    devices = {f"GD-{n}": "gas_detector" for n in range(1, 21)}
    devices |= {f"SD-{n}": "smoke_detector" for n in range(1, 21)}
    worlds.register(database, devices)
    stored = hash_password(PASSWORD)
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE case_policy SET rest = '0'")
        for username, role in PEOPLE.items():
            connection.execute(
                """INSERT INTO user_account (username, display_name, role, enterprise_id,
                                             password_hash)
                   SELECT %(name)s, %(name)s, %(role)s,
                          CASE WHEN %(role)s = 'enterprise' THEN
                               (SELECT enterprise_id FROM enterprise WHERE code = 'E1') END,
                          %(stored)s""",
                {"name": username, "role": role, "stored": stored},
            )


# Of a module, and after the database: while Playwright runs, this thread has a running event loop,
# so nothing else may start one.
@pytest.fixture(scope="module")
def chromium(template: str) -> Iterator[Browser]:
    """Debian's own; nothing is downloaded."""
    assert (DIST / "index.html").is_file(), "build the console first: ./hazardloop demo does"
    found = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    assert found, f"none of {', '.join(CHROMIUMS)} is installed"
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield browser
        browser.close()


@dataclass
class Visitor:
    """A person at a browser of their own, and what went wrong in it."""

    context: BrowserContext
    town: Town
    abroad: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def watch(self, request: Request) -> None:
        """Notes requests that leave this machine."""
        parts = urlsplit(request.url)
        if parts.scheme not in ("blob", "data") and parts.hostname != "127.0.0.1":
            self.abroad.append(request.url)

    def page(self) -> Page:
        """A tab; what a script throws and what the content policy refuses is noted."""
        page = self.context.new_page()
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on(
            "console",
            lambda message: (
                self.troubles.append(message.text)
                if "Content Security Policy" in message.text
                else None
            ),
        )
        return page

    def enter(self, username: str) -> Page:
        """A tab on the page, logged in already."""
        cookie = {"name": COOKIE, "value": self.town.token(username), "url": self.town.url}
        self.context.add_cookies([cookie])  # type: ignore[list-item]
        page = self.page()
        page.goto(self.town.url)
        return page

    def sign_in(self, username: str, password: str = PASSWORD) -> Page:
        """A tab on the page, with name and password sent."""
        page = self.page()
        page.goto(self.town.url)
        page.get_by_label("用户名").fill(username)
        page.get_by_label("密码", exact=True).fill(password)
        page.get_by_role("button", name="登录").click()
        return page


@pytest.fixture
def visit(chromium: Browser, town: Town) -> Iterator[Any]:
    """Makes visitors; at the end none of them may have met trouble or asked another host."""
    visitors: list[Visitor] = []

    def arrive(**options: Any) -> Visitor:
        settings: dict[str, Any] = {
            "locale": "zh-CN",
            "timezone_id": "America/New_York",  # the page shows Beijing time all the same
            "viewport": {"width": 1600, "height": 900},
        }
        context = chromium.new_context(**settings | options)
        context.set_default_timeout(PATIENCE_MS)
        visitor = Visitor(context, town)
        context.on("request", visitor.watch)
        visitors.append(visitor)
        return visitor

    yield arrive
    for visitor in visitors:
        visitor.context.close()
    assert _all(visitors, "abroad") == []
    assert _all(visitors, "troubles") == []


def _all(visitors: Sequence[Visitor], name: str) -> list[str]:
    return [one for visitor in visitors for one in getattr(visitor, name)]
