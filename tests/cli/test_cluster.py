"""`kstore cluster status`, `kstore topics elect` and `reassign` on clusters of three brokers on a real ZooKeeper."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.run import Kstore, Ran
from tests.judge.java import free_port
from tests.judge.kafka import ZooKeeper
from tests.zk.members import Ledger, Member, create_topic, eventually, kafka_member, kstore_member

pytestmark = pytest.mark.kafka

IDS = (1, 2, 3)
MAKERS: dict[str, Callable[[Path, int, ZooKeeper], Member]] = {"kstore": kstore_member, "kafka": kafka_member}


class Cluster:
    """Brokers 1, 2 and 3, by their ids."""

    def __init__(self, members: dict[int, Member], zookeeper: ZooKeeper) -> None:
        self.members = members
        self.zookeeper = zookeeper

    @property
    def bootstrap(self) -> str:
        return ",".join(member.bootstrap for member in self.members.values())

    @contextmanager
    def without(self, broker_id: int, *, end: str = "kill") -> Iterator[list[Member]]:
        """The other brokers, while this one is away."""
        getattr(self.members[broker_id], end)()
        try:
            yield [member for number, member in self.members.items() if number != broker_id]
        finally:
            self.members[broker_id].start()


@pytest.fixture(scope="module", params=list(MAKERS))
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    directory = tmp_path_factory.mktemp(f"{request.param}-cluster")
    with ExitStack() as stack:
        zookeeper = stack.enter_context(ZooKeeper(directory / "zookeeper"))
        members = {number: MAKERS[request.param](directory, number, zookeeper) for number in IDS}
        for member in members.values():
            stack.enter_context(member)
        yield Cluster(members, zookeeper)


@pytest.fixture
def ask(kstore: Kstore, cluster: Cluster) -> Callable[..., Ran]:
    def run(*arguments: object) -> Ran:
        return kstore(*arguments, "-b", cluster.bootstrap)

    return run


def partitions_of(ask: Callable[..., Ran], topic: str) -> list[dict[str, Any]]:
    """As soon as all brokers know of the topic."""
    (row,) = eventually(lambda: ask("topics", "describe", topic, "--json").rows, wanted=bool)
    found: list[dict[str, Any]] = row["partitions"]
    return found


def wait_for_order(ask: Callable[..., Ran]) -> None:
    assert ask("cluster", "status", "--wait", 60).status == 0


def test_a_cluster_in_order_says_so(ask: Callable[..., Ran], cluster: Cluster, topic: str) -> None:
    create_topic(cluster.members.values(), topic, [[1, 2, 3], [2, 3, 1]])
    wait_for_order(ask)
    ran = ask("cluster", "status", "--json")
    (row,) = ran.rows
    assert ran.status == 0
    assert row["controller"] in IDS
    assert [broker["broker"] for broker in row["brokers"]] == list(IDS)
    assert [broker["address"] for broker in row["brokers"]] == [each.bootstrap for each in cluster.members.values()]
    assert [broker["controls"] for broker in row["brokers"]].count(True) == 1
    assert (row["offline"], row["under_min_isr"], row["under_replicated"], row["partitions"]) == (0, 0, 0, [])
    text = ask("cluster", "status").out
    assert f"broker {row['controller']} controls" in text
    assert "0 offline, 0 under min.insync.replicas, 0 under-replicated" in text


def test_broker_epochs_are_read_from_zookeeper(ask: Callable[..., Ran], cluster: Cluster) -> None:
    wait_for_order(ask)
    connect = cluster.zookeeper.connect
    before = {
        row["broker"]: row["epoch"] for row in brokers_of(ask("cluster", "status", "--json", "--zookeeper", connect))
    }
    assert sorted(before) == list(IDS)
    with cluster.without(2, end="stop"):
        pass
    wait_for_order(ask)
    after = {
        row["broker"]: row["epoch"] for row in brokers_of(ask("cluster", "status", "--json", "--zookeeper", connect))
    }
    assert (after[1], after[3]) == (before[1], before[3])
    assert after[2] > before[2]
    assert "EPOCH" in ask("cluster", "status", "--zookeeper", connect).out
    assert "EPOCH" not in ask("cluster", "status").out
    # A path that is not there is looked at, not made.
    nobody = brokers_of(ask("cluster", "status", "--json", "--zookeeper", f"{connect}/nowhere"))
    assert {row["epoch"] for row in nobody} == {None}
    gone = ask("cluster", "status", "--zookeeper", f"127.0.0.1:{free_port()}", "--timeout", 1)
    assert (gone.status, "--zookeeper: 127.0.0.1:" in gone.err) == (1, True)


def brokers_of(ran: Ran) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ran.rows[0]["brokers"]
    return found


def test_what_a_missing_broker_costs_is_told_by_partition_and_by_the_exit_status(
    ask: Callable[..., Ran], cluster: Cluster, topic: str
) -> None:
    create_topic(cluster.members.values(), f"{topic}-alone", [[3]])
    create_topic(cluster.members.values(), f"{topic}-strict", [[1, 3]], min_insync_replicas="2")
    create_topic(cluster.members.values(), f"{topic}-short", [[1, 2, 3]])
    wait_for_order(ask)
    ours = ("alone", "strict", "short")
    with cluster.without(3):

        def states() -> dict[str, str]:
            (row,) = ask("cluster", "status", "--json").rows
            return {each["topic"].rpartition("-")[2]: each["state"] for each in row["partitions"]}

        wanted = {"alone": "offline", "strict": "under min ISR", "short": "under-replicated"}
        eventually(states, wanted=lambda found: {name: found.get(name) for name in ours} == wanted)
        ran = ask("cluster", "status", "--json")
        assert ran.status == 4
        (row,) = ran.rows
        assert row["offline"] >= 1
        assert row["under_min_isr"] >= 1
        assert row["under_replicated"] >= 2
        gone = next(broker for broker in row["brokers"] if broker["broker"] == 3)
        assert (gone["alive"], gone["address"]) == (False, None)
        assert gone["out_of_sync"] >= 2
        text = ask("cluster", "status").out
        assert "not there" in text
        for name in ("alone", "strict"):
            ask("topics", "delete", f"{topic}-{name}")
    wait_for_order(ask)
    for name in ours:
        ask("topics", "delete", f"{topic}-{name}", "--if-exists")


def test_partitions_that_are_only_short_of_replicas_have_a_status_of_their_own(
    ask: Callable[..., Ran], cluster: Cluster, topic: str
) -> None:
    create_topic(cluster.members.values(), topic, [[1, 2, 3]], min_insync_replicas="1")
    wait_for_order(ask)
    with cluster.without(2, end="stop"):
        eventually(lambda: ask("cluster", "status").status, wanted=lambda status: status == 3)
    wait_for_order(ask)
    ask("topics", "delete", topic)


def test_the_preferred_replica_is_elected_again(ask: Callable[..., Ran], cluster: Cluster, topic: str) -> None:
    create_topic(cluster.members.values(), topic, [[2, 1, 3]])
    (first,) = partitions_of(ask, topic)
    assert (first["leader"], first["replicas"]) == (2, [2, 1, 3])
    with cluster.without(2, end="stop"):
        eventually(lambda: partitions_of(ask, topic)[0]["leader"], wanted=lambda leader: leader == 1)
    wait_for_order(ask)
    assert ask("cluster", "status", "--json").rows[0]["not_preferred"] >= 1
    ran = ask("topics", "elect", "preferred", topic)
    assert (ran.status, ran.out) == (0, f"elected {topic}-0\n")
    (after,) = eventually(lambda: partitions_of(ask, topic), wanted=lambda found: found[0]["leader"] == 2)
    assert after["leader_epoch"] > first["leader_epoch"]
    again = ask("topics", "elect", "preferred", f"{topic}:0", "--json")
    assert again.rows == [{"topic": topic, "partition": 0, "result": "not needed"}]
    assert ask("topics", "elect", "preferred").status == 0
    eventually(lambda: ask("cluster", "status", "--json").rows[0]["not_preferred"], wanted=lambda count: count == 0)
    ask("topics", "delete", topic)


def test_a_replica_that_is_not_in_sync_leads_only_when_that_is_asked_for(
    ask: Callable[..., Ran], cluster: Cluster, topic: str
) -> None:
    create_topic(cluster.members.values(), topic, [[3, 2]])
    wait_for_order(ask)
    with cluster.without(2):
        eventually(lambda: partitions_of(ask, topic)[0]["isr"], wanted=lambda isr: isr == [3])
        ledger = Ledger([cluster.members[3]], topic, acks="1")
        ledger.produce(10)
        ledger.flush()
        cluster.members[3].kill()
    try:
        eventually(lambda: partitions_of(ask, topic)[0]["leader"], wanted=lambda leader: leader < 0)
        refused = ask("topics", "elect", "preferred", topic)
        assert refused.status == 1
        assert f"{topic}-0: its preferred replica is not alive, or not in sync" in refused.err
        assert ask("topics", "elect", "unclean").status == 2
        ran = ask("topics", "elect", "unclean", topic)
        assert (ran.status, ran.out) == (0, f"elected {topic}-0\n")
        eventually(lambda: partitions_of(ask, topic)[0]["leader"], wanted=lambda leader: leader == 2)
    finally:
        cluster.members[3].start()
    wait_for_order(ask)
    ask("topics", "delete", topic)


def test_partitions_are_moved_to_other_brokers(ask: Callable[..., Ran], cluster: Cluster, topic: str) -> None:
    create_topic(cluster.members.values(), topic, [[1], [1], [1]])
    ledger = Ledger(cluster.members.values(), topic)
    ledger.produce(100)
    ledger.flush()
    shown = ask("topics", "reassign", topic, "--brokers", "1,2,3", "--json")
    assert [row["executed"] for row in shown.rows] == [False, False]
    assert [found["replicas"] for found in partitions_of(ask, topic)] == [[1], [1], [1]]
    ran = ask("topics", "reassign", topic, "--brokers", "1,2,3", "--execute", "--wait", 60, "--json")
    assert ran.status == 0
    assert {tuple(row["new"]) for row in ran.rows} == {(2,), (3,)}
    assert sorted(found["replicas"] for found in partitions_of(ask, topic)) == [[1], [2], [3]]
    again = ask("topics", "reassign", topic, "--brokers", "1,2,3", "--execute", "--json")
    assert (again.status, again.rows) == (0, [])
    more = ask("topics", "reassign", topic, "--brokers", "1,2,3", "--copies", 3, "--execute", "--wait", 60)
    assert more.status == 0
    wait_for_order(ask)
    assert all(set(found["isr"]) == set(IDS) for found in partitions_of(ask, topic))
    exact = ask("topics", "reassign", f"{topic}:1", "--replicas", "3,1", "--execute", "--wait", 60)
    assert exact.status == 0
    eventually(lambda: partitions_of(ask, topic)[1]["replicas"], wanted=lambda replicas: replicas == [3, 1])
    ask("topics", "delete", topic)


def test_what_is_being_moved_is_listed_and_taken_back(
    ask: Callable[..., Ran], cluster: Cluster, topic: str, tmp_path: Path
) -> None:
    wait_for_order(ask)
    # Whoever controls is asked all the time: another one is away.
    controller = ask("cluster", "status", "--json").rows[0]["controller"]
    away = max(number for number in IDS if number != controller)
    other = next(number for number in IDS if number not in (controller, away))
    create_topic(cluster.members.values(), topic, [[controller, other]])
    wait_for_order(ask)
    plan = tmp_path / "plan.json"
    partition = {"topic": topic, "partition": 0, "replicas": [controller, away]}
    plan.write_text(json.dumps({"version": 1, "partitions": [partition]}))
    with cluster.without(away):
        eventually(lambda: ids_alive(ask), wanted=lambda ids: ids == sorted((controller, other)))
        refused = ask("topics", "reassign", "--file", plan, "--execute")
        assert refused.status == 1
        assert f"{topic}-0" in refused.err
        unknown = ask("topics", "reassign", topic, "--brokers", f"{controller},{away}", "--execute")
        assert unknown.status == 1
        assert f"broker {away} is not there; there are " in unknown.err
    wait_for_order(ask)
    assert ask("topics", "reassign", "--list", "--json").rows == []
    assert ask("topics", "reassign", topic, "--cancel", "--json").rows == []
    with paused(cluster.members[away]):
        assert ask("topics", "reassign", "--file", plan, "--execute").status == 0
        (row,) = ask("topics", "reassign", "--list", "--json").rows
        assert (row["topic"], row["partition"], row["adding"], row["removing"]) == (topic, 0, [away], [other])
        assert set(row["isr"]) == {controller, other}
        late = ask("topics", "reassign", "--list", "--json")
        assert late.rows == [row]
        ran = ask("topics", "reassign", topic, "--cancel")
        assert ran.status == 0
        eventually(lambda: ask("topics", "reassign", "--list", "--json").rows, wanted=lambda rows: rows == [])
        assert partitions_of(ask, topic)[0]["replicas"] == [controller, other]
    wait_for_order(ask)
    ask("topics", "delete", topic)


def test_who_waits_for_a_move_is_told_when_it_takes_too_long(
    ask: Callable[..., Ran], cluster: Cluster, topic: str
) -> None:
    wait_for_order(ask)
    controller = ask("cluster", "status", "--json").rows[0]["controller"]
    away = max(number for number in IDS if number != controller)
    create_topic(cluster.members.values(), topic, [[controller]])
    with paused(cluster.members[away]):
        words = ("topics", "reassign", topic, "--replicas", f"{controller},{away}", "--execute", "--wait", 0.3)
        late = ask(*words)
        assert (late.status, "1 partition still being moved after 0.3 s" in late.err) == (1, True)
    eventually(lambda: ask("topics", "reassign", "--list", "--json").rows, wanted=lambda rows: rows == [])
    assert partitions_of(ask, topic)[0]["replicas"] == [controller, away]
    wait_for_order(ask)
    ask("topics", "delete", topic)


def ids_alive(ask: Callable[..., Ran]) -> list[int]:
    return [broker["broker"] for broker in ask("cluster", "status", "--json").rows[0]["brokers"] if broker["alive"]]


@contextmanager
def paused(member: Member) -> Iterator[None]:
    member.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        member.signal(signal.SIGCONT)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("elect", "preferred", "no-such-topic"), "no-such-topic: there is no such topic"),
        (("reassign", "--brokers", "1,2"), "name the topics that are to be moved"),
        (("reassign", "t", "--brokers", "1,1"), "1,1 are not broker ids, each once"),
        (("reassign", "t", "--list", "--execute"), "--execute goes with"),
        (("reassign", "--file", "/no/such/file"), "/no/such/file: No such file or directory"),
        (("reassign", "t", "--replicas", "1", "--wait", "3"), "--wait goes with --execute"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    ask: Callable[..., Ran], arguments: tuple[object, ...], said: str
) -> None:
    ran = ask("topics", *arguments)
    assert ran.status in (1, 2)
    assert said in ran.err
    assert ran.err.count("\n") == 1
