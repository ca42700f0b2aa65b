"""The controller's decisions with plain values: what is written and who is told."""

import pytest

from kstore.cluster.controller import Controller, Plan
from kstore.cluster.image import BrokerEndpoint, BrokerImage, PartitionImage, TopicImage
from kstore.cluster.isr_update import IsrProposal
from kstore.cluster.notices import DELETED
from kstore.errors import StaleBrokerEpochError, UnknownTopicOrPartitionError
from kstore.model import TopicPartition
from kstore.protocol.messages.leader_and_isr import LeaderAndIsrRequest
from kstore.protocol.messages.stop_replica import StopReplicaRequest
from kstore.protocol.messages.update_metadata import UpdateMetadataRequest

KEY = TopicPartition("orders", 0)
ID = bytes(15) + b"\x07"


def brokers(*ids: int, **epochs: int) -> dict[int, BrokerImage]:
    return {
        id: BrokerImage(id, (BrokerEndpoint("PLAINTEXT", "h", 9000 + id),), None, epochs.get(f"b{id}", 100 + id))
        for id in ids
    }


def topic(*replicas: int, name: str = "orders") -> dict[str, TopicImage]:
    partition = PartitionImage(replicas, isr=(), leader=-1, leader_epoch=-1, partition_epoch=-1)
    return {name: TopicImage(name, ID, {0: partition})}


def carried_out(controller: Controller, plan: Plan):
    """As if everything was written: versions rise by one."""
    return controller.written(plan, {key: state.partition_epoch + 1 for key, state in plan.writes.items()})


@pytest.fixture
def controller() -> Controller:
    """Brokers 1, 2 and 3 are alive; orders-0 is led by 1."""
    made = Controller(broker_id=1, epoch=5)
    carried_out(made, made.started(brokers(1, 2, 3), topic(1, 2), []))
    return made


def state(controller: Controller) -> PartitionImage:
    found = controller.state(KEY)
    assert found is not None
    return found


def kinds(notices) -> list[tuple[int, type]]:
    return [(notice.broker_id, type(notice.request)) for notice in notices]


def test_a_new_partition_is_led_by_its_first_live_replica() -> None:
    controller = Controller(broker_id=1, epoch=5)
    plan = controller.started(brokers(2, 3), topic(1, 2, 3), [])
    written = plan.writes[KEY]
    assert (written.leader, written.isr, written.leader_epoch, written.controller_epoch) == (2, (2, 3), 0, 5)
    assert plan.made == {KEY}
    notices = carried_out(controller, plan)
    # Who is alive is told before who leads.
    assert kinds(notices) == [
        (2, UpdateMetadataRequest),
        (3, UpdateMetadataRequest),
        (2, LeaderAndIsrRequest),
        (3, LeaderAndIsrRequest),
    ]
    (told,) = notices[-1].request.topic_states
    assert (told.topic_id, told.partition_states[0].is_new, notices[-1].request.broker_epoch) == (ID, True, 103)


def test_when_the_leader_goes_the_next_in_sync_leads(controller: Controller) -> None:
    plan = controller.brokers_changed(brokers(2, 3))
    written = plan.writes[KEY]
    assert (written.leader, written.isr, written.leader_epoch, written.partition_epoch) == (2, (2,), 1, 0)
    assert kinds(carried_out(controller, plan)) == [
        (2, LeaderAndIsrRequest),
        (2, UpdateMetadataRequest),
        (3, UpdateMetadataRequest),
    ]
    assert state(controller).partition_epoch == 1


def test_when_a_follower_goes_it_leaves_the_isr_with_a_new_epoch(controller: Controller) -> None:
    written = controller.brokers_changed(brokers(1, 3)).writes[KEY]
    assert (written.leader, written.isr, written.leader_epoch) == (1, (1,), 1)


def test_the_last_in_sync_replica_stays_and_leads_when_it_is_back(controller: Controller) -> None:
    carried_out(controller, controller.brokers_changed(brokers(1, 3)))
    carried_out(controller, controller.brokers_changed(brokers(3)))
    assert (state(controller).leader, state(controller).isr) == (-1, (1,))
    # Broker 2 may lack what was acknowledged.
    carried_out(controller, controller.brokers_changed(brokers(2, 3)))
    assert state(controller).leader == -1
    carried_out(controller, controller.brokers_changed(brokers(1, 2, 3, b1=200)))
    assert (state(controller).leader, state(controller).isr) == (1, (1,))


def test_a_bounce_between_two_looks_is_a_failure_and_a_start(controller: Controller) -> None:
    plan = controller.brokers_changed(brokers(1, 2, 3, b1=200))
    assert (plan.writes[KEY].leader, plan.writes[KEY].isr, plan.catch_up) == (2, (2,), {1})
    carried_out(controller, plan)


def test_what_was_not_written_is_not_told(controller: Controller) -> None:
    before = state(controller)
    plan = controller.brokers_changed(brokers(2, 3))
    assert controller.written(plan, {KEY: None}) == []
    assert state(controller) == before


def test_a_leaders_proposal_is_told_as_metadata_only(controller: Controller) -> None:
    carried_out(controller, controller.brokers_changed(brokers(1, 3)))
    carried_out(controller, controller.brokers_changed(brokers(1, 2, 3, b2=200)))
    current = state(controller)
    proposal = IsrProposal(1, current.leader_epoch, current.partition_epoch, {1: 101, 2: 200})
    plan = controller.isr_proposed(KEY, proposal, broker_epoch=101)
    assert plan.writes[KEY].leader_epoch == current.leader_epoch
    assert {kind for _, kind in kinds(carried_out(controller, plan))} == {UpdateMetadataRequest}
    assert state(controller).isr == (1, 2)
    # The answer was lost, and it is asked again.
    assert controller.isr_proposed(KEY, proposal, broker_epoch=101) == Plan()


def test_a_proposal_of_an_earlier_registration_or_of_no_partition_is_refused(controller: Controller) -> None:
    with pytest.raises(StaleBrokerEpochError):
        controller.isr_proposed(KEY, IsrProposal(1, 0, 0, {1: -1}), broker_epoch=99)
    with pytest.raises(UnknownTopicOrPartitionError):
        controller.isr_proposed(TopicPartition("none", 0), IsrProposal(1, 0, 0, {1: -1}), broker_epoch=101)


def test_a_broker_that_shuts_down_hands_over_what_it_leads(controller: Controller) -> None:
    assert controller.led_by(1) == [KEY]
    carried_out(controller, controller.shutdown_asked(1, 101))
    assert (state(controller).leader, controller.led_by(1)) == (2, [])


def test_a_follower_that_shuts_down_leaves_the_isr_and_lets_go(controller: Controller) -> None:
    notices = carried_out(controller, controller.shutdown_asked(2, 102))
    assert state(controller).isr == (1,)
    (stop,) = [notice for notice in notices if isinstance(notice.request, StopReplicaRequest)]
    (told,) = stop.request.topic_states[0].partition_states
    assert (stop.broker_id, told.delete_partition, told.leader_epoch) == (2, False, 1)


def test_a_topic_goes_when_every_replica_is_deleted(controller: Controller) -> None:
    notices = controller.deletion_asked("orders")
    metadata = [notice.request for notice in notices if isinstance(notice.request, UpdateMetadataRequest)]
    assert [each.topic_states[0].partition_states[0].leader for each in metadata] == [DELETED] * 3
    assert not controller.replica_deleted(1, KEY)
    # Broker 2 is away, and is told when it is back.
    carried_out(controller, controller.brokers_changed(brokers(1, 3)))
    again = carried_out(controller, controller.brokers_changed(brokers(1, 2, 3, b2=200)))
    assert (2, StopReplicaRequest) in kinds(again)
    assert (2, LeaderAndIsrRequest) not in kinds(again)
    assert controller.replica_deleted(2, KEY)
    controller.topic_deleted("orders")
    assert controller.image.topics == {}
