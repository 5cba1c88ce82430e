"""One run: a plan spoken while a fault strikes, and the verdict."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.faults import verdict
from tests.faults.disk import Disk
from tests.faults.faults import FAULTS, Scene
from tests.faults.listener import Listener
from tests.faults.load import Load, Message, Plan
from tests.faults.stage import DatabaseServer, staged
from tests.faults.verdict import History, Verdict

ACKNOWLEDGED_WITHIN_S: Final = 120.0
"""After the last fault: gateways call a broker again within seconds."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What an undisturbed run of a plan gives."""

    plan: Plan
    history: History
    verdict: Verdict
    database: str
    messages: list[Message]


def undisturbed(database: str, folder: Path, plan: Plan) -> Reference:
    """A run in which nothing happens. AssertionError: it raised no alarm, so nothing is shown."""
    with staged(database, folder, plan) as stage:
        load = Load(plan, stage.broker.port, for_s=max(2.0, plan.gateways * plan.messages / 1500))
        load.start()
        load.finish(ACKNOWLEDGED_WITHIN_S)
        verdict.await_stored(database, load.messages)
        history = verdict.history(database)
        found = verdict.judged(
            "none", "mosquitto", plan.seed, database, load.messages, history, len(load.messages)
        )
    assert found.changes > len(history) > 10, "too few alarms to compare with"
    return Reference(plan, history, found, database, load.messages)


def disturbed(
    fault: str,
    database: str,
    server: DatabaseServer,
    folder: Path,
    reference: Reference,
    *,
    seed: int,
    times: int = 3,
    long_s: float = 2.0,
    least_acknowledged: int | None = None,
    still_s: float = 20.0,
    disk: Disk | None = None,
    look: Callable[[], object] = lambda: None,
    **settings: object,
) -> Verdict:
    """The verdict on a run with that fault.

    Args:
        fault: name in `FAULTS`.
        database: fresh, on `server`.
        server: that a fault may kill.
        folder: empty, for homes and logs.
        reference: what the same plan gives undisturbed.
        seed: of the moments at which it strikes; the plan has its own.
        times: how often it strikes.
        long_s: how long what lasts is to last.
        least_acknowledged: messages that make a run; all of the plan, unless told.
        durable: else as the fault wants it.
        disk: that a fault may fill; the worker's, unless told.
        look: called while it is full.
        still_s: seconds without a change after which what is missing counts as missing.
        settings: of the worker.
    """
    done = FAULTS[fault]
    plan = replace(reference.plan, padding=done.padding)
    began = time.monotonic()
    settings = {**done.settings, **settings}
    with (
        staged(database, folder, plan, done.broker, durable=done.durable, **settings) as stage,
        Listener(stage.broker.port) as listener,
    ):
        load = Load(plan, stage.broker.port, for_s=max(2.0, times * done.pace_s))
        load.start()
        chance = random.Random(seed)
        scene = Scene(stage, server, chance, times, long_s, load, listener, disk or stage, look)
        done.act(scene)
        load.finish(ACKNOWLEDGED_WITHIN_S)
        stage.await_worker()
        verdict.await_stored(database, load.messages, still_s)
        found = verdict.judged(
            fault,
            done.broker,
            seed,
            database,
            load.messages,
            reference.history,
            plan.gateways * plan.messages if least_acknowledged is None else least_acknowledged,
            scene.broker_killed_at if done.broker == "mosquitto" else (),
        )
        if not scene.broker_killed_at:  # else the listener itself may have missed something
            found.unheard = verdict.unheard(database, lambda: listener.recorded)
        found.lives, found.faults = stage.lives, times
        found.sent_again = sum(each.sent_again for each in load.gateways)
        found.notes = scene.notes | _of_alarms(listener, load) | {"ended": stage.ends}
    found.seconds = round(time.monotonic() - began, 1)
    return found


def _of_alarms(listener: Listener, load: Load) -> dict[str, object]:
    """How they were heard: not judged, but told."""
    red_s = listener.red_after_s(load.messages) or [0.0]
    recorded = listener.recorded
    return {
        "heard_unrecorded": listener.unrecorded,
        "heard_twice": len(recorded) - len(set(recorded)),
        "red_after_s": {"median": round(red_s[len(red_s) // 2], 2), "most": round(red_s[-1], 2)},
    }
