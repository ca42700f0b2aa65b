"""Kafka's checkpoint files: small texts that are replaced whole or not at all.

    0                      version
    2                      number of entries
    topic-name 3 1042      entries, one a line
    other 0 17

A file is written to `<name>.tmp`, fsynced, renamed over the old one, and the directory is fsynced
(CheckpointFile.java, OffsetCheckpointFile.java, LeaderEpochCheckpointFile.java).
"""

import os
from collections.abc import Iterable, Mapping, Sequence

from kstore.errors import CorruptRecordError
from kstore.model import TopicPartition

VERSION = 0
INT_MAX = 2**31 - 1
LONG_MAX = 2**63 - 1

RECOVERY_POINT_CHECKPOINT = "recovery-point-offset-checkpoint"
LOG_START_OFFSET_CHECKPOINT = "log-start-offset-checkpoint"
HIGH_WATERMARK_CHECKPOINT = "replication-offset-checkpoint"
CLEANER_OFFSET_CHECKPOINT = "cleaner-offset-checkpoint"
LEADER_EPOCH_CHECKPOINT = "leader-epoch-checkpoint"


class CorruptCheckpointError(CorruptRecordError):
    """A checkpoint file that is not what its own count and version say."""


def format_entries(entries: Iterable[str]) -> bytes:
    lines = list(entries)
    return "\n".join([str(VERSION), str(len(lines)), *lines, ""]).encode()


def parse_entries(text: bytes, path: str) -> list[str]:
    """The entries of a checkpoint file; an empty file has none, as one that was just created."""
    try:
        lines = text.decode().splitlines()
    except UnicodeDecodeError:
        raise CorruptCheckpointError(f"checkpoint file {path} is not text") from None
    if len(lines) < 2:
        return [] if not lines or lines[0] == str(VERSION) else _refuse_version(lines[0], path)
    if lines[0] != str(VERSION):
        _refuse_version(lines[0], path)
    entries = lines[2:]
    if not lines[1].isdecimal() or int(lines[1]) != len(entries):
        raise CorruptCheckpointError(f"checkpoint file {path} announces {lines[1]!r} entries and has {len(entries)}")
    return entries


def _refuse_version(line: str, path: str) -> list[str]:
    raise CorruptCheckpointError(f"checkpoint file {path} begins with {line!r}, not version {VERSION}")


def parse_numbers(entry: str, limits: Sequence[int], path: str) -> list[int]:
    """The integers of an entry, each from 0 to its limit."""
    words = entry.split()
    try:
        numbers = [int(word) for word in words]
        if not all(0 <= number <= limit for number, limit in zip(numbers, limits, strict=True)):
            raise ValueError
        return numbers
    except ValueError:
        raise CorruptCheckpointError(f"checkpoint file {path} has a line that cannot be read: {entry!r}") from None


def fsync_directory(directory: str) -> None:
    """Makes the names in a directory durable: a file survives a power loss only after this."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: str, content: bytes, *, sync: bool = True) -> None:
    """Writes `content` so that a crash leaves the old file or the new one, never a part. Raises OSError."""
    temporary = path + ".tmp"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temporary, path)
    if sync:
        fsync_directory(os.path.dirname(path))


def read_file(path: str) -> bytes | None:
    """The content of a file, or None where there is none."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.readall()
    except FileNotFoundError:
        return None


def write_offsets(path: str, offsets: Mapping[TopicPartition, int]) -> None:
    """One offset a partition, in a file at the root of a log directory."""
    entries = (f"{topic} {partition} {offset}" for (topic, partition), offset in offsets.items())
    replace_file(path, format_entries(entries))


def read_offsets(path: str) -> dict[TopicPartition, int]:
    """The offsets of `write_offsets`; none where the file is missing. Raises CorruptCheckpointError,
    OSError."""
    content = read_file(path)
    offsets = {}
    for entry in parse_entries(content or b"", path):
        topic, _, numbers = entry.partition(" ")
        partition, offset = parse_numbers(numbers, (INT_MAX, LONG_MAX), path)
        offsets[TopicPartition(topic, partition)] = offset
    return offsets
