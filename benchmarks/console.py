"""The console in a real Chromium against its budget; prints as JSON what was measured and missed.

PYTHONPATH=src:. .venv/bin/python -m benchmarks.console                        # a few minutes
PYTHONPATH=src:. .venv/bin/python -m benchmarks.console --seconds 5 --open 500 # is the script well?
PYTHONPATH=src:. .venv/bin/python -m benchmarks.console --hours 8              # with the long soak

Starts a database and an api as processes of their own. A writer takes the worker's place: it
raises, changes and ends alarms by the same tables and the same numbering. The page says how
old each change was when it was painted (`hazardloop:painted`): from the instant at which the
database recorded it;
busy time, frames, nodes and heap come from Chromium. Exit 1 if a line of the budget is missed.
"""

import argparse
import asyncio
import gzip
import json
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import psutil
import psycopg
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from hazardloop.service.api.access import COOKIE
from hazardloop.service.benches.load import machine
from hazardloop.service.database import migrate
from hazardloop.service.embedded.postgres import EmbeddedPostgres
from hazardloop.service.passwords import hash_password
from tests.brokers import free_port
from tests.worlds import eventually, process

PASSWORD: Final = "of a measurement 9"
CHROMIUM: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-precise-memory-info",
)
SPARE: Final = 60_000
"""Points that no alarm stands at yet: each new alarm takes the next, round and round."""

DISTRICT: Final = """
    INSERT INTO enterprise (code, name, area)
    SELECT 'E' || n, '示范化工 ' || n, '北区' FROM generate_series(1, 50) n;
    INSERT INTO gateway (enterprise_id, code, mqtt_username, secret_bcrypt, secret_pbkdf2)
    SELECT enterprise_id, 'G', code || '.G', '', '' FROM enterprise WHERE NOT internal;
    INSERT INTO device (enterprise_id, gateway_id, code, kind, name, location)
    SELECT g.enterprise_id, gateway_id, 'GD-' || n, 'gas_detector', '探测器 ' || n, '3号罐区东侧'
      FROM generate_series(0, %(points)s - 1) n JOIN enterprise e ON e.code = 'E' || 1 + n %% 50
           JOIN gateway g USING (enterprise_id);
    INSERT INTO point (device_id, enterprise_id, quantity, unit)
    SELECT device_id, enterprise_id, 'lel', '%%{LEL}' FROM device WHERE kind = 'gas_detector';
    INSERT INTO rule_version (rule_id, version, definition) VALUES ('bench', 1, '{}')
        ON CONFLICT DO NOTHING;
    INSERT INTO user_account (username, display_name, role, password_hash)
    VALUES ('bench', '值班员', 'operator', %(password)s)"""

# Cases are left out: what is measured is the way of a change to the screen.
RAISE: Final = """
    WITH at AS (
        SELECT point_id, device_id, enterprise_id, nth FROM (
            SELECT p.*, row_number() OVER (ORDER BY point_id) - 1 AS nth FROM point p
              JOIN device d USING (device_id) WHERE d.kind = 'gas_detector' AND NOT d.internal) one
         WHERE nth >= %(first)s AND nth < %(first)s + %(count)s
    ), new AS (
        INSERT INTO alarm (alarm_id, enterprise_id, device_id, point_id, rule_id, rule_version,
                           tier, tier_now, value, limit_value, direction, raised_at)
        SELECT gen_random_uuid(), enterprise_id, device_id, point_id, 'bench', 1,
               CASE WHEN nth %% 50 = 0 THEN 4 WHEN nth %% 10 = 0 THEN 3 ELSE 1 + nth %% 2 END,
               CASE WHEN nth %% 50 = 0 THEN 4 WHEN nth %% 10 = 0 THEN 3 ELSE 1 + nth %% 2 END,
               20 + nth %% 60, 20, 'high', clock_timestamp() FROM at RETURNING *
    ), noted AS (
        INSERT INTO alarm_change (alarm_id, version, change, tier, value, limit_value, changed_at)
        SELECT alarm_id, version, 'raised', tier, value, limit_value, raised_at FROM new
        RETURNING alarm_id
    ) SELECT array_agg(alarm_id) FROM noted"""
CHANGE: Final = """
    WITH one AS (
        UPDATE alarm SET version = version + 1, value = value + 0.1 WHERE alarm_id = ANY (%(ids)s)
        RETURNING *
    ) INSERT INTO alarm_change (alarm_id, version, change, tier, value, limit_value, changed_at)
      SELECT alarm_id, version, 'tier', tier, value, limit_value, clock_timestamp() FROM one"""
END: Final = """
    WITH one AS (
        UPDATE alarm SET version = version + 1, tier_now = 0, cleared_at = clock_timestamp()
         WHERE alarm_id = ANY (%(ids)s) RETURNING *
    ) INSERT INTO alarm_change (alarm_id, version, change, tier, value, limit_value, changed_at)
      SELECT alarm_id, version, 'cleared', 0, value, limit_value, cleared_at FROM one"""
TELL: Final = "SELECT note_live_changes(%(ids)s::uuid[])"

WATCH: Final = """
    window.seen = { ages: [], last: performance.now(), gaps: [], tasks: [], from: 0 };
    addEventListener('hazardloop:painted', (event) => seen.ages.push(...event.detail.ages));
    const frame = (at) => {
        seen.gaps.push(at - seen.last);
        seen.last = at;
        requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
    const note = (list) => list.getEntries().forEach((one) => seen.tasks.push(one.duration));
    new PerformanceObserver(note).observe({ entryTypes: ['longtask'] });"""
ELEMENTS: Final = "() => document.querySelectorAll('*').length"
SCROLL: Final = """() => { let at = 0; window.scroller = setInterval(() => {
    const list = document.querySelector('.grid-body'); at = (at + 180) % 20000;
    if (list) list.scrollTop = at; }, 50); }"""


@dataclass(slots=True)
class Writer:
    """Raises, changes and ends alarms, in the order of its list of those that stand."""

    conninfo: str
    standing: list[Any] = field(default_factory=list)
    next_point: int = 0
    written: int = 0
    points: int = 0

    def raise_some(self, conn: psycopg.Connection[Any], count: int) -> list[Any]:
        """So many new alarms; their ids."""
        values = {"first": self.next_point % max(1, self.points - count), "count": count}
        self.next_point += count
        row = conn.execute(RAISE, values).fetchone()
        assert row is not None
        return list(row[0] or [])

    def fill(self, count: int) -> None:
        """The alarms that stand when a page is opened."""
        with psycopg.connect(self.conninfo) as conn:
            ids = self.raise_some(conn, count)
            conn.execute(TELL, {"ids": ids})
            self.standing += ids

    def write(self, per_s: float, seconds: float, stop: threading.Event | None = None) -> float:
        """Events at an even rate: three in ten raise, three end the oldest, the rest change values.

        Ten times a second a transaction each, as the worker's batches; the seconds it took.
        """
        began = time.monotonic()
        rounds = 0
        due = 0.0
        with psycopg.connect(self.conninfo) as conn:
            while time.monotonic() - began < seconds and not (stop and stop.is_set()):
                rounds += 1
                due += per_s / 10
                count, due = int(due), due - int(due)
                if count:
                    self._round(conn, count)
                ahead = began + rounds / 10 - time.monotonic()
                if ahead > 0:
                    time.sleep(ahead)
        return time.monotonic() - began

    def _round(self, conn: psycopg.Connection[Any], count: int) -> None:
        raised, ended = round(count * 0.3), round(count * 0.3)
        new = self.raise_some(conn, raised) if raised else []
        gone, self.standing = self.standing[:ended], self.standing[ended:]
        changed = self.standing[: count - len(new) - len(gone)]
        self.standing = self.standing[len(changed) :] + changed + new
        if gone:
            conn.execute(END, {"ids": gone})
        if changed:
            conn.execute(CHANGE, {"ids": changed})
        conn.execute(TELL, {"ids": [*new, *changed, *gone]})
        conn.commit()
        self.written += count


@dataclass(slots=True)
class Place:
    """The running service."""

    url: str
    api_pid: int
    writer: Writer
    token: str = ""

    def get(self, path: str) -> httpx.Response:
        """An answer of the api."""
        headers = {"Authorization": f"Bearer {self.token}", "Accept-Encoding": "gzip"}
        return httpx.get(f"{self.url}/api/v1{path}", headers=headers, timeout=60).raise_for_status()


@contextmanager
def running(home: Path, standing: int) -> Iterator[Place]:
    """Database and api, with so many open alarms."""
    server = EmbeddedPostgres(home / "database")
    with ExitStack() as stack:
        server.start()
        stack.callback(server.stop)
        asyncio.run(migrate(server.conninfo))
        points = standing + SPARE
        with psycopg.connect(server.conninfo, cursor_factory=psycopg.ClientCursor) as owner:
            owner.execute(DISTRICT, {"points": points, "password": hash_password(PASSWORD)})
            owner.execute("ANALYZE")
        writer = Writer(server.conninfo, points=points)
        writer.fill(standing)
        port = free_port()
        api = stack.enter_context(
            process("api", home / "api", database_url=server.conninfo, api_port=port)
        )
        place = Place(f"http://127.0.0.1:{port}", api.pid, writer)

        def answers() -> bool:
            try:
                return httpx.get(f"{place.url}/healthz").is_success
            except httpx.TransportError:
                return False

        eventually(answers, "the api answers")
        known = {"username": "bench", "password": PASSWORD}
        answer = httpx.post(f"{place.url}/api/v1/auth/login", json=known, timeout=60)
        place.token = answer.raise_for_status().json()["token"]
        yield place


@contextmanager
def page_on(
    browser: Browser, place: Place, slow: int = 1
) -> Iterator[tuple[Page, CDPSession, float]]:
    """The list in a browser of its own, its processor slowed; seconds until its first row."""
    context = browser.new_context(viewport={"width": 1600, "height": 900}, locale="zh-CN")
    context.add_cookies([{"name": COOKIE, "value": place.token, "url": place.url}])
    context.add_init_script(WATCH)
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Performance.enable")
    if slow > 1:
        session.send("Emulation.setCPUThrottlingRate", {"rate": slow})
    began = time.monotonic()
    page.goto(f"{place.url}/?page=alarms", wait_until="commit")
    page.wait_for_selector(".grid-body [role=row]", timeout=120_000)
    first_row_s = time.monotonic() - began
    page.wait_for_selector("[data-link=ok]", timeout=120_000)
    try:
        yield page, session, first_row_s
    finally:
        context.close()


def numbers(session: CDPSession) -> dict[str, float]:
    """Chromium's own counters of a page."""
    found = session.send("Performance.getMetrics")["metrics"]
    return {one["name"]: one["value"] for one in found}


def percentile(values: list[float], share: float) -> float | None:
    """None where there is nothing."""
    return round(float(np.percentile(values, share)), 1) if values else None


def burst(
    browser: Browser,
    place: Place,
    per_s: float,
    seconds: float,
    slow: int = 1,
    scrolls: bool = False,
) -> dict[str, Any]:
    """A page under so many events a second, and whether it shows in the end what there is."""
    with page_on(browser, place, slow) as (page, session, first_row_s):
        if scrolls:
            page.evaluate(SCROLL)
        page.evaluate("() => { seen.ages = []; seen.gaps = []; seen.tasks = []; }")
        before, began = numbers(session), time.monotonic()
        took = place.writer.write(per_s, seconds)
        page.wait_for_timeout(1_000)
        after, span = numbers(session), time.monotonic() - began
        seen = page.evaluate("() => { clearInterval(window.scroller); return seen; }")
        lost = missing(page, place)
        return {
            "events_per_s": round(per_s * seconds / took, 1),
            "slowed": slow,
            "first_row_s": round(first_row_s, 2),
            "painted": len(seen["ages"]),
            "p50_ms": percentile(seen["ages"], 50),
            "p95_ms": percentile(seen["ages"], 95),
            "busy_percent": round(100 * (after["TaskDuration"] - before["TaskDuration"]) / span, 1),
            "worst_frame_ms": round(max(seen["gaps"] or [0]), 1),
            "longest_task_ms": round(max(seen["tasks"] or [0]), 1),
            "nodes": int(page.evaluate(ELEMENTS)),
            "heap_mb": round(after["JSHeapUsedSize"] / 1e6, 1),
            "lost": lost,
        }


def missing(page: Page, place: Place) -> int:
    """How far the page's count is from the service's, once nothing comes any more."""

    def difference() -> int:
        wanted = int(place.get("/alarms/open").json()["total"])
        shown = re.search(r"未关闭 ([\d,]+) 条", page.locator(".foot").inner_text())
        return abs(wanted - int(shown[1].replace(",", "")) if shown else wanted)

    until = time.monotonic() + 30
    while (found := difference()) and time.monotonic() < until:
        time.sleep(0.5)
    return found


def snapshot(place: Place) -> dict[str, Any]:
    """The open alarms in one answer: its size and time."""
    times = []
    for _ in range(5):
        began = time.monotonic()
        answer = place.get("/alarms/open")
        times.append((time.monotonic() - began) * 1_000)
    return {
        "alarms": answer.json()["total"],
        "raw_kb": round(len(answer.content) / 1e3),
        "gzip_kb": round(len(gzip.compress(answer.content, 1)) / 1e3),
        "median_ms": round(float(np.median(times)), 1),
    }


def soak(browser: Browser, place: Place, hours: float) -> dict[str, Any]:
    """A page left alone at 5 events a second: does it grow?"""
    samples: list[tuple[float, float, int]] = []
    stop = threading.Event()
    seconds = hours * 3_600
    with page_on(browser, place) as (page, session, _):
        writing = threading.Thread(target=place.writer.write, args=(5.0, seconds, stop))
        writing.start()
        began = time.monotonic()
        try:
            while (at := time.monotonic() - began) < seconds:
                session.send("HeapProfiler.collectGarbage")
                found = numbers(session)
                samples.append((at / 3_600, found["JSHeapUsedSize"] / 1e6, int(found["Nodes"])))
                page.wait_for_timeout(min(60_000, max(1_000, seconds * 1_000 / 20)))
        finally:
            stop.set()
            writing.join()
    settled = samples[len(samples) // 4 :] or samples
    hour, heap = [one[0] for one in settled], [one[1] for one in settled]
    slope = float(np.polyfit(hour, heap, 1)[0]) if len(settled) > 2 else 0.0
    return {
        "hours": round(hours, 3),
        "heap_mb": [round(heap[0], 1), round(heap[-1], 1)],
        "heap_mb_per_hour": round(slope, 2),
        "nodes": [settled[0][2], settled[-1][2]],
    }


def clients(place: Place, many: int, per_s: float, seconds: float) -> dict[str, Any]:
    """So many streams at once: what the api takes of one processor, and whether each got it all."""
    return asyncio.run(_clients(place, many, per_s, seconds))


async def _clients(place: Place, many: int, per_s: float, seconds: float) -> dict[str, Any]:
    reached = [0] * many
    greeted = asyncio.Semaphore(0)
    headers = {"Authorization": f"Bearer {place.token}"}
    limits = httpx.Limits(max_connections=many + 1)

    async def follow(client: httpx.AsyncClient, nth: int) -> None:
        async with client.stream("GET", f"{place.url}/api/v1/stream", headers=headers) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("event: hello"):
                    greeted.release()
                elif line.startswith("id: "):
                    reached[nth] = max(reached[nth], int(line.rpartition(":")[2]))

    async with httpx.AsyncClient(timeout=None, limits=limits) as client:
        following = [asyncio.create_task(follow(client, nth)) for nth in range(many)]
        for _ in following:
            await greeted.acquire()
        api = psutil.Process(place.api_pid)
        before, began = sum(api.cpu_times()[:2]), time.monotonic()
        await asyncio.to_thread(place.writer.write, per_s, seconds)
        await asyncio.sleep(1.0)
        spent, span = sum(api.cpu_times()[:2]) - before, time.monotonic() - began
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
    last = int(place.get("/alarms/open").json()["seq"])
    return {
        "clients": many,
        "events_per_s": per_s,
        "cpu_percent_of_a_core": round(100 * spent / span, 1),
        "behind_at_the_end": sum(one < last for one in reached),
    }


def judged(found: dict[str, Any]) -> list[str]:
    """Lines of the budget that were missed."""
    calm, slow, hard = found["calm"], found["slowed"], found["burst"]
    lines = (
        (calm["first_row_s"] <= 1.5, f"first row after {calm['first_row_s']} s"),
        (slow["first_row_s"] <= 3.0, f"first row, slowed, after {slow['first_row_s']} s"),
        ((calm["p95_ms"] or 1e9) <= 400, f"p95 {calm['p95_ms']} ms"),
        ((slow["p95_ms"] or 1e9) <= 500, f"p95, slowed and scrolling, {slow['p95_ms']} ms"),
        ((hard["p95_ms"] or 1e9) <= 600, f"p95 of the burst {hard['p95_ms']} ms"),
        (calm["lost"] + slow["lost"] + hard["lost"] == 0, "alarms are missing on a page"),
        (calm["busy_percent"] <= 15, f"busy {calm['busy_percent']} %"),
        (slow["busy_percent"] <= 60, f"busy, slowed, {slow['busy_percent']} %"),
        (calm["longest_task_ms"] <= 100, f"a task of {calm['longest_task_ms']} ms"),
        (slow["longest_task_ms"] <= 200, f"a task, slowed, of {slow['longest_task_ms']} ms"),
        (calm["nodes"] <= 1_500, f"{calm['nodes']} nodes"),
        (found["snapshot"]["raw_kb"] <= 2_600, f"snapshot {found['snapshot']['raw_kb']} kB"),
        (found["snapshot"]["gzip_kb"] <= 280, f"snapshot gzip {found['snapshot']['gzip_kb']} kB"),
        (found["snapshot"]["median_ms"] <= 400, f"snapshot {found['snapshot']['median_ms']} ms"),
        (found["soak"]["heap_mb"][1] <= 60, f"heap {found['soak']['heap_mb'][1]} MB"),
        (found["soak"]["hours"] < 0.5 or found["soak"]["heap_mb_per_hour"] <= 2,
         f"heap grows {found['soak']['heap_mb_per_hour']} MB an hour"),
        (found["streams"]["cpu_percent_of_a_core"] <= 30,
         f"streams take {found['streams']['cpu_percent_of_a_core']} % of a core"),
        (found["streams"]["behind_at_the_end"] == 0, "streams are behind at the end"),
    )  # fmt: skip
    return [line for reached, line in lines if not reached]


def main() -> int:
    """Exit code: 1 if a line of the budget is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--open", type=int, default=5_000, help="alarms that stand")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each measurement")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--hours", type=float, default=0.02, help="of the soak")
    given = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory(prefix="hazardloop-console-") as home, ExitStack() as stack:
        place = stack.enter_context(running(Path(home), given.open))
        found: dict[str, Any] = {"machine": machine(), "snapshot": snapshot(place)}
        found["streams"] = clients(place, given.clients, 50, given.seconds)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM))
            found["calm"] = burst(browser, place, 50, given.seconds)
            found["slowed"] = burst(browser, place, 50, given.seconds, slow=4, scrolls=True)
            found["burst"] = burst(browser, place, 500, min(10.0, given.seconds))
            found["soak"] = soak(browser, place, given.hours)
            browser.close()
    found["missed"] = judged(found)
    print(json.dumps(found, indent=1, ensure_ascii=False))
    return 1 if found["missed"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
