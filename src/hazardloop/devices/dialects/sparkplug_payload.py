"""The protobuf payload of Sparkplug B: what is read of it, described here and made at import.

Source: Sparkplug 3.0 (ISO/IEC 20237:2023), 6.4 and 15.3. Fields that hold no value of a point
(metadata, data sets, templates, extensions) are not described: protobuf passes them over.
"""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any, Final, TypeAlias

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from hazardloop.devices.wire import PayloadRefused, Reason

Payload: TypeAlias = Any
"""A message made from the description below."""
_FIELD: Final = descriptor_pb2.FieldDescriptorProto
_PACKAGE: Final = "hazardloop.sparkplug"
_TYPES: Final[Mapping[str, int]] = {
    "uint64": _FIELD.TYPE_UINT64, "uint32": _FIELD.TYPE_UINT32, "float": _FIELD.TYPE_FLOAT,
    "double": _FIELD.TYPE_DOUBLE, "bool": _FIELD.TYPE_BOOL, "string": _FIELD.TYPE_BYTES,
    "bytes": _FIELD.TYPE_BYTES,
}  # fmt: skip
"""Text is read as bytes: one name that is not UTF-8 must not cost its neighbours anything."""
_VALUES: Final = (
    ("int_value", "uint32"), ("long_value", "uint64"), ("float_value", "float"),
    ("double_value", "double"), ("boolean_value", "bool"), ("string_value", "string"),
)  # fmt: skip
_MESSAGES: Final[Mapping[str, Mapping[int, tuple[str, str]]]] = {
    "PropertyValue": {1: ("type", "uint32"), 2: ("is_null", "bool"),
                      **dict(enumerate(_VALUES, start=3))},
    "PropertySet": {1: ("keys", "*string"), 2: ("values", "*PropertyValue")},
    "Metric": {
        1: ("name", "string"), 2: ("alias", "uint64"), 3: ("timestamp", "uint64"),
        4: ("datatype", "uint32"), 5: ("is_historical", "bool"), 6: ("is_transient", "bool"),
        7: ("is_null", "bool"), 9: ("properties", "PropertySet"),
        **dict(enumerate((*_VALUES, ("bytes_value", "bytes")), start=10)),
    },
    "Payload": {1: ("timestamp", "uint64"), 2: ("metrics", "*Metric"), 3: ("seq", "uint64"),
                4: ("uuid", "string"), 5: ("body", "bytes")},
}  # fmt: skip
"""Message to field number to name and type; `*` = repeated."""
ONE_OF: Final = frozenset({"PropertyValue", "Metric"})
"""Messages whose `…_value` fields exclude each other."""


class DataType(IntEnum):
    """Types of a metric's value that a point can take (Sparkplug 3.0, 6.4.16)."""

    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATE_TIME = 13
    TEXT = 14


BITS: Final[Mapping[int, int]] = {
    DataType.INT8: 8,
    DataType.INT16: 16,
    DataType.INT32: 32,
    DataType.INT64: 64,
}
"""Of the types that may be negative: they travel as two's complement in an unsigned field."""


def _described() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="hazardloop/sparkplug.proto", package=_PACKAGE, syntax="proto2"
    )
    for message, fields in _MESSAGES.items():
        described = file.message_type.add(name=message)
        if message in ONE_OF:
            described.oneof_decl.add(name="value")
        for number, (name, kind) in fields.items():
            _add_field(described, number, name, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Payload"))


def _add_field(described: Any, number: int, name: str, kind: str) -> None:
    plain = kind.lstrip("*")
    repeated = kind != plain
    field = described.field.add(
        name=name,
        number=number,
        label=_FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL,
        type=_TYPES.get(plain, _FIELD.TYPE_MESSAGE),
    )
    if plain not in _TYPES:
        field.type_name = f".{_PACKAGE}.{plain}"
    if described.name in ONE_OF and name.endswith("_value"):
        field.oneof_index = 0


_payload_class: Final = _described()


def decode_payload(payload: bytes) -> Payload:
    """A payload's timestamp, seq and metrics. Raises PayloadRefused."""
    message = _payload_class()
    try:
        message.ParseFromString(payload)
    except DecodeError as error:
        raise PayloadRefused(
            Reason.BAD_SHAPE, f"not a Sparkplug B payload: {error!s:.120}"
        ) from error
    if message.body and not message.metrics:
        raise PayloadRefused(
            Reason.BAD_SHAPE, f"{text(message.uuid)[:60]}: a compressed payload is not read here"
        )
    return message


def encode_payload(
    timestamp_ms: int, metrics: Iterable[Mapping[str, Any]], seq: int | None = None
) -> bytes:
    """A payload of these metrics, each by the names of its fields."""
    message = _payload_class(timestamp=timestamp_ms, metrics=[dict(one) for one in metrics])
    if seq is not None:
        message.seq = seq
    return bytes(message.SerializeToString())


def text(raw: bytes) -> str:
    """A field of text; what is not UTF-8 is marked, and so no known name."""
    return raw.decode("utf-8", "replace")


def said(holder: Any, datatype: int) -> float | int | bool | str | None:
    """The value of a metric or property; None where it is null. ValueError: of no use here."""
    field = holder.WhichOneof("value")
    if holder.is_null or field is None:
        return None
    raw: Any = getattr(holder, field)
    if field == "string_value":
        return text(raw)
    if field == "bytes_value":
        raise ValueError("bytes are no value of a point")
    if field in ("float_value", "double_value"):
        return float(raw)
    if field == "boolean_value" or datatype == DataType.BOOLEAN:
        return bool(raw)
    return _signed(int(raw), datatype)


def _signed(raw: int, datatype: int) -> int:
    bits = BITS.get(datatype)
    if bits is None:
        return raw
    raw &= (1 << bits) - 1
    return raw - (1 << bits) if raw >> (bits - 1) else raw


DATA_TYPES: Final = frozenset(int(kind) for kind in DataType)
