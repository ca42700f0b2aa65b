"""What was not taken of a producer and may be taken when it comes again: what follows it is refused until then.

An idempotent producer has up to five batches in flight. Where a full disk refuses the first, the second would be a gap
in its sequence. A client that hears of a gap begins a new epoch, and librdkafka then sends again under it what other
partitions have appended and not acknowledged yet: twice. A client that hears of the disk tries again, in order.
"""

from kstore.errors import KafkaStorageError

# Producers that are remembered in a partition; the others hear of a gap.
MOST = 1000


class RefusedAppends:
    __slots__ = ("_first",)

    def __init__(self) -> None:
        # Producer id -> its epoch and the first sequence that was refused in it.
        self._first: dict[int, tuple[int, int]] = {}

    def note(self, producer_id: int, epoch: int, sequence: int) -> None:
        """A batch was not taken."""
        known = self._first.get(producer_id)
        if known is not None and known[0] == epoch:
            return
        if len(self._first) >= MOST:
            del self._first[next(iter(self._first))]
        self._first[producer_id] = (epoch, sequence)

    def check(self, producer_id: int, epoch: int, sequence: int) -> None:
        """Raises KafkaStorageError for what follows a batch that was not taken; the batch itself may try again, and so
        may what comes before it."""
        refused = self._first.get(producer_id)
        if refused is not None and refused[0] == epoch and refused[1] < sequence:
            raise KafkaStorageError(
                f"producer {producer_id} sent sequence {sequence} behind {refused[1]}, which could not be taken yet"
            )

    def forget(self, producer_id: int) -> None:
        """A batch was taken, from the producer or from a leader."""
        if self._first:
            self._first.pop(producer_id, None)
