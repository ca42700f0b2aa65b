"""What a member of a cluster knows of it: the image that its controller's UpdateMetadata requests give, one by one.

Kafka: ZkMetadataCache.updateMetadata. Configurations are not among them; they stay as they are.
"""

from typing import Any

from kstore.cluster.image import PROTOCOLS, BrokerEndpoint, BrokerImage, ClusterImage, PartitionImage, TopicImage
from kstore.cluster.notices import DELETED
from kstore.model import ZERO_UUID


def updated(image: ClusterImage, told: Any) -> ClusterImage:
    """The brokers that are told are all that are alive; partitions are only those that changed."""
    topics = dict(image.topics)
    for state in told.topic_states:
        known = topics.get(state.topic_name)
        topic_id = state.topic_id if state.topic_id != ZERO_UUID or known is None else known.id
        partitions = {} if known is None or known.id != topic_id else dict(known.partitions)
        for each in state.partition_states:
            if each.leader == DELETED:
                partitions.pop(each.partition_index, None)
            else:
                partitions[each.partition_index] = _partition(each)
        if partitions:
            ordered = {index: partitions[index] for index in sorted(partitions)}
            topics[state.topic_name] = TopicImage(state.topic_name, topic_id, ordered)
        else:
            topics.pop(state.topic_name, None)
    return image._replace(
        topics=topics,
        topic_names={topic.id: name for name, topic in topics.items() if topic.id != ZERO_UUID},
        brokers={broker.id: _broker(broker) for broker in told.live_brokers},
        controller_id=told.controller_id,
    )


def _partition(state: Any) -> PartitionImage:
    return PartitionImage(
        replicas=tuple(state.replicas),
        isr=tuple(state.isr),
        leader=state.leader,
        leader_epoch=state.leader_epoch,
        partition_epoch=state.zk_version,
        controller_epoch=state.controller_epoch,
        offline_replicas=tuple(state.offline_replicas),
    )


def _broker(broker: Any) -> BrokerImage:
    endpoints = tuple(
        BrokerEndpoint(each.listener, each.host, each.port, PROTOCOLS.get(each.security_protocol, "PLAINTEXT"))
        for each in broker.endpoints
    )
    return BrokerImage(broker.id, endpoints, broker.rack)
