"""Payloads that are listed with their reason and cost their neighbours nothing, each by name."""

import codecs
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Poison:
    """One way to be wrong.

    payload: of (device, data time in ms, number of the message); holds the number where it can.
    reasons: of dead letters, any of which is right.
    stored: the value that is stored nevertheless, flagged as bad; None = nothing is.
    """

    name: str
    payload: Callable[[str, int, int], bytes]
    reasons: frozenset[str]
    stored: float | None = None


def _json(device: str, ts: object, value: object, **more: object) -> bytes:
    return json.dumps({"ts": ts, "values": {f"{device}.lel": value}} | more).encode()


def _raw(text: str) -> Callable[[str, int, int], bytes]:
    return lambda device, ts, n: (
        text.replace("DEVICE", device).replace("TS", str(ts)).replace("N0", str(n)).encode()
    )


NOT_JSON: Final = frozenset({"not_json"})
BAD_SHAPE: Final = frozenset({"bad_shape"})
EITHER: Final = NOT_JSON | BAD_SHAPE
NAN: Final = float("nan")

POISON: Final = (
    Poison("empty", lambda *_: b"", NOT_JSON),
    Poison("truncated", _raw('{"ts": TS, "values": {"DEVICE.lel": '), NOT_JSON),
    Poison("byte order mark", lambda d, t, _: codecs.BOM_UTF8 + _json(d, t, 1), EITHER),
    Poison("UTF-16", lambda d, t, _: _json(d, t, 1).decode().encode("utf-16"), EITHER),
    Poison("invalid UTF-8", lambda d, t, _: _json(d, t, 1).replace(b"lel", b"l\xffl"), EITHER),
    Poison("NUL", lambda d, t, _: _json(d, t, 1) + b"\0", EITHER),
    Poison("lone surrogate", _raw('{"ts": TS, "values": {"\\ud800.lel": 1}}'),
           frozenset({"unknown_point", "not_json", "bad_shape"})),
    Poison("NaN", _raw('{"ts": TS, "values": {"DEVICE.lel": NaN}}'), EITHER, NAN),
    Poison("infinity", _raw('{"ts": TS, "values": {"DEVICE.lel": Infinity}}'), EITHER, NAN),
    Poison("1e999", _raw('{"ts": TS, "values": {"DEVICE.lel": 1e999}}'), EITHER, NAN),
    Poison("null", lambda d, t, _: _json(d, t, None), BAD_SHAPE, NAN),
    Poison("5,000 digits", _raw('{"ts": TS, "values": {"DEVICE.lel": ' + "9" * 5000 + "}}"),
           EITHER | {"out_of_range"}, NAN),
    Poison("too deep", lambda *_: b'{"values": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", EITHER),
    Poison("a string for a number", lambda d, t, _: _json(d, t, "12"), BAD_SHAPE),
    Poison("a boolean for a number", lambda d, t, _: _json(d, t, True), BAD_SHAPE),
    Poison("a list for a number", lambda d, t, _: _json(d, t, [1]), BAD_SHAPE),
    Poison("values is a number", lambda _d, t, _n: json.dumps({"ts": t, "values": 3}).encode(),
           BAD_SHAPE),
    Poison("unknown point", lambda _d, t, n: _json(f"XX-{n}", t, 1), frozenset({"unknown_point"})),
    Poison("another enterprise's point", lambda _d, t, _n: _json("THEIRS", t, 1),
           frozenset({"wrong_enterprise", "unknown_point"})),
    Poison("physically impossible", lambda d, t, _: _json(d, t, 5000), frozenset({"out_of_range"}),
           5000.0),
    Poison("ten days ahead", lambda d, t, _: _json(d, t + 864_000_000, 1),
           frozenset({"future_ts"})),
    Poison("40 days ago", lambda d, t, n: _json(d, t - 40 * 86_400_000 + n, 1),
           frozenset({"too_old"})),
    Poison("a time of no zone", lambda d, _t, _n: _json(d, "2026-11-22T10:00:00", 1), BAD_SHAPE),
    Poison("a time that is a list", lambda d, _t, _n: _json(d, [1], 1), BAD_SHAPE),
    Poison("a code with SQL, HTML, a formula, ANSI and RTL",
           lambda _d, t, _n: _json("';DROP TABLE reading;--<script>=cmd|\x1b[31m\u202e", t, 1),
           frozenset({"unknown_point"})),
    Poison("300 KiB", lambda *_: b" " * 300 * 1024, frozenset({"too_large"})),
)  # fmt: skip
