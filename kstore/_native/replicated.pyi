"""What a leader sent to its follower: checked batch by batch, and what the log has to know of it.

Most of it are batches without a producer id in one leader epoch: no object is made for them.
"""

from typing import final

from typing_extensions import Buffer

from kstore._native.batch import RecordBatch

@final
class ReplicatedBatches:
    """The batches from `position` of `records` on that a follower may take, whose log ends at `next_offset`.

    A torn batch at the end is left out, and so is the first with a leader epoch above `max_leader_epoch`, with all that
    follows. `records` may not be changed while this lives.
    """

    def __init__(
        self, records: Buffer, position: int = 0, limit: int = -1, *, next_offset: int, max_leader_epoch: int
    ) -> None:
        """Raises CorruptRecordError where a CRC or a length is wrong, UnsupportedForMessageFormatError."""

    @property
    def position(self) -> int: ...
    @property
    def size_in_bytes(self) -> int:
        """Of all of them; 0 where there is none."""

    @property
    def first_offset(self) -> int:
        """-1 where there is none."""

    @property
    def next_offset(self) -> int:
        """Behind the last."""

    @property
    def max_timestamp(self) -> int:
        """The largest of theirs, or -1."""

    @property
    def last_leader_epoch(self) -> int:
        """Of the last; -1 where there is none."""

    @property
    def epochs(self) -> list[tuple[int, int]]:
        """(leader epoch, base offset) of the first batch and of each whose epoch is another than that of the one
        before; without those that have none."""

    @property
    def with_producer(self) -> list[RecordBatch]:
        """Those that have a producer id."""

    @property
    def misplaced(self) -> RecordBatch | None:
        """The batch that may not follow the one before, where there is such: its offsets begin below `next_offset`,
        pass the largest there is, or end before they begin. It was not taken, and what follows was not looked at."""

    def index_points(
        self, file_position: int, since: int, interval: int, max_timestamp: int, max_timestamp_offset: int
    ) -> tuple[list[tuple[int, int, int, int]], int, int, int]:
        """What the indexes of a segment shall say of batches that lie from `file_position` on, `since` bytes after its
        last entry: (last offset, position, largest timestamp, its offset) of each entry; then the bytes since the last
        entry, the segment's largest timestamp and its offset behind the last batch."""
