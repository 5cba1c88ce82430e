"""How the spool stands, for those who cannot ask the database: a small file, and figures."""

import json
import os
import time
from pathlib import Path
from typing import Any, Final

from hazardloop.ingest.spool import Spool
from hazardloop.service import metrics

FRESH_S: Final = 10.0
"""What is older was left by a worker that is gone."""
OK: Final = "ok"


def state_file(home: Path) -> Path:
    """Where the worker of this home says how its spool stands."""
    return home / "worker" / "spool.json"


def spool_file(home: Path) -> Path:
    """Where the worker of this home keeps its spool."""
    return home / "worker" / "spool.sqlite"


def told(spool: Spool, away: str) -> dict[str, Any]:
    """How the spool stands now; `away` says why the database cannot be written to."""
    fill = spool.fill
    return {
        "said_at": time.time(),
        "works": fill.works,
        "asides": fill.asides,
        "readings": fill.readings,
        "bytes": fill.bytes,
        "limit_bytes": spool.limit_bytes,
        "oldest_at": None if fill.oldest_us is None else fill.oldest_us / 1e6,
        "refused": fill.refused,
        "full": fill.full,
        "snapshot": spool.standing is not None,
        "away": away,
    }


def publish(state: dict[str, Any], file: Path) -> None:
    """Sets the figures, and writes the file; a disk that is full is told of, and no reason to stop.

    Raises OSError only where the folder itself is gone.
    """
    oldest = state["oldest_at"]
    metrics.SPOOL_BYTES.set(state["bytes"])
    metrics.SPOOL_READINGS.set(state["readings"])
    metrics.SPOOL_OLDEST.set(0.0 if oldest is None else max(0.0, time.time() - oldest))
    metrics.SPOOL_FULL.set(1.0 if state["full"] else 0.0)
    beside = file.with_suffix(".new")
    text = json.dumps(state)
    try:
        try:
            beside.write_text(text)
            os.replace(beside, file)
        except OSError:
            _write_over(file, text)
    except OSError:
        file.unlink(missing_ok=True)  # better nothing than something out of date


def _write_over(file: Path, text: str) -> None:
    """Into the room that the file has already: a full disk is what is to be told of."""
    with file.open("r+b", buffering=0) as old:
        old.write(text.encode().ljust(os.fstat(old.fileno()).st_size))


def said_in(file: Path) -> dict[str, Any] | None:
    """What a live worker said last; None where there is none, or on another machine."""
    try:
        state = json.loads(file.read_text())
        fresh = time.time() - state["said_at"] < FRESH_S
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return state if fresh and isinstance(state, dict) else None


def in_words(state: dict[str, Any]) -> str:
    """For /readyz: `ok`, `ok: …` while it only waits, or what is wrong."""
    if state["full"]:
        return f"full, nothing is acknowledged: {state['full']}"
    refused = f", {state['refused']} refused by the database" if state["refused"] else ""
    if not state["works"] and not state["asides"]:
        return f"ok{':' if refused else ''}{refused.removeprefix(',')}"
    age_s = time.time() - (state["oldest_at"] or time.time())
    share = 100 * state["bytes"] / state["limit_bytes"]
    why = f"; database: {state['away']}" if state["away"] else ""
    return (
        f"ok: {state['readings']} readings wait to be recorded, the oldest for {age_s:.0f} s"
        f" ({state['bytes']} bytes, {share:.1f} %){refused}{why}"
    )
