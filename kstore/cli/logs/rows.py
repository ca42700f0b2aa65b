"""Batches and records as rows of a dump: the names are Kafka's in snake case, what is bytes is told apart.

Keys, values and header values are texts where they are UTF-8. Where they are not, the name ends in `_base64`, so that a
program can get the bytes back either way.
"""

from base64 import b64encode
from typing import Any

from kstore._native.batch import COMPRESSION_NAMES, RecordBatch
from kstore._native.record import Record
from kstore.cli.logs.batches import Damage, OldMessage
from kstore.cli.logs.decode import Decoded
from kstore.cli.output import escape, timestamp_text

TIMESTAMP_TYPES = ("CreateTime", "LogAppendTime")
SHOWN_CHARACTERS = 100


def codec_name(codec: int) -> str:
    return COMPRESSION_NAMES[codec] if codec < len(COMPRESSION_NAMES) else f"codec {codec}"


def batch_row(file: str, position: int, batch: RecordBatch, crc_valid: bool) -> dict[str, Any]:
    base_timestamp = batch.base_timestamp
    return {
        "type": "batch",
        "file": file,
        "position": position,
        "size": batch.size_in_bytes,
        "base_offset": batch.base_offset,
        "last_offset": batch.last_offset,
        "count": batch.count,
        "codec": codec_name(batch.compression),
        "leader_epoch": batch.partition_leader_epoch,
        "producer_id": batch.producer_id,
        "producer_epoch": batch.producer_epoch,
        "base_sequence": batch.base_sequence,
        "last_sequence": batch.last_sequence,
        "timestamp_type": TIMESTAMP_TYPES[batch.timestamp_type],
        "base_timestamp": base_timestamp,
        "max_timestamp": batch.max_timestamp,
        "delete_horizon_ms": base_timestamp if batch.has_delete_horizon else None,
        "transactional": batch.is_transactional,
        "control": batch.is_control,
        "magic": 2,
        "crc": batch.crc,
        "crc_valid": crc_valid,
    }


def record_row(file: str, record: Record, sequence: int, decoded: Decoded | str | None) -> dict[str, Any]:
    row = {"type": "record", "file": file, "offset": record.offset, "timestamp": record.timestamp}
    if sequence >= 0:
        row["sequence"] = sequence
    if isinstance(decoded, Decoded):
        row |= {"record": decoded.kind, "version": decoded.version, "data": decoded.fields}
        return row
    if decoded is not None:
        row["undecodable"] = decoded
    put_bytes(row, "key", record.key)
    put_bytes(row, "value", record.value)
    row["headers"] = [put_bytes({"key": key}, "value", value) for key, value in record.headers]
    return row


def put_bytes(row: dict[str, Any], name: str, value: bytes | None) -> dict[str, Any]:
    if value is None:
        row[name] = None
        return row
    try:
        row[name] = str(value, "utf-8")
    except UnicodeDecodeError:
        row[name + "_base64"] = b64encode(value).decode()
    return row


def old_message_row(file: str, position: int, message: OldMessage) -> dict[str, Any]:
    return {
        "type": "old_message",
        "file": file,
        "position": position,
        "size": message.size,
        "offset": message.offset,
        "magic": message.magic,
        "crc_valid": message.crc_valid,
    }


def damage_row(file: str, position: int | None, damage: Damage) -> dict[str, Any]:
    row: dict[str, Any] = {"type": "damage", "file": file}
    if position is not None:
        row |= {"position": position, "size": damage.size}
    return row | {"reason": damage.reason}


BATCH_TITLE = (
    f"{'position':>10}  {'size':>9}  {'offsets':<25}  {'count':>6}  {'codec':<6}  {'epoch':>5}  "
    f"{'max timestamp':<24}  notes"
)


def batch_line(position: int, batch: RecordBatch, crc_valid: bool) -> str:
    offsets = f"{batch.base_offset}..{batch.last_offset}"
    notes = []
    if not crc_valid:
        notes.append("CRC IS WRONG")
    if batch.producer_id >= 0:
        notes.append(f"producer {batch.producer_id} epoch {batch.producer_epoch}")
        if batch.base_sequence >= 0:
            notes.append(f"sequence {batch.base_sequence}..{batch.last_sequence}")
    if batch.is_transactional:
        notes.append("transactional")
    if batch.is_control:
        notes.append("control")
    if batch.timestamp_type:
        notes.append("log append time")
    if batch.has_delete_horizon:
        notes.append(f"tombstones go after {timestamp_text(batch.base_timestamp)}")
    return (
        f"{position:>10}  {batch.size_in_bytes:>9}  {offsets:<25}  {batch.count:>6}  "
        f"{codec_name(batch.compression):<6}  {batch.partition_leader_epoch:>5}  "
        f"{timestamp_text(batch.max_timestamp):<24}  {', '.join(notes)}"
    ).rstrip()


def record_line(record: Record, decoded: Decoded | str | None, *, full: bool) -> str:
    start = f"            | {record.offset}  {timestamp_text(record.timestamp)}  "
    if isinstance(decoded, Decoded):
        return f"{start}{decoded.kind} v{decoded.version}  {fields_text(decoded.fields)}"
    text = f"{start}key={bytes_text(record.key, full)}  value={bytes_text(record.value, full)}"
    if record.headers:
        headers = ", ".join(f"{text_text(key, full)}={bytes_text(value, full)}" for key, value in record.headers)
        text += f"  headers: {headers}"
    return text if decoded is None else f"{text}  ({decoded})"


def fields_text(fields: dict[str, Any]) -> str:
    return " ".join(f"{name}={field_text(value)}" for name, value in fields.items())


def field_text(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + fields_text(value) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(field_text, value)) + "]"
    if isinstance(value, str):
        return text_text(value, True)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def bytes_text(value: bytes | None, full: bool) -> str:
    """Bytes for people: a quoted text, or hexadecimal digits; cut unless `full`."""
    if value is None:
        return "null"
    most = len(value) if full else 4 * SHOWN_CHARACTERS
    if value.isascii():
        # Most text is, and then a byte is a character.
        size = len(value)
        shown = text_text(
            str(value if full or size <= SHOWN_CHARACTERS else value[: SHOWN_CHARACTERS + 1], "ascii"), full
        )
        return f"{shown} ({size} bytes)" if shown.endswith("…") else shown
    try:
        text = str(value[:most], "utf-8")
    except UnicodeDecodeError as error:
        # The cut may fall into a character.
        if len(value) <= most or error.start < most - 4:
            return hex_text(value, full)
        text = str(value[: error.start], "utf-8")
    shown = text_text(text, full)
    return f"{shown} ({len(value)} bytes)" if shown.endswith("…") or len(value) > most else shown


def hex_text(value: bytes, full: bool) -> str:
    if full or len(value) <= SHOWN_CHARACTERS // 2:
        return "0x" + value.hex()
    return f"0x{value[: SHOWN_CHARACTERS // 2].hex()}… ({len(value)} bytes)"


def text_text(text: str, full: bool) -> str:
    """A text in double quotes, on one line, without what a terminal would act on."""
    cut = not full and len(text) > SHOWN_CHARACTERS
    if cut:
        text = text[:SHOWN_CHARACTERS]
    if not text.isprintable() or '"' in text or "\\" in text:
        text = "".join(escape_quoted(character) for character in text)
    return f'"{text}"…' if cut else f'"{text}"'


def escape_quoted(character: str) -> str:
    return "\\" + character if character in '"\\' else escape(character)
