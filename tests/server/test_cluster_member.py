"""What a member of a cluster may promise alone: never between an expired session and the controller's next word."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from kstore.cluster.image import BrokerEndpoint, BrokerImage, ClusterImage, PartitionImage, TopicImage
from kstore.cluster.zk.session import CONNECTED, LOST, SUSPENDED
from kstore.errors import (
    BrokerUnreachableError,
    CorruptMetadataError,
    InvalidTopicError,
    NotLeaderOrFollowerError,
    SessionLostError,
    StaleBrokerEpochError,
    StaleControllerEpochError,
    UnknownTopicOrPartitionError,
)
from kstore.model import ZERO_UUID, TopicPartition
from kstore.protocol.messages.controlled_shutdown import ControlledShutdownRequest
from kstore.protocol.messages.update_metadata import UpdateMetadataRequest
from kstore.replica.manager import ReplicaManager
from kstore.server.cluster_member import ClusterMember
from tests.fix_broker import Broker, Client, batch, produce_request

NONE, NOT_LEADER = 0, 6
ID, OTHER_ID = bytes(15) + b"\x07", bytes(15) + b"\x08"


@pytest.fixture
def member() -> ClusterMember:
    found = object.__new__(ClusterMember)
    found.is_stopping = False
    found.is_registered = found.is_confirmed = True
    found.broker_epoch = 10
    found._incarnation = ""
    found.config_changes = SimpleNamespace(lost=lambda: None)  # type: ignore[assignment]
    found.controller = SimpleNamespace(resign=lambda reason: None)  # type: ignore[assignment]
    found._context = SimpleNamespace(  # type: ignore[assignment]
        loop=SimpleNamespace(is_running=lambda: True), start_task=lambda work: work.close()
    )
    return found


def told(broker_epoch: int) -> Any:
    return SimpleNamespace(broker_epoch=broker_epoch)


def test_a_suspended_session_changes_nothing_and_an_expired_one_is_not_made_good_by_itself(
    member: ClusterMember,
) -> None:
    member._session_changed(SUSPENDED)
    assert member.is_confirmed
    member._session_changed(LOST)
    assert (member.is_registered, member.is_confirmed) == (False, False)
    member._session_changed(CONNECTED)
    # What was on its way to the registration before says nothing.
    member.confirmed(told(10))
    assert not member.is_confirmed
    member.is_registered, member.broker_epoch = True, 20
    member.confirmed(told(10))
    assert not member.is_confirmed
    member.confirmed(told(20))
    assert member.is_confirmed


def test_a_controller_that_was_replaced_and_what_was_meant_for_an_earlier_life_are_refused(
    member: ClusterMember,
) -> None:
    """(rule 46)"""

    def said(controller_epoch: int, broker_epoch: int) -> Any:
        return SimpleNamespace(controller_id=2, controller_epoch=controller_epoch, broker_epoch=broker_epoch)

    member.controller_epoch = 4
    member.check_sender(said(5, 10))
    with pytest.raises(StaleControllerEpochError):
        member.check_sender(said(4, 10))
    with pytest.raises(StaleBrokerEpochError):
        member.check_sender(said(5, 9))
    # Who does not know ours, and who knows a later one, is heard (ReplicaManager, ZkBrokerEpochManager).
    member.check_sender(said(5, -1))
    member.check_sender(said(5, 11))


def test_a_lower_and_an_equal_leader_epoch_are_refused(member: ClusterMember) -> None:
    """What a controller said first may come last (rule 46)."""
    key = TopicPartition("orders", 0)
    held = SimpleNamespace(leader_epoch=3, log=SimpleNamespace(topic_id=bytes(15) + b"\x07"))
    member._context.replicas = SimpleNamespace(partitions={key: held})
    for epoch in (2, 3):
        state = SimpleNamespace(leader_epoch=epoch)
        assert member.lead_or_follow(key, held.log.topic_id, state) == StaleControllerEpochError.code


def test_a_controller_resigns_when_its_session_is_over(member: ClusterMember) -> None:
    """And not while it may go on (rule 48)."""
    resigned: list[str] = []
    member.controller.resign = resigned.append
    member._session_changed(SUSPENDED)
    assert not resigned
    member._session_changed(LOST)
    assert len(resigned) == 1


def test_what_a_paused_controller_was_asked_is_not_waited_for_once_there_is_another(member: ClusterMember) -> None:
    async def ask() -> None:
        asked = asyncio.Event()

        async def is_paused(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            asked.set()

        async with await asyncio.start_server(is_paused, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            endpoint = BrokerEndpoint("PLAINTEXT", "127.0.0.1", port)
            member.image = ClusterImage(brokers={2: BrokerImage(2, (endpoint,))}, controller_id=2)
            member.controller.known_id = 2
            member._clients = {}
            member._config = SimpleNamespace(inter_broker_listener="PLAINTEXT")  # type: ignore[assignment]
            member._context.node_id = 1
            request = ControlledShutdownRequest(broker_id=1, broker_epoch=10)
            asking = asyncio.ensure_future(member.ask_controller(request, 3, timeout_ms=60_000))
            await asyncio.wait_for(asked.wait(), 10)
            member.controller_is(2)
            assert not asking.done()
            member.controller_is(3)
            with pytest.raises(BrokerUnreachableError):
                await asyncio.wait_for(asking, 10)

    asyncio.run(ask())


@pytest.mark.parametrize("acks", [0, 1])
def test_acks_of_the_leader_alone_are_refused_until_the_controller_has_spoken(
    broker: Broker, client: Client, acks: int
) -> None:
    topic = f"alone.{acks}"
    client.create_topic(topic)
    request = produce_request({(topic, 0): batch(b"x")}, acks=acks)

    def confirm(is_confirmed: bool) -> None:
        broker.call(lambda app: setattr(app.context, "cluster", SimpleNamespace(is_confirmed=is_confirmed)))

    try:
        confirm(False)
        if acks:
            assert client.ask(request, 9).responses[0].partition_responses[0].error_code == NOT_LEADER
        else:
            with broker.connect() as other:
                other.send(request, 9, answered=False)
                assert other.is_closed_by_the_broker()
        # Of those in sync each one decides for itself.
        assert client.produce(topic, batch(b"all"), acks=-1).base_offset == 0
        confirm(True)
        if acks:
            assert client.produce(topic, batch(b"x"), acks=acks).base_offset == 1
    finally:
        broker.call(lambda app: setattr(app.context, "cluster", None))


def test_a_failed_directory_is_told_until_zookeeper_has_heard_it(
    member: ClusterMember, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[tuple[str, bytes, bool]] = []
    failures = [SessionLostError("away"), SessionLostError("away")]

    async def create(path: str, data: bytes, *, sequential: bool) -> None:
        if failures:
            raise failures.pop()
        made.append((path, data, sequential))

    tasks: list[Any] = []
    member.session = SimpleNamespace(create=create)  # type: ignore[assignment]
    member._context = SimpleNamespace(node_id=3, start_task=tasks.append)  # type: ignore[assignment]
    monkeypatch.setattr("kstore.server.cluster_member.REGISTER_RETRY_S", 0)
    with caplog.at_level(logging.WARNING):
        member.log_dir_failed()
        asyncio.run(tasks[0])
    assert made == [("/log_dir_event_notification/log_dir_event_", b'{"version":1,"broker":3,"event":1}', True)]


@pytest.mark.parametrize(
    ("is_enabled", "tries", "refusals", "asked", "slept"),
    [
        (False, 3, 0, 0, []),
        (True, 0, 0, 0, []),
        (True, 1, 9, 1, []),
        (True, 3, 9, 3, [1.5, 1.5]),
        (True, 3, 1, 2, [1.5]),
    ],
)
def test_the_controller_is_asked_before_a_stop_as_often_as_the_configuration_says(
    member: ClusterMember,
    monkeypatch: pytest.MonkeyPatch,
    is_enabled: bool,
    tries: int,
    refusals: int,
    asked: int,
    slept: list[float],
) -> None:
    requests: list[Any] = []
    pauses: list[float] = []

    async def ask(request: Any, version: int, *, timeout_ms: int) -> Any:
        requests.append((request.broker_id, request.broker_epoch))
        remaining = [SimpleNamespace(topic_name="t", partition_index=0)] if len(requests) <= refusals else []
        return SimpleNamespace(error_code=0, remaining_partitions=remaining)

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    member._is_connected = True
    member._context.node_id = 3
    member._config = SimpleNamespace(  # type: ignore[assignment]
        controlled_shutdown_enable=is_enabled,
        controlled_shutdown_max_retries=tries,
        controlled_shutdown_retry_backoff_ms=1500,
    )
    monkeypatch.setattr(member, "ask_controller", ask)
    monkeypatch.setattr("kstore.server.cluster_member.asyncio.sleep", sleep)
    asyncio.run(member.ask_to_shut_down())
    assert requests == [(3, 10)] * asked
    assert pauses == slept


@pytest.fixture
def returning(member: ClusterMember, monkeypatch: pytest.MonkeyPatch) -> ClusterMember:
    """A member whose session was over; it is connected again."""
    monkeypatch.setattr("kstore.server.cluster_member.REGISTER_RETRY_S", 0)
    member.is_registered, member._is_connected = False, True
    member.session = SimpleNamespace(expirations=1)  # type: ignore[assignment]
    member._config = SimpleNamespace(zookeeper_session_timeout_ms=1000, broker_rack=None)  # type: ignore[assignment]
    member._context = SimpleNamespace(  # type: ignore[assignment]
        node_id=3, advertised={}, clock=SimpleNamespace(now_ms=lambda: 0), loop=SimpleNamespace(time=lambda: 0.0)
    )

    async def nothing(**_: object) -> None: ...

    member.config_changes = SimpleNamespace(follow=nothing)  # type: ignore[assignment]
    member.controller = SimpleNamespace(look=nothing)  # type: ignore[assignment]
    return member


@pytest.mark.parametrize("error", [SessionLostError("refused"), CorruptMetadataError("no JSON")])
def test_a_broker_is_registered_again_in_the_end(returning: ClusterMember, error: Exception) -> None:
    """It gave up at the first error, and was not in the cluster until its session was over once more."""
    failures = [error]

    async def register(*_: object, **__: object) -> int:
        if failures:
            raise failures.pop()
        return 20

    returning.store = SimpleNamespace(register=register)  # type: ignore[assignment]
    asyncio.run(returning._reconnected())
    assert (returning.is_registered, returning.broker_epoch) == (True, 20)


def test_a_registration_that_ended_before_it_was_heard_of_is_none(returning: ClusterMember) -> None:
    """The broker took itself for registered, and was not registered with the next session."""
    epochs = [20, 30]

    async def register(*_: object, **__: object) -> int:
        if len(epochs) == 2:
            returning.session.expirations += 1
        return epochs.pop(0)

    returning.store = SimpleNamespace(register=register)  # type: ignore[assignment]
    asyncio.run(returning._reconnected())
    assert (returning.is_registered, returning.broker_epoch) == (True, 30)


@pytest.mark.parametrize(
    "key", [TopicPartition("../elsewhere", 0), TopicPartition("x" * 250, 0), TopicPartition("orders", -1)]
)
def test_nothing_is_made_in_a_directory_that_no_partition_can_have(member: ClusterMember, key: TopicPartition) -> None:
    """Whoever reaches a listener could have had directories made anywhere."""
    member._context = SimpleNamespace(replicas=SimpleNamespace(partitions={}))  # type: ignore[assignment]
    with pytest.raises(InvalidTopicError):
        member.lead_or_follow(key, bytes(16), SimpleNamespace(leader_epoch=0))


@pytest.mark.parametrize(
    ("replicas", "epoch", "topic_id", "is_stopped"),
    [
        ([1, 2], 4, ID, True),
        ([1, 2], 3, ID, False),
        ([1, 2, 3], 4, ID, False),
        ([1, 2], 4, ZERO_UUID, True),
        ([1, 2, 3], 0, OTHER_ID, True),
    ],
    ids=["taken away", "an epoch of before", "a replica still", "no topic id", "another topic"],
)
def test_a_replica_that_was_taken_away_unheard_leads_no_more(
    member: ClusterMember, replicas: list[int], epoch: int, topic_id: bytes, is_stopped: bool
) -> None:
    """It led on after its session had ended, for every reader that did not ask who leads."""
    key = TopicPartition("orders", 0)
    stopped: list[TopicPartition] = []
    delivered: list[object] = []

    def stop(stopping: TopicPartition) -> tuple[str, ...]:
        stopped.append(stopping)
        return ("resigned",)

    held = SimpleNamespace(leader_epoch=3, log=SimpleNamespace(topic_id=ID))
    member.image = ClusterImage()
    member.controller.known_id = -1
    member._context = SimpleNamespace(  # type: ignore[assignment]
        node_id=3,
        replicas=SimpleNamespace(partitions={key: held}, alive=set(), stop=stop),
        deliver=delivered.append,
    )
    state = UpdateMetadataRequest.UpdateMetadataPartitionState(
        topic_name="orders", partition_index=0, leader=1, leader_epoch=epoch, isr=replicas, replicas=replicas
    )
    topic = UpdateMetadataRequest.UpdateMetadataTopicState(
        topic_name="orders", topic_id=topic_id, partition_states=[state]
    )
    member.know(UpdateMetadataRequest(controller_id=-1, topic_states=[topic], live_brokers=[]))
    assert stopped == [key] * is_stopped
    assert delivered == [("resigned",)] * is_stopped
    # What the controller said before and comes late does not bring it back.
    member._context.replicas.partitions.clear()
    if is_stopped and topic_id == ID:
        late = SimpleNamespace(leader_epoch=epoch - 1)
        assert member.lead_or_follow(key, ID, late) == StaleControllerEpochError.code


def test_who_asks_for_a_partition_of_others_is_told_so(member: ClusterMember) -> None:
    """As Kafka says it: UNKNOWN_TOPIC_OR_PARTITION would mean that there is no such topic."""
    partition = PartitionImage((1, 2), (1, 2), 1, 4, 0)
    member.image = ClusterImage(topics={"orders": TopicImage("orders", ID, {0: partition})})
    replicas = ReplicaManager(SimpleNamespace(), broker_id=3)  # type: ignore[arg-type]
    replicas.is_elsewhere = member.is_known
    with pytest.raises(NotLeaderOrFollowerError, match="other brokers have orders-0"):
        replicas.get("orders", 0)
    for topic, index in (("orders", 1), ("none", 0)):
        with pytest.raises(UnknownTopicOrPartitionError):
            replicas.get(topic, index)


@pytest.mark.parametrize("has_lost", [True, False])
def test_a_broker_whose_recovery_cut_batches_off_says_so_when_it_registers(
    returning: ClusterMember, monkeypatch: pytest.MonkeyPatch, has_lost: bool
) -> None:
    """It may have been alone in sync (rule 26)."""
    returning._incarnation, returning._boot_id = "before", "boot 1"
    dirs = [SimpleNamespace(has_lost_batches=False), SimpleNamespace(has_lost_batches=has_lost)]
    returning._context.replicas = SimpleNamespace(logs=SimpleNamespace(dirs=dirs))
    returning._config.inter_broker_listener = "PLAINTEXT"
    monkeypatch.setattr("kstore.server.cluster_member.begin_incarnation", lambda *_: "after")

    async def peers_are_well(*_: object, **__: object) -> None: ...

    monkeypatch.setattr("kstore.server.cluster_member.check_peers", peers_are_well)
    said = []

    async def brokers() -> dict[int, BrokerImage]:
        return {}

    async def register(*_: object, incarnation: str, **__: object) -> int:
        said.append(incarnation)
        return 20

    returning.store = SimpleNamespace(register=register, brokers=brokers)  # type: ignore[assignment]
    asyncio.run(returning.register())
    assert said == ["after" if has_lost else "before"]
