"""One simulation: a cluster and its clients, what goes wrong, and what came of it."""

import hashlib
import os
import random
import shutil
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from kstore.log.partition_log import PartitionLog
from kstore.model import TopicPartition
from tests.sim import surroundings
from tests.sim.admin import Admin
from tests.sim.broker import SimBroker
from tests.sim.clients import Consumer, Producer
from tests.sim.disk import Disks
from tests.sim.faults import Faults
from tests.sim.invariants import Judge, Violation, batches
from tests.sim.kazoo_client import Wiring
from tests.sim.ledger import Ledger, values
from tests.sim.loop import NOBODY, Process, SimLoop
from tests.sim.network import Network
from tests.sim.plan import PATIENCE_S, Event, Plan
from tests.sim.zookeeper import Session, ZooKeeper

TOPIC = "orders"
REPLICAS = 3
LOOK_EVERY_S = 5.0


class Outcome(NamedTuple):
    seed: int
    violation: str | None
    trace: str  # its hash
    story: list[str]
    counts: Mapping[str, Any]


class World:
    def __init__(self, plan: Plan, *, overrides: Mapping[str, str] | None = None) -> None:
        seed = plan.seed
        self.plan = plan
        self.loop = SimLoop()
        self.network = Network(self.loop, random.Random(f"network {seed}"))
        self.zookeeper = ZooKeeper(self.loop)
        self.wiring = Wiring(self.zookeeper, self.network, random.Random(f"sessions {seed}"))
        root = surroundings.room()
        shutil.rmtree(root, ignore_errors=True)
        os.makedirs(root)
        self.disks = Disks(root)
        self.choose_disk = random.Random(f"disk {seed}")
        self.processes: list[Process] = []
        self._hash = hashlib.blake2b(digest_size=16)
        self.story: list[str] = []
        self.violation: str | None = None
        self.is_quiet = False
        self.brokers = [SimBroker(self, number, overrides or {}) for number in range(1, plan.brokers + 1)]
        self.broker_names = [broker.name for broker in self.brokers]
        self._by_name = {broker.name: broker for broker in self.brokers}
        self.judge = Judge(self._member, lambda number: f"b{number}", self.is_safe, self.trace)
        self.ledger = Ledger(self.judge)
        self.faults = Faults(self)
        self.admin = Admin(self, random.Random(f"admin {seed}"))
        self.producers: list[Producer] = []
        self.consumers: list[Consumer] = []
        delays = random.Random(f"threads {seed}")
        self.loop.executor_delay = lambda: (0.0003 * delays.random(), 0.003 * delays.random())
        self.loop.failed = self._failed
        self.loop.looked_at = self._look
        self.zookeeper.written = self._written

    # --- what others ask ---

    def is_safe(self, topic: str) -> bool:
        """Whether what was acknowledged for a topic must never be lost."""
        return topic == TOPIC

    @property
    def keys(self) -> list[TopicPartition]:
        return [TopicPartition(TOPIC, index) for index in range(self.plan.partitions)]

    def leads(self, name: str, key: TopicPartition) -> bool:
        """Whether a broker leads, in the epoch that ZooKeeper has."""
        partition, state = self._member(name, key), self.judge.states.get(key)
        leader = None if partition is None else partition.leader
        return leader is not None and state is not None and leader.epoch == state.epoch

    def offset_of(self, name: str, key: TopicPartition, value: bytes) -> int:
        """Where a broker's log holds a value; -1 where it does not."""
        partition = self._member(name, key)
        log = {} if partition is None else values(content(partition.log, 0))
        return next((offset for offset, held in log.items() if held == value), -1)

    def broker(self, name: str) -> SimBroker:
        return self._by_name[name]

    def later(self, delay_s: float, callback: Callable[..., Any], *arguments: Any) -> None:
        """By nobody's doing: whatever becomes of the brokers."""
        self.loop.call_later(delay_s, callback, *arguments, context=NOBODY)

    def trace(self, text: str) -> None:
        self.story.append(f"{self.loop.now:8.3f}  {text}")
        self.trace_only(text)

    def trace_only(self, *what: object) -> None:
        self._hash.update(f"{self.loop.now:.6f} {what}\n".encode())

    def fail(self, reason: str) -> None:
        if self.violation is None:
            self.violation = reason
            self.trace(f"VIOLATION: {reason}")

    # --- what the judge sees ---

    def _member(self, name: str, key: TopicPartition) -> Any:
        return self._by_name[name].partition(key)

    def _look(self) -> None:
        touched, self.loop.touched = list(self.loop.touched), {}
        for log in touched:
            name = self._owner(log)
            if not self._by_name[name].is_alive:
                continue
            try:
                self.judge.look(name, log)
            except Violation as error:
                self.fail(str(error))
            except Exception as error:
                self.fail(f"the judge cannot look at {name} {log}: {error!r}")
            self.trace_only(
                name,
                log.topic_partition,
                log.log_start_offset,
                log.high_watermark,
                log.log_end_offset,
                log.latest_epoch,
            )

    def _owner(self, log: PartitionLog) -> str:
        return log.log_dir.path[len(self.disks.root) + 1 :].partition("/")[0]

    def _written(self, path: str, data: bytes | None, session: Session | None) -> None:
        self.trace_only("zk", path, data, None if session is None else session.owner)
        try:
            self.judge.written(path, data)
        except Violation as error:
            self.fail(str(error))
        if path == "/controller":
            who = "nobody" if data is None or session is None else session.owner
            self.trace(f"the controller is {who}")

    def _failed(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, Violation):
            self.fail(str(error))
        elif error is not None:
            where = "".join(traceback.format_exception(error)[-3:])
            self.fail(f"{context.get('message')}: {error!r}\n{where}")

    def complain(self, message: str, error: BaseException) -> None:
        if isinstance(error, Violation):
            self.fail(str(error))
            return
        if self.faults.excuses(error):
            return
        where = "".join(traceback.format_exception(error)[-4:])
        self.fail(f"logged as an error: {message}: {error!r}\n{where}")

    # --- running ---

    def run(self, *, shows_log: bool = False) -> Outcome:
        with surroundings.simulated(
            self.loop,
            self.plan.seed,
            wiring=self.wiring,
            disks=self.disks,
            complain=self.complain,
            shows_log=shows_log,
        ):
            try:
                self._run()
            except Violation as error:
                self.fail(str(error))
            finally:
                self._end()
        counts = {
            "simulated_s": self.loop.now,
            "callbacks": self.loop.handled,
            "looks": self.judge.looks,
            "sent": self.ledger.sent,
            **self.ledger.counts(),
            "faults": self.faults.counts,
        }
        return Outcome(self.plan.seed, self.violation, self._hash.hexdigest(), self.story, counts)

    def _run(self) -> None:
        plan = self.plan
        for number, broker in enumerate(self.brokers):
            self.later(0.05 * number, broker.start)
        self.admin.start()
        self.admin.make(TOPIC, plan.partitions, REPLICAS, {"min.insync.replicas": "2"})
        for number, (acks, idempotent) in enumerate(plan.producers):
            choose = random.Random(f"producer {plan.seed} {number}")
            key = self.keys[number % len(self.keys)]
            producer = Producer(self, f"p{number}", choose, key, acks=acks, idempotent=idempotent)
            self.producers.append(producer)
            self.later(2.0, producer.start)
        for number in range(plan.consumers):
            choose = random.Random(f"consumer {plan.seed} {number}")
            consumer = Consumer(self, f"c{number}", choose, self.keys[number % len(self.keys)])
            self.consumers.append(consumer)
            self.later(2.0, consumer.start)
        for event in plan.events:
            self.later(event.at_s, self.faults.apply, event)
        self.later(LOOK_EVERY_S, self._look_around)
        if not self._pass(plan.quiet_at_s):
            return
        self.trace("no more faults")
        self.is_quiet = True
        self.faults.mend_all()
        if not self._wait(self._missing, "the last fault") or (plan.closing and not self._close()):
            return
        self._compare()
        self._pass(max(plan.end_s, self.loop.now))

    def _look_around(self) -> None:
        """Where nothing has been out of order for long, everybody is in sync."""
        if self.is_quiet or self.violation is not None:
            return
        if self.faults.calm_s > PATIENCE_S and (missing := self._out_of_sync()) is not None:
            self.fail(f"{self.faults.calm_s:.0f} s after the last fault: {missing}")
        self.later(LOOK_EVERY_S, self._look_around)

    def _out_of_sync(self) -> str | None:
        for key in self.keys:
            state, replicas = self.judge.states.get(key), self.judge.assignments.get(key)
            if state is None or replicas is None:
                return f"{key} has no state"
            if state.leader < 0 or set(state.isr) != set(replicas):
                return f"{key}: leader {state.leader}, in sync {state.isr} of {replicas}"
        return None

    def _close(self) -> bool:
        """One broker goes away, and the others go on; then it comes back."""
        choose = random.Random(f"closing {self.plan.seed}")
        candidates = self.brokers
        if self.plan.closing == "isolate":
            # A leader that still has its session leads on, and its controller has to be reached. Who is preferred may
            # be elected any moment.
            leaders = {self.judge.states[key].leader for key in self.keys}
            leaders |= {self.judge.assignments[key][0] for key in self.keys}
            candidates = [each for each in self.brokers if each.id not in leaders and not each.controls]
            if not candidates:
                return True
        victim = choose.choice(candidates)
        self.is_quiet = False
        self.faults.apply(Event(self.loop.now, self.plan.closing, victim.name, 4 * PATIENCE_S))
        self.is_quiet = True
        last = []
        for number, key in enumerate(self.keys):
            producer = Producer(self, f"last{number}", choose, key, acks=-1, idempotent=True, batches=4)
            self.producers.append(producer)
            last.append(producer)
            producer.start()

        def waiting() -> str | None:
            return next((f"{each.name} has no answer from {each.key}" for each in last if not each.is_done), None)

        if not self._wait(waiting, f"{victim.name} went away"):
            return False
        self.faults.mend_all()
        return self._wait(self._missing, f"{victim.name} came back")

    def _wait(self, missing: Callable[[], str | None], since: str) -> bool:
        deadline = self.loop.now + PATIENCE_S
        while (found := missing()) is not None:
            if self.loop.now >= deadline:
                self.fail(f"{PATIENCE_S:.0f} s after {since}: {found}")
                return False
            if not self._pass(self.loop.now + 0.5):
                return False
        return True

    def _pass(self, until: float) -> bool:
        """Lets time pass; False when something went wrong."""
        self.loop.run_until(until, lambda: self.violation is not None)
        return self.violation is None

    def _missing(self) -> str | None:
        """What the cluster still lacks to be whole."""
        for broker in self.brokers:
            if not broker.is_alive or not broker.has_started:
                return f"{broker.name} is not there"
        for producer in self.producers:
            if not producer.is_done:
                return f"{producer.name} waits for its last answer from {producer.key}"
        if (lacking := self._out_of_sync()) is not None:
            return lacking
        for key in self.keys:
            ends = set()
            for number in self.judge.assignments[key]:
                partition = self.broker(f"b{number}").partition(key)
                if partition is None:
                    return f"b{number} does not hold {key}"
                log = partition.log
                if log.high_watermark != log.log_end_offset:
                    return f"b{number} {key}: high watermark {log.high_watermark}, end {log.log_end_offset}"
                ends.add(log.log_end_offset)
            if len(ends) > 1:
                return f"{key} ends at {sorted(ends)}"
            for consumer in self.consumers:
                if consumer.key == key and consumer.position < min(ends):
                    return f"{consumer.name} has read {key} up to {consumer.position} of {min(ends)}"
        return None

    def _compare(self) -> None:
        """All replicas of a partition are the same, byte for byte, and hold what was promised."""
        for key in self.keys:
            logs = {}
            for number in self.judge.assignments[key]:
                partition = self.broker(f"b{number}").partition(key)
                assert partition is not None
                logs[f"b{number}"] = partition.log
            start = max(log.log_start_offset for log in logs.values())
            contents = {name: content(log, start) for name, log in logs.items()}
            first, *others = contents
            for other in others:
                if contents[other] != contents[first]:
                    here, there = batches(contents[first]), batches(contents[other])
                    differ = next((pair for pair in zip(here, there, strict=False) if pair[0] != pair[1]), None)
                    raise Violation(
                        f"{key} is not the same on {first} and {other}: {differ and [b[:4] for b in differ]}"
                    )
            self.ledger.compare(key, values(contents[first]), start)

    def _end(self) -> None:
        self.loop.touched.clear()
        for broker in self.brokers:
            if broker.is_alive:
                broker.kill()
        self.loop.end(self.processes)
        self.disks.failed.clear()
        shutil.rmtree(self.disks.root, ignore_errors=True)


def content(log: PartitionLog, start: int) -> bytes:
    """The batches that reach `start` or lie behind it, as they lie in the files."""
    found = b""
    for segment in log.segments:
        with open(segment.records.path, "rb") as file:
            found += file.read()
    return b"".join(batch.content for batch in batches(found) if batch.last >= start)


def simulate(plan: Plan, *, shows_log: bool = False, overrides: Mapping[str, str] | None = None) -> Outcome:
    return World(plan, overrides=overrides).run(shows_log=shows_log)
