"""What a run has done so far, and the files that say so: `counts.json` and `truth.jsonl`."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

from hazardloop.devices.wire import Channel
from hazardloop.simulators.incidents import Truth
from hazardloop.simulators.reporting import Message

TruthRecord: TypeAlias = dict[str, str]
"""A `Truth` with RFC 3339 instants: one line of `truth.jsonl`."""


@dataclass(slots=True)
class Counts:
    """What has happened so far."""

    epoch: str | None = None
    """When the run began, RFC 3339; None = it has not."""
    gateways: int = 0
    connected: int = 0
    trouble: str = ""
    """Why one of those that are not connected is not."""
    messages_sent: int = 0
    messages_acknowledged: int = 0
    readings_sent: int = 0
    readings_acknowledged: int = 0
    events_sent: int = 0
    events_acknowledged: int = 0
    dropped: int = 0
    """Messages given up because a gateway's queue was full."""
    rejected: int = 0
    """Notices on the gateways' `reject` topics."""
    skipped: int = 0
    """Reports left out because the machine did not keep up."""
    incidents_started: int = 0
    reports_acknowledged: dict[str, int] = field(default_factory=dict)
    """`enterprise/gateway` to reports taken over; each holds one reading of each of its points."""

    def sent(self, message: Message) -> None:
        """A message went to its session."""
        self.messages_sent += 1
        self.readings_sent += message.readings
        self.events_sent += message.channel is Channel.EVENT

    def acknowledged(self, gateway: str, message: Message) -> None:
        """The broker has taken a message over."""
        self.messages_acknowledged += 1
        self.readings_acknowledged += message.readings
        self.events_acknowledged += message.channel is Channel.EVENT
        before = self.reports_acknowledged.get(gateway, 0)
        self.reports_acknowledged[gateway] = before + message.reports


def rfc3339(epoch_s: float) -> str:
    """The instant in UTC with milliseconds."""
    instant = datetime.fromtimestamp(epoch_s, UTC)
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def truth_record(truth: Truth, zero_s: float) -> TruthRecord:
    """`truth` with instants; `zero_s` is the start of the run by the clock of its gateway."""
    return {
        "incident": truth.incident,
        "hazard": truth.hazard.value,
        "enterprise": truth.enterprise,
        "gateway": truth.gateway,
        "device": truth.device,
        "point": truth.point,
        "rule": truth.rule,
        "tier": truth.tier,
        "earliest": rfc3339(zero_s + truth.earliest_s),
        "latest": rfc3339(zero_s + truth.latest_s),
        "cleared_from": rfc3339(zero_s + truth.cleared_from_s),
    }


def append_truths(out: Path, records: Iterable[TruthRecord]) -> None:
    """Add lines to `truth.jsonl`."""
    with (out / "truth.jsonl").open("a", encoding="utf-8") as lines:
        lines.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def write_counts(out: Path, counts: Counts) -> None:
    """Replace `counts.json`, never leaving half of one."""
    fresh = out / "counts.json.new"
    fresh.write_text(json.dumps(counts_json(counts), indent=1) + "\n", encoding="utf-8")
    fresh.replace(out / "counts.json")


def counts_json(counts: Counts) -> dict[str, Any]:
    """`counts` as JSON values."""
    return asdict(counts)
