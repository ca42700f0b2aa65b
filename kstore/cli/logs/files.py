"""What lies in a log directory: which file is what, by its name alone.

    <log directory>/                 meta.properties, checkpoints, bootstrap.checkpoint
        <topic>-<partition>/         segments, indexes, snapshots, leader-epoch-checkpoint, partition.metadata
        <topic>-<n>.<id>-delete/     ... and partitions on their way out (-delete), in (-future) or lost (-stray)

A path that a command is given may be a log directory, a partition's directory or one file.
"""

import os
from collections.abc import Iterator
from typing import NamedTuple

from kstore.cli.errors import UsageError
from kstore.log.checkpoint_file import (
    HIGH_WATERMARK_CHECKPOINT,
    LEADER_EPOCH_CHECKPOINT,
    LOG_START_OFFSET_CHECKPOINT,
    RECOVERY_POINT_CHECKPOINT,
)
from kstore.log.directory import (
    CLEANED_SUFFIX,
    DAMAGED_SUFFIX,
    DELETED_SUFFIX,
    LOG_SUFFIX,
    OFFSET_INDEX_SUFFIX,
    PARTITION_METADATA,
    SNAPSHOT_SUFFIX,
    SWAP_SUFFIX,
    TIME_INDEX_SUFFIX,
    TXN_INDEX_SUFFIX,
    offset_of,
    parse_partition_dir_name,
)
from kstore.log.log_dir import INCARNATION_FILE
from kstore.log.meta_properties import META_PROPERTIES
from kstore.model import TopicPartition

CLEANER_CHECKPOINT = "cleaner-offset-checkpoint"
CLEAN_SHUTDOWN = ".kafka_cleanshutdown"
BOOTSTRAP_CHECKPOINT = "bootstrap.checkpoint"
QUORUM_STATE = "quorum-state"
KRAFT_SNAPSHOT_SUFFIX = ".checkpoint"

# Kinds of files, as `--only` names them.
SEGMENT = "log"
OFFSET_INDEX = "index"
TIME_INDEX = "timeindex"
TXN_INDEX = "txnindex"
PRODUCER_SNAPSHOT = "snapshot"
KRAFT_SNAPSHOT = "checkpoint"
LEADER_EPOCHS = "epochs"
OFFSETS = "offsets"
PROPERTIES = "properties"
OTHER = "other"

KINDS = {
    LOG_SUFFIX: SEGMENT,
    OFFSET_INDEX_SUFFIX: OFFSET_INDEX,
    TIME_INDEX_SUFFIX: TIME_INDEX,
    TXN_INDEX_SUFFIX: TXN_INDEX,
    SNAPSHOT_SUFFIX: PRODUCER_SNAPSHOT,
    KRAFT_SNAPSHOT_SUFFIX: KRAFT_SNAPSHOT,
}
KINDS_BY_NAME = {
    LEADER_EPOCH_CHECKPOINT: LEADER_EPOCHS,
    RECOVERY_POINT_CHECKPOINT: OFFSETS,
    LOG_START_OFFSET_CHECKPOINT: OFFSETS,
    HIGH_WATERMARK_CHECKPOINT: OFFSETS,
    CLEANER_CHECKPOINT: OFFSETS,
    META_PROPERTIES: PROPERTIES,
    PARTITION_METADATA: PROPERTIES,
    QUORUM_STATE: PROPERTIES,
    CLEAN_SHUTDOWN: OTHER,
    INCARNATION_FILE: PROPERTIES,
    BOOTSTRAP_CHECKPOINT: KRAFT_SNAPSHOT,
}
ALL_KINDS = (*dict.fromkeys((*KINDS.values(), *KINDS_BY_NAME.values())),)
# What a rewrite or a deletion puts behind a name (LogFileUtils.java), and what is kept of a damaged end.
STATES = (DELETED_SUFFIX, CLEANED_SUFFIX, SWAP_SUFFIX, DAMAGED_SUFFIX)


class LogFile(NamedTuple):
    """One file: where it lies, what it is called in the output, and what its name says."""

    path: str
    label: str
    kind: str
    base_offset: int  # -1 where the name has none
    state: str  # "" or one of STATES
    partition: TopicPartition | None


def describe_file(path: str, label: str, partition: TopicPartition | None = None) -> LogFile:
    """What the file at `path` is, by its name."""
    name = os.path.basename(path)
    state = next((suffix for suffix in STATES if name.endswith(suffix)), "")
    plain = name.removesuffix(state)
    kind = KINDS_BY_NAME.get(plain)
    base_offset = offset_of(plain)
    if kind is None:
        kind = KINDS.get(os.path.splitext(plain)[1], OTHER)
        if kind == KRAFT_SNAPSHOT:
            digits = plain.split("-", 1)[0]
            base_offset = int(digits) if digits.isdecimal() and digits.isascii() else -1
        if base_offset < 0:
            kind = OTHER
    return LogFile(path, label, kind, base_offset, state, partition)


def file_names(directory: str) -> list[str]:
    with os.scandir(directory) as entries:
        return sorted(entry.name for entry in entries if not entry.is_dir(follow_symlinks=False))


def directory_names(directory: str) -> list[str]:
    """The directories inside that are named after partitions, by topic and number."""
    with os.scandir(directory) as entries:
        names = [entry.name for entry in entries if entry.is_dir()]
    found = [(partition, name) for name in names if (partition := parse_partition_dir_name(name)) is not None]
    return [name for _, name in sorted(found)]


def is_partition_dir(path: str) -> bool:
    """A log directory may have such a name too; it has what a partition has not."""
    if parse_partition_dir_name(os.path.basename(os.path.realpath(path))) is None:
        return False
    return not directory_names(path) and META_PROPERTIES not in file_names(path)


def is_log_dir(path: str) -> bool:
    return bool(directory_names(path)) or any(name in KINDS_BY_NAME for name in file_names(path))


def partition_files(directory: str, prefix: str = "") -> list[LogFile]:
    """The files of a partition, segment by segment."""
    partition = parse_partition_dir_name(os.path.basename(os.path.realpath(directory)))
    files = [
        describe_file(os.path.join(directory, name), os.path.join(prefix, name), partition)
        for name in file_names(directory)
    ]
    order = {kind: number for number, kind in enumerate(ALL_KINDS)}
    return sorted(files, key=lambda file: (file.base_offset, order[file.kind], file.label))


def find_files(path: str) -> Iterator[LogFile]:
    """All that lies under `path`. Raises UsageError when it is nothing of Kafka's, OSError."""
    if not os.path.exists(path):
        raise UsageError(f"{path}: there is no such file or directory")
    if not os.path.isdir(path):
        parent = os.path.basename(os.path.dirname(os.path.realpath(path)))
        yield describe_file(path, path, parse_partition_dir_name(parent))
        return
    if is_partition_dir(path):
        yield from partition_files(path, path)
        return
    if not is_log_dir(path):
        raise UsageError(f"{path}: no log directory; give what log.dirs names, a partition in it, or one of its files")
    for name in file_names(path):
        yield describe_file(os.path.join(path, name), os.path.join(path, name))
    for name in directory_names(path):
        yield from partition_files(os.path.join(path, name), os.path.join(path, name))
