"""The same requests about groups to Kafka 3.9.1 or 4.3.0 and kstore get the same answers, those that wait among them.

Each process of a group has a connection of its own to both brokers. After each step everything is waited for that is
answered by either, and the groups are described the same by both; then the answers are compared whole, but for member
ids, which go by the order in which they were given out.

Not compared is the member id beside a refusal, which Kafka takes from the request or from the member, as it has it at
hand. Left out on purpose: a request that is overtaken by another of the same member, or whose member is taken out while
it waits for its assignment. Kafka never answers these, kstore does. And groups have two members at most that prefer
the same protocol, for who of several leads next, and which of two protocols wins a draw, is a matter of hash order with
Kafka.

`KSTORE_GROUP_STEPS` and `KSTORE_GROUP_SEEDS` (1,2,5) ask more than `make test` does.
"""

import os
import random
import select
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kafka.protocol.admin import DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest
from kafka.protocol.consumer import (
    HeartbeatRequest,
    JoinGroupRequest,
    LeaveGroupRequest,
    OffsetCommitRequest,
    OffsetDeleteRequest,
    OffsetFetchRequest,
    SyncGroupRequest,
)
from kafka.protocol.metadata import FindCoordinatorRequest

from tests.fix_groups import subscription
from tests.judge.java import wait_until
from tests.judge.kafka import KafkaBroker
from tests.judge.kstore import KstoreServer
from tests.judge.topics import create_topic
from tests.judge.wire_client import WireClient, as_dictionary, message, response_class

pytestmark = pytest.mark.kafka

STEPS = int(os.environ.get("KSTORE_GROUP_STEPS", "1000"))
SEEDS = [int(seed) for seed in os.environ.get("KSTORE_GROUP_SEEDS", "1,2").split(",")]
SETTINGS = {
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "100",
    "offset.metadata.max.bytes": "100",
    "offsets.topic.num.partitions": "3",
}
LONG_MS = 600_000
SHORT_MS = 1000
PATIENCE_S = 10.0

NONE, UNKNOWN_MEMBER, MEMBER_ID_REQUIRED, FENCED_INSTANCE = 0, 25, 79, 82
TOPIC, PARTITIONS = "orders", 3
PROTOCOLS = [
    [{"name": "range", "metadata": subscription(TOPIC)}],
    [{"name": "range", "metadata": subscription(TOPIC)}, {"name": "sticky", "metadata": b"?"}],
    [{"name": "range", "metadata": subscription(TOPIC, "other")}, {"name": "sticky", "metadata": b"?"}],
    [{"name": "range", "metadata": subscription("other")}],
]
NOT_COMPARED = {"throttle_time_ms", "error_message", "API_VERSION"}


class Side:
    """One broker, and the member ids that it gave out under names that both sides share."""

    def __init__(self, name: str, port: int) -> None:
        self.name, self.port = name, port
        self.admin = WireClient(port)
        self.connections: dict[str, WireClient] = {}
        self.ids: dict[str, str] = {"": "", "stranger": "stranger"}
        self.labels: dict[str, str] = {"": "", "stranger": "stranger"}

    def learn(self, label: str, member_id: str) -> None:
        self.ids[label], self.labels[member_id] = member_id, label

    def comparable(self, value: Any, key: str = "") -> Any:
        """With labels for member ids, and lists whose order means nothing in an order of their own."""
        if isinstance(value, dict):
            if "members" in value and value.get("group_state", "Stable") != "Stable":
                # 4.3 still tells of a group that rebalances what its members had, 3.9 and kstore do not.
                value = value | {"members": [member | {"member_assignment": b""} for member in value["members"]]}
            return {name: self.comparable(part, name) for name, part in value.items() if name not in NOT_COMPARED}
        if isinstance(value, list):
            return sorted((self.comparable(part) for part in value), key=repr)
        if key in ("member_id", "leader"):
            return self.labels.get(value, "an id that nobody has been told yet")
        return value


class Process:
    """A consumer, as it knows itself from answers that were the same on both sides."""

    def __init__(self, name: str, group: str, instance: str | None) -> None:
        self.name, self.group, self.instance = name, group, instance
        self.waits_for: tuple[Any, int] | None = None  # kind of request and version
        self.is_fenced = False
        self.forget()

    def forget(self) -> None:
        self.label = ""
        self.generation = -1
        self.protocol: str | None = None
        self.leads_over: list[str] | None = None  # labels of all members
        self.is_synced = False


class Pair:
    def __init__(self, kafka_port: int, kstore_port: int) -> None:
        self.sides = [Side("kafka", kafka_port), Side("kstore", kstore_port)]
        self.processes: dict[str, Process] = {}
        self.labels = 0
        self.story: list[str] = []
        self.compared = 0

    def process(self, name: str, group: str, instance: str | None = None) -> Process:
        self.processes[name] = process = Process(name, group, instance)
        for side in self.sides:
            side.connections[name] = WireClient(side.port)
        return process

    def close(self) -> None:
        for side in self.sides:
            for client in (side.admin, *side.connections.values()):
                client.close()

    # Asking

    def send(self, process: Process, build: Callable[[Side], Any], version: int) -> None:
        """Asks both, and waits until what follows from it is the same on both."""
        for side in self.sides:
            request = build(side)
            side.connections[process.name].send(request, version)
        self.story.append(f"{process.name}: {type(request).__name__} v{version}")
        process.waits_for = (type(request), version)
        self.settle()

    def ask(self, build: Callable[[Side], Any], version: int) -> Any:
        answers = [side.comparable(side.admin.ask(build(side), version)) for side in self.sides]
        self.story.append(f"admin: {type(build(self.sides[0])).__name__} v{version}")
        self.agree(*answers)
        return answers[0]

    def agree(self, kafka: Any, kstore: Any) -> None:
        self.compared += 1
        story = "\n".join(self.story[-25:])
        assert kstore == kafka, f"after\n{story}\nKafka says {kafka}\nkstore says {kstore}"

    # Waiting

    def readable(self, process: Process) -> list[bool]:
        sockets = [side.connections[process.name]._socket for side in self.sides]
        ready, _, _ = select.select(sockets, [], [], 0)
        return [one in ready for one in sockets]

    def descriptions(self) -> list[Any]:
        groups = sorted({process.group for process in self.processes.values()})
        request = message(DescribeGroupsRequest, groups=groups)
        return [side.comparable(side.admin.ask(request, 5)) for side in self.sides]

    def settle(self) -> None:
        """Until nothing more is answered by either, and both say the same of all groups."""
        deadline = time.monotonic() + PATIENCE_S
        answers: list[tuple[Process, Any, list[dict[str, Any]]]] = []
        quiet = 0
        while quiet < 2:
            quiet += 1
            for process in self.processes.values():
                if process.waits_for is not None:
                    ready = self.readable(process)
                    if all(ready):
                        answers.append(self.receive(process))
                    if any(ready):
                        quiet = 0
            described = self.descriptions()
            if described[0] != described[1]:
                quiet = 0
            if time.monotonic() > deadline:
                answered = {name: self.readable(process) for name, process in self.processes.items()}
                self.story.append(f"answered by Kafka and kstore: {answered}")
                self.agree(*described)
                pytest.fail("one side answers and the other does not, after\n" + "\n".join(self.story[-25:]))
        for _, kind, both in answers:
            if kind is JoinGroupRequest and both[0]["error_code"] in (NONE, MEMBER_ID_REQUIRED):
                self.learn_ids([answer["member_id"] for answer in both])
        for process, kind, both in answers:
            self.answered(process, kind, both)

    def receive(self, process: Process) -> tuple[Process, Any, list[dict[str, Any]]]:
        assert process.waits_for is not None
        (kind, version), process.waits_for = process.waits_for, None
        clients = [side.connections[process.name] for side in self.sides]
        return process, kind, [as_dictionary(client.receive(response_class(kind), version)) for client in clients]

    def answered(self, process: Process, kind: Any, both: list[dict[str, Any]]) -> None:
        comparable = [side.comparable(answer) for side, answer in zip(self.sides, both, strict=True)]
        for answer in comparable:
            if answer.get("error_code", NONE) not in (NONE, MEMBER_ID_REQUIRED):
                answer.pop("member_id", None)
        self.story.append(f"    {process.name} is answered {comparable[0].get('error_code')}")
        self.agree(*comparable)
        self.take_in(process, kind, comparable[0])

    def learn_ids(self, member_ids: list[str]) -> None:
        if all(member_id not in side.labels for side, member_id in zip(self.sides, member_ids, strict=True)):
            self.labels += 1
            for side, member_id in zip(self.sides, member_ids, strict=True):
                side.learn(f"m{self.labels}", member_id)

    def take_in(self, process: Process, kind: Any, answer: dict[str, Any]) -> None:
        code = answer.get("error_code", NONE)
        process.is_fenced = code == FENCED_INSTANCE
        if code in (UNKNOWN_MEMBER, FENCED_INSTANCE):
            process.forget()
        elif kind is JoinGroupRequest and code == MEMBER_ID_REQUIRED:
            process.label = answer["member_id"]
        elif kind is JoinGroupRequest and code == NONE:
            process.label, process.generation = answer["member_id"], answer["generation_id"]
            process.protocol = answer["protocol_name"]
            leads = answer["leader"] == process.label and not answer.get("skip_assignment", False)
            process.leads_over = [member["member_id"] for member in answer["members"]] if leads else None
            process.is_synced = False
        elif kind is SyncGroupRequest and code == NONE:
            process.is_synced = True


# What is asked


def join(pair: Pair, process: Process, version: int, *, label: str, protocols: Any, **fields: Any) -> None:
    def build(side: Side) -> Any:
        wanted = {
            "group_id": process.group,
            "session_timeout_ms": LONG_MS,
            "rebalance_timeout_ms": LONG_MS,
            "member_id": side.ids[label],
            "group_instance_id": process.instance,
            "protocol_type": "consumer",
            "protocols": protocols,
            "reason": None,
        }
        return message(JoinGroupRequest, **wanted | fields)

    pair.send(process, build, version)


def sync(pair: Pair, process: Process, version: int, *, generation: int) -> None:
    def build(side: Side) -> Any:
        labels = process.leads_over or []
        return message(
            SyncGroupRequest,
            group_id=process.group,
            generation_id=generation,
            member_id=side.ids[process.label],
            group_instance_id=process.instance,
            protocol_type="consumer",
            protocol_name=process.protocol or "range",
            assignments=[{"member_id": side.ids[label], "assignment": label.encode()} for label in labels],
        )

    pair.send(process, build, version)


def heartbeat(pair: Pair, process: Process, version: int, *, label: str, generation: int) -> None:
    def build(side: Side) -> Any:
        return message(
            HeartbeatRequest,
            group_id=process.group,
            generation_id=generation,
            member_id=side.ids[label],
            group_instance_id=process.instance,
        )

    pair.send(process, build, version)


def leave(pair: Pair, process: Process, version: int, *, label: str, instance: str | None) -> None:
    def build(side: Side) -> Any:
        leaving = {"member_id": side.ids[label], "group_instance_id": instance, "reason": None}
        return message(LeaveGroupRequest, group_id=process.group, member_id=side.ids[label], members=[leaving])

    pair.send(process, build, version)


def commit(
    pair: Pair,
    process: Process,
    version: int,
    *,
    label: str,
    generation: int,
    partition: int,
    offset: int,
    metadata: str,
) -> None:
    def build(side: Side) -> Any:
        part = {
            "partition_index": partition,
            "committed_offset": offset,
            "committed_leader_epoch": 0,
            "commit_timestamp": -1,
            "committed_metadata": metadata,
        }
        return message(
            OffsetCommitRequest,
            group_id=process.group,
            generation_id_or_member_epoch=generation,
            member_id=side.ids[label],
            group_instance_id=process.instance,
            retention_time_ms=-1,
            topics=[{"name": TOPIC, "partitions": [part]}],
        )

    pair.send(process, build, version)


def fetch(pair: Pair, group: str, *, names_topics: bool) -> None:
    topics = [{"name": TOPIC, "partition_indexes": list(range(PARTITIONS))}, {"name": "none", "partition_indexes": [0]}]
    wanted = {"group_id": group, "member_id": None, "member_epoch": -1, "topics": topics if names_topics else None}
    pair.ask(lambda _: message(OffsetFetchRequest, groups=[wanted], require_stable=True), 8)


class Player:
    """Chooses what to do next: mostly what a consumer would, sometimes what none should."""

    def __init__(self, pair: Pair, seed: int) -> None:
        dynamic, static, mixed = self.groups = [f"{kind} {seed}" for kind in ("dynamic", "static", "mixed")]
        self.pair = pair
        self.dice = random.Random(seed)
        self.offset = 0
        self.processes = [
            pair.process("a", dynamic),
            pair.process("b", dynamic),
            pair.process("s1", static, "one"),
            pair.process("s1 again", static, "one"),
            pair.process("s2", static, "two"),
            pair.process("d", mixed),
            pair.process("s", mixed, "three"),
        ]

    def step(self) -> None:
        free = [process for process in self.processes if process.waits_for is None]
        if not free or self.dice.random() < 0.15:
            self.administer(self.dice.choice(self.groups))
            return
        process = self.dice.choice(free)
        if self.dice.random() < 0.15:
            self.err(process)
        elif process.is_fenced and self.dice.random() < 0.9:
            return  # else two of one instance would do nothing but fence each other
        elif process.generation < 0:
            self.join(process)
        elif not process.is_synced:
            sync(self.pair, process, self.version(0, 5), generation=process.generation)
        else:
            self.live(process)

    def version(self, lowest: int, highest: int, static_from: int = 3) -> int:
        return self.dice.randint(lowest, highest)

    def join(self, process: Process) -> None:
        lowest = 5 if process.instance is not None else 1
        # Who was given an id takes it: a forgotten one would be waited for.
        join(
            self.pair,
            process,
            self.dice.randint(lowest, 9),
            label=process.label,
            protocols=self.dice.choice(PROTOCOLS),
        )

    def live(self, process: Process) -> None:
        move = self.dice.random()
        if move < 0.35:
            version = self.dice.randint(3, 4)
            heartbeat(self.pair, process, version, label=process.label, generation=process.generation)
        elif move < 0.6:
            self.commit(process, label=process.label, generation=process.generation)
        elif move < 0.85:
            self.join(process)
        else:
            leave(self.pair, process, self.dice.randint(3, 5), label=process.label, instance=process.instance)
            process.forget()

    def commit(self, process: Process, *, label: str, generation: int) -> None:
        self.offset += 1
        commit(
            self.pair,
            process,
            self.dice.randint(7, 8),
            label=label,
            generation=generation,
            partition=self.dice.randrange(PARTITIONS + 1),
            offset=self.offset,
            metadata=self.dice.choice(["", "note", "x" * 101]),
        )

    def err(self, process: Process) -> None:
        move = self.dice.randrange(6)
        generation = process.generation + self.dice.choice([-1, 1, 100])
        label = self.dice.choice([process.label, "stranger", ""])
        if move == 0:
            heartbeat(self.pair, process, 4, label=label, generation=generation)
        elif move == 1:
            self.commit(process, label=label, generation=generation)
        elif move == 2:
            self.commit(process, label="", generation=-1)
        elif move == 3 and process.label:
            sync(self.pair, process, 5, generation=generation)
        elif move == 4:
            join(self.pair, process, 9, label="stranger", protocols=PROTOCOLS[0])
        else:
            wrong = self.dice.choice([{"protocol_type": "connect"}, {"session_timeout_ms": 99}, {"protocols": []}])
            fields: Any = {"protocols": PROTOCOLS[0]} | wrong
            join(self.pair, process, 9, label=process.label or "stranger", **fields)

    def administer(self, group: str) -> None:
        pair, move = self.pair, self.dice.randrange(6)
        if move == 0:
            fetch(pair, group, names_topics=True)
        elif move == 1:
            fetch(pair, group, names_topics=False)
        elif move == 2:
            states = self.dice.choice([[], ["Stable"], ["empty", "PreparingRebalance"], ["nonsense"]])
            pair.ask(lambda _: message(ListGroupsRequest, states_filter=states, types_filter=[]), 5)
        elif move == 3:
            pair.ask(lambda _: message(DeleteGroupsRequest, groups_names=[group, "unknown"]), 2)
        elif move == 4:
            part = {"partition_index": self.dice.randrange(PARTITIONS)}
            topics = [{"name": TOPIC, "partitions": [part]}]
            pair.ask(lambda _: message(OffsetDeleteRequest, group_id=group, topics=topics), 0)
        else:
            self.take_out(group)

    def take_out(self, group: str) -> None:
        """By the instance id alone, unless somebody of the group waits for its assignment."""
        waiting = [process.waits_for for process in self.processes if process.group == group]
        if any(wanted is not None and wanted[0] is SyncGroupRequest for wanted in waiting):
            return
        free = [process for process in self.processes if process.waits_for is None and process.group == group]
        if free:
            instance = self.dice.choice(["one", "two", "three"])
            leave(self.pair, free[0], 5, label="", instance=instance)


@pytest.fixture(scope="module", params=["3.9.1", "4.3.0"])
def ports(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    directory = tmp_path_factory.mktemp("groups")
    with (
        KafkaBroker(request.param, directory / "kafka", overrides=SETTINGS) as kafka,
        KstoreServer(directory / "kstore", overrides=SETTINGS | {"node.id": "1"}) as kstore,
    ):
        for port in (kafka.port, kstore.port):
            with WireClient(port) as client:
                create_topic(client, TOPIC, PARTITIONS)
                wait_for_coordinator(client)
        yield kafka.port, kstore.port


@pytest.fixture
def pair(ports: tuple[int, int]) -> Iterator[Pair]:
    pair = Pair(*ports)
    yield pair
    pair.close()


def wait_for_coordinator(client: WireClient) -> None:
    """The topic of the offsets is made when somebody looks for a coordinator, and its partitions load behind that."""
    groups = [f"g{number}" for number in range(30)]  # among them some of every partition

    def is_ready() -> bool:
        found = client.ask(message(FindCoordinatorRequest, key="g", key_type=0, coordinator_keys=groups), 4)
        if any(one["error_code"] != NONE for one in found["coordinators"]):
            return False
        described = client.ask(message(DescribeGroupsRequest, groups=groups), 5)
        return all(one["error_code"] == NONE for one in described["groups"])

    wait_until(is_ready, timeout=30, what="groups are coordinated")


@pytest.mark.parametrize("seed", SEEDS)
def test_groups_get_the_same_answers_from_both(pair: Pair, seed: int) -> None:
    player = Player(pair, seed)
    for _ in range(STEPS):
        player.step()
    assert pair.compared > STEPS / 3


# Time-outs: the group of the last one to be given up is the same on both in the end


def settled(pair: Pair, group: str, *names: str, **times: int) -> list[Process]:
    """Members of one stable group."""
    members = [pair.process(name, group) for name in names]
    for process in members:
        join(pair, process, 3, label="", protocols=PROTOCOLS[0], **times)
    # With no initial delay the first was alone at first.
    for process in members[:-1]:
        join(pair, process, 5, label=process.label, protocols=PROTOCOLS[0], **times)
    deadline = time.monotonic() + PATIENCE_S
    while any(process.waits_for is not None for process in members):
        assert time.monotonic() < deadline, "a join is not answered"
        pair.settle()
    for process in sorted(members, key=lambda one: one.leads_over is None):
        sync(pair, process, 5, generation=process.generation)
    assert [process.is_synced for process in members] == [True] * len(members)
    return members


def wait_for_state(pair: Pair, group: str, state: str) -> None:
    request = message(DescribeGroupsRequest, groups=[group])
    for side in pair.sides:
        wait_until(
            lambda side=side: side.admin.ask(request, 5)["groups"][0]["group_state"] == state,  # type: ignore[misc]
            timeout=PATIENCE_S,
            what=f"{side.name} has the group {state}",
        )
    pair.settle()


def test_who_is_silent_is_given_up_by_both(pair: Pair) -> None:
    (member,) = settled(pair, "silence", "silent", session_timeout_ms=SHORT_MS)
    wait_for_state(pair, "silence", "Empty")
    heartbeat(pair, member, 4, label=member.label, generation=member.generation)
    assert member.generation == -1, "it has been told that it is no member"


def test_who_does_not_join_again_is_given_up_by_both(pair: Pair) -> None:
    leader, late = settled(pair, "lateness", "leader", "late", rebalance_timeout_ms=SHORT_MS)
    join(pair, leader, 5, label=leader.label, protocols=PROTOCOLS[1], rebalance_timeout_ms=SHORT_MS)
    assert leader.waits_for is not None
    wait_for_state(pair, "lateness", "CompletingRebalance")
    assert leader.leads_over == [leader.label]
    heartbeat(pair, late, 4, label=late.label, generation=late.generation)
    assert late.generation == -1


def test_who_does_not_sync_is_given_up_by_both(pair: Pair) -> None:
    process = pair.process("mute", "muteness")
    join(pair, process, 3, label="", protocols=PROTOCOLS[0], rebalance_timeout_ms=SHORT_MS)
    wait_for_state(pair, "muteness", "Empty")
    sync(pair, process, 5, generation=process.generation)
    assert process.generation == -1


def test_who_never_takes_its_id_is_given_up_by_both(pair: Pair) -> None:
    (member,) = settled(pair, "patience", "member")
    pending = pair.process("pending", "patience")
    join(pair, pending, 9, label="", protocols=PROTOCOLS[0], session_timeout_ms=SHORT_MS)
    join(pair, member, 9, label=member.label, protocols=PROTOCOLS[0])
    assert member.waits_for is not None
    wait_for_state(pair, "patience", "CompletingRebalance")
    assert member.leads_over == [member.label]
