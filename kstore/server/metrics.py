"""What a broker tells of itself, under the names that Kafka's metrics have behind the Prometheus JMX exporter.

Names follow its rules for Kafka: kafka.server:type=BrokerTopicMetrics,name=BytesInPerSec,topic=t is
kafka_server_brokertopicmetrics_bytesin_total{topic="t"}. Where Kafka shows quantiles of its latest minutes, a histogram
in seconds stands here: rates and quantiles over any time come from it, and of several brokers together.

To be called on the loop, which owns what is counted. What may be much is only copied there, and described while the
result is gone through.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from kstore import __version__
from kstore._native.durations import Durations
from kstore.protocol.api_keys import api_name
from kstore.server.context import Context
from kstore.server.group_metrics import count_groups, describe_groups
from kstore.server.listener import Listeners
from kstore.server.replication_metrics import gauge, replication_metrics
from kstore.server.traffic import TopicTraffic

TRAFFIC: tuple[tuple[str, str, Callable[[TopicTraffic], int]], ...] = (
    ("messagesin", "Records that producers wrote", lambda traffic: traffic.messages_in),
    ("bytesin", "Bytes of batches that producers wrote", lambda traffic: traffic.bytes_in),
    ("bytesout", "Bytes of batches that consumers were sent", lambda traffic: traffic.bytes_out),
    ("totalproducerequests", "Partitions of produce requests", lambda traffic: traffic.produces),
    ("failedproducerequests", "Those that were refused", lambda traffic: traffic.failed_produces),
    ("totalfetchrequests", "Partitions of fetch answers", lambda traffic: traffic.fetches),
    ("failedfetchrequests", "Those that told of an error", lambda traffic: traffic.failed_fetches),
)


def collect(context: Context, listeners: Listeners) -> Iterable[Metric]:
    told = [
        *traffic(context),
        *requests(listeners),
        *connections(listeners),
        *replication_metrics(context),
        *logs(context),
        *cleaner(context),
        *purgatories(context),
        *flushes(context),
        *info(context),
    ]
    return chain(told, describe_groups(count_groups(context)))


def traffic(context: Context) -> Iterator[Metric]:
    topics = context.topics.image.topics
    for deleted in context.traffic.keys() - topics.keys():
        del context.traffic[deleted]
    for name, text, value in TRAFFIC:
        family = CounterMetricFamily(f"kafka_server_brokertopicmetrics_{name}", text, labels=["topic"])
        for topic, counted in context.traffic.items():
            family.add_metric([topic], value(counted))
        yield family


def requests(listeners: Listeners) -> Iterator[Metric]:
    counts = CounterMetricFamily("kafka_network_requestmetrics_requests", "Requests answered", labels=["request"])
    times = HistogramMetricFamily(
        "kafka_network_requestmetrics_totaltime_seconds",
        "From when a request was taken up until its answer was ready to leave; waiting in purgatory is part of it",
        labels=["request"],
    )
    for api_key, durations in enumerate(listeners.durations):
        if durations.count:
            counts.add_metric([api_name(api_key)], durations.count)
            times.add_metric([api_name(api_key)], *histogram(durations))
    yield counts
    yield times


def histogram(durations: Durations) -> tuple[list[tuple[str, float]], float]:
    """Buckets and sum as prometheus_client wants them."""
    buckets = [
        ("+Inf" if bound == float("inf") else repr(bound), float(count)) for bound, count in durations.cumulative()
    ]
    return buckets, durations.seconds


def connections(listeners: Listeners) -> Iterator[Metric]:
    counts = {endpoint.listener: 0 for endpoint in listeners.endpoints}
    for connection in listeners.connections:
        counts[connection.listener_name] += 1
    family = GaugeMetricFamily(
        "kafka_server_socketservermetrics_connection_count", "Open connections", labels=["listener"]
    )
    for listener, count in counts.items():
        family.add_metric([listener], count)
    yield family
    yield gauge(
        "kafka_network_requestchannel_requestmemory_bytes",
        "Memory of unfinished requests, bounded by queued.max.request.bytes",
        listeners.request_memory,
    )


def logs(context: Context) -> Iterator[Metric]:
    labels = ["topic", "partition"]
    sizes = GaugeMetricFamily("kafka_log_log_size", "Bytes of a partition's segments", labels=labels)
    segments = GaugeMetricFamily("kafka_log_log_numlogsegments", "Segments of a partition", labels=labels)
    starts = GaugeMetricFamily("kafka_log_log_logstartoffset", "First offset of a partition", labels=labels)
    ends = GaugeMetricFamily("kafka_log_log_logendoffset", "Offset of the next record", labels=labels)
    for partition in context.replicas:
        log = partition.log
        where = [log.topic_partition.topic, str(log.topic_partition.partition)]
        sizes.add_metric(where, log.size_in_bytes)
        segments.add_metric(where, len(log.segments))
        starts.add_metric(where, log.log_start_offset)
        ends.add_metric(where, log.log_end_offset)
    yield from (sizes, segments, starts, ends)
    manager = context.replicas.logs
    failed = len(context.config.log_dirs) - len(manager.live_dirs)
    yield gauge("kafka_log_logmanager_offlinelogdirectorycount", "Log directories that have failed", failed)


def cleaner(context: Context) -> Iterator[Metric]:
    """Compaction; what is told of a cleaning is told of the last one that came to its end."""
    manager = context.replicas.logs
    found, stats = manager.cleaner, manager.cleaner.stats
    type_name = "kafka_log_logcleanermanager"
    uncleanable = GaugeMetricFamily(
        f"{type_name}_uncleanable_partitions_count",
        "Partitions that are not compacted because of damage",
        labels=["logdirectory"],
    )
    for log_dir in manager.dirs:
        uncleanable.add_metric([log_dir.path], sum(log.log_dir is log_dir for log in found.uncleanable))
    yield uncleanable
    yield gauge(
        f"{type_name}_max_dirty_percent", "How dirty the dirtiest compacted log is", 100 * found.max_dirty_ratio
    )
    idle_ms = context.clock.now_ms() - found.last_run_ms if found.last_run_ms >= 0 else 0
    yield gauge(f"{type_name}_time_since_last_run_ms", "Since dirty logs were looked for", idle_ms)
    type_name = "kafka_log_logcleaner"
    yield gauge(
        f"{type_name}_cleaner_recopy_percent",
        "Of the bytes that it read, those that stayed",
        0 if stats is None else 100 * stats.bytes_written / max(1, stats.bytes_read),
    )
    yield gauge(
        f"{type_name}_max_buffer_utilization_percent",
        "How full its map of keys was",
        0 if stats is None else 100 * stats.map_used,
    )
    yield gauge(f"{type_name}_max_clean_time_secs", "How long it took", 0 if stats is None else stats.elapsed_ms / 1000)


def purgatories(context: Context) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "kafka_server_delayedoperationpurgatory_purgatorysize",
        "Requests that wait",
        labels=["delayedoperation"],
    )
    family.add_metric(["Produce"], len(context.deliver.produces))
    family.add_metric(["Fetch"], len(context.deliver.fetches))
    yield family


def flushes(context: Context) -> Iterator[Metric]:
    buckets, seconds = histogram(context.flusher.durations)
    family = HistogramMetricFamily("kafka_log_logflushstats_logflush_seconds", "Flushes of logs to the disk")
    family.add_metric([], buckets, seconds)
    yield family


def info(context: Context) -> Iterator[Metric]:
    family = GaugeMetricFamily("kafka_server_app_info", "Always 1", labels=["version", "cluster_id", "node_id"])
    family.add_metric([__version__, context.cluster_id, str(context.node_id)], 1)
    yield family
