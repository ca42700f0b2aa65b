"""What a broker tells of the consumer groups that it coordinates, and how far each is behind.

Counts have the names of Kafka's GroupMetadataManager and group-coordinator-metrics behind the JMX exporter. Kafka
itself tells nothing of a group's LAG; those names are kafka_exporter's, which asks a cluster from outside.
"""

from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from kstore.server.context import Context

STATES = ("PreparingRebalance", "CompletingRebalance", "Stable", "Empty", "Dead")
COUNTERS = (
    ("offset_commit", "committed_offsets", "Offsets that were committed"),
    ("offset_expiration", "expired_offsets", "Offsets that outlived offsets.retention.minutes"),
    ("offset_deletion", "deleted_offsets", "Offsets that were deleted on request, or with their topic or group"),
    ("group_completed_rebalance", "completed_rebalances", "Rebalances that came to a new generation"),
)


class Counted(NamedTuple):
    """Copied on the loop. A row is group, topic, partition, committed offset, and records behind it; None where the
    partition is not here."""

    counters: list[int]
    states: dict[str, int]
    members: list[tuple[str, int]]
    offsets: list[tuple[str, str, int, int, int | None]]


def count_groups(context: Context) -> Counted:
    counted = Counted([0] * len(COUNTERS), dict.fromkeys(STATES, 0), [], [])
    partitions = context.replicas.partitions
    for shard in context.groups.loaded_shards():
        for index, (_, attribute, _) in enumerate(COUNTERS):
            counted.counters[index] += getattr(shard, attribute)
        for group in shard.summaries():
            counted.states[group.state] += 1
            counted.members.append((group.group_id, group.member_count))
            for topic, partition, offset in group.committed:
                known = partitions.get((topic, partition))
                lag = None if known is None else max(0, known.log.high_watermark - offset)
                counted.offsets.append((group.group_id, topic, partition, offset, lag))
    return counted


def describe_groups(counted: Counted) -> Iterator[Metric]:
    for (name, _, text), value in zip(COUNTERS, counted.counters, strict=True):
        yield CounterMetricFamily(f"kafka_server_group_coordinator_metrics_{name}", text, value=value)
    manager = "kafka_coordinator_group_groupmetadatamanager"
    yield GaugeMetricFamily(f"{manager}_numgroups", "Groups", value=len(counted.members))
    yield GaugeMetricFamily(f"{manager}_numoffsets", "Offsets that are kept", value=len(counted.offsets))
    for state, count in counted.states.items():
        yield GaugeMetricFamily(f"{manager}_numgroups{state.lower()}", f"Groups in the state {state}", value=count)
    members = GaugeMetricFamily("kafka_consumergroup_members", "Members of a group", labels=["consumergroup"])
    for group_id, count in counted.members:
        members.add_metric([group_id], count)
    labels = ["consumergroup", "topic", "partition"]
    offsets = GaugeMetricFamily("kafka_consumergroup_current_offset", "What a group has committed", labels=labels)
    lags = GaugeMetricFamily("kafka_consumergroup_lag", "Records that a group has still to consume", labels=labels)
    for group_id, topic, partition, offset, lag in counted.offsets:
        where = [group_id, topic, str(partition)]
        offsets.add_metric(where, offset)
        if lag is not None:
            lags.add_metric(where, lag)
    yield from (members, offsets, lags)
