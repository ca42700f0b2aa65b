"""Which replica a consumer is sent to (KIP-392): one in its own rack that has what it asks for.

Kafka: RackAwareReplicaSelector.java, LeaderSelector.java, ReplicaManager.findPreferredReadReplica. The leader decides,
and only on replicas that are in sync: one that lags would send the consumer back at once.
"""

from collections.abc import Callable, Mapping

from kstore.replica.leader import Leader

RACK_AWARE_SELECTOR = "org.apache.kafka.common.replica.RackAwareReplicaSelector"
LEADER_SELECTOR = "org.apache.kafka.common.replica.LeaderSelector"

# (leader, rack of the consumer, offset that it asks for, racks of the brokers that it can reach) -> a follower, or None
# where the leader itself answers.
Selector = Callable[[Leader, str, int, Mapping[int, str | None]], int | None]


def rack_aware_replica(leader: Leader, rack: str, fetch_offset: int, racks: Mapping[int, str | None]) -> int | None:
    """The follower in `rack` that has most; of two that have the same the one that has caught up last."""
    if not rack or racks.get(leader.broker_id) == rack:
        return None
    best: tuple[int, int, int] | None = None
    for replica, end_offset in leader.remote_end_offsets.items():
        state = leader.followers[replica]
        if replica not in leader.isr or racks.get(replica) != rack:
            continue
        if state.log_start_offset <= fetch_offset <= end_offset:
            candidate = (end_offset, state.last_caught_up_ms, replica)
            best = candidate if best is None else max(best, candidate)
    return None if best is None else best[2]


# None: no consumer is sent anywhere.
SELECTORS: Mapping[str, Selector | None] = {RACK_AWARE_SELECTOR: rack_aware_replica, LEADER_SELECTOR: None}
