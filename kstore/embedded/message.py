"""What is put into a log: a value, and what may go with it."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from kstore._native.record import Record

if TYPE_CHECKING:
    from typing_extensions import Buffer

    Headers: TypeAlias = Mapping[str, "Buffer | None"] | Iterable[tuple[str, "Buffer | None"]]
    Pairs: TypeAlias = list[tuple[str, "Buffer | None"]] | tuple[tuple[str, "Buffer | None"], ...]

# What a builder takes: timestamp, key, value, headers.
Parts: TypeAlias = "tuple[int, Buffer | None, Buffer | None, Pairs]"


class Message(NamedTuple):
    """A record that has no offset yet. Without a timestamp it gets the time at which it is appended."""

    value: "Buffer | None"
    key: "Buffer | None" = None
    headers: "Headers" = ()
    timestamp_ms: int | None = None


def pairs(headers: "Headers") -> "Pairs":
    """Headers as ordered pairs; those of a mapping are in its order."""
    if isinstance(headers, list | tuple):
        return headers
    return list(headers.items() if isinstance(headers, Mapping) else headers)


def parts(message: "Buffer | Message | Record", now_ms: int) -> Parts:
    """A message, the record of another log, or a bare value."""
    if isinstance(message, Message):
        timestamp = now_ms if message.timestamp_ms is None else message.timestamp_ms
        return timestamp, message.key, message.value, pairs(message.headers)
    if isinstance(message, Record):
        return message.timestamp, message.key, message.value, tuple(message.headers)
    return now_ms, None, message, ()
