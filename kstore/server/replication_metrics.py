"""What a member of a cluster tells of replication, of its session with ZooKeeper, and of the cluster if it controls.

Names are those of Kafka's ReplicaManager, ReplicaFetcherManager, FetcherLagMetrics, KafkaController and
SessionExpireListener behind the JMX exporter. What only the controller knows is 0 where another broker controls, as
with Kafka, so that the sum over all brokers is the cluster's.
"""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from kstore.cluster.image import ClusterImage
from kstore.server.context import Context

# The client id of Kafka's fetcher manager, and the form of its fetchers'.
MANAGER = "Replica"


def replication_metrics(context: Context) -> Iterator[Metric]:
    yield from _partitions(context)
    yield from _in_sync_replicas(context)
    yield from _lags(context)
    yield from _controller(context)
    yield from _session(context)


def _partitions(context: Context) -> Iterator[Metric]:
    replicas = context.replicas
    led = [partition.leader for partition in replicas if partition.leader is not None]
    type_name = "kafka_server_replicamanager"
    yield gauge(f"{type_name}_partitioncount", "Partitions that this broker holds", len(replicas.partitions))
    yield gauge(f"{type_name}_leadercount", "Partitions that it leads", len(led))
    yield gauge(f"{type_name}_offlinereplicacount", "Partitions whose log directory has failed", len(replicas.offline))
    yield gauge(
        f"{type_name}_underreplicatedpartitions",
        "Led partitions with fewer in-sync replicas than replicas",
        sum(leader.is_under_replicated for leader in led),
    )
    yield gauge(
        f"{type_name}_underminisrpartitioncount",
        "Led partitions with fewer in-sync replicas than min.insync.replicas",
        sum(leader.is_under_min_isr for leader in led),
    )
    yield gauge(
        f"{type_name}_atminisrpartitioncount",
        "Led partitions that would refuse acks=all if one more replica went",
        sum(leader.is_at_min_isr for leader in led),
    )
    yield gauge(
        f"{type_name}_reassigningpartitions",
        "Led partitions whose replicas are being changed",
        0
        if context.cluster is None
        else sum(
            partition.topic_partition in context.cluster.reassigning for partition in replicas if partition.leader
        ),
    )


def _in_sync_replicas(context: Context) -> Iterator[Metric]:
    replicas = context.replicas
    for name, text, count in (
        ("isrshrinks", "Times that a replica left the ISR of a led partition", replicas.isr_shrinks),
        ("isrexpands", "Times that one joined it", replicas.isr_expands),
        ("failedisrupdates", "Changes of it that the controller refused", replicas.failed_isr_updates),
    ):
        yield CounterMetricFamily(f"kafka_server_replicamanager_{name}", text, value=count)


def _lags(context: Context) -> Iterator[Metric]:
    family = GaugeMetricFamily(
        "kafka_server_fetcherlagmetrics_consumerlag",
        "Records that a followed partition is behind its leader's high watermark",
        labels=["clientid", "topic", "partition"],
    )
    most = failed = 0
    if context.cluster is not None:
        fetchers = context.cluster.fetchers
        most, failed = fetchers.max_lag, fetchers.failed_partitions
        for where, key, lag in fetchers.lags():
            client_id = f"ReplicaFetcherThread-{key.number}-{key.leader_id}"
            family.add_metric([client_id, where.topic, str(where.partition)], lag)
    yield family
    for name, text, value in (
        ("maxlag", "The largest of those", most),
        ("failedpartitionscount", "Partitions that are fetched no more because of damage", failed),
    ):
        manager = GaugeMetricFamily(f"kafka_server_replicafetchermanager_{name}", text, labels=["clientid"])
        manager.add_metric([MANAGER], value)
        yield manager


def _controller(context: Context) -> Iterator[Metric]:
    controls = context.cluster is None or context.cluster.controller.is_active
    image: ClusterImage = context.topics.image if controls else ClusterImage()
    brokers = len(image.brokers) if context.cluster is not None else 1
    partitions = [partition for topic in image.topics.values() for partition in topic.partitions.values()]
    offline = sum(partition.leader < 0 for partition in partitions)
    imbalanced = sum(partition.leader != partition.replicas[0] for partition in partitions if partition.replicas)
    for name, text, value in (
        ("activecontrollercount", "1 where the metadata is written", int(controls)),
        ("activebrokercount", "Brokers that are there", brokers if controls else 0),
        ("offlinepartitionscount", "Partitions without a leader", offline),
        ("preferredreplicaimbalancecount", "Partitions that another than the preferred replica leads", imbalanced),
        ("globaltopiccount", "Topics", len(image.topics)),
        ("globalpartitioncount", "Partitions of all topics", len(partitions)),
    ):
        yield gauge(f"kafka_controller_kafkacontroller_{name}", text, value)


def _session(context: Context) -> Iterator[Metric]:
    """Nothing where there is no ZooKeeper, but for the names."""
    session = None if context.cluster is None else context.cluster.session
    type_name = "kafka_server_sessionexpirelistener"
    yield GaugeMetricFamily(
        f"{type_name}_sessionstate",
        "1 while the session with ZooKeeper is alive and connected",
        value=None if session is None else int(session.is_connected),
    )
    for name, text, value in (
        ("zookeepersyncconnects", "Times that a connection to ZooKeeper began", session and session.connects),
        ("zookeeperdisconnects", "Times that it was lost", session and session.disconnects),
        ("zookeeperexpires", "Sessions that came to their end", session and session.expirations),
    ):
        yield CounterMetricFamily(f"{type_name}_{name}", text, value=value)


def gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
