"""Packets we write: what they refuse, and acknowledgements in bulk."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hazardloop.ingest import packets
from hazardloop.ingest.errors import MalformedPacket
from hazardloop.ingest.packets import Kind
from hazardloop.ingest.properties import READERS, read_properties, read_varint, varint
from hazardloop.ingest.reasons import login_reason, reason


@given(st.lists(st.integers(1, 65_535), max_size=200))
def test_acknowledgements_in_bulk_are_the_single_ones_joined(numbers: list[int]) -> None:
    single = b"".join(packets.answer(Kind.PUBACK, number) for number in numbers)
    assert packets.acknowledgements(numbers) == single


@given(st.integers(0, 268_435_455))
def test_a_length_written_is_the_length_read(value: int) -> None:
    written = varint(value)
    assert read_varint(written, 0, len(written)) == (value, len(written))
    with pytest.raises(MalformedPacket):
        read_varint(written, 0, len(written) - 1)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, b"\0"),
        (127, b"\x7f"),
        (128, b"\x80\1"),
        (16_383, b"\xff\x7f"),
        (16_384, b"\x80\x80\1"),
        (2_097_151, b"\xff\xff\x7f"),
        (268_435_455, b"\xff\xff\xff\x7f"),
    ],
)
def test_lengths_are_written_as_the_standard_shows(value: int, written: bytes) -> None:
    assert varint(value) == written


@pytest.mark.parametrize("value", [-1, 268_435_456])
def test_a_length_outside_the_standard_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        varint(value)


@pytest.mark.parametrize("number", [0, 65_536])
def test_a_packet_id_outside_the_standard_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="packet id"):
        packets.publish("t", b"", qos=1, packet_id=number)


def test_a_text_too_long_for_its_length_field_is_refused() -> None:
    with pytest.raises(ValueError, match="65536 bytes"):
        packets.publish("t" * 65_536, b"")


def test_mqtt_3_1_1_has_no_password_without_a_user() -> None:
    with pytest.raises(ValueError, match="user name"):
        packets.connect("id", password="p")
    assert packets.connect("id", password="p", protocol=5)


@pytest.mark.parametrize("identifier", sorted(READERS))
@given(st.data())
def test_a_property_cut_anywhere_is_malformed(identifier: int, data: st.DataObject) -> None:
    read = READERS[identifier]
    whole = b"\0\2ab\0\2cd" if identifier == 0x26 else b"\0\2ab"
    value, end = read(whole, 0, len(whole))
    cut = data.draw(st.integers(0, end - 1))
    with pytest.raises(MalformedPacket):
        read(whole[:cut], 0, cut)
    body = bytes([identifier]) + whole[:end]
    assert read_properties(varint(len(body)) + body, 0, len(body) + 1)[0] == {identifier: value}


def test_codes_have_words() -> None:
    assert reason(0x8E) == "session taken over"
    assert reason(0xEE) == "unknown reason"
    assert login_reason(1) == "unacceptable protocol version"
    assert login_reason(0x87) == "not authorized"
