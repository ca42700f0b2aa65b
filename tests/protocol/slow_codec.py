"""An encoder in slow plain Python that also says where every count and size stands, so they can be forged."""

import struct
from typing import Any, NamedTuple

from kstore.protocol.schema import Field, Message, within
from tests.protocol.values import fields_of

FORMATS = {
    "bool": ">?",
    "int8": ">b",
    "int16": ">h",
    "uint16": ">H",
    "int32": ">i",
    "uint32": ">I",
    "int64": ">q",
    "float64": ">d",
}


class Count(NamedTuple):
    """A count or size in the encoded bytes: what it counts, where it stands, in how many bytes."""

    path: str
    position: int
    width: int
    is_compact: bool


class SlowEncoder:
    def __init__(self, message: type[Message], version: int) -> None:
        self.message = message
        self.version = version
        self.flexible = version >= message.flexible_from
        self.out = bytearray()
        self.counts: list[Count] = []

    def encode(self, value: Any) -> bytes:
        self._struct(value, "", "")
        return bytes(self.out)

    def _struct(self, value: Any, struct_name: str, path: str) -> None:
        fields = fields_of(self.message, self.version, struct_name)
        tagged = []
        for field in fields:
            if within(self.version, field.tagged):
                tagged.append(field)
            else:
                self._field(field, getattr(value, field.name), f"{path}{field.name}")
        if self.flexible:
            self._tags(value, tagged, struct_name, path)

    def _tags(self, value: Any, tagged: list[Field], struct_name: str, path: str) -> None:
        fresh = getattr(self.message, struct_name)() if struct_name else self.message()
        present = [field for field in tagged if getattr(value, field.name) != getattr(fresh, field.name)]
        self._uvarint(len(present), f"{path}tags")
        for field in sorted(present, key=lambda field: field.tag):
            self._uvarint(field.tag)
            inner = SlowEncoder(self.message, self.version)
            inner._field(field, getattr(value, field.name), f"{path}{field.name}")
            self._uvarint(len(inner.out), f"{path}{field.name} (tag's size)")
            start = len(self.out)
            self.counts += [count._replace(position=count.position + start) for count in inner.counts]
            self.out += inner.out

    def _field(self, field: Field, value: Any, path: str) -> None:
        if not field.is_array:
            self._value(field, value, path)
            return
        self._count(None if value is None else len(value), 4, path)
        for element in value or ():
            self._value(field, element, path, is_element=True)

    def _value(self, field: Field, value: Any, path: str, *, is_element: bool = False) -> None:
        if field.is_struct:
            if within(self.version, field.nullable) and not is_element:
                self.out += b"\xff" if value is None else b"\x01"
            if value is not None:
                self._struct(value, field.type, f"{path}.")
        elif field.type == "uuid":
            self.out += value
        elif field.type in FORMATS:
            self.out += struct.pack(FORMATS[field.type], value)
        else:
            data = value.encode() if isinstance(value, str) else value
            self._count(None if data is None else len(data), 2 if field.type == "string" else 4, path)
            self.out += data or b""

    def _count(self, count: int | None, width: int, path: str) -> None:
        if self.flexible:
            self._uvarint(0 if count is None else count + 1, path)
        else:
            self.counts.append(Count(path, len(self.out), width, False))
            self.out += (-1 if count is None else count).to_bytes(width, "big", signed=True)

    def _uvarint(self, number: int, path: str = "") -> None:
        start = len(self.out)
        self.out += uvarint(number)
        if path:
            self.counts.append(Count(path, start, len(self.out) - start, True))


def uvarint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])
