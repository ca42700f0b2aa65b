"""Records as JSON, for `kstore consume --json` and `kstore produce --json`: what one prints the other reads.

    {"topic": "orders", "partition": 0, "offset": 5, "timestamp": 1700000000000, "key": "k", "value": "text",
     "headers": [{"key": "h", "value": "1"}]}

What is not UTF-8 is called `key_base64`, `value_base64` (also in headers); null is null.
"""

import binascii
import json
from base64 import b64decode
from typing import Any, NamedTuple

from kstore.cli.errors import UsageError

FIELDS = {"topic", "partition", "offset", "timestamp", "timestamp_type", "headers"}
LAST_PARTITION, LAST_TIMESTAMP = 2**31 - 1, 2**63 - 1
BYTES = {"key", "value", "key_base64", "value_base64"}


class ToProduce(NamedTuple):
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    partition: int | None = None
    timestamp: int | None = None


def parse_record(line: str, where: str) -> ToProduce:
    """A record to produce; `topic`, `offset` and `timestamp_type` tell where it came from and do not count. Raises
    UsageError naming `where`."""
    try:
        row = json.loads(line)
        if not isinstance(row, dict):
            raise ValueError('a record is an object, such as {"key": "k", "value": "v"}')
        for name in row:
            if name not in FIELDS | BYTES:
                raise ValueError(f"'{name}' is no part of a record: {', '.join(sorted(FIELDS | BYTES))}")
        headers = row.get("headers") or []
        if not isinstance(headers, list):
            raise ValueError("headers are a list of objects")
        return ToProduce(
            parse_bytes(row, "key"),
            parse_bytes(row, "value"),
            [(parse_name(header), parse_bytes(header, "value")) for header in headers],
            parse_number(row, "partition", LAST_PARTITION),
            parse_number(row, "timestamp", LAST_TIMESTAMP),
        )
    except UnicodeEncodeError as error:
        raise UsageError(f"{where}: {error.object!r} is no text that UTF-8 can hold") from None
    except RecursionError:
        raise UsageError(f"{where}: is nested too deeply") from None
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from None


def parse_name(header: Any) -> str:
    if not isinstance(header, dict) or not isinstance(header.get("key"), str):
        raise ValueError('a header is an object, such as {"key": "h", "value": "1"}')
    name: str = header["key"]
    name.encode()  # the client library takes what is no UTF-8 for granted, and ends the process
    return name


def parse_bytes(row: dict[str, Any], name: str) -> bytes | None:
    encoded = row.get(f"{name}_base64")
    text = row.get(name)
    if encoded is not None:
        if text is not None:
            raise ValueError(f"give {name} or {name}_base64, not both")
        try:
            return b64decode(encoded, validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise ValueError(f"{name}_base64: {error}") from None
    if text is None:
        return None
    if not isinstance(text, str):
        raise ValueError(f"{name} is a text or null; write other JSON as a text")
    return text.encode()


def parse_number(row: dict[str, Any], name: str, last: int) -> int | None:
    value = row.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= last:
        raise ValueError(f"{name} is a number from 0 to {last}")
    return value
