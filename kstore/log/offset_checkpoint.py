"""One checkpoint file of a log directory: what it says, and how it comes to say something else.

What it says of a log is never more than what is true of it, at any moment at which the machine could stop. So an entry
is lowered before the log is cut, and taken out before a new log has the name; a replacement that was begun earlier and
is still on its way to the disk is dropped then, or waited for where it is being written (LogManager.truncateTo writes
the file after the cut).
"""

import os
from collections.abc import Mapping
from threading import Lock

from kstore.log.checkpoint_file import read_offsets, write_offsets
from kstore.model import TopicPartition


class OffsetCheckpoint:
    """`offsets` is what the file says, as far as that is known. One thread owns the object; `Replacement.run` may go to
    any. The version is the owner's: it counts what is to be written, so that only the latest can be."""

    __slots__ = ("_is_known", "_lock", "_under_way", "_version", "name", "offsets", "path")

    def __init__(self, directory: str, name: str) -> None:
        self.name = name
        self.path = os.path.join(directory, name)
        self.offsets: Mapping[TopicPartition, int] = {}
        self._under_way: Mapping[TopicPartition, int] = {}
        self._is_known = False
        self._version = 0
        self._lock = Lock()

    def read(self) -> Mapping[TopicPartition, int]:
        """Raises CorruptCheckpointError, OSError."""
        self.offsets = read_offsets(self.path)
        self._is_known = True
        return self.offsets

    def says(self, offsets: Mapping[TopicPartition, int]) -> bool:
        return self._is_known and self.offsets == offsets

    def begin(self, offsets: Mapping[TopicPartition, int]) -> "Replacement":
        """The file with other content; `offsets` is not changed afterwards."""
        self._version += 1
        self._under_way = offsets
        return Replacement(self, offsets, self._version)

    def write(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Replaces the file in this thread. Raises OSError."""
        with self._lock:
            self._replace_now(offsets)

    def lower(self, topic_partition: TopicPartition, offset: int) -> None:
        """Sees to it that the file says no more than `offset`. Raises OSError."""
        with self._lock:
            if max(self.offsets.get(topic_partition, 0), self._under_way.get(topic_partition, 0)) > offset:
                self._replace_now({**self.offsets, topic_partition: offset})

    def mentions(self, topic_partition: TopicPartition) -> bool:
        """Whether the file speaks of a partition, or may do so when what is on its way gets there."""
        # What is being written is in `offsets` when the lock is free.
        with self._lock:
            return topic_partition in self.offsets or topic_partition in self._under_way

    def _replace_now(self, offsets: Mapping[TopicPartition, int]) -> None:
        # Void from here on is what was begun before.
        self._version += 1
        self._under_way = {}
        self._replace(offsets)

    def _replace(self, offsets: Mapping[TopicPartition, int]) -> None:
        write_offsets(self.path, offsets)
        self.offsets = offsets
        self._is_known = True

    def _replace_at(self, version: int, offsets: Mapping[TopicPartition, int]) -> None:
        with self._lock:
            if version == self._version:
                self._replace(offsets)


class Replacement:
    __slots__ = ("checkpoint", "offsets", "version")

    def __init__(self, checkpoint: OffsetCheckpoint, offsets: Mapping[TopicPartition, int], version: int) -> None:
        self.checkpoint = checkpoint
        self.offsets = offsets
        self.version = version

    def run(self) -> None:
        """Writes the file unless something newer was written; may run in any thread. Raises OSError."""
        self.checkpoint._replace_at(self.version, self.offsets)
