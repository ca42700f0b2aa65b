"""The controller's decisions with plain values: what is written and who is told."""

import pytest

from kstore.cluster.controller import MOST_IN_VAIN, PREFERRED, UNCLEAN, Controller
from kstore.cluster.image import BrokerEndpoint, BrokerImage, PartitionImage, TopicImage
from kstore.cluster.isr_update import IsrProposal
from kstore.cluster.notices import DELETED
from kstore.cluster.plan import Plan
from kstore.cluster.standing import Doubt, LogEnd
from kstore.errors import (
    ElectionNotNeededError,
    EligibleLeadersNotAvailableError,
    IneligibleReplicaError,
    InvalidReplicaAssignmentError,
    InvalidTopicError,
    NoReassignmentInProgressError,
    PreferredLeaderNotAvailableError,
    StaleBrokerEpochError,
    UnknownTopicOrPartitionError,
)
from kstore.model import TopicPartition
from kstore.protocol.messages.leader_and_isr import LeaderAndIsrRequest
from kstore.protocol.messages.stop_replica import StopReplicaRequest
from kstore.protocol.messages.update_metadata import UpdateMetadataRequest

KEY = TopicPartition("orders", 0)
ID = bytes(15) + b"\x07"


def brokers(*ids: int, lives: dict[int, str] | None = None, **epochs: int) -> dict[int, BrokerImage]:
    return {
        id: BrokerImage(
            id,
            (BrokerEndpoint("PLAINTEXT", "h", 9000 + id),),
            None,
            epochs.get(f"b{id}", 100 + id),
            (lives or {}).get(id, ""),
        )
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
    # Nobody answers, and they are asked again; whoever stays silent holds nothing, as far as anybody knows.
    for _ in range(MOST_IN_VAIN - 1):
        assert not told(controller, {}).writes
        assert controller.lacks_answers()
    carried_out(controller, told(controller, {}))
    assert (state(controller).leader, state(controller).isr) == (1, (1,))


def test_a_bounce_between_two_looks_is_a_failure_and_a_start(controller: Controller) -> None:
    plan = controller.brokers_changed(brokers(1, 2, 3, b1=200))
    assert (plan.writes[KEY].leader, plan.writes[KEY].isr, plan.catch_up) == (2, (2,), {1})
    carried_out(controller, plan)


def test_what_was_not_written_is_not_told(controller: Controller) -> None:
    before = state(controller)
    plan = controller.brokers_changed(brokers(2, 3))
    # But who is alive is.
    notices = controller.written(plan, {KEY: None})
    assert [notice.request.topic_states for notice in notices] == [[], []]
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


def test_all_brokers_hear_of_one_that_went_though_nothing_else_changes(controller: Controller) -> None:
    notices = carried_out(controller, controller.brokers_changed(brokers(1, 2)))
    assert kinds(notices) == [(1, UpdateMetadataRequest), (2, UpdateMetadataRequest)]
    assert {broker.id for broker in notices[0].request.live_brokers} == {1, 2}


def test_all_brokers_hear_of_another_address(controller: Controller) -> None:
    moved = brokers(1, 2, 3)
    moved[3] = moved[3]._replace(endpoints=(BrokerEndpoint("PLAINTEXT", "elsewhere", 9003),))
    notices = carried_out(controller, controller.brokers_changed(moved))
    assert {kind for _, kind in kinds(notices)} == {UpdateMetadataRequest}
    assert carried_out(controller, controller.brokers_changed(moved)) == []


def test_a_new_controller_takes_the_dead_out_of_the_isr() -> None:
    topics = topic(1, 2)
    written = PartitionImage((1, 2), isr=(1, 2), leader=1, leader_epoch=3, partition_epoch=4, controller_epoch=4)
    topics["orders"] = topics["orders"]._replace(partitions={0: written})
    controller = Controller(broker_id=1, epoch=5)
    assert controller.started(brokers(1, 3), topics, []).writes[KEY].isr == (1,)


# --- directories ---


def test_a_broker_that_lost_a_directory_is_asked_by_what_it_knows(controller: Controller) -> None:
    (notice,) = controller.directories_failed([2])
    (told,) = notice.request.topic_states
    assert (notice.broker_id, told.partition_states[0].leader_epoch, told.partition_states[0].is_new) == (2, 0, False)


def test_a_replica_without_a_directory_leads_no_more_and_is_told_as_offline(controller: Controller) -> None:
    plan = controller.replicas_answered(1, online=[], offline=[KEY])
    assert (plan.writes[KEY].leader, plan.writes[KEY].isr) == (2, (2,))
    notices = carried_out(controller, plan)
    metadata = next(notice.request for notice in notices if isinstance(notice.request, UpdateMetadataRequest))
    assert metadata.topic_states[0].partition_states[0].offline_replicas == [1]
    # Said again it is no news, and a proposal cannot bring it back before the broker has its directory again.
    assert not controller.replicas_answered(1, online=[], offline=[KEY]).tells_brokers
    with pytest.raises(IneligibleReplicaError):
        in_sync(controller, 1, 2)
    carried_out(controller, controller.brokers_changed(brokers(1, 2, 3, b1=200)))
    assert controller.offline == {}


# --- elections ---


def leaderless(controller: Controller) -> None:
    """Only broker 1 was in sync, and is gone; broker 2 is there."""
    carried_out(controller, controller.brokers_changed(brokers(1, 3)))
    carried_out(controller, controller.brokers_changed(brokers(2, 3)))
    assert (state(controller).leader, state(controller).isr) == (-1, (1,))


def test_who_is_out_of_sync_leads_only_where_the_topic_allows_it(controller: Controller) -> None:
    leaderless(controller)
    assert controller.leaderless() == {"orders"}
    assert controller.unclean_allowed({"others"}).writes == {}
    notices = carried_out(controller, controller.unclean_allowed({"orders"}))
    assert (state(controller).leader, state(controller).isr, state(controller).leader_recovery_state) == (2, (2,), 1)
    (told,) = [each.request for each in notices if isinstance(each.request, LeaderAndIsrRequest)]
    assert told.topic_states[0].partition_states[0].leader_recovery_state == 1
    assert controller.leaderless() == frozenset()


def test_nobody_is_asked_for_where_nobody_is_there(controller: Controller) -> None:
    carried_out(controller, controller.brokers_changed(brokers(3)))
    assert controller.leaderless() == frozenset()


def test_a_preferred_leader_is_elected_when_it_is_asked_for(controller: Controller) -> None:
    _, refusals = controller.elections_asked(PREFERRED, [KEY])
    assert isinstance(refusals[KEY], ElectionNotNeededError)
    carried_out(controller, controller.brokers_changed(brokers(2, 3)))
    carried_out(controller, controller.brokers_changed(brokers(1, 2, 3, b1=200)))
    _, refusals = controller.elections_asked(PREFERRED, None)
    assert isinstance(refusals[KEY], PreferredLeaderNotAvailableError)
    in_sync(controller, 1, 2)
    plan, refusals = controller.elections_asked(PREFERRED, None)
    assert (plan.writes[KEY].leader, refusals) == (1, {})


def test_an_unclean_leader_is_elected_when_it_is_asked_for(controller: Controller) -> None:
    _, refusals = controller.elections_asked(UNCLEAN, [KEY, TopicPartition("none", 0)])
    assert isinstance(refusals[KEY], ElectionNotNeededError)
    assert isinstance(refusals[TopicPartition("none", 0)], UnknownTopicOrPartitionError)
    carried_out(controller, controller.brokers_changed(brokers(3)))
    _, refusals = controller.elections_asked(UNCLEAN, [KEY])
    assert isinstance(refusals[KEY], EligibleLeadersNotAvailableError)
    carried_out(controller, controller.brokers_changed(brokers(1, 2, 3, b2=200)))
    leaderless(controller)
    plan, refusals = controller.elections_asked(UNCLEAN, [KEY])
    assert (plan.writes[KEY].leader, plan.writes[KEY].isr, refusals) == (2, (2,), {})
    assert plan.writes[KEY].leader_recovery_state == 1


def out_of_sync() -> Controller:
    """Broker 1 led orders-0 alone in sync, and is gone; brokers 2 and 3 are there."""
    controller = Controller(broker_id=4, epoch=5)
    carried_out(controller, controller.started(brokers(1, 2, 3), topic(1, 2, 3), []))
    carried_out(controller, controller.brokers_changed(brokers(1)))
    carried_out(controller, controller.brokers_changed(brokers(2, 3)))
    assert (state(controller).leader, state(controller).isr) == (-1, (1,))
    return controller


def test_of_those_out_of_sync_an_administrator_has_the_longest_log_lead() -> None:
    """The first one was taken, however little it had."""
    controller = out_of_sync()
    asked = {KEY: Doubt(ID, state(controller).leader_epoch, frozenset({2, 3}))}
    assert controller.choices(None) == controller.choices([KEY, TopicPartition("none", 0)]) == asked
    controller.ends_heard(asked, {KEY: {2: LogEnd(0, 5), 3: LogEnd(0, 9)}})
    plan, refusals = controller.elections_asked(UNCLEAN, None)
    assert (plan.writes[KEY].leader, plan.writes[KEY].isr, refusals) == (3, (3,), {})
    carried_out(controller, plan)
    assert controller.choices(None) == {}


def test_what_was_heard_of_other_replicas_than_those_there_now_chooses_nobody() -> None:
    controller = out_of_sync()
    asked = controller.choices(None)
    controller.ends_heard(asked, {KEY: {2: LogEnd(0, 5), 3: LogEnd(0, 9)}})
    # It has restarted, and may have lost what it had.
    carried_out(controller, controller.brokers_changed(brokers(2, 3, b3=300)))
    assert controller.elections_asked(UNCLEAN, [KEY])[0].writes[KEY].leader == 2
    stale = {KEY: asked[KEY]._replace(leader_epoch=asked[KEY].leader_epoch - 1)}
    controller.ends_heard(stale, {KEY: {3: LogEnd(0, 9)}})
    assert controller.elections_asked(UNCLEAN, [KEY])[0].writes[KEY].leader == 2
    # And it is no answer to the question that a doubted partition waits for (rule 26).
    controller.ends_heard(asked, {KEY: {2: LogEnd(0, 5), 3: LogEnd(0, 9)}})
    carried_out(controller, controller.brokers_changed(brokers(1, 2, 3, b1=300, b3=300)))
    assert (controller.doubted, controller.choices(None)) == ({KEY}, {})
    _, refusals = controller.elections_asked(UNCLEAN, [KEY])
    assert isinstance(refusals[KEY], EligibleLeadersNotAvailableError)


def test_leaders_go_back_by_themselves(controller: Controller) -> None:
    carried_out(controller, controller.brokers_changed(brokers(2, 3)))
    carried_out(controller, controller.brokers_changed(brokers(1, 2, 3, b1=200)))
    assert controller.balance(10).writes == {}
    in_sync(controller, 1, 2)
    assert controller.balance(10).writes[KEY].leader == 1
    assert controller.balance(100).writes == {}


# --- reassignment ---


def in_sync(controller: Controller, *replicas: int) -> list:
    """The leader proposes an ISR, and is agreed with."""
    current = state(controller)
    proposal = IsrProposal(current.leader, current.leader_epoch, current.partition_epoch, dict.fromkeys(replicas, -1))
    epoch = controller.image.brokers[current.leader].epoch
    return carried_out(controller, controller.isr_proposed(KEY, proposal, broker_epoch=epoch))


def roles(notices) -> dict[int, bool]:
    """Broker -> is_new, of those that are told what to lead and follow."""
    return {
        notice.broker_id: notice.request.topic_states[0].partition_states[0].is_new
        for notice in notices
        if isinstance(notice.request, LeaderAndIsrRequest)
    }


def stopped(notices) -> dict[int, bool]:
    """Broker -> delete, of those that are told to let go."""
    return {
        notice.broker_id: notice.request.topic_states[0].partition_states[0].delete_partition
        for notice in notices
        if isinstance(notice.request, StopReplicaRequest)
    }


def test_a_reassignment_begins_and_ends(controller: Controller) -> None:
    plan, refusals = controller.reassignments_asked({KEY: (3, 2)})
    # The new replicas are known, whoever controls next, before they begin.
    assert (refusals, plan.moved_first, plan.moved_last) == ({}, [KEY], [])
    assert roles(carried_out(controller, plan)) == {1: False, 2: False, 3: True}
    assert set(controller.reassignments()) == {KEY}
    assert controller.reassignments_done().writes == {}
    in_sync(controller, 1, 2, 3)
    done = controller.reassignments_done([KEY])
    assert (done.moved_first, done.moved_last) == ([], [KEY])
    notices = carried_out(controller, done)
    assert (state(controller).replicas, state(controller).isr, state(controller).leader) == ((3, 2), (3, 2), 3)
    assert (roles(notices), stopped(notices)) == ({2: False, 3: False}, {1: True})
    assert controller.reassignments() == {}


def test_a_reassignment_is_cancelled_and_its_replicas_go(controller: Controller) -> None:
    carried_out(controller, controller.reassignments_asked({KEY: (3,)})[0])
    plan, refusals = controller.reassignments_asked({KEY: None})
    assert (refusals, plan.moved_last) == ({}, [KEY])
    notices = carried_out(controller, plan)
    assert (state(controller).replicas, controller.reassignments()) == ((1, 2), {})
    assert stopped(notices) == {3: True}
    _, refusals = controller.reassignments_asked({KEY: None})
    assert isinstance(refusals[KEY], NoReassignmentInProgressError)


def test_fewer_replicas_are_reached_at_once(controller: Controller) -> None:
    plan, _ = controller.reassignments_asked({KEY: (2,)})
    assert plan.writes[KEY].leader_epoch == state(controller).leader_epoch + 1
    assert stopped(carried_out(controller, plan)) == {1: True}
    assert (state(controller).replicas, state(controller).isr, state(controller).leader) == ((2,), (2,), 2)
    assert controller.reassignments_asked({KEY: (2,)})[0].writes == {}


def test_a_new_controller_goes_on_with_a_reassignment() -> None:
    moving = PartitionImage(
        (3, 2, 1), isr=(1, 2), leader=1, leader_epoch=3, partition_epoch=4, adding_replicas=(3,), removing_replicas=(1,)
    )
    controller = Controller(broker_id=1, epoch=5)
    plan = controller.started(brokers(1, 2, 3), {"orders": TopicImage("orders", ID, {0: moving})}, [])
    # In a new epoch: its leader may not have heard of the new replicas.
    assert plan.writes[KEY].leader_epoch == 4
    assert roles(carried_out(controller, plan)) == {1: False, 2: False, 3: True}
    in_sync(controller, 1, 2, 3)
    carried_out(controller, controller.reassignments_done())
    assert state(controller).replicas == (3, 2)


def test_a_topic_that_is_being_reassigned_is_deleted_with_all_its_replicas(controller: Controller) -> None:
    carried_out(controller, controller.reassignments_asked({KEY: (3, 2)})[0])
    assert stopped(controller.deletion_asked("orders")) == {1: True, 2: True, 3: True}
    _, refusals = controller.reassignments_asked({KEY: None})
    assert isinstance(refusals[KEY], UnknownTopicOrPartitionError)
    _, refusals = controller.elections_asked(PREFERRED, [KEY])
    assert isinstance(refusals[KEY], InvalidTopicError)
    assert [controller.replica_deleted(broker, KEY) for broker in (1, 2, 3)] == [False, False, True]


def test_what_others_have_written_counts(controller: Controller) -> None:
    theirs = state(controller)._replace(isr=(1,), partition_epoch=9)
    notices = controller.states_read({KEY: theirs})
    assert {kind for _, kind in kinds(notices)} == {UpdateMetadataRequest}
    assert state(controller) == theirs
    controller.image = controller.image._replace(brokers=brokers(2, 3))
    assert controller.unsettled({KEY}).writes[KEY].leader == -1


def test_news_of_a_partition_that_nobody_has_made_does_not_keep_it_from_being_made(controller: Controller) -> None:
    """It was taken for known, and the look at the topic's assignment found nothing new."""
    unmade = PartitionImage((1, 2), isr=(), leader=-1, leader_epoch=-1, partition_epoch=-1)
    controller.states_read({TopicPartition("orders", 1): unmade})
    assert list(controller.image.topics["orders"].partitions) == [0]


def test_a_new_controller_notices_who_has_restarted_since_the_state_was_written() -> None:
    """The controller before it was gone when the leader's znode went and came: it would have led on in its epoch
    with less than was acknowledged in it (found by the simulator)."""
    state = PartitionImage((3, 1, 2), isr=(3, 1, 2), leader=3, leader_epoch=4, partition_epoch=7, written=200)
    topics = {"orders": TopicImage("orders", ID, {0: state})}
    controller = Controller(broker_id=1, epoch=2)
    plan = controller.started(brokers(1, 2, 3, b3=201), topics, [])
    after = plan.writes[KEY]
    assert (after.leader, after.isr, after.leader_epoch) == (1, (1, 2), 5)
    # Who was registered when it was written stays; and who is alone in sync leads again, in a new epoch.
    assert not Controller(broker_id=1, epoch=2).started(brokers(1, 2, 3, b3=199), topics, []).writes
    # Who is alone in sync is compared with the others first (rule 26).
    alone = {"orders": TopicImage("orders", ID, {0: state._replace(isr=(3,))})}
    controller = Controller(broker_id=1, epoch=2)
    assert controller.started(brokers(1, 2, 3, b3=201), alone, []).writes[KEY].leader == -1
    assert controller.doubted == {KEY}


# --- the last replica in sync (rule 26) ---


def test_the_last_in_sync_that_comes_back_is_compared_with_who_is_there(controller: Controller) -> None:
    leaderless(controller)
    carried_out(controller, controller.brokers_changed(brokers(1, 2, 3, b1=200)))
    # Nobody leads yet, and nobody out of sync is taken meanwhile.
    assert (state(controller).leader, controller.leaderless()) == (-1, frozenset())
    assert controller.doubts() == {KEY: Doubt(ID, state(controller).leader_epoch, frozenset({1, 2}))}
    # Something else happens before the answers are there.
    carried_out(controller, controller.brokers_changed(brokers(1, 2, b1=200)))
    assert state(controller).leader == -1
    plan = told(controller, {1: LogEnd(0, 5), 2: LogEnd(0, 9)})
    carried_out(controller, plan)
    assert (state(controller).leader, state(controller).isr, controller.doubted) == (2, (2,), set())


LIVES = {1: "a", 2: "b", 3: "c"}


def told(controller: Controller, ends: dict[int, LogEnd], min_in_sync: int = 2) -> Plan:
    """What all that are there have answered just now."""
    return controller.ends_told(controller.doubts(), {KEY: ends}, min_in_sync={"orders": min_in_sync})


def alone_in_sync() -> Controller:
    """Broker 1 led orders-0 alone in sync, and is gone; broker 2 is there and broker 3 is not."""
    controller = Controller(broker_id=2, epoch=5)
    carried_out(controller, controller.started(brokers(1, 2, 3, lives=LIVES), topic(1, 2, 3), []))
    carried_out(controller, controller.brokers_changed(brokers(1, lives=LIVES)))
    carried_out(controller, controller.brokers_changed({}))
    carried_out(controller, controller.brokers_changed(brokers(2, lives=LIVES)))
    assert (state(controller).leader, state(controller).isr) == (-1, (1,))
    return controller


def test_the_last_in_sync_that_has_lost_nothing_leads_at_once() -> None:
    controller = alone_in_sync()
    carried_out(controller, controller.brokers_changed(brokers(1, 2, b1=200, lives=LIVES)))
    assert (state(controller).leader, state(controller).isr, controller.doubted) == (1, (1,), set())


def test_the_last_in_sync_that_may_have_lost_records_waits_for_all_replicas() -> None:
    controller = alone_in_sync()
    crashed = LIVES | {1: "x"}
    carried_out(controller, controller.brokers_changed(brokers(1, 2, b1=200, lives=crashed)))
    known = {1: LogEnd(0, 5), 2: LogEnd(0, 3)}
    carried_out(controller, told(controller, known))
    assert (state(controller).leader, controller.doubted, controller.lacks_answers()) == (-1, {KEY}, False)
    # Nobody gets around it: not who asks for the preferred leader, nor a new controller.
    _, refusals = controller.elections_asked(PREFERRED, [KEY])
    assert isinstance(refusals[KEY], PreferredLeaderNotAvailableError)
    assert not controller.balance(0).writes
    following = Controller(broker_id=2, epoch=6)
    assert not following.started(brokers(1, 2, b1=200, lives=crashed), controller.image.topics, []).writes
    assert following.doubted == {KEY}
    # The third one comes, is asked, and holds most.
    carried_out(controller, controller.brokers_changed(brokers(1, 2, 3, b1=200, lives=crashed)))
    assert (state(controller).leader, controller.lacks_answers()) == (-1, True)
    plan = told(controller, known | {3: LogEnd(0, 9)})
    carried_out(controller, plan)
    assert (state(controller).leader, state(controller).isr, controller.doubted) == (3, (3,), set())
    assert state(controller).incarnations == {3: "c"}


def doubtful() -> Controller:
    """As `alone_in_sync`, and broker 1 is back from a crash of its machine."""
    controller = alone_in_sync()
    carried_out(controller, controller.brokers_changed(brokers(1, 2, b1=200, lives=LIVES | {1: "x"})))
    return controller


def test_who_has_answered_and_is_not_to_lead_any_more_is_waited_for() -> None:
    """It asked to shut down between its answer and the decision: it held most, and another one was elected."""
    controller = doubtful()
    carried_out(controller, controller.brokers_changed(brokers(1, 2, 3, b1=200, lives=LIVES | {1: "x"})))
    carried_out(controller, controller.shutdown_asked(3, 103))
    assert not told(controller, {1: LogEnd(0, 5), 2: LogEnd(0, 3), 3: LogEnd(0, 9)}).writes
    assert controller.doubted == {KEY}


def test_what_was_answered_to_an_earlier_question_decides_nothing() -> None:
    controller = doubtful()
    asked = controller.doubts()
    ends = {KEY: {1: LogEnd(0, 5), 2: LogEnd(0, 3)}}
    # Broker 3 came after the question.
    carried_out(controller, controller.brokers_changed(brokers(1, 2, 3, b1=200, lives=LIVES | {1: "x"})))
    assert not controller.ends_told(asked, ends, min_in_sync={"orders": 1}).writes
    # The question was about another partition.
    assert not controller.ends_told({}, ends, min_in_sync={"orders": 1}).writes
    assert controller.lacks_answers()


def test_an_administrator_cannot_end_the_wait_before_the_first_answers() -> None:
    controller = doubtful()
    _, refusals = controller.elections_asked(UNCLEAN, [KEY])
    assert isinstance(refusals[KEY], EligibleLeadersNotAvailableError)


def test_what_a_broker_said_in_an_earlier_life_does_not_count() -> None:
    controller = doubtful()
    told(controller, {1: LogEnd(0, 5), 2: LogEnd(0, 7)})
    again = brokers(1, 2, b1=200, b2=300, lives=LIVES | {1: "x", 2: "y"})
    carried_out(controller, controller.brokers_changed(again))
    assert controller.lacks_answers()
    plan, _ = controller.elections_asked(UNCLEAN, [KEY])
    assert plan.writes[KEY].leader == 1


def test_a_doubted_partition_does_not_lose_a_replica_that_is_in_sync() -> None:
    state = PartitionImage(
        (1, 2, 4), isr=(1, 4), leader=-1, leader_epoch=4, partition_epoch=7, adding_replicas=(4,),
        incarnations={1: "a", 4: "d"},
    )  # fmt: skip
    controller = Controller(broker_id=2, epoch=9)
    topics = {"orders": TopicImage("orders", ID, {0: state})}
    carried_out(controller, controller.started(brokers(1, 2, lives={1: "x", 2: "b"}), topics, []))
    assert controller.doubted == {KEY}
    _, refusals = controller.reassignments_asked({KEY: None})
    assert isinstance(refusals[KEY], InvalidReplicaAssignmentError)


def test_unclean_elections_do_not_come_before_the_comparison() -> None:
    controller = alone_in_sync()
    carried_out(controller, controller.brokers_changed(brokers(1, 2, b1=200, lives=LIVES | {1: "x"})))
    assert not controller.unclean_allowed({"orders"}).writes
    plan = told(controller, {1: LogEnd(0, 5), 2: LogEnd(0, 7)}, min_in_sync=0)
    assert plan.writes[KEY].leader == 2


def test_a_topic_that_is_gone_is_not_doubted_any_more() -> None:
    controller = alone_in_sync()
    carried_out(controller, controller.brokers_changed(brokers(1, 2, b1=200, lives=LIVES | {1: "x"})))
    controller.topics_went(["orders"])
    assert controller.doubted == set()


def test_an_administrator_may_end_the_wait_and_the_longest_log_of_those_there_leads() -> None:
    controller = alone_in_sync()
    carried_out(controller, controller.brokers_changed(brokers(1, 2, b1=200, lives=LIVES | {1: "x"})))
    known = {1: LogEnd(0, 5), 2: LogEnd(0, 7)}
    carried_out(controller, told(controller, known))
    plan, _ = controller.elections_asked(UNCLEAN, [KEY])
    assert (plan.writes[KEY].leader, plan.writes[KEY].isr) == (2, (2,))


def test_a_follower_that_may_have_lost_records_leaves_the_isr_though_nobody_saw_it_go() -> None:
    """The state was written after it came back, by a controller that did not know it yet."""
    state = PartitionImage(
        (1, 2), isr=(1, 2), leader=1, leader_epoch=4, partition_epoch=7, written=900, incarnations={1: "a", 2: "b"}
    )
    topics = {"orders": TopicImage("orders", ID, {0: state})}
    found = Controller(broker_id=1, epoch=9).started(brokers(1, 2, lives={1: "a", 2: "x"}), topics, [])
    assert (found.writes[KEY].leader, found.writes[KEY].isr) == (1, (1,))
    assert not Controller(broker_id=1, epoch=9).started(brokers(1, 2, lives={1: "a", 2: "b"}), topics, []).writes


def test_a_new_controller_compares_what_nobody_leads() -> None:
    lost = PartitionImage((1, 2), isr=(1,), leader=-1, leader_epoch=3, partition_epoch=4)
    controller = Controller(broker_id=2, epoch=5)
    carried_out(controller, controller.started(brokers(1, 2), {"orders": TopicImage("orders", ID, {0: lost})}, []))
    assert state(controller).leader == -1
    # Nobody answers, and they are asked again; whoever stays silent holds nothing, as far as anybody knows.
    for _ in range(MOST_IN_VAIN - 1):
        assert not told(controller, {}).writes
        assert controller.lacks_answers()
    carried_out(controller, told(controller, {}))
    assert (state(controller).leader, state(controller).isr) == (1, (1,))
