"""The last replica in sync comes back, and leads if nobody holds more (rule 26)."""

import pytest

from kstore.cluster.image import PartitionImage
from kstore.cluster.standing import LogEnd, elect_longest, is_doubtful

# Broker 1 was alone in sync, and led in epoch 4.
LOST = PartitionImage((1, 2, 3), isr=(1,), leader=-1, leader_epoch=5, partition_epoch=7)


def test_it_is_doubted_when_it_came_a_moment_ago_and_others_are_there() -> None:
    assert is_doubtful(LOST, electable={1, 2}, came={1})
    assert not is_doubtful(LOST, electable={1, 2}, came=())
    assert not is_doubtful(LOST, electable={1}, came={1})
    assert not is_doubtful(LOST, electable={2, 3}, came={2, 3})
    # Another one in sync was there all the time.
    assert not is_doubtful(LOST._replace(isr=(1, 2)), electable={1, 2, 3}, came={1})


@pytest.mark.parametrize(
    ("ends", "leader", "isr"),
    [
        ({1: (4, 100), 2: (4, 90), 3: (3, 200)}, 1, (1,)),
        # Equal is not more.
        ({1: (4, 100), 2: (4, 100)}, 1, (1,)),
        ({1: (4, 100), 2: (4, 120), 3: (4, 110)}, 2, (2,)),
        # An earlier epoch may end in what was never committed.
        ({1: (3, 50), 2: (2, 500), 3: (4, 40)}, 3, (3,)),
        ({1: (-1, 0), 2: (0, 10)}, 2, (2,)),
        # Who does not answer holds nothing, as far as anybody knows; who is in sync has to be compared with.
        ({2: (4, 120)}, 1, (1,)),
        ({}, 1, (1,)),
        # In epoch 5 nobody led: this does not speak of records.
        ({1: (4, 100), 2: (5, 120)}, 1, (1,)),
        ({1: (4, 100), 2: (-1, 120)}, 1, (1,)),
    ],
)
def test_the_longest_log_leads(ends: dict[int, tuple[int, int]], leader: int, isr: tuple[int, ...]) -> None:
    told = {replica: LogEnd(*end) for replica, end in ends.items()}
    elected = elect_longest(LOST, told, electable={1, 2, 3})
    assert elected is not None
    assert (elected.leader, elected.isr, elected.leader_epoch) == (leader, isr, 6)


def test_of_several_in_sync_the_longest_leads_and_all_stay_in_sync() -> None:
    both = LOST._replace(isr=(1, 2))
    elected = elect_longest(both, {1: LogEnd(4, 90), 2: LogEnd(4, 100), 3: LogEnd(4, 95)}, electable={1, 2, 3})
    assert elected is not None
    assert (elected.leader, elected.isr) == (2, (1, 2))
