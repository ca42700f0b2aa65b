"""What a controller tells the brokers after a change: LeaderAndIsr, UpdateMetadata, StopReplica, in this order.

Kafka: ControllerChannelManager.scala, ControllerBrokerRequestBatch. At inter.broker.protocol.version 3.9 the versions
are fixed; nobody negotiates them.
"""

from collections.abc import Container, Iterable, Mapping
from typing import Any, NamedTuple

from kstore.cluster.image import PROTOCOL_IDS, BrokerImage, ClusterImage, PartitionImage, TopicImage
from kstore.model import TopicPartition
from kstore.protocol.messages.leader_and_isr import LeaderAndIsrRequest
from kstore.protocol.messages.stop_replica import StopReplicaRequest
from kstore.protocol.messages.update_metadata import UpdateMetadataRequest

LEADER_AND_ISR_VERSION = 7
UPDATE_METADATA_VERSION = 8
STOP_REPLICA_VERSION = 4

# A topic that is being deleted has this leader and this epoch (LeaderAndIsr.LeaderDuringDelete, EpochDuringDelete).
DELETED = -2


class Notice(NamedTuple):
    broker_id: int
    request: Any
    version: int


class Notices:
    """Gathers what one change has to say, for one request of a kind to each broker."""

    def __init__(
        self,
        image: ClusterImage,
        *,
        controller_id: int,
        controller_epoch: int,
        offline_directories: Mapping[int, Container[TopicPartition]],
    ) -> None:
        self._image = image
        self._offline_directories = offline_directories
        self._fields = {"controller_id": controller_id, "controller_epoch": controller_epoch}
        # Broker -> partitions, and whether they are new.
        self._leader_and_isr: dict[int, dict[TopicPartition, bool]] = {}
        self._metadata: dict[int, dict[TopicPartition, None]] = {}
        self._stop: dict[int, dict[TopicPartition, bool]] = {}

    def leader_and_isr(self, broker_ids: Iterable[int], key: TopicPartition, *, is_new: bool = False) -> None:
        for broker_id in broker_ids:
            self._leader_and_isr.setdefault(broker_id, {})[key] = is_new

    def update_metadata(self, broker_ids: Iterable[int], keys: Iterable[TopicPartition]) -> None:
        """Without partitions it still tells which brokers are alive."""
        found = list(keys)
        for broker_id in broker_ids:
            self._metadata.setdefault(broker_id, {}).update(dict.fromkeys(found))

    def stop_replica(self, broker_ids: Iterable[int], key: TopicPartition, *, delete: bool) -> None:
        for broker_id in broker_ids:
            self._stop.setdefault(broker_id, {})[key] = delete

    def take(self, *, deleted: Mapping[str, TopicImage] | None = None, metadata_first: bool = False) -> list[Notice]:
        """The requests, for the brokers that are alive. `deleted` are topics that are told of as deleted."""
        gone = deleted or {}
        roles: list[Notice] = []
        metadata: list[Notice] = []
        stops: list[Notice] = []
        for broker in self._image.brokers.values():
            if broker.id in self._leader_and_isr:
                keys = self._leader_and_isr[broker.id]
                roles.append(Notice(broker.id, self._leader_and_isr_request(broker, keys), LEADER_AND_ISR_VERSION))
            if broker.id in self._metadata:
                request = self._update_metadata_request(broker, self._metadata[broker.id], gone)
                metadata.append(Notice(broker.id, request, UPDATE_METADATA_VERSION))
            if broker.id in self._stop:
                request = self._stop_replica_request(broker, self._stop[broker.id], gone)
                stops.append(Notice(broker.id, request, STOP_REPLICA_VERSION))
        return [*metadata, *roles, *stops] if metadata_first else [*roles, *metadata, *stops]

    def _leader_and_isr_request(self, broker: BrokerImage, keys: Mapping[TopicPartition, bool]) -> Any:
        topics: dict[str, list[Any]] = {}
        for key, is_new in keys.items():
            partition = self._image.topics[key.topic].partitions[key.partition]
            topics.setdefault(key.topic, []).append(
                LeaderAndIsrRequest.LeaderAndIsrPartitionState(
                    partition_index=key.partition,
                    controller_epoch=partition.controller_epoch,
                    leader=partition.leader,
                    leader_epoch=partition.leader_epoch,
                    isr=list(partition.isr),
                    partition_epoch=partition.partition_epoch,
                    replicas=list(partition.replicas),
                    adding_replicas=list(partition.adding_replicas),
                    removing_replicas=list(partition.removing_replicas),
                    is_new=is_new,
                    leader_recovery_state=partition.leader_recovery_state,
                )
            )
        return LeaderAndIsrRequest(
            broker_epoch=broker.epoch,
            topic_states=[
                LeaderAndIsrRequest.LeaderAndIsrTopicState(
                    topic_name=name, topic_id=self._image.topics[name].id, partition_states=states
                )
                for name, states in topics.items()
            ],
            **self._fields,
        )

    def _update_metadata_request(
        self, broker: BrokerImage, keys: Iterable[TopicPartition], deleted: Mapping[str, TopicImage]
    ) -> Any:
        topics: dict[str, list[Any]] = {}
        for key in keys:
            gone = deleted.get(key.topic)
            partition = (gone or self._image.topics[key.topic]).partitions[key.partition]
            topics.setdefault(key.topic, []).append(self._metadata_of(key, partition, is_gone=gone is not None))
        return UpdateMetadataRequest(
            broker_epoch=broker.epoch,
            topic_states=[
                UpdateMetadataRequest.UpdateMetadataTopicState(
                    topic_name=name,
                    topic_id=(deleted.get(name) or self._image.topics[name]).id,
                    partition_states=states,
                )
                for name, states in topics.items()
            ],
            live_brokers=[_live_broker(other) for other in self._image.brokers.values()],
            **self._fields,
        )

    def _metadata_of(self, key: TopicPartition, partition: PartitionImage, *, is_gone: bool) -> Any:
        return UpdateMetadataRequest.UpdateMetadataPartitionState(
            partition_index=key.partition,
            controller_epoch=partition.controller_epoch,
            leader=DELETED if is_gone else partition.leader,
            leader_epoch=DELETED if is_gone else partition.leader_epoch,
            isr=list(partition.isr),
            zk_version=partition.partition_epoch,
            replicas=list(partition.replicas),
            offline_replicas=[
                replica
                for replica in partition.replicas
                if replica not in self._image.brokers or key in self._offline_directories.get(replica, ())
            ],
        )

    def _stop_replica_request(
        self, broker: BrokerImage, keys: Mapping[TopicPartition, bool], deleted: Mapping[str, TopicImage]
    ) -> Any:
        topics: dict[str, list[Any]] = {}
        for key, delete in keys.items():
            epoch = DELETED
            if key.topic not in deleted:
                epoch = self._image.topics[key.topic].partitions[key.partition].leader_epoch
            topics.setdefault(key.topic, []).append(
                StopReplicaRequest.StopReplicaPartitionState(
                    partition_index=key.partition, leader_epoch=epoch, delete_partition=delete
                )
            )
        return StopReplicaRequest(
            broker_epoch=broker.epoch,
            topic_states=[
                StopReplicaRequest.StopReplicaTopicState(topic_name=name, partition_states=states)
                for name, states in topics.items()
            ],
            **self._fields,
        )


def _live_broker(broker: BrokerImage) -> Any:
    return UpdateMetadataRequest.UpdateMetadataBroker(
        id=broker.id,
        endpoints=[
            UpdateMetadataRequest.UpdateMetadataEndpoint(
                port=endpoint.port,
                host=endpoint.host,
                listener=endpoint.listener,
                security_protocol=PROTOCOL_IDS[endpoint.protocol],
            )
            for endpoint in broker.endpoints
        ],
        rack=broker.rack,
    )
