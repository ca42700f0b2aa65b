"""What the cluster agrees on at one moment: topics, partitions, configurations, the next free producer id.

An image never changes; `records.py` makes the next one from this one and a batch of metadata records. Kafka:
MetadataImage.java and the images that it holds.
"""

from collections.abc import Hashable, Iterator, Mapping
from typing import NamedTuple

# Resource types of configurations (ConfigResource.java).
TOPIC_RESOURCE = 2
BROKER_RESOURCE = 4

# The feature that says which records and versions of them may be written (MetadataVersion.java).
METADATA_VERSION = "metadata.version"

# What a partition without a leader says (PartitionRegistration.java, LeaderConstants.java).
NO_LEADER = -1

# By which numbers brokers tell each other of them (SecurityProtocol.java).
PROTOCOL_IDS = {"PLAINTEXT": 0, "SSL": 1, "SASL_PLAINTEXT": 2, "SASL_SSL": 3}
PROTOCOLS = {number: name for name, number in PROTOCOL_IDS.items()}


class PartitionImage(NamedTuple):
    """`directories` holds the id of the log directory of each replica, in the order of `replicas`."""

    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    leader: int
    leader_epoch: int
    partition_epoch: int
    directories: tuple[bytes, ...] = ()
    adding_replicas: tuple[int, ...] = ()
    removing_replicas: tuple[int, ...] = ()
    leader_recovery_state: int = 0
    # Replicas that may lead though they left the ISR (KIP-966); one broker on its own has none.
    eligible_leader_replicas: tuple[int, ...] = ()
    last_known_elr: tuple[int, ...] = ()
    # In a cluster with ZooKeeper: the epoch of the controller that wrote this, and the replicas whose disk or broker
    # is away, as a controller tells them.
    controller_epoch: int = -1
    offline_replicas: tuple[int, ...] = ()
    # Which of ZooKeeper's changes wrote this, as it was read from there (mzxid); -1 where that is not known.
    written: int = -1
    # And the incarnations in which replicas came into sync, of those where it is known (kstore/log/incarnation.py).
    incarnations: Mapping[int, str] = {}

    def directory_of(self, broker_id: int) -> bytes | None:
        """The id of the log directory in which `broker_id` keeps this partition; None if it is not said."""
        return next(
            (found for replica, found in zip(self.replicas, self.directories, strict=False) if replica == broker_id),
            None,
        )


class BrokerEndpoint(NamedTuple):
    listener: str
    host: str
    port: int
    protocol: str = "PLAINTEXT"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.listener}://{host}:{self.port}"


class BrokerImage(NamedTuple):
    """A broker that is alive; `epoch` tells its registrations apart (-1 where that is not told), `incarnation` the
    unbroken lives of its records ("" where that is not told, as by Kafka)."""

    id: int
    endpoints: tuple[BrokerEndpoint, ...]
    rack: str | None = None
    epoch: int = -1
    incarnation: str = ""

    def endpoint_of(self, listener: str) -> BrokerEndpoint | None:
        return next((endpoint for endpoint in self.endpoints if endpoint.listener == listener), None)


class TopicImage(NamedTuple):
    name: str
    id: bytes
    partitions: Mapping[int, PartitionImage]


class ClusterImage(NamedTuple):
    """`offset` and `epoch` are those of the last record in it; `features` maps feature names to levels."""

    offset: int = -1
    epoch: int = -1
    topics: Mapping[str, TopicImage] = {}
    topic_names: Mapping[bytes, str] = {}
    # (resource type, resource name) -> key -> value; the name "" is the default of all brokers.
    configs: Mapping[tuple[int, str], Mapping[str, str]] = {}
    features: Mapping[str, int] = {}
    next_producer_id: int = 0
    # What Kafka agreed on and kstore has no use for (registrations, ACLs, quotas, tokens), as it was
    # written, so that no snapshot forgets it: entity -> values of records.
    kept: Mapping[tuple[Hashable, ...], tuple[bytes, ...]] = {}
    # The brokers that are alive and the one that controls, in a cluster with ZooKeeper.
    brokers: Mapping[int, BrokerImage] = {}
    controller_id: int = -1

    @property
    def metadata_version(self) -> int:
        """The level at which records are written; 0 before there is one."""
        return self.features.get(METADATA_VERSION, 0)

    def topic_config(self, topic: str) -> Mapping[str, str]:
        return self.configs.get((TOPIC_RESOURCE, topic), {})

    def led_by(self, broker_id: int) -> Iterator[tuple[TopicImage, int, PartitionImage]]:
        """(topic, index, partition) of every partition that `broker_id` leads."""
        for topic in self.topics.values():
            for index, partition in topic.partitions.items():
                if partition.leader == broker_id:
                    yield topic, index, partition
