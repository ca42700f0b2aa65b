"""Showing what log files hold, line by line as it is read: for people in columns, for programs as JSON.

    data/orders-0/00000000000000000000.log: log, 412 B
      position       size  offsets                     count  codec   epoch  max timestamp             notes
             0        151  0..1                            2  none        0  2023-11-14T22:13:20.000Z

JSON has a row for each file, batch, record, index entry, producer, epoch, checkpoint; `type` says which. What is
damaged is a row too, and the dump goes on behind it.
"""

import os
from collections.abc import Iterator
from typing import Any, NamedTuple, TextIO

from kstore._native.batch import RecordBatch
from kstore._native.records import FileRecords
from kstore.cli.logs.batches import Damage, OldMessage, walk
from kstore.cli.logs.decode import decode, decoder_of
from kstore.cli.logs.files import KRAFT_SNAPSHOT, OFFSET_INDEX, SEGMENT, TIME_INDEX, LogFile
from kstore.cli.logs.rows import (
    BATCH_TITLE,
    batch_line,
    batch_row,
    damage_row,
    old_message_row,
    record_line,
    record_row,
)
from kstore.cli.logs.small_files import OFFSET_ENTRY, ROWS, index_entries
from kstore.cli.output import encode_json, heading, size_text, timestamp_text
from kstore.errors import KafkaError, KstoreError

BATCH_FILES = (SEGMENT, KRAFT_SNAPSHOT)
# The largest batch that Kafka's own clients can make, decompressed.
MAX_DECOMPRESSED_BYTES = 2**31 - 1


class DumpOptions(NamedTuple):
    as_json: bool = False
    with_records: bool = False
    full: bool = False
    decoded: bool = True
    first_offset: int = 0
    last_offset: int = 2**63 - 1


class Dump:
    """Writes to `out`; `damaged` counts what could not be read."""

    def __init__(self, out: TextIO, options: DumpOptions) -> None:
        self.out = out
        self.options = options
        self.damaged = 0

    def file(self, file: LogFile) -> None:
        """One file. What cannot be opened or is not what its name says is a row of the dump."""
        try:
            size = os.stat(file.path).st_size
            self._begin(file, size)
            lines = self._batch_lines(file) if file.kind in BATCH_FILES else self._small_lines(file)
            self.out.writelines(lines)
        except FileNotFoundError:
            # A broker that runs has deleted it, or given it another name, since the directory was listed.
            self._damage(file, None, Damage(0, "the file is gone", True))
        except BrokenPipeError:
            raise
        except (KstoreError, OSError) as error:
            self._damage(file, None, Damage(0, str(error), True))

    def _begin(self, file: LogFile, size: int) -> None:
        if self.options.as_json:
            row = {"type": "file", "file": file.label, "kind": file.kind, "size": size}
            if file.partition is not None:
                row |= {"topic": file.partition.topic, "partition": file.partition.partition}
            if file.base_offset >= 0:
                row["base_offset"] = file.base_offset
            if file.state:
                row["state"] = file.state.removeprefix(".")
            self.out.write(encode_json(row) + "\n")
        else:
            state = f" ({file.state.removeprefix('.')})" if file.state else ""
            self.out.write(heading(f"{file.label}: {file.kind}{state}, {size_text(size)}", self.out) + "\n")

    def _damage(self, file: LogFile, position: int | None, damage: Damage) -> None:
        self.out.write(self._damage_line(file, position, damage))

    def _damage_line(self, file: LogFile, position: int | None, damage: Damage) -> str:
        self.damaged += 1
        if self.options.as_json:
            return encode_json(damage_row(file.label, position, damage)) + "\n"
        where = "" if position is None else f"{position:>10}  {damage.size:>9}  "
        return f"{where}DAMAGED: {damage.reason}\n"

    # --- batches and records ---

    def _batch_lines(self, file: LogFile) -> Iterator[str]:
        options = self.options
        records = FileRecords(file.path, writable=False)
        try:
            if not options.as_json:
                yield BATCH_TITLE + "\n"
            for position, found in walk(records, self._start_position(file)):
                if isinstance(found, RecordBatch):
                    if found.last_offset < options.first_offset:
                        continue
                    if found.base_offset > options.last_offset:
                        return
                    valid = found.is_crc_valid()
                    self.damaged += not valid
                    if options.as_json:
                        yield encode_json(batch_row(file.label, position, found, valid)) + "\n"
                    else:
                        yield batch_line(position, found, valid) + "\n"
                    if options.with_records and found.count:
                        yield from self._record_lines(file, position, found)
                elif isinstance(found, OldMessage):
                    self.damaged += not found.crc_valid
                    yield self._old_message_line(file, position, found)
                else:
                    yield self._damage_line(file, position, found)
        finally:
            records.close()

    def _start_position(self, file: LogFile) -> int:
        """Where a batch with the first offset that is wanted may begin, as the index beside the file has it."""
        first_offset = self.options.first_offset
        if first_offset <= file.base_offset or file.kind != SEGMENT:
            return 0
        index = file.path.removesuffix(file.state).removesuffix(".log") + ".index" + file.state
        start = 0
        try:
            for offset, position in index_entries(index, OFFSET_ENTRY):
                if file.base_offset + offset > first_offset or position < start:
                    break
                start = position
            records = FileRecords(file.path, writable=False)
            try:
                batch = records.read_batch(start)
                return start if batch is not None and batch.is_crc_valid() and batch.base_offset <= first_offset else 0
            finally:
                records.close()
        except (KstoreError, OSError, ValueError):
            return 0  # an index that is missing or leads nowhere costs time only

    def _record_lines(self, file: LogFile, position: int, batch: RecordBatch) -> Iterator[str]:
        options = self.options
        topic = file.partition.topic if file.partition else None
        if file.kind == KRAFT_SNAPSHOT:
            topic = "__cluster_metadata"
        decoder = decoder_of(topic, is_control=batch.is_control) if options.decoded else None
        sequence = batch.base_sequence
        first_offset = batch.base_offset
        try:
            for record in batch.records(MAX_DECOMPRESSED_BYTES):
                if not options.first_offset <= record.offset <= options.last_offset:
                    continue
                decoded = None if decoder is None else decode(decoder, record)
                if options.as_json:
                    own = sequence + record.offset - first_offset & 0x7FFFFFFF if sequence >= 0 else -1
                    yield encode_json(record_row(file.label, record, own, decoded)) + "\n"
                else:
                    yield record_line(record, decoded, full=options.full) + "\n"
        except KafkaError as error:
            yield self._damage_line(file, position, Damage(batch.size_in_bytes, str(error), False))

    def _old_message_line(self, file: LogFile, position: int, message: OldMessage) -> str:
        if self.options.as_json:
            return encode_json(old_message_row(file.label, position, message)) + "\n"
        note = "" if message.crc_valid else ", CRC IS WRONG"
        text = f"message format {message.magic}{note}"
        return f"{position:>10}  {message.size:>9}  {f'..{message.offset}':<25}  {'':47}  {text}\n"

    # --- the other files ---

    def _small_lines(self, file: LogFile) -> Iterator[str]:
        options = self.options
        for row in ROWS[file.kind](file):
            if file.kind in (OFFSET_INDEX, TIME_INDEX) and not (
                options.first_offset <= row["offset"] <= options.last_offset
            ):
                continue
            yield encode_json(row) + "\n" if options.as_json else small_line(row)


def small_line(row: dict[str, Any]) -> str:
    """A row of an index, checkpoint or snapshot for people."""
    if row["type"] == "properties":
        texts = {name: v if isinstance(v, str) else encode_json(v) for name, v in row["properties"].items()}
        return "".join(f"  {name}={text}\n" for name, text in texts.items())
    if row["type"] == "checkpoint":
        return f"  {row['topic']}-{row['partition']}: {row['offset']}\n"
    values = {name: value for name, value in row.items() if name not in ("type", "file")}
    for name in values:
        if name.endswith("timestamp"):
            values[name] = timestamp_text(values[name])
    return "  " + "  ".join(f"{name.replace('_', ' ')} {value}" for name, value in values.items()) + "\n"
