"""The files beside the batches, as rows: indexes, producer snapshots, leader epochs, checkpoints, properties.

A file that cannot be read as what its name says gives the rows before the damage, then raises CorruptRecordError.
"""

import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

from kstore.cli.logs.files import LogFile
from kstore.errors import CorruptRecordError
from kstore.log.checkpoint_file import INT_MAX, LONG_MAX, parse_entries, parse_numbers
from kstore.log.meta_properties import parse_properties
from kstore.log.producer_snapshots import decode_snapshot
from kstore.log.transaction_index import ENTRY as TXN_ENTRY

Row = dict[str, Any]

OFFSET_ENTRY = struct.Struct(">ii")
TIME_ENTRY = struct.Struct(">qi")
CHUNK_ENTRIES = 4096
# A snapshot of five million producers; what is larger is none of these files.
SMALL_FILE_BYTES = 256 * 1024 * 1024


def read_small_file(path: str) -> bytes:
    """Raises CorruptRecordError for a file that is far too large to be one, OSError."""
    with open(path, "rb") as file:
        content = file.read(SMALL_FILE_BYTES + 1)
    if len(content) > SMALL_FILE_BYTES:
        raise CorruptRecordError(f"more than {SMALL_FILE_BYTES} bytes, which no such file has")
    return content


def index_entries(path: str, entry: struct.Struct, size: int = LONG_MAX) -> Iterator[tuple[int, ...]]:
    """The entries of an index in its first `size` bytes, chunk by chunk; the zeros behind the last one, which Kafka
    preallocates, are none.

    Raises CorruptRecordError for a part of an entry at the end.
    """
    zero = (0,) * 2
    zeros = 0
    with open(path, "rb") as file:
        while chunk := file.read(min(size, CHUNK_ENTRIES * entry.size)):
            size -= len(chunk)
            whole = len(chunk) - len(chunk) % entry.size
            if whole == len(chunk) == chunk.count(0):
                zeros += whole // entry.size
                continue
            for fields in entry.iter_unpack(chunk[:whole]):
                if fields == zero:
                    zeros += 1
                    continue
                while zeros:
                    zeros -= 1
                    yield zero
                yield fields
            if whole < len(chunk):
                raise CorruptRecordError(f"{len(chunk) - whole} bytes at the end are no entry")


def offset_index_rows(file: LogFile) -> Iterator[Row]:
    for offset, position in index_entries(file.path, OFFSET_ENTRY):
        yield {"type": "index_entry", "file": file.label, "offset": file.base_offset + offset, "position": position}


def time_index_rows(file: LogFile) -> Iterator[Row]:
    for timestamp, offset in index_entries(file.path, TIME_ENTRY):
        offset += file.base_offset
        yield {"type": "timeindex_entry", "file": file.label, "timestamp": timestamp, "offset": offset}


def txn_index_rows(file: LogFile) -> Iterator[Row]:
    content = read_small_file(file.path)
    whole = len(content) - len(content) % TXN_ENTRY.size
    for version, producer_id, first_offset, last_offset, last_stable_offset in TXN_ENTRY.iter_unpack(content[:whole]):
        yield {
            "type": "aborted_transaction",
            "file": file.label,
            "version": version,
            "producer_id": producer_id,
            "first_offset": first_offset,
            "last_offset": last_offset,
            "last_stable_offset": last_stable_offset,
        }
    if whole < len(content):
        raise CorruptRecordError(f"{len(content) - whole} bytes at the end are no entry")


def producer_rows(file: LogFile) -> Iterator[Row]:
    for entry in decode_snapshot(read_small_file(file.path)):
        yield {
            "type": "producer",
            "file": file.label,
            "producer_id": entry.producer_id,
            "producer_epoch": entry.epoch,
            "coordinator_epoch": entry.coordinator_epoch,
            "last_timestamp": entry.last_timestamp,
            "last_offset": entry.last_offset,
            "last_sequence": entry.last_sequence,
            "offset_delta": entry.last_offset_delta,
            "current_txn_first_offset": entry.current_txn_first_offset,
        }


def epoch_rows(file: LogFile) -> Iterator[Row]:
    for line in parse_entries(read_small_file(file.path), file.label):
        epoch, start_offset = parse_numbers(line, (INT_MAX, LONG_MAX), file.label)
        yield {"type": "leader_epoch", "file": file.label, "epoch": epoch, "start_offset": start_offset}


def checkpoint_rows(file: LogFile) -> Iterator[Row]:
    for line in parse_entries(read_small_file(file.path), file.label):
        topic, _, numbers = line.partition(" ")
        partition, offset = parse_numbers(numbers, (INT_MAX, LONG_MAX), file.label)
        yield {"type": "checkpoint", "file": file.label, "topic": topic, "partition": partition, "offset": offset}


def properties_rows(file: LogFile) -> Iterator[Row]:
    """meta.properties and partition.metadata (`key: value`) are properties; quorum-state is JSON."""
    try:
        text = read_small_file(file.path).decode()
        values = json.loads(text) if text.startswith("{") else parse_properties(text)
    except ValueError as error:
        raise CorruptRecordError(f"cannot be read: {error}") from None
    yield {"type": "properties", "file": file.label, "properties": values}


def other_rows(file: LogFile) -> Iterator[Row]:
    return iter(())


ROWS: dict[str, Callable[[LogFile], Iterator[Row]]] = {
    "index": offset_index_rows,
    "timeindex": time_index_rows,
    "txnindex": txn_index_rows,
    "snapshot": producer_rows,
    "epochs": epoch_rows,
    "offsets": checkpoint_rows,
    "properties": properties_rows,
    "other": other_rows,
}
