"""Three brokers under load, and one fault of each family: what fits into `make test`."""

import pytest

from tests.chaos.cluster import Cluster, eventually
from tests.chaos.faults import (
    EndSession,
    Isolate,
    Kill,
    Pause,
    broker,
    controller,
    coordinator,
    follower_of,
    happening,
    leader_of,
)
from tests.chaos.history import History
from tests.chaos.load import (
    AssignReader,
    Committer,
    EndWatcher,
    GroupReader,
    LibrdkafkaProducer,
    Where,
    Worker,
)
from tests.chaos.story import Story

pytestmark = pytest.mark.kafka


def load(history: History, where: Where) -> list[Worker]:
    return [
        LibrdkafkaProducer(history, "idempotent", where, idempotent=True),
        LibrdkafkaProducer(history, "plain", where, idempotent=False, per_second=100),
        AssignReader(history, "reader", where),
        GroupReader(history, "member", where, "readers"),
        EndWatcher(history, "watcher", where),
        Committer(history, "committer", where),
    ]


def wait_until_whole(cluster: Cluster) -> None:
    """Whoever is struck next must not be the last one in sync: the partition would rightly wait for it."""
    eventually(
        lambda: cluster.state("orders"),
        wanted=lambda state: state is not None and state.isr == {1, 2, 3},
        what="all are in sync again",
    )


def test_nothing_acknowledged_is_lost_or_seen_twice_while_brokers_die_sleep_and_are_cut_off(cluster: Cluster) -> None:
    cluster.create_groups_topic()
    with Story(cluster, "orders", load=load) as story:
        with happening(Kill(leader_of("orders")), cluster):
            story.wait_for_progress()
        wait_until_whole(cluster)
        with happening(Pause(coordinator()), cluster):
            story.wait_for_progress()
        wait_until_whole(cluster)
        with happening(EndSession(controller()), cluster):
            story.wait_for_progress()
        wait_until_whole(cluster)
        follower = follower_of("orders")(cluster)
        with happening(Isolate(broker(follower)), cluster):
            eventually(
                lambda: cluster.state("orders"),
                wanted=lambda state: state is not None and follower not in state.isr,
                what=f"broker {follower} has left the ISR",
            )
            story.wait_for_progress()
