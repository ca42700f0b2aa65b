"""What the simulator has in place of the system behaves as the system does."""

import asyncio
import errno
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kazoo import exceptions
from kazoo.protocol.states import EventType

from tests.sim.disk import Disks
from tests.sim.loop import NOBODY, Process, SimClock, SimLoop
from tests.sim.network import Link, Network
from tests.sim.zookeeper import Operation, Session, ZooKeeper

# --- the loop ---


def run(process: Process, loop: SimLoop, callback: Callable[..., Any], *arguments: Any) -> None:
    process.context.run(loop.call_soon, callback, *arguments)


def test_time_passes_only_when_nothing_is_ready() -> None:
    loop, seen = SimLoop(), []
    loop.call_later(2, lambda: seen.append(("later", loop.time())))
    loop.call_later(1, lambda: loop.call_soon(lambda: seen.append(("soon", loop.time()))))
    loop.run_until(10)
    assert seen == [("soon", 1), ("later", 2)]
    assert loop.time() == 10


def test_what_belongs_to_a_killed_process_never_runs_again() -> None:
    loop, process, seen = SimLoop(), Process("b1"), []

    async def wait() -> None:
        try:
            await asyncio.sleep(5)
        finally:
            seen.append("its `finally`")

    process.context.run(loop.create_task, wait())
    run(process, loop, seen.append, "before")
    loop.run_until(1)
    process.is_alive = False
    run(process, loop, seen.append, "behind")
    loop.run_until(10)
    assert seen == ["before"]
    loop.end([process])


def test_a_paused_process_goes_on_with_all_that_came_meanwhile_in_order() -> None:
    loop, process, seen = SimLoop(), Process("b1"), []
    process.is_paused = True
    for number in range(3):
        run(process, loop, seen.append, number)
    loop.run_until(1)
    assert seen == []
    loop.resume(process)
    loop.run_until(2)
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("step_ms", [-3_600_000, 3_600_000])
def test_a_clock_that_is_set_is_one_processs_and_tells_the_date_only(step_ms: int) -> None:
    loop, process = SimLoop(), Process("b1")
    clock, other = SimClock(loop, process), SimClock(loop, Process("b2"))
    began_ms = clock.now_ms()
    process.clock_offset_ms += step_ms
    loop.run_until(2)
    assert (clock.now_ms(), clock.monotonic_ms()) == (began_ms + step_ms + 2000, 2000)
    assert (other.now_ms(), other.monotonic_ms()) == (began_ms + 2000, 2000)


def test_work_of_threads_is_done_later_and_its_error_comes_back() -> None:
    loop = SimLoop()
    loop.executor_delay = lambda: (1.0, 2.0)
    done: list[Any] = []

    async def ask() -> None:
        done.append(await loop.run_in_executor(None, lambda: loop.time()))
        with pytest.raises(OSError, match="broken"):
            await loop.run_in_executor(None, fail)
        done.append(loop.time())

    def fail() -> None:
        raise OSError("broken")

    loop.create_task(ask())
    loop.run_until(10)
    assert done == [1.0, 6.0]


# --- the network ---


class Recorder:
    """An end of a connection."""

    def __init__(self) -> None:
        self.got = b""
        self.over: list[Exception | None] = []

    def received(self, data: bytes) -> None:
        self.got += data

    def ended(self, error: Exception | None) -> None:
        self.over.append(error)


class Pair:
    """Two processes with a connection between them."""

    def __init__(self) -> None:
        self.loop = SimLoop()
        self.network = Network(self.loop, random.Random(1))
        self.one, self.two = Process("one"), Process("two")
        self.link = Link(self.network, self.one, self.two)
        self.network._links[self.link] = None
        self.ends = (Recorder(), Recorder())
        self.link.ends[:] = self.ends


def test_bytes_come_in_order_though_each_takes_its_time() -> None:
    pair = Pair()
    for number in range(200):
        pair.link.send(0, b"%03d" % number)
    pair.loop.run_until(5)
    assert pair.ends[1].got == b"".join(b"%03d" % number for number in range(200))


def test_a_cut_holds_bytes_back_and_they_come_when_it_ends() -> None:
    pair = Pair()
    pair.network.cut("one", "two")
    pair.link.send(0, b"a")
    pair.link.send(1, b"back")
    pair.loop.run_until(5)
    assert (pair.ends[1].got, pair.ends[0].got) == (b"", b"back")
    pair.network.mend("one", "two")
    pair.link.send(0, b"b")
    pair.loop.run_until(6)
    assert pair.ends[1].got == b"ab"


def test_a_lost_connection_takes_what_is_under_way_and_one_end_may_not_notice() -> None:
    pair = Pair()
    pair.link.send(0, b"lost")
    pair.link.lose((True, False))
    pair.loop.run_until(1)
    assert pair.ends[1].got == b""
    assert (len(pair.ends[0].over), pair.ends[1].over) == (1, [])
    # The end that did not notice is told as soon as it speaks.
    pair.link.send(1, b"hello?")
    pair.loop.run_until(2)
    (error,) = pair.ends[1].over
    assert isinstance(error, ConnectionResetError)


def test_a_killed_process_resets_its_connections_and_one_without_power_does_not() -> None:
    for power_lost in (False, True):
        pair = Pair()
        pair.two.is_alive = False
        pair.network.ended(pair.two, power_lost=power_lost)
        pair.loop.run_until(1)
        assert bool(pair.ends[0].over) is not power_lost
        pair.link.send(0, b"hello?")
        pair.network.started("two")
        pair.link.send(0, b"hello?")
        pair.loop.run_until(2)
        assert len(pair.ends[0].over) == 1


# --- ZooKeeper ---


@pytest.fixture
def zookeeper() -> ZooKeeper:
    found = ZooKeeper(SimLoop())
    found.do(found.open("setup", 6), Operation("create", "/a", b"x"))
    return found


def news(zookeeper: ZooKeeper, session: Session) -> list[tuple[str, ...]]:
    told: list[tuple[str, ...]] = []
    zookeeper.connected(session, lambda *what: told.append(what))
    return told


def test_a_write_with_another_version_is_refused(zookeeper: ZooKeeper) -> None:
    session = zookeeper.open("b1", 6)
    assert zookeeper.do(session, Operation("set", "/a", b"y", version=0)).version == 1
    with pytest.raises(exceptions.BadVersionError):
        zookeeper.do(session, Operation("set", "/a", b"z", version=0))
    with pytest.raises(exceptions.NoNodeError):
        zookeeper.do(session, Operation("create", "/b/c"))
    with pytest.raises(exceptions.NodeExistsError):
        zookeeper.do(session, Operation("create", "/a"))


def test_a_multi_operation_is_done_whole_or_not_at_all(zookeeper: ZooKeeper) -> None:
    session = zookeeper.open("b1", 6)
    told = news(zookeeper, session)
    zookeeper.do(session, Operation("children", "/", watched=True))
    create, wrong = Operation("create", "/b"), Operation("check", "/a", version=7)
    found = zookeeper.do(session, Operation("multi", "/", operations=(create, wrong, create)))
    kinds = [type(each) for each in found]
    assert kinds == [exceptions.RolledBackError, exceptions.BadVersionError, exceptions.RuntimeInconsistency]
    assert "/b" not in zookeeper.nodes
    assert list(zookeeper.nodes["/"].children) == ["a"]
    assert told == []
    right = Operation("set", "/b", b"1", version=0)
    path, stat = zookeeper.do(session, Operation("multi", "/", operations=(create, right)))
    assert (path, stat.version, stat.czxid) == ("/b", 1, zookeeper.zxid)
    assert told == [("children", "/", EventType.CHILD)]


def test_a_watch_tells_once(zookeeper: ZooKeeper) -> None:
    session = zookeeper.open("b1", 6)
    told = news(zookeeper, session)
    zookeeper.do(session, Operation("get", "/a", watched=True))
    assert zookeeper.do(session, Operation("exists", "/b", watched=True)) is None
    for data in (b"1", b"2"):
        zookeeper.do(session, Operation("set", "/a", data))
    zookeeper.do(session, Operation("create", "/b"))
    assert told == [("data", "/a", EventType.CHANGED), ("data", "/b", EventType.CREATED)]


def test_ephemeral_znodes_go_with_their_session_when_nothing_is_heard_of_it(zookeeper: ZooKeeper) -> None:
    session, other = zookeeper.open("b1", 6), zookeeper.open("b2", 6)
    told = news(zookeeper, other)
    zookeeper.do(session, Operation("create", "/e", ephemeral=True))
    zookeeper.do(other, Operation("children", "/", watched=True))
    loop = zookeeper._loop
    zookeeper.disconnected(session)
    loop.run_until(5)
    zookeeper.connected(session, lambda *what: None)
    loop.run_until(20)
    assert "/e" in zookeeper.nodes
    zookeeper.disconnected(session)
    loop.run_until(27)
    assert "/e" not in zookeeper.nodes
    assert told == [("children", "/", EventType.CHILD)]
    with pytest.raises(exceptions.SessionExpiredError):
        zookeeper.do(session, Operation("get", "/a"))


def test_sequential_znodes_are_numbered_by_their_parent(zookeeper: ZooKeeper) -> None:
    session = zookeeper.open("b1", 6)
    made = [zookeeper.do(session, Operation("create", "/a/n_", sequential=True)) for _ in range(2)]
    assert made == ["/a/n_0000000000", "/a/n_0000000001"]


# --- disks ---


def test_a_power_loss_takes_what_was_not_synced_and_no_more(tmp_path: Path) -> None:
    sizes = set()
    for seed in range(40):
        disks = Disks(str(tmp_path / str(seed)))
        path = Path(disks.directory_of("b1"), "orders-0", "00000000000000000000.log")
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x" * 100)
        disks.synced[str(path)] = 60
        disks.lose_power("b1", random.Random(seed))
        sizes.add(path.stat().st_size)
        assert disks.synced[str(path)] == path.stat().st_size
    assert min(sizes) == 60
    assert max(sizes) == 100
    assert len(sizes) > 5


def test_a_failed_disk_refuses_what_is_on_it(tmp_path: Path) -> None:
    disks = Disks(str(tmp_path))
    disks.failed.add(disks.directory_of("b1", 0))
    with pytest.raises(OSError, match="injected") as raised:
        disks.check(disks.directory_of("b1", 0) + "/orders-0/x.log")
    assert raised.value.errno == errno.EIO
    disks.check(disks.directory_of("b1", 1) + "/orders-0/x.log")


def test_what_is_under_way_belongs_to_nobody() -> None:
    loop, process, seen = SimLoop(), Process("b1"), []
    process.context.run(lambda: loop.call_later(1, seen.append, "under way", context=NOBODY))
    process.is_alive = False
    loop.run_until(2)
    assert seen == ["under way"]
