"""Reassignments on a broker that is alone: with them Kafka's tool begins to move replicas between directories."""

from tests.fix_broker import Broker
from tests.zk.wishes import reassign, reassigned, reassignments

NONE, UNKNOWN_TOPIC_OR_PARTITION, INVALID_REPLICA_ASSIGNMENT, NO_REASSIGNMENT_IN_PROGRESS = 0, 3, 39, 85


def test_a_replica_stays_where_it_is_and_goes_nowhere_else(broker: Broker) -> None:
    """The APIs were spoken in a cluster only, and kafka-reassign-partitions.sh gave up."""
    broker.connect().create_topic("orders", partitions=4)
    here = broker.app.context.node_id
    wishes = {0: [here], 1: [here + 1], 2: [], 3: None, 9: [here]}
    assert reassigned(reassign(broker.port, "orders", wishes)) == {
        0: NONE,
        1: INVALID_REPLICA_ASSIGNMENT,
        2: INVALID_REPLICA_ASSIGNMENT,
        3: NO_REASSIGNMENT_IN_PROGRESS,
        9: UNKNOWN_TOPIC_OR_PARTITION,
    }
    assert reassigned(reassign(broker.port, "unknown", {0: [here]})) == {0: UNKNOWN_TOPIC_OR_PARTITION}
    assert reassignments(broker.port) == {}
