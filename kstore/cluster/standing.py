"""The last replicas in sync come back: whether they hold all that was acknowledged, and who does (rule 26).

The ISR never empties, so a broker that was alone in sync leads again when it is back, and the others cut their logs
to its own. Where it has lost its tail (a crash of its machine takes what was not on disk), what the others still have
of it is lost with that. A broker whose incarnation is the one in which it came into sync has lost nothing, and leads at
once (kstore/log/incarnation.py). Where nobody in sync can say so the replicas are asked first, and the longest log
leads: that of the later epoch, then that of the higher end. A log with the later epoch holds all that an earlier one
has got committed, and of the same epoch the longer one begins with the shorter one, so this never loses what an
election of the replica in sync would have kept.

Whoever does not answer may be the only one that holds it. What was acknowledged lies in min.insync.replicas logs, and
is promised as long as fewer of them are lost: so long nobody leads before all replicas have answered. Whoever is there
and is slow to answer is waited for in any case, for a while.
"""

from collections.abc import Container, Mapping
from typing import NamedTuple

from kstore.cluster.image import BrokerImage, PartitionImage
from kstore.cluster.leader_election import elect_in_sync, elect_unclean


class LogEnd(NamedTuple):
    """Epoch of the last record, and the offset after it. NO_RECORDS is the epoch of an empty log, which holds less than
    any other; what has records and no epochs cannot be compared (NO_EPOCHS)."""

    epoch: int
    offset: int


NO_RECORDS, NO_EPOCHS = -1, -2


class Doubt(NamedTuple):
    """A partition that waits for a leader until `replicas` have said where their logs end. Nobody led in
    `leader_epoch`."""

    topic_id: bytes
    leader_epoch: int
    replicas: frozenset[int]


class Standing(NamedTuple):
    """Of the replicas in sync: `whole` have lost nothing since they came into sync, `broken` may have. Of the others
    it is not known: their brokers, or the controller that wrote the state, are Kafka's."""

    whole: frozenset[int]
    broken: frozenset[int]


def standing_of(partition: PartitionImage, brokers: Mapping[int, BrokerImage]) -> Standing:
    whole: set[int] = set()
    broken: set[int] = set()
    for replica in partition.isr:
        before = partition.incarnations.get(replica)
        now = brokers[replica].incarnation if replica in brokers else ""
        if before and now:
            (whole if before == now else broken).add(replica)
    return Standing(frozenset(whole), frozenset(broken))


def incarnations_after(
    before: PartitionImage | None, after: PartitionImage, brokers: Mapping[int, BrokerImage]
) -> dict[int, str]:
    """In which incarnations the replicas of a new state are in sync, of those where it is known.

    Whoever was in sync before is so by what it was then: it may have come back since, and not have been looked at yet.
    A new leader is what the others follow from now on, whatever it was.
    """
    found = {}
    for replica in after.isr:
        broker = brokers.get(replica)
        incarnation = "" if broker is None else broker.incarnation
        is_elected = replica == after.leader and (before is None or before.leader != after.leader)
        if before is not None and replica in before.isr and not is_elected:
            known = before.incarnations.get(replica, "")
            # One that was there already when the state was written, by a controller of Kafka's, is the one it was.
            was_there = broker is not None and broker.epoch < before.written
            incarnation = known or (incarnation if was_there else "")
        if incarnation:
            found[replica] = incarnation
    return found


def is_doubtful(
    partition: PartitionImage, *, electable: Container[int], came: Container[int], standing: Standing
) -> bool:
    """Whether nobody in sync is there who is known to have lost nothing, and somebody is of whom it is not known;
    `came` are there since a moment ago."""
    in_sync = [replica for replica in partition.isr if replica in electable]
    others = [replica for replica in partition.replicas if replica in electable and replica not in partition.isr]
    if not in_sync or len(partition.replicas) == 1 or not standing.whole.isdisjoint(in_sync):
        return False
    if not all(replica in came or replica in standing.broken for replica in in_sync):
        return False
    # Without somebody to ask, one that is only not known to be whole is as good as Kafka's.
    return bool(others) or not standing.broken.isdisjoint(in_sync)


def has_to_wait(partition: PartitionImage, ends: Mapping[int, LogEnd], *, lost: int, min_in_sync: int) -> bool:
    """Whether one that has not said where its log ends may be the only one that holds what was acknowledged. `ends` are
    of replicas that can be elected, `lost` is how many of those in sync may have lost records, and `min_in_sync` 0
    where records may be lost (unclean.leader.election.enable)."""
    if all(replica in ends for replica in partition.replicas):
        return False
    return 0 < lost < min(min_in_sync, len(partition.replicas))


def elect_longest(
    partition: PartitionImage, ends: Mapping[int, LogEnd], *, electable: Container[int]
) -> PartitionImage | None:
    """Led by whoever holds most, or by a replica in sync as long as nobody is known to hold more; whoever leads is
    alone in sync, for the others may hold less. `ends` are of replicas that can be elected."""
    known = {replica: end for replica, end in ends.items() if _is_comparable(end, partition)}
    in_sync = elect_in_sync(partition, electable=electable)
    if in_sync is None:
        return None
    leader = in_sync.leader
    if leader in known:
        # Of equals the one in sync leads.
        leader = max(known, key=lambda replica: (known[replica], replica == leader, replica in partition.isr))
    return in_sync._replace(leader=leader, isr=(leader,))


def elect_longest_unclean(
    partition: PartitionImage, ends: Mapping[int, LogEnd], *, electable: Container[int]
) -> PartitionImage | None:
    """Nobody in sync is there, and somebody has said that records may be lost (rule 27): led by whoever holds most, so
    that as few are lost as can be. Who has not said what it holds comes before who holds nothing."""

    def held(replica: int) -> LogEnd:
        end = ends.get(replica)
        if end is None or not _is_comparable(end, partition):
            return LogEnd(NO_RECORDS, 1)
        return end if end.epoch > NO_RECORDS else LogEnd(NO_RECORDS, 0)

    there = [replica for replica in partition.replicas if replica in electable]
    most = max(map(held, there), default=None)
    return elect_unclean(partition, electable=[replica for replica in there if held(replica) == most])


def _is_comparable(end: LogEnd, partition: PartitionImage) -> bool:
    """Nobody led in the epoch that has no leader: whoever names it does not speak of records."""
    return NO_RECORDS <= end.epoch < partition.leader_epoch
