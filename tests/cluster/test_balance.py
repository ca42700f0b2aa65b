"""Leaders go back to their first replica when too many are elsewhere."""

import pytest

from kstore.cluster.balance import imbalanced
from kstore.cluster.image import PartitionImage
from kstore.model import TopicPartition


def partitions(*leaders: int) -> list[tuple[TopicPartition, PartitionImage]]:
    """Of brokers 1 and 2, all of which broker 1 should lead."""
    return [
        (TopicPartition("t", index), PartitionImage((1, 2), (1, 2), leader, 0, 0))
        for index, leader in enumerate(leaders)
    ]


@pytest.mark.parametrize(("percentage", "moved"), [(0, 1), (9, 1), (10, 0), (50, 0)])
def test_more_than_the_percentage_is_too_many(percentage: int, moved: int) -> None:
    found = imbalanced(partitions(*[1] * 9, 2), percentage=percentage)
    assert len(found) == moved


def test_each_broker_is_looked_at_for_itself() -> None:
    other = (TopicPartition("u", 0), PartitionImage((3, 1), (3, 1), 3, 0, 0))
    assert imbalanced([*partitions(2, 2), other], percentage=10) == [TopicPartition("t", 0), TopicPartition("t", 1)]
