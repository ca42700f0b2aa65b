"""Messages with generated values, and what they hold in a form to compare other libraries' messages with.

Everything comes from a seed, so a failure can be had again.
"""

import random
from collections.abc import Iterator
from typing import Any

from kstore.protocol.schema import Field, Message, within

# Error codes are enumerated by some judges, and times are dates to them.
ERROR_CODES = range(-1, 120)
TIMES_MS = (0, 1, 1_700_000_000_000)

RANGES = {
    "int8": (-(1 << 7), (1 << 7) - 1),
    "int16": (-(1 << 15), (1 << 15) - 1),
    "uint16": (0, (1 << 16) - 1),
    "int32": (-(1 << 31), (1 << 31) - 1),
    "uint32": (0, (1 << 32) - 1),
    "int64": (-(1 << 63), (1 << 63) - 1),
}
TEXTS = ("", "a", "orders-eu.v2", "Grüße", "日本語", "\U0001f980", "x" * 130, "\0", 'q"\\')


def fields_of(message: type[Message], version: int, struct: str = "") -> list[Field]:
    """The fields that `version` of a message, or of a struct of it, has."""
    _ = message._layout
    top, structs = message._table
    return [field for field in (structs[struct] if struct else top) if within(version, field.versions)]


def random_message(message: type[Message], version: int, rng: random.Random) -> Any:
    return _random_struct(message, message, version, "", rng)


def _random_struct(message: type[Message], cls: Any, version: int, struct: str, rng: random.Random) -> Any:
    fields = fields_of(message, version, struct)
    return cls(**{field.name: _random_field(message, field, version, rng) for field in fields})


def _random_field(message: type[Message], field: Field, version: int, rng: random.Random) -> Any:
    if within(version, field.nullable) and rng.random() < 0.25:
        return None
    if field.is_array:
        return [_random_value(message, field, version, rng) for _ in range(rng.choice((0, 1, 1, 2, 3)))]
    return _random_value(message, field, version, rng)


def _random_value(message: type[Message], field: Field, version: int, rng: random.Random) -> Any:
    if field.is_struct:
        return _random_struct(message, getattr(message, field.type), version, field.type, rng)
    if field.name.endswith("error_code"):
        return rng.choice(ERROR_CODES)
    if field.name in ("log_append_time_ms", "retention_time_ms"):
        return rng.choice(TIMES_MS)
    if field.type in RANGES:
        low, high = RANGES[field.type]
        return rng.choice((low, high, max(low, -1), 0, 1, rng.randint(low, high)))
    if field.type == "bool":
        return rng.random() < 0.5
    if field.type == "string":
        return rng.choice(TEXTS)
    if field.type == "float64":
        return rng.choice((0.0, 1.5, -1e300))
    if field.type == "uuid":
        return rng.choice((bytes(16), rng.randbytes(16)))
    return rng.randbytes(rng.choice((0, 1, 200)))


def plain(message: type[Message], value: Any, version: int, struct: str = "") -> list[tuple[str, Any]]:
    """Names and values of what `version` carries, in the order of the table; structs are lists again."""
    return [
        (field.name, _plain_field(message, field, getattr(value, field.name), version))
        for field in fields_of(message, version, struct)
    ]


def _plain_field(message: type[Message], field: Field, value: Any, version: int) -> Any:
    if value is None or not field.is_struct:
        return value
    if field.is_array:
        return [plain(message, element, version, field.type) for element in value]
    return plain(message, value, version, field.type)


def versions_of(
    messages: dict[int, tuple[type[Message], type[Message]]],
) -> Iterator[tuple[type[Message], int]]:
    """Every request and response in every version."""
    for pair in messages.values():
        for message in pair:
            for version in range(message.min_version, message.max_version + 1):
                yield message, version
