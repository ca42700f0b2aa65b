"""The last replica in sync comes back: whether another one holds more than it does (rule 26).

The ISR never empties, so a broker that was alone in sync leads again when it is back, and the others cut their logs
to its own. Where it has lost its tail (a crash of its machine takes what was not on disk), what the others still have
of it is lost with that. So they are asked first, and the longest log leads: that of the later epoch, then that of the
higher end. A log with the later epoch holds all that an earlier one has got committed, and of the same epoch the
longer one begins with the shorter one, so this never loses what an election of the replica in sync would have kept.
"""

from collections.abc import Container, Mapping
from typing import NamedTuple

from kstore.cluster.image import PartitionImage
from kstore.cluster.leader_election import elect_in_sync


class LogEnd(NamedTuple):
    """Epoch of the last record, and the offset after it."""

    epoch: int
    offset: int


EMPTY = LogEnd(-1, 0)


class Doubt(NamedTuple):
    """A partition that waits for a leader until `replicas` have said where their logs end. Nobody led in
    `leader_epoch`."""

    topic_id: bytes
    leader_epoch: int
    replicas: frozenset[int]


def is_doubtful(partition: PartitionImage, *, electable: Container[int], came: Container[int]) -> bool:
    """Whether all that are in sync have just come back, and there is another one to ask."""
    in_sync = [replica for replica in partition.isr if replica in electable]
    others = [replica for replica in partition.replicas if replica in electable and replica not in partition.isr]
    return bool(in_sync) and bool(others) and all(replica in came for replica in in_sync)


def elect_longest(
    partition: PartitionImage, ends: Mapping[int, LogEnd], *, electable: Container[int]
) -> PartitionImage | None:
    """Led by whoever holds most, or by a replica in sync as long as nobody is known to hold more."""
    known = {replica: end for replica, end in ends.items() if replica in electable and _is_comparable(end, partition)}
    in_sync = elect_in_sync(partition, electable=electable)
    if in_sync is None or in_sync.leader not in known:
        return in_sync
    # Of equals the one in sync leads.
    longest = max(known, key=lambda replica: (known[replica], replica == in_sync.leader, replica in partition.isr))
    if longest in in_sync.isr:
        return in_sync._replace(leader=longest)
    return in_sync._replace(leader=longest, isr=(longest,))


def _is_comparable(end: LogEnd, partition: PartitionImage) -> bool:
    """Nobody led in the epoch that has no leader: whoever names it does not speak of records. What has records and no
    epochs cannot be compared."""
    return end == EMPTY or 0 <= end.epoch < partition.leader_epoch
