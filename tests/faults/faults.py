"""What can go wrong around a worker, each as something done to a stage while gateways speak."""

import random
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from hazardloop.ingest import packets
from tests.brokers import HOST
from tests.faults.disk import Disk
from tests.faults.listener import Listener
from tests.faults.load import Load
from tests.faults.proxy import Road
from tests.faults.stage import DatabaseServer, Stage
from tests.worlds import eventually

Act = Callable[["Scene"], None]
TAKEN: Final = "hazardloop_messages_received_total"
"""Counted once they are acknowledged."""
FROM_SNAPSHOT: Final = "started from the snapshot"
THIN_BYTES_PER_S: Final = 20_000


@dataclass(slots=True)
class Scene:
    """What a fault gets to work with.

    times: how often it is to strike; long_s: how long a fault that lasts is to last.
    disk: what is to be full; look: called while something is, to see whether anybody is told.
    """

    stage: Stage
    server: DatabaseServer
    chance: random.Random
    times: int
    long_s: float
    load: Load
    listener: Listener
    disk: Disk
    look: Callable[[], object]
    notes: dict[str, Any] = field(default_factory=dict)
    broker_killed_at: list[float] = field(default_factory=list)

    def kill_broker(self) -> None:
        """SIGKILL, and back."""
        self.broker_killed_at.append(time.monotonic())
        self.stage.broker.kill()
        self.stage.broker.start()

    def wait(self, least_s: float, most_s: float) -> None:
        """Some time between faults, by chance."""
        time.sleep(self.chance.uniform(least_s, most_s))

    def strikes(self) -> Iterator[int]:
        """The number of each strike; gateways keep something to say for those to come."""
        for nth in range(self.times):
            to_come = self.times - 1 - nth
            self.load.kept = self.load.plan.messages * to_come // self.times
            yield nth

    def await_unrecorded(self, since: int) -> None:
        """Alarms are heard that the database does not know; `since`: heard so far."""
        eventually(
            lambda: self.listener.unrecorded > since, "an alarm is heard without the database"
        )

    def note_most(self, name: str, value: float) -> None:
        """Keeps the largest."""
        self.notes[name] = max(value, self.notes.get(name, value))


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault by its name.

    act: does it, and leaves things as they should be.
    broker: that it is done before; durable: the broker's queue must survive its own death.
    pace_s: seconds a single strike takes, about; gateways speak that long.
    padding: bytes by which each message is larger; settings: of the worker.
    """

    act: Act
    broker: str = "mosquitto"
    durable: bool = False
    pace_s: float = 2.0
    padding: int = 0
    settings: Mapping[str, object] = field(default_factory=dict)


def worker_killed(scene: Scene) -> None:
    """SIGKILL at any moment of its life: in three of four it works, else it is on its way there."""
    for _ in range(scene.times):
        if scene.chance.random() < 0.75:
            scene.stage.await_worker()
        scene.wait(0.1, 2.0 + scene.stage.settle_s)
        scene.stage.kill_worker()


def worker_stopped(scene: Scene) -> None:
    """SIGTERM: it drains, leaves, and another comes."""
    for _ in range(scene.times):
        scene.wait(0.5, 2.0)
        scene.stage.end_worker(signal.SIGTERM)
        scene.stage.start_worker()


def worker_stands_still(scene: Scene) -> None:
    """SIGSTOP, and SIGCONT after a while."""
    for _ in range(scene.times):
        scene.wait(0.3, 1.0)
        worker = scene.stage.worker
        assert worker is not None
        worker.send_signal(signal.SIGSTOP)
        time.sleep(scene.long_s)
        worker.send_signal(signal.SIGCONT)


def broker_killed(scene: Scene) -> None:
    """SIGKILL of the broker; it comes back with what it had written."""
    for _ in range(scene.times):
        scene.wait(0.3, 2.0)
        scene.kill_broker()


def broker_restarted(scene: Scene) -> None:
    """SIGTERM of the broker, and back."""
    for _ in range(scene.times):
        scene.wait(0.3, 2.0)
        scene.stage.broker.restart()


def both_killed(scene: Scene) -> None:
    """Worker or broker, by chance, now and then both."""
    for _ in range(scene.times):
        scene.wait(0.3, 3.0)
        if scene.chance.random() < 0.6:
            scene.stage.kill_worker()
        if scene.chance.random() < 0.6:
            scene.kill_broker()


def database_killed(scene: Scene) -> None:
    """SIGKILL of the server; it recovers from its log."""
    for _ in range(scene.times):
        scene.wait(0.5, 2.0)
        scene.server.kill()
        scene.server.start()


def database_away(scene: Scene) -> None:
    """A fast shutdown, and back after a long time."""
    for _ in range(scene.times):
        scene.wait(0.5, 2.0)
        scene.server.stop()
        time.sleep(scene.long_s)
        scene.server.start()


def database_away_with_alarms(scene: Scene) -> None:
    """Broken off or frozen, in turn, until alarms are heard without it; meanwhile, or while the
    spool drains, the worker dies.
    """
    for nth in scene.strikes():
        scene.wait(0.5, 1.5)
        heard = scene.listener.unrecorded
        (scene.server.freeze if nth % 2 else scene.server.break_off)()
        scene.await_unrecorded(heard)
        time.sleep(scene.long_s)
        if scene.chance.random() < 0.5:
            scene.stage.kill_worker()
        (scene.server.thaw if nth % 2 else scene.server.start)()
        if scene.chance.random() < 0.7:
            scene.stage.await_worker()
            scene.wait(0.0, 0.3)
            scene.stage.kill_worker()
        scene.stage.await_worker()


def worker_killed_without_database(scene: Scene) -> None:
    """The database broken off or frozen, in turn, and the worker killed twice while it is: each
    next one goes on raising alarms from the snapshot.
    """
    for nth in scene.strikes():
        scene.wait(0.5, 1.5)
        heard = scene.listener.unrecorded
        (scene.server.freeze if nth % 2 else scene.server.break_off)()
        scene.await_unrecorded(heard)
        for _ in range(2):
            _await_snapshot(scene.stage, time.time())
            begun, heard = scene.stage.log().count(FROM_SNAPSHOT), scene.listener.unrecorded
            scene.stage.kill_worker()
            eventually(
                lambda: scene.stage.log().count(FROM_SNAPSHOT) > begun,  # noqa: B023
                "a worker starts without the database",
            )
            if not scene.load.done:
                scene.await_unrecorded(heard)
        (scene.server.thaw if nth % 2 else scene.server.start)()
        scene.stage.await_worker()


def _await_snapshot(stage: Stage, since: float) -> None:
    def stands() -> bool:
        said = stage.spool()
        return bool(said) and said["snapshot"] and said["said_at"] > since

    eventually(stands, "a snapshot stands")


def spool_disk_full(scene: Scene) -> None:
    """The database is away, and then the disk of the spool is full: nothing is acknowledged.

    In turn the disk has room again first, or the database is back first.
    """
    for nth in range(scene.times):
        scene.wait(0.3, 1.0)
        scene.disk.fill()
        scene.server.break_off()
        eventually(lambda: scene.stage.spool().get("full"), "the spool is full")
        assert "spool full: nothing is acknowledged" in scene.stage.log()
        taken = scene.stage.figure(TAKEN)
        time.sleep(scene.long_s)
        assert scene.stage.figure(TAKEN) == taken, "something was acknowledged"
        scene.look()
        if nth % 2:
            scene.server.start()
            if scene.chance.random() < 0.5:
                scene.stage.kill_worker()
            scene.stage.await_worker()
            eventually(lambda: _at_rest(scene.stage), "work goes to the database")
            scene.disk.free()
        else:
            scene.disk.free()
            eventually(lambda: scene.stage.spool().get("full") == "", "the spool has room")
            scene.server.start()


def _at_rest(stage: Stage) -> bool:
    said = stage.spool()
    return bool(said) and not (said["works"] or said["asides"] or said["full"] or said["away"])


def database_disk_full(scene: Scene) -> None:
    """The disk of the database is full: work goes to the spool, alarms are heard."""
    for _ in scene.strikes():
        scene.wait(0.3, 1.0)
        heard = scene.listener.unrecorded
        scene.disk.fill()
        scene.await_unrecorded(heard)
        scene.note_most("spooled", scene.stage.spool().get("readings", 0))
        time.sleep(scene.long_s)
        if scene.chance.random() < 0.5:
            scene.stage.kill_worker()
        scene.disk.free()
        scene.server.revive()
        scene.stage.await_worker()


def overloaded(scene: Scene) -> None:
    """Gateways say ten times what goes through to the database, and the spool takes nothing."""
    stage, load = scene.stage, scene.load
    stage.to_database.be(Road(bytes_per_s=THIN_BYTES_PER_S))
    scene.notes["memory_mb_before"] = round(stage.memory_mb, 1)
    until = time.monotonic() + max(scene.long_s, load.for_s)
    while time.monotonic() < until:
        scene.note_most("memory_mb", round(stage.memory_mb, 1))
        scene.note_most("unacknowledged", stage.figure("hazardloop_ack_lag_messages"))
        time.sleep(0.1)
    scene.notes["said"] = load.acknowledged
    scene.notes["taken"] = stage.figure(TAKEN)
    stage.to_database.mend()
    while not load.done and time.monotonic() < until + 60:
        scene.note_most("memory_mb", round(stage.memory_mb, 1))
        time.sleep(0.1)


def database_hangs(scene: Scene) -> None:
    """SIGSTOP of all its processes: connections stand and nobody answers."""
    for _ in range(scene.times):
        scene.wait(0.5, 1.0)
        scene.server.freeze()
        time.sleep(scene.long_s)
        scene.server.thaw()


def broker_link_cut(scene: Scene) -> None:
    """The connection between worker and broker is reset, now and then for a while."""
    for _ in range(scene.times):
        scene.wait(0.2, 1.5)
        scene.stage.to_broker.cut(refuse=scene.chance.random() < 0.5)
        scene.wait(0.0, 1.0)
        scene.stage.to_broker.mend()


def broker_link_half_open(scene: Scene) -> None:
    """Both sides think they are connected, and nothing passes; then it is reset."""
    for _ in range(scene.times):
        scene.wait(0.3, 1.0)
        scene.stage.to_broker.be(Road(frozen=True))
        time.sleep(scene.long_s)
        scene.stage.to_broker.cut()
        scene.stage.to_broker.mend()


def database_link_cut(scene: Scene) -> None:
    """The connections to the database are reset, also in the middle of a commit."""
    for _ in range(scene.times):
        scene.wait(0.1, 0.8)
        scene.stage.to_database.cut(refuse=scene.chance.random() < 0.3)
        scene.wait(0.0, 0.5)
        scene.stage.to_database.mend()


def database_link_half_open(scene: Scene) -> None:
    """Nothing passes to the database; then it is reset."""
    for _ in range(scene.times):
        scene.wait(0.3, 1.0)
        scene.stage.to_database.be(Road(frozen=True))
        time.sleep(scene.long_s)
        scene.stage.to_database.cut()
        scene.stage.to_database.mend()


def links_crumble(scene: Scene) -> None:
    """Bytes arrive in crumbs, and late."""
    scene.stage.to_broker.be(Road(slice_bytes=37))
    scene.stage.to_database.be(Road(slice_bytes=501))
    time.sleep(scene.long_s)
    scene.stage.to_broker.be(Road(delay_s=0.05))
    scene.stage.to_database.be(Road(delay_s=0.02))
    time.sleep(scene.long_s)
    scene.stage.to_broker.mend()
    scene.stage.to_database.mend()


def database_slow(scene: Scene) -> None:
    """A thin line to the database: less than gateways say."""
    scene.stage.to_database.be(Road(bytes_per_s=4_000))
    time.sleep(scene.long_s)
    scene.stage.to_database.mend()


def taken_over(scene: Scene) -> None:
    """Somebody logs in under the worker's client id, takes what comes, and answers nothing."""
    client_id = (scene.stage.home / "worker" / "client_id").read_text()
    for _ in range(scene.times):
        scene.wait(0.3, 1.0)
        with socket.create_connection((HOST, scene.stage.broker.port)) as thief:
            thief.sendall(packets.connect(client_id))
            thief.recv(1 << 16)
            scene.wait(0.0, 0.5)


def broker_forgets(scene: Scene) -> None:
    """The control that must lose: Mosquitto dies with a queue that it had not written."""
    worker = scene.stage.worker
    assert worker is not None
    worker.send_signal(signal.SIGSTOP)
    time.sleep(scene.long_s)
    scene.kill_broker()
    worker.send_signal(signal.SIGCONT)


def one_after_the_other(*acts: Act) -> Act:
    """All of them, in this order."""

    def act(scene: Scene) -> None:
        for each in acts:
            each(scene)

    return act


FAULTS: Final[Mapping[str, Fault]] = {
    "worker killed": Fault(worker_killed),
    "worker killed, NATS": Fault(worker_killed, "nats", pace_s=5.0),
    "worker stopped": Fault(worker_stopped),
    "worker stands still": Fault(worker_stands_still),
    "worker stands still, NATS": Fault(worker_stands_still, "nats"),
    "broker killed": Fault(broker_killed, durable=True),
    "broker killed, NATS": Fault(broker_killed, "nats", pace_s=3.0),
    "broker restarted": Fault(broker_restarted),
    "worker and broker killed": Fault(both_killed, durable=True),
    "worker and broker killed, NATS": Fault(both_killed, "nats", pace_s=5.0),
    "database killed": Fault(database_killed),
    "database away": Fault(database_away, pace_s=5.0),
    "database hangs": Fault(database_hangs),
    "database away, alarms heard": Fault(database_away_with_alarms, pace_s=8.0),
    "worker killed, database away": Fault(worker_killed_without_database, pace_s=25.0),
    "spool's disk full": Fault(spool_disk_full, pace_s=6.0),
    "database's disk full": Fault(database_disk_full, pace_s=6.0),
    "overload": Fault(
        overloaded,
        pace_s=4.0,
        padding=50_000,
        settings={"mqtt_window": 100, "batch_messages": 50, "spool_reserve_bytes": 1 << 60},
    ),
    "broker link cut": Fault(broker_link_cut),
    "broker link cut, NATS": Fault(broker_link_cut, "nats", pace_s=3.0),
    "broker link half-open": Fault(broker_link_half_open),
    "database link cut": Fault(database_link_cut, pace_s=1.0),
    "database link half-open": Fault(database_link_half_open),
    "links crumble": Fault(links_crumble),
    "database slow": Fault(database_slow),
    "taken over": Fault(taken_over),
    "taken over, NATS": Fault(taken_over, "nats"),
    "broker forgets": Fault(broker_forgets),
    "processes die": Fault(
        one_after_the_other(worker_killed, worker_stands_still, taken_over, worker_killed),
        pace_s=8.0,
    ),
    "processes die, NATS": Fault(
        one_after_the_other(worker_killed, broker_killed, taken_over), "nats", pace_s=8.0
    ),
    "links fail": Fault(
        one_after_the_other(
            links_crumble,
            broker_link_cut,
            broker_link_half_open,
            database_link_cut,
            database_link_half_open,
            database_slow,
        ),
        pace_s=6.0,
    ),
    "the database fails": Fault(
        one_after_the_other(database_killed, database_hangs, database_away), pace_s=8.0
    ),
}
