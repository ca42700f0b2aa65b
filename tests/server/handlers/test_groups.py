"""The APIs of groups against a live broker, in every version, and what they tell of refusals."""

import pytest

from kstore.protocol.messages.delete_groups import DeleteGroupsRequest
from kstore.protocol.messages.delete_topics import DeleteTopicsRequest
from kstore.protocol.messages.describe_groups import DescribeGroupsRequest
from kstore.protocol.messages.find_coordinator import FindCoordinatorRequest
from kstore.protocol.messages.heartbeat import HeartbeatRequest
from kstore.protocol.messages.leave_group import LeaveGroupRequest
from kstore.protocol.messages.list_groups import ListGroupsRequest
from kstore.protocol.messages.offset_delete import OffsetDeleteRequest
from kstore.protocol.messages.offset_fetch import OffsetFetchRequest
from kstore.server.config import ServerConfig
from tests.fix_broker import Broker, Client
from tests.fix_groups import subscription
from tests.server.handlers.members import Member, by_topic, capped

NONE, UNKNOWN_TOPIC, INVALID_REQUEST = 0, 3, 42
NOT_COORDINATOR = 16
ILLEGAL_GENERATION, INCONSISTENT_PROTOCOL, UNKNOWN_MEMBER, REBALANCE = 22, 23, 25, 27
NON_EMPTY_GROUP, NO_SUCH_GROUP, MEMBER_ID_REQUIRED, FENCED_INSTANCE, SUBSCRIBED = 68, 69, 79, 82, 86
NOT_ASKED = -(2**31)


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    """Here a group is settled as soon as its first member is there."""
    overrides = ["group.initial.rebalance.delay.ms=0", "group.min.session.timeout.ms=1"]
    shared = Broker(ServerConfig.from_arguments(str(tmp_path_factory.mktemp("broker")), 0, overrides))
    shared.start()
    client = shared.connect()
    client.create_topic("orders", 3)
    client.create_topic("audit")
    client.ask(FindCoordinatorRequest(coordinator_keys=["g"]), 4)
    yield shared
    shared.stop()


def describe(client, *groups, version=5, **fields):
    return client.ask(DescribeGroupsRequest(groups=list(groups), **fields), version).groups


def delete_groups(client, *groups, version=2):
    answer = client.ask(DeleteGroupsRequest(groups_names=list(groups)), version)
    return {each.group_id: each.error_code for each in answer.results}


def listed(client, version=5, **fields):
    answer = client.ask(ListGroupsRequest(**fields), version)
    assert answer.error_code == NONE
    return {each.group_id: each for each in answer.groups}


# The life of a member


@pytest.mark.parametrize("version", range(10))
def test_a_member_joins_commits_and_leaves_in_every_version(client, version):
    member = Member(client, f"life-{version}", version=version)
    joined = member.join(("range", b"one"), ("roundrobin", b"two"))
    assert (joined.error_code, joined.generation_id, joined.protocol_name) == (NONE, 1, "range")
    assert joined.leader == joined.member_id == member.member_id != ""
    assert [(each.member_id, each.metadata) for each in joined.members] == [(member.member_id, b"one")]
    assert joined.protocol_type == ("consumer" if version >= 7 else None)
    synced = member.sync({member.member_id: b"orders 0-2"})
    assert (synced.error_code, synced.assignment) == (NONE, b"orders 0-2")
    assert synced.protocol_name == ("range" if capped(14, version) >= 5 else None)
    assert member.heartbeat() == NONE
    if version >= 1:
        assert member.commit({("orders", 0): 5, ("orders", 2): 7}) == {("orders", 0): NONE, ("orders", 2): NONE}
        assert member.fetch(("orders", 0), ("orders", 1), ("orders", 2)) == (
            NONE,
            {
                ("orders", 0): (5, "at 5", NONE),
                ("orders", 1): (-1, "", NONE),
                ("orders", 2): (7, "at 7", NONE),
            },
        )
    if version >= 2:
        assert member.fetch(everything=True) == (
            NONE,
            {("orders", 0): (5, "at 5", NONE), ("orders", 2): (7, "at 7", NONE)},
        )
    assert member.leave() == NONE
    assert member.heartbeat() == UNKNOWN_MEMBER


@pytest.mark.parametrize("version", range(10))
def test_offsets_are_committed_without_being_a_member(client, version):
    simple = Member(client, f"simple-{version}", version=version)
    assert simple.commit({("orders", 1): 3, ("audit", 0): 4}) == {("orders", 1): NONE, ("audit", 0): NONE}
    assert simple.fetch(("audit", 0), ("orders", 1)) == (
        NONE,
        {("audit", 0): (4, "at 4", NONE), ("orders", 1): (3, "at 3", NONE)},
    )


def test_two_members_share_what_the_leader_assigns(broker):
    one, two = Member(broker.connect(), "two"), Member(broker.connect(), "two")
    one.settle()
    two.client.send(two.join_request(), 9)
    two.member_id = two.client.receive().member_id
    two.client.send(two.join_request(), 9)
    broker.wait_for(lambda app: state_of(app, "two") == "PreparingRebalance")
    assert one.heartbeat() == REBALANCE
    joined = one.join()
    two.joined(two.client.receive())
    assert {each.member_id for each in joined.members} == {one.member_id, two.member_id}
    assert (one.generation, two.generation) == (2, 2)
    two.client.send(two.sync_request({}), 5)
    assert one.sync({one.member_id: b"first", two.member_id: b"second"}).assignment == b"first"
    assert two.client.receive().assignment == b"second"


def state_of(app, group_id):
    return app.context.groups.ask(group_id, lambda shard, _: shard.describe_group(group_id)).state


def test_a_member_that_is_silent_is_put_out(broker, client):
    member = Member(client, "silent")
    member.join(session_timeout_ms=200)
    member.sync({member.member_id: b"all"})
    broker.wait_for(lambda app: state_of(app, "silent") == "Empty")
    assert member.heartbeat() == UNKNOWN_MEMBER


# Refusals, as each API tells them


@pytest.mark.parametrize("version", range(10))
def test_a_refused_join_tells_the_member_who_it_is(client, version):
    stranger = Member(client, "refused-join", version=version)
    stranger.member_id = "nobody"
    answer = stranger.ask(stranger.join_request())
    assert (answer.error_code, answer.generation_id, answer.leader, answer.members) == (UNKNOWN_MEMBER, -1, "", [])
    assert (answer.member_id, answer.protocol_name) == ("nobody", None if version >= 7 else "")


@pytest.mark.parametrize("version", range(4, 10))
def test_a_new_member_is_given_an_id_before_it_counts(client, version):
    member = Member(client, "new", version=version)
    answer = member.ask(member.join_request())
    assert (answer.error_code, answer.generation_id) == (MEMBER_ID_REQUIRED, -1)
    assert answer.member_id.startswith("test-")
    assert describe(client, "new")[0].group_state == "Empty"


def test_a_sync_of_the_newest_version_has_to_name_the_protocol(client):
    member = Member(client, "unnamed")
    member.join()
    for missing in ({"protocol_type": None}, {"protocol_name": None}):
        answer = member.sync({member.member_id: b""}, **missing)
        assert (answer.error_code, answer.assignment) == (INCONSISTENT_PROTOCOL, b"")


@pytest.mark.parametrize("version", range(10))
def test_old_generations_and_strangers_are_refused(client, version):
    member = Member(client, f"refusals-{version}", version=version)
    member.settle()
    generation, member.generation = member.generation, 17
    assert member.heartbeat() == ILLEGAL_GENERATION
    assert member.sync({}).error_code == ILLEGAL_GENERATION
    if version >= 1:
        refused = {("orders", 0): ILLEGAL_GENERATION, ("orders", 9): UNKNOWN_TOPIC}
        assert member.commit(dict.fromkeys(refused, 1)) == refused
    member.generation, member.member_id = generation, "nobody"
    assert member.heartbeat() == UNKNOWN_MEMBER
    assert member.leave() == UNKNOWN_MEMBER


def test_a_commit_for_partitions_that_are_not_there_asks_no_group(client):
    stranger = Member(client, "nowhere")
    stranger.generation = 5
    assert stranger.commit({("orders", 3): 1, ("gone", 0): 1}) == {
        ("orders", 3): UNKNOWN_TOPIC,
        ("gone", 0): UNKNOWN_TOPIC,
    }
    assert describe(client, "nowhere")[0].group_state == "Dead"


@pytest.mark.parametrize("version", [3, 4, 5])
def test_several_members_leave_at_once(client, version):
    static = Member(client, f"static-{version}", instance_id="i")
    static.settle()
    identities = [
        LeaveGroupRequest.MemberIdentity(member_id="", group_instance_id="i"),
        LeaveGroupRequest.MemberIdentity(member_id="nobody", group_instance_id=None),
    ]
    answer = client.ask(LeaveGroupRequest(group_id=static.group_id, members=identities), version)
    assert answer.error_code == NONE
    assert [(each.group_instance_id, each.error_code) for each in answer.members] == [
        ("i", NONE),
        (None, UNKNOWN_MEMBER),
    ]


def test_a_replaced_static_member_is_fenced(client):
    first, second = Member(client, "fenced", instance_id="i"), Member(client, "fenced", instance_id="i")
    first.settle()
    joined = second.join()
    assert (joined.error_code, joined.generation_id, joined.skip_assignment) == (NONE, 1, True)
    assert first.heartbeat() == FENCED_INSTANCE


def test_an_error_of_the_group_stands_at_its_partitions_where_there_is_no_other_place(start_broker):
    client = start_broker().connect()  # without a topic of offsets nobody coordinates
    for version in range(10):
        error_code, partitions = Member(client, "g", version=version).fetch(("orders", 0))
        if version >= 2:
            assert (error_code, partitions) == (NOT_COORDINATOR, {})
        else:
            assert partitions == {("orders", 0): (-1, "", NOT_COORDINATOR)}
    assert describe(client, "g")[0].error_code == NOT_COORDINATOR
    assert delete_groups(client, "g") == {"g": NOT_COORDINATOR}
    assert client.ask(HeartbeatRequest(group_id="g"), 4).error_code == NOT_COORDINATOR
    assert listed(client) == {}


def test_many_groups_are_asked_for_their_offsets_at_once(client):
    for number in range(5):
        Member(client, f"batch-{number}").commit({("orders", 0): number})
    groups = [
        OffsetFetchRequest.OffsetFetchRequestGroup(group_id=f"batch-{number}", topics=None) for number in range(6)
    ]
    answer = client.ask(OffsetFetchRequest(groups=groups), 8)
    assert [
        (
            group.group_id,
            group.error_code,
            [each.committed_offset for topic in group.topics for each in topic.partitions],
        )
        for group in answer.groups
    ] == [(f"batch-{number}", NONE, [number]) for number in range(5)] + [("batch-5", NONE, [])]


def test_a_partition_named_a_thousand_times_is_answered_once(client):
    """Two megabytes of the same number were answered with gigabytes of its metadata."""
    Member(client, "often").commit({("orders", 0): 1})
    kind = OffsetFetchRequest.OffsetFetchRequestTopics
    topics = [kind(name="orders", partition_indexes=[0] * 1000), kind(name="orders", partition_indexes=[0, 1])]
    group = OffsetFetchRequest.OffsetFetchRequestGroup(group_id="often", topics=topics)
    (answer,) = client.ask(OffsetFetchRequest(groups=[group] * 1000), 8).groups
    (topic,) = answer.topics
    assert [(each.partition_index, each.committed_offset) for each in topic.partitions] == [(0, 1), (1, -1)]
    assert len(describe(client, *["often"] * 1000)) == 1


def test_a_member_with_thousands_of_protocols_is_refused(client):
    member = Member(client, "protocols")
    member.find()
    assert member.join(*((f"p{n}", b"") for n in range(1001))).error_code == INVALID_REQUEST
    assert member.join(*((f"p{n}", b"") for n in range(1000))).error_code == NONE


# Describing, listing, deleting


@pytest.mark.parametrize("version", range(6))
def test_a_group_is_described_in_every_version(client, version):
    member = Member(client, f"described-{version}", instance_id="i" if version >= 4 else None)
    member.join(("range", b"subscription"))
    member.sync({member.member_id: b"assignment"})
    group, unknown = describe(client, member.group_id, "never heard of", version=version)
    assert (group.group_id, group.error_code, group.group_state) == (member.group_id, NONE, "Stable")
    assert (group.protocol_type, group.protocol_data) == ("consumer", "range")
    (told,) = group.members
    assert (told.member_id, told.client_id, told.client_host) == (member.member_id, "test", "/127.0.0.1")
    assert (told.member_metadata, told.member_assignment) == (b"subscription", b"assignment")
    assert told.group_instance_id == ("i" if version >= 4 else None)
    assert (unknown.error_code, unknown.group_state, unknown.members) == (NONE, "Dead", [])
    assert group.authorized_operations == NOT_ASKED


def test_what_may_be_done_with_a_group_is_told_who_asks(client):
    (group,) = describe(client, "whichever", include_authorized_operations=True)
    assert group.authorized_operations == 1 << 3 | 1 << 6 | 1 << 8  # read, delete, describe


@pytest.mark.parametrize("version", range(6))
def test_groups_are_listed_in_every_version(client, version):
    stable, simple = Member(client, f"listed-{version}"), Member(client, f"listed-simple-{version}")
    stable.settle()
    simple.commit({("orders", 0): 1})
    groups = listed(client, version)
    one, other = groups[stable.group_id], groups[simple.group_id]
    assert (one.protocol_type, other.protocol_type) == ("consumer", "")
    if version >= 4:
        assert (one.group_state, other.group_state) == ("Stable", "Empty")
        assert stable.group_id not in listed(client, version, states_filter=["Empty", "Dead"])
    if version >= 5:
        assert one.group_type == other.group_type == "classic"
        assert listed(client, version, types_filter=["consumer"]) == {}


@pytest.mark.parametrize("version", range(3))
def test_groups_are_deleted_when_they_are_empty(client, version):
    stable = Member(client, f"busy-{version}")
    stable.settle()
    names = [f"idle-{version}-{number}" for number in range(20)]
    for name in names:
        Member(client, name).commit({("orders", 0): 1})
    codes = delete_groups(client, *names, stable.group_id, "never heard of", names[0], version=version)
    assert codes == dict.fromkeys(names, NONE) | {stable.group_id: NON_EMPTY_GROUP, "never heard of": NO_SUCH_GROUP}
    assert Member(client, names[3]).fetch(everything=True) == (NONE, {})
    assert delete_groups(client, version=version) == {}


def offset_delete(client, group_id, *partitions):
    kind = OffsetDeleteRequest.OffsetDeleteRequestTopic
    wanted = {key: OffsetDeleteRequest.OffsetDeleteRequestPartition(partition_index=key[1]) for key in partitions}
    answer = client.ask(OffsetDeleteRequest(group_id=group_id, topics=by_topic(kind, wanted)), 0)
    return answer.error_code, {
        (topic.name, each.partition_index): each.error_code for topic in answer.topics for each in topic.partitions
    }


def test_offsets_that_nobody_reads_are_deleted(client):
    member = Member(client, "offset-delete")
    member.join(("range", subscription("orders")))
    member.sync({member.member_id: b""})
    member.commit({("orders", 0): 1, ("audit", 0): 2})
    assert offset_delete(client, member.group_id, ("orders", 0), ("audit", 0), ("audit", 1), ("gone", 0)) == (
        NONE,
        {("orders", 0): SUBSCRIBED, ("audit", 0): NONE, ("audit", 1): UNKNOWN_TOPIC, ("gone", 0): UNKNOWN_TOPIC},
    )
    assert member.fetch(everything=True) == (NONE, {("orders", 0): (1, "at 1", NONE)})
    assert offset_delete(client, "never heard of", ("orders", 0)) == (NO_SUCH_GROUP, {})
    assert offset_delete(client, "never heard of") == (NO_SUCH_GROUP, {})


def test_offsets_go_with_their_topic(broker, client):
    client.create_topic("short-lived", 2)
    simple = Member(client, "outlives-a-topic")
    simple.commit({("short-lived", 0): 1, ("short-lived", 1): 1, ("orders", 0): 2})
    client.ask(DeleteTopicsRequest(topic_names=["short-lived"]), 5)
    assert simple.fetch(everything=True) == (NONE, {("orders", 0): (2, "at 2", NONE)})


def test_a_client_that_goes_while_it_waits_harms_nobody(broker, client):
    leader = Member(client, "goes")
    leader.settle()
    gone = Member(Client(broker.port), "goes", version=3)
    gone.client.send(gone.join_request(), 3)
    broker.wait_for(lambda app: state_of(app, "goes") == "PreparingRebalance")
    gone.client.close()
    assert leader.join().error_code == NONE
    assert leader.sync({leader.member_id: b"all"}).error_code == NONE
