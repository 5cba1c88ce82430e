"""Plain payloads read at once say what the JSON decoder says, or are left to it."""

import json
import math
import random

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hazardloop.devices import wire
from hazardloop.ingest.plain import read_plain
from hazardloop.ingest.texts import Texts, TextTable

codes = st.from_regex(r"[A-Za-z0-9_.-]{1,40}", fullmatch=True)
numbers = st.one_of(
    st.integers(-(10**17), 10**17),
    st.floats(-1e6, 1e6),
    st.decimals(-1000, 1000, places=2).map(float),
    st.booleans(),
    st.none(),
    st.just({"v": 1}),
)
objects = st.fixed_dictionaries(
    {"ts": st.one_of(st.integers(0, 10**14), st.integers(10**12, 10**13 - 1), st.none())},
    optional={"seq": st.one_of(st.integers(0, 10**17), st.none())},
).flatmap(
    lambda head: st.dictionaries(codes, numbers, max_size=6).map(
        lambda values: head | {"values": values}
    )
)
separators = st.sampled_from([(",", ":"), (", ", ": "), (", ", ":"), (" ,", ":")])
payloads = st.builds(
    lambda said, separator: json.dumps(said, separators=separator).encode(), objects, separators
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A payload with a letter or two replaced, put in or left out."""
    payload = bytearray(draw(payloads))
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, max(0, len(payload) - 1)))
        letters = draw(st.sampled_from([b"", b'"', b",", b":", b"0", b".", b"-", b" ", b"}", b"/"]))
        payload[at : at + draw(st.integers(0, 2))] = letters
    return bytes(payload)


def decoded(payload: bytes) -> wire.Telemetry | None:
    """What the JSON decoder says, if it is one object."""
    try:
        found = wire.decode_telemetry(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return None if isinstance(found, list) else found


@given(st.lists(st.one_of(payloads, damaged()), max_size=12), st.data())
@example([b'{"ts":1795300000123,"values":{"a":1,"b":-0.5,"c":true}}'], None)
def test_what_is_read_at_once_is_what_the_decoder_reads(
    said: list[bytes], data: st.DataObject | None
) -> None:
    wanted = np.array([data.draw(st.booleans()) if data else True for _ in said], np.bool_)
    plain = read_plain(Texts.of(said), wanted)
    assert wanted[plain.which].all()
    ends = np.cumsum(plain.sizes)
    for nth, which in enumerate(plain.which.tolist()):
        truth = decoded(said[which])
        assert truth is not None, said[which]
        part = slice(int(ends[nth] - plain.sizes[nth]), int(ends[nth]))
        listed = list(zip(plain.codes[part], plain.value[part], plain.boolean[part], strict=True))
        assert plain.ts_ms[nth] == truth.ts
        assert plain.seq[nth] == (-1 if truth.seq is None else truth.seq)
        assert {code.decode(): value for code, value, _ in listed} == truth.values
        assert {code.decode() for code, _, boolean in listed if boolean} == {
            code for code, value in truth.values.items() if isinstance(value, bool)
        }


@pytest.mark.parametrize(
    "payload",
    [
        b'{"ts":1795300000123,"seq":88121,"values":{"GD-101.lel":12.5}}',
        b'{"ts": 1795300000123, "seq": 0, "values": {"GD-101.lel": 12.5, "SD-9.smoke": true}}',
        b'{"ts":1795300000123,"values":{"a":0,"b":-0.25,"c":false,"d":123456789012345}}',
        b'{"ts":1795300000123,"seq":123456789012345,"values":{"a":0.12345678901234}}',
    ],
)
def test_what_gateways_send_is_plain(payload: bytes) -> None:
    assert len(read_plain(Texts.of([payload]), np.ones(1, np.bool_)).which) == 1


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b'{"ts":1795300000123,"values":{"a":007}}', id="leading zeros"),
        pytest.param(b'{"ts":1795300000123,"values":{"a":1.}}', id="nothing behind the dot"),
        pytest.param(b'{"ts":1795300000123,"values":{"a":.5}}', id="nothing before the dot"),
        pytest.param(b'{"ts":1795300000123,"values":{"a":1.2.3}}', id="two dots"),
        pytest.param(b'{"ts":1795300000123,"values":{"a":1e3}}', id="an exponent"),
        pytest.param(b'{"ts":1795300000123,"values":{"a":-}}', id="a sign alone"),
        pytest.param(b'{"ts":1795300000123,"values":{"a":1/3}}', id="a fraction"),
        pytest.param(b'{"ts":1795300000123,"values":{"a":1}} ', id="something behind"),
        pytest.param(b'{"ts":1795300000123,"values":{"a":1},"x":2}', id="another member"),
        pytest.param(b'{"ts":1795300000123,"values":{}}', id="no values"),
        pytest.param(b'{"seq":1,"ts":1795300000123,"values":{"a":1}}', id="another order"),
        pytest.param(b'{"ts":1795300000123,"values":{"a":12345678901234567890}}', id="long"),
        pytest.param(b"", id="empty"),
        pytest.param(b'""""""""', id="quotes"),
    ],
)
def test_what_is_not_plain_is_left_to_the_decoder(payload: bytes) -> None:
    plain = read_plain(Texts.of([payload, payload]), np.ones(2, np.bool_))
    assert len(plain.which) == len(plain.value) == 0


def test_every_short_number_is_read_to_the_nearest_double() -> None:
    chance = random.Random(7)
    numbers = []
    for _ in range(20_000):
        whole, behind = chance.randint(1, 7), chance.randint(1, 7)
        fraction = f"{chance.randrange(10**behind):0{behind}d}"
        numbers.append(f"{chance.choice(['', '-'])}{chance.randrange(10**whole)}.{fraction}")
    said = [b'{"ts":1795300000123,"values":{"a":%s}}' % number.encode() for number in numbers]
    plain = read_plain(Texts.of(said), np.ones(len(said), np.bool_))
    assert len(plain.which) == len(said)
    assert plain.value.tolist() == [float(number) for number in numbers]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=30)), unique=True, max_size=60),
    st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=30)), max_size=20),
)
def test_a_table_finds_what_it_holds_and_nothing_else(
    held: list[tuple[int, bytes]], asked: list[tuple[int, bytes]]
) -> None:
    table = TextTable(np.array([g for g, _ in held], np.int64), Texts.of(t for _, t in held))
    asked = asked + held
    found = table.find(np.array([g for g, _ in asked], np.int64), Texts.of(t for _, t in asked))
    number = {pair: nth for nth, pair in enumerate(held)}
    assert found.tolist() == [number.get(pair, -1) for pair in asked]


def test_nothing_is_said_by_nothing() -> None:
    plain = read_plain(Texts.of(()), np.zeros(0, np.bool_))
    assert len(plain.which) == len(plain.codes) == 0
    assert not math.isnan(plain.value.sum())
