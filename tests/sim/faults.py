"""What goes wrong, done to the world; and how it is mended."""

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from kstore.errors import KafkaStorageError
from tests.sim.broker import SimBroker
from tests.sim.plan import Event
from tests.sim.zookeeper import ZooKeeper

if TYPE_CHECKING:
    from tests.sim.world import World


# A topic that comes and goes; nothing is promised of what is in it.
FLEETING = "fleeting"


class Faults:
    def __init__(self, world: "World") -> None:
        self._world = world
        self.counts: Counter[str] = Counter()
        # What is out of order now, and how it is mended.
        self._open: dict[int, Callable[[], None]] = {}
        self._number = 0
        self._disks_failed = False
        self._changed_at = 0.0
        self._does: dict[str, Callable[[Event, SimBroker], str | None]] = {
            "kill": self._kill,
            "power": self._power,
            "wipe": self._wipe,
            "pause": self._pause,
            "stop": self._stop,
            "cut": self._cut,
            "cut one way": self._cut_one_way,
            "isolate": self._isolate,
            "cut from zookeeper": self._cut_from_zookeeper,
            "zookeeper away": self._zookeeper_away,
            "lose connections": self._lose_connections,
            "half open": self._half_open,
            "slow": self._slow,
            "set clock": self._set_clock,
            "expire": self._expire,
            "drop session": self._drop_session,
            "disk fails": self._disk_fails,
            "make topic": self._make_topic,
            "delete topic": self._delete_topic,
            "depose": self._depose,
            "delete records": self._delete_records,
            "reassign": self._reassign,
            "elect preferred": self._elect_preferred,
        }

    def apply(self, event: Event) -> None:
        if self._world.is_quiet or self._world.violation is not None:
            return
        who = self._who(event.who)
        if who is None:
            return
        said = self._does[event.kind](event, who)
        if said is not None:
            self._changed_at = self._world.loop.now
            self.counts[event.kind] += 1
            self._world.trace(f"* {said}")

    def _who(self, part: str) -> SimBroker | None:
        world = self._world
        if part == "controller":
            return next((broker for broker in world.brokers if broker.controls), None)
        if part in ("leader", "follower"):
            state = world.judge.states.get(world.keys[0])
            if state is None:
                return None
            if part == "leader":
                return world.broker(f"b{state.leader}") if state.leader >= 0 else None
            others = [each for each in world.judge.assignments.get(world.keys[0], ()) if each != state.leader]
            return world.broker(f"b{others[-1]}") if others else None
        return world.broker(part)

    def _for(self, seconds: float, mend: Callable[[], None]) -> None:
        self._number += 1
        number = self._number
        self._open[number] = mend

        def over() -> None:
            found = self._open.pop(number, None)
            if found is not None:
                self._changed_at = self._world.loop.now
                found()

        self._world.later(seconds, over)

    def mend_all(self) -> None:
        world = self._world
        while self._open:
            _, mend = self._open.popitem()
            mend()
        for broker in world.brokers:
            broker.resume()
            broker.start()

    @property
    def calm_s(self) -> float:
        """How long nothing has been out of order."""
        return 0.0 if self._open else self._world.loop.now - self._changed_at

    def excuses(self, error: BaseException) -> bool:
        """Whether an error that was logged is what such a fault must bring."""
        return self._disks_failed and isinstance(error, OSError | KafkaStorageError)

    # --- processes ---

    def _kill(self, event: Event, who: SimBroker) -> str | None:
        if not who.is_alive:
            return None
        who.kill()
        self._for(event.for_s, who.start)
        return f"{who.name} is killed, for {event.for_s} s"

    def _power(self, event: Event, who: SimBroker) -> str | None:
        world = self._world
        if not who.is_alive or not self._may_lose(who):
            return None
        world.judge.in_debt.add(who.name)
        lost = who.lose_power()
        world.judge.forget_ends(who.name)
        self._for(event.for_s, who.start)
        return f"{who.name} loses its power and {lost} bytes, for {event.for_s} s"

    def _wipe(self, event: Event, who: SimBroker) -> str | None:
        """The machine is gone for good; another one with its id and nothing on its disks takes its place."""
        world = self._world
        if not who.is_alive or not self._may_lose(who):
            return None
        world.judge.in_debt.add(who.name)
        who.lose_power()
        world.disks.wipe(who.name)
        world.judge.forget_ends(who.name)
        self._for(event.for_s, who.start)
        return f"{who.name} is lost with its disks, and comes back empty, after {event.for_s} s"

    def _may_lose(self, who: SimBroker) -> bool:
        """No more than min.insync.replicas - 1 brokers."""
        return not self._world.judge.in_debt - {who.name}

    def _pause(self, event: Event, who: SimBroker) -> str | None:
        process = who.process
        if process is None or not process.is_alive or process.is_paused:
            return None
        who.pause()
        client = self._world.wiring.client_of(process)
        if client is not None:
            client.silenced(event.for_s)

        def go_on() -> None:
            if who.process is process:
                who.resume()
            if client is not None and process.is_alive:
                client.heard_again()

        self._for(event.for_s, go_on)
        return f"{who.name} is paused, for {event.for_s} s"

    def _stop(self, event: Event, who: SimBroker) -> str | None:
        if not who.is_alive or not who.has_started:
            return None
        who.stop()
        process = who.process

        def start() -> None:
            if who.process is process and who.is_alive:
                # It takes too long: a supervisor does not wait for ever.
                who.kill()
            who.start()

        self._for(event.for_s + 5, start)
        return f"{who.name} is asked to stop"

    # --- network ---

    def _cut(self, event: Event, who: SimBroker) -> str | None:
        return self._cut_between(who.name, event.other, event.for_s, both=True)

    def _cut_one_way(self, event: Event, who: SimBroker) -> str | None:
        return self._cut_between(who.name, event.other, event.for_s, both=False)

    def _cut_between(self, one: str, other: str, for_s: float, *, both: bool) -> str | None:
        if one == other:
            return None
        network = self._world.network
        ways = [(one, other), (other, one)] if both else [(one, other)]
        for way in ways:
            network.cut(*way)

        def mend() -> None:
            for way in ways:
                network.mend(*way)

        self._for(for_s, mend)
        return f"nothing passes from {one} to {other}{' and back' if both else ''}, for {for_s} s"

    def _isolate(self, event: Event, who: SimBroker) -> str | None:
        """From the other brokers; clients and ZooKeeper reach it."""
        for other in self._world.broker_names:
            if other != who.name:
                self._cut_between(who.name, other, event.for_s, both=True)
        return f"{who.name} is cut off from the other brokers, for {event.for_s} s"

    def _lose_connections(self, event: Event, who: SimBroker) -> str | None:
        for link in self._world.network.links_between(who.name):
            link.lose((True, True))
        return f"{who.name} loses its connections"

    def _half_open(self, event: Event, who: SimBroker) -> str | None:
        for link in self._world.network.links_between(who.name):
            mine = link.names.index(who.name)
            link.lose((mine == 0, mine == 1))
        return f"{who.name} loses its connections, and the others do not notice"

    def _slow(self, event: Event, who: SimBroker) -> str | None:
        slow = self._world.network.slow
        slow[who.name] = event.amount
        self._for(event.for_s, lambda: slow.__setitem__(who.name, 0.0))
        return f"what {who.name} sends takes {event.amount} s more, for {event.for_s} s"

    # --- ZooKeeper ---

    def _cut_from_zookeeper(self, event: Event, who: SimBroker) -> str | None:
        process = who.process
        if process is None or not process.is_alive:
            return None
        network, began = self._world.network, self._world.loop.now
        for way in ((who.name, ZooKeeper.NAME), (ZooKeeper.NAME, who.name)):
            network.cut(*way)
        client = self._world.wiring.client_of(process)

        def notice() -> None:
            if client is not None and process.is_alive and network.is_cut(who.name, ZooKeeper.NAME):
                client.drop(heard_s_ago=self._world.loop.now - began)

        def mend() -> None:
            network.mend(who.name, ZooKeeper.NAME)
            network.mend(ZooKeeper.NAME, who.name)

        # kazoo gives up after two thirds of the session's time.
        self._world.loop.call_later(2.0 + 2.0 * self._world.wiring.choose.random(), notice, context=process.context)
        self._for(event.for_s, mend)
        return f"{who.name} is cut off from ZooKeeper, for {event.for_s} s"

    def _zookeeper_away(self, event: Event, who: SimBroker) -> str | None:
        zookeeper = self._world.zookeeper
        if not zookeeper.is_up:
            return None
        zookeeper.is_up = False
        for process, client in list(self._world.wiring.clients.items()):
            if process.is_alive:
                delay = 0.05 * self._world.wiring.choose.random()
                self._world.loop.call_later(delay, client.drop, context=process.context)

        def back() -> None:
            zookeeper.is_up = True

        self._for(event.for_s, back)
        return f"ZooKeeper is away, for {event.for_s} s"

    def _expire(self, event: Event, who: SimBroker) -> str | None:
        client = self._world.wiring.client_of(who.process)
        if client is None or not who.is_alive or client.client_id is None:
            return None
        session = self._world.zookeeper.sessions[client.client_id[0]]
        self._world.zookeeper.expire(session)
        assert who.process is not None
        self._world.loop.call_later(0.05, client.drop, context=who.process.context)
        return f"the session of {who.name} is over"

    def _drop_session(self, event: Event, who: SimBroker) -> str | None:
        client = self._world.wiring.client_of(who.process)
        if client is None or not who.is_alive:
            return None
        assert who.process is not None
        self._world.loop.call_soon(client.drop, context=who.process.context)
        return f"{who.name} loses its connection with ZooKeeper"

    def _depose(self, event: Event, who: SimBroker) -> str | None:
        """Somebody deletes /controller, as operators do."""
        zookeeper = self._world.zookeeper
        if "/controller" not in zookeeper.nodes:
            return None
        session = zookeeper.sessions[zookeeper.nodes["/controller"].owner]
        zookeeper.zxid += 1
        zookeeper._remove("/controller", session)
        return "the controller is deposed"

    # --- clocks and disks ---

    def _set_clock(self, event: Event, who: SimBroker) -> str | None:
        if who.process is None or not who.is_alive:
            return None
        who.process.clock_offset_ms += int(event.amount)
        return f"the clock of {who.name} is set by {event.amount:g} ms"

    def _disk_fails(self, event: Event, who: SimBroker) -> str | None:
        disks = self._world.disks
        path = disks.directory_of(who.name, 0)
        if path in disks.failed or not who.is_alive:
            return None
        self._disks_failed = True
        disks.failed.add(path)

        def mend() -> None:
            disks.failed.discard(path)
            # A broker does not trust a disk again that has failed it.
            if who.is_alive:
                who.kill()
            who.start()

        self._for(event.for_s, mend)
        return f"disk 0 of {who.name} fails, for {event.for_s} s"

    # --- topics ---

    def _make_topic(self, event: Event, who: SimBroker) -> str | None:
        self._world.admin.make(FLEETING, 2, 2, {"min.insync.replicas": "1"})
        return "a topic is made"

    def _delete_topic(self, event: Event, who: SimBroker) -> str | None:
        self._world.admin.delete(FLEETING)
        return "a topic is deleted"

    def _delete_records(self, event: Event, who: SimBroker) -> str | None:
        """Of what was committed, but for the last ones."""
        key = self._world.keys[0]
        self._world.admin.delete_records(key, keeps=20)
        return f"records of {key} are deleted"

    def _reassign(self, event: Event, who: SimBroker) -> str | None:
        """To other brokers, or in another order."""
        key = self._world.keys[0]
        numbers = [broker.id for broker in self._world.brokers]
        # What stands first is by chance, and of the plan.
        turn = int(event.at_s * 100) % len(numbers)
        replicas = (numbers[turn:] + numbers[:turn])[:3]
        self._world.admin.reassign(key, replicas)
        return f"{key} is to lie on {replicas}"

    def _elect_preferred(self, event: Event, who: SimBroker) -> str | None:
        self._world.admin.elect_preferred(self._world.keys[0])
        return "preferred leaders are to be elected"
