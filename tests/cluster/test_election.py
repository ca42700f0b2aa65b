"""A broker that starts leads what it has whole, in a new epoch where a tail may be lost."""

import pytest

from kstore.cluster.election import claim_leadership
from kstore.cluster.image import ClusterImage, PartitionImage, TopicImage
from kstore.cluster.records import apply_messages
from kstore.model import TopicPartition

TOPIC_ID = bytes(range(16))
LETTERS = TopicPartition("letters", 0)


def image(partition: PartitionImage, level: int = 30) -> ClusterImage:
    return ClusterImage(
        topics={"letters": TopicImage("letters", TOPIC_ID, {0: partition})},
        topic_names={TOPIC_ID: "letters"},
        features={"metadata.version": level},
    )


def partition(**fields: object) -> PartitionImage:
    known = PartitionImage((1,), (1,), 1, leader_epoch=4, partition_epoch=7)
    return known._replace(**fields)  # type: ignore[arg-type]


def claimed(before: PartitionImage, *unclean: TopicPartition, level: int = 30) -> PartitionImage:
    """The partition after broker 1 has started."""
    start = image(before, level)
    records = claim_leadership(start, broker_id=1, unclean=unclean)
    return apply_messages(start, records, offset=0, epoch=0).topics["letters"].partitions[0]


def test_a_partition_that_is_led_and_whole_is_left_as_it_is() -> None:
    assert claim_leadership(image(partition()), broker_id=1, unclean=()) == []


@pytest.mark.parametrize("level", [16, 21, 30])
def test_after_an_unclean_stop_the_epoch_is_raised_and_the_leader_stays(level: int) -> None:
    assert claimed(partition(), LETTERS, level=level) == partition(leader_epoch=5, partition_epoch=8)
    assert claimed(partition(), TopicPartition("others", 0), level=level) == partition()


@pytest.mark.parametrize("level", [16, 21, 30])
def test_what_nobody_leads_is_led(level: int) -> None:
    assert claimed(partition(leader=-1), level=level) == partition(leader_epoch=5, partition_epoch=8)


@pytest.mark.parametrize(
    "left",
    [
        {"isr": (), "eligible_leader_replicas": (1,), "last_known_elr": (1,)},
        {"isr": (), "last_known_elr": (1,)},
        {"isr": (), "replicas": (2, 1), "eligible_leader_replicas": (1,)},
    ],
)
def test_an_eligible_leader_and_an_only_replica_lead_although_no_isr_is_left(left: dict[str, object]) -> None:
    found = claimed(partition(leader=-1, **left))
    assert (found.leader, found.isr, found.leader_epoch) == (1, (1,), 5)
    assert (found.eligible_leader_replicas, found.last_known_elr) == ((), ())


@pytest.mark.parametrize("leader", [1, 2, -1])
def test_replicas_that_are_not_there_leave_the_isr(leader: int) -> None:
    found = claimed(partition(replicas=(2, 1), isr=(2, 1), leader=leader))
    assert (found.leader, found.isr, found.replicas) == (1, (1,), (2, 1))


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"replicas": (2,), "isr": (2,), "leader": 2},
        {"replicas": (2, 1), "isr": (2,), "leader": 2},
        {"replicas": (2, 1), "isr": (), "leader": -1},
        {"replicas": (2, 1), "isr": (), "leader": -1, "eligible_leader_replicas": (2,)},
    ],
)
def test_what_may_lack_acknowledged_records_is_not_led(elsewhere: dict[str, object]) -> None:
    assert claimed(partition(**elsewhere), LETTERS) == partition(**elsewhere)
