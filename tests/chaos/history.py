"""What clients did and were told in one run: the only thing that `checker.py` looks at.

Values are unique: each is sent once by a program, whatever its client makes of that. Threads append to the lists, which
needs no lock; whoever checks has stopped them before.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

ACKED, UNKNOWN = "acked", "unknown"


class Send(NamedTuple):
    """`number` counts what one producer sent; `offset` is -1 where the outcome is unknown."""

    producer: str
    number: int
    partition: int
    value: bytes
    outcome: str
    offset: int = -1


class Read(NamedTuple):
    partition: int
    offset: int
    value: bytes


class Poll(NamedTuple):
    """What one reader got at once. `sought`: partitions whose position was set, by the program or by a rebalance, after
    the reader's poll before."""

    reader: str
    records: tuple[Read, ...]
    sought: frozenset[int] = frozenset()


class EndOffset(NamedTuple):
    """The end of a partition, as a consumer is told; asked one after the other."""

    partition: int
    offset: int


class Commit(NamedTuple):
    """A group's offset: committed (`outcome` says whether that is certain), or read (`is_read`). One program does both,
    one after the other, and commits rising offsets only."""

    group: str
    offset: int
    outcome: str = ACKED
    is_read: bool = False


@dataclass
class History:
    sends: list[Send] = field(default_factory=list)
    polls: list[Poll] = field(default_factory=list)
    ends: list[EndOffset] = field(default_factory=list)
    commits: list[Commit] = field(default_factory=list)
    # Producers whose client promises that a record is in the log at most once, and in the order of sending.
    idempotent: set[str] = field(default_factory=set)
    # Group -> the readers that are its members: together they read everything.
    groups: dict[str, list[str]] = field(default_factory=dict)
    # Readers that read everything from the beginning after the last producer had stopped.
    final_readers: set[str] = field(default_factory=set)
    # Where every partition begins: what was before is deleted.
    begin: int = 0
    # What a client was told that it must never be told: a reset of its position, a corrupt record.
    complaints: list[str] = field(default_factory=list)

    @property
    def acked(self) -> list[Send]:
        return [send for send in self.sends if send.outcome == ACKED]
