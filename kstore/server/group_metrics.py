"""What a broker tells of the consumer groups that it coordinates, and how far each is behind.

Counts have the names of Kafka's GroupMetadataManager and group-coordinator-metrics behind the JMX exporter. Kafka
itself tells nothing of a group's LAG; those names are kafka_exporter's, which asks a cluster from outside.
"""

from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from kstore.coordinator.group.results import GroupSummary
from kstore.server.context import Context

STATES = ("PreparingRebalance", "CompletingRebalance", "Stable", "Empty", "Dead")
COUNTERS = (
    ("offset_commit", "committed_offsets", "Offsets that were committed"),
    ("offset_expiration", "expired_offsets", "Offsets that outlived offsets.retention.minutes"),
    ("offset_deletion", "deleted_offsets", "Offsets that were deleted on request, or with their topic or group"),
    ("group_completed_rebalance", "completed_rebalances", "Rebalances that came to a new generation"),
)


class Counted(NamedTuple):
    """Copied on the loop, and nothing else done there: offsets may be hundreds of thousands."""

    counters: list[int]
    groups: list[GroupSummary]
    high_watermarks: dict[tuple[str, int], int]


def count_groups(context: Context) -> Counted:
    counted = Counted([0] * len(COUNTERS), [], {})
    for shard in context.groups.loaded_shards():
        for index, (_, attribute, _) in enumerate(COUNTERS):
            counted.counters[index] += getattr(shard, attribute)
        counted.groups.extend(shard.summaries())
    if counted.groups:
        for key, partition in context.replicas.partitions.items():
            counted.high_watermarks[key] = partition.log.high_watermark
    return counted


def describe_groups(counted: Counted) -> Iterator[Metric]:
    for (name, _, text), value in zip(COUNTERS, counted.counters, strict=True):
        yield CounterMetricFamily(f"kafka_server_group_coordinator_metrics_{name}", text, value=value)
    states = dict.fromkeys(STATES, 0)
    members = GaugeMetricFamily("kafka_consumergroup_members", "Members of a group", labels=["consumergroup"])
    labels = ["consumergroup", "topic", "partition"]
    offsets = GaugeMetricFamily("kafka_consumergroup_current_offset", "What a group has committed", labels=labels)
    lags = GaugeMetricFamily("kafka_consumergroup_lag", "Records that a group has still to consume", labels=labels)
    for group in counted.groups:
        states[group.state] += 1
        members.add_metric([group.group_id], group.member_count)
        for topic, partitions in group.committed:
            for partition, committed in partitions:
                where = [group.group_id, topic, str(partition)]
                offsets.add_metric(where, committed.offset)
                end = counted.high_watermarks.get((topic, partition))
                if end is not None:  # the partition is here
                    lags.add_metric(where, max(0, end - committed.offset))
    manager = "kafka_coordinator_group_groupmetadatamanager"
    yield GaugeMetricFamily(f"{manager}_numgroups", "Groups", value=len(counted.groups))
    yield GaugeMetricFamily(f"{manager}_numoffsets", "Offsets that are kept", value=len(offsets.samples))
    for state, count in states.items():
        yield GaugeMetricFamily(f"{manager}_numgroups{state.lower()}", f"Groups in the state {state}", value=count)
    yield from (members, offsets, lags)
