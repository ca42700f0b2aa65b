"""What must hold at every moment, asked after each callback that changed a log, a role or a znode.

The judge sees all: every broker's logs and roles, what ZooKeeper holds, and what clients were promised. It reads
batches itself, from their bytes. Its rules are those of the TLA+ models of Kafka's replication, as far as they can be
seen from outside: what a leader has once called committed is in the logs of all who are in sync, for ever.
"""

import json
import struct
from bisect import bisect_right
from collections.abc import Callable
from typing import Any, NamedTuple

from kstore.log.partition_log import PartitionLog
from kstore.model import TopicPartition
from kstore.replica.partition import Partition

HEADER = struct.Struct(">qiibIhi")
NO_LEADER = -1


class Violation(AssertionError):
    """Something happened that must never happen."""


class Batch(NamedTuple):
    base: int
    last: int
    epoch: int
    crc: int
    content: bytes


def batches(data: bytes) -> list[Batch]:
    """The whole batches in `data`."""
    found = []
    position = 0
    while position + 61 <= len(data):
        base, length, epoch, _magic, crc, _attributes, last_delta = HEADER.unpack_from(data, position)
        end = position + 12 + length
        if end > len(data):
            break
        found.append(Batch(base, base + last_delta, epoch, crc, data[position:end]))
        position = end
    return found


def read_log(log: PartitionLog, start: int, end: int) -> list[Batch]:
    """The batches of a log from `start` up to `end`."""
    found: list[Batch] = []
    while start < end:
        records = log.read(start, max_bytes=1 << 22).records
        data = records if isinstance(records, bytes) else records.read()
        more = batches(data)
        if not more:
            break
        found += more
        start = more[-1].last + 1
    return [batch for batch in found if batch.base < end]


Key = tuple[str, int, bytes]


class History:
    """What was committed of one partition, in order."""

    __slots__ = ("bases", "committed", "end", "epochs", "leaders")

    def __init__(self) -> None:
        self.committed: list[Batch] = []
        self.bases: list[int] = []
        self.end = 0
        # Epoch -> who led in it, and whose log was looked at.
        self.leaders: dict[int, str] = {}
        self.epochs: set[tuple[str, int, int]] = set()

    def take(self, who: str, batch: Batch) -> None:
        """A batch below a high watermark: the one that was there before, or the next."""
        if batch.base >= self.end:
            if batch.base != self.end:
                raise Violation(f"{who}: {batch.base} follows {self.end} in what is committed")
            self.committed.append(batch)
            self.bases.append(batch.base)
            self.end = batch.last + 1
            return
        known = self.committed[bisect_right(self.bases, batch.base) - 1]
        if known != batch:
            raise Violation(
                f"{who}: offsets {batch.base}-{batch.last} of epoch {batch.epoch} (crc {batch.crc:08x}) where"
                f" {known.base}-{known.last} of epoch {known.epoch} (crc {known.crc:08x}) were committed"
            )


class State(NamedTuple):
    """A partition's znode."""

    leader: int
    epoch: int
    isr: tuple[int, ...]
    controller_epoch: int


class Replica:
    """What the judge knows of one broker's replica, in one life of the broker."""

    __slots__ = ("checked", "end", "end_before_loss", "epoch", "high_watermark")

    def __init__(self) -> None:
        self.checked = 0
        self.end = 0
        self.end_before_loss = -1
        # Of the present tenure of a leader.
        self.epoch = -1
        self.high_watermark = -1


class Judge:
    """`member(name)` gives a living broker's Partition for a key, or None. `in_debt` are brokers that lost what they
    had not synced, and have not been brought up to date since. `safe` says whether the promises hold for a topic."""

    def __init__(
        self,
        member: Callable[[str, TopicPartition], Partition | None],
        name_of: Callable[[int], str],
        is_safe: Callable[[str], bool],
        tell: Callable[[str], None],
    ) -> None:
        self._member = member
        self._name_of = name_of
        self._is_safe = is_safe
        self._tell = tell
        self.histories: dict[Key, History] = {}
        self.replicas: dict[tuple[str, Key], Replica] = {}
        self.states: dict[TopicPartition, State] = {}
        self.assignments: dict[TopicPartition, tuple[int, ...]] = {}
        self.topic_ids: dict[str, str] = {}
        self.controller_epoch = 0
        self.in_debt: set[str] = set()
        self.min_in_sync = 2
        # When things happened, in changes of znodes: losses and registrations by broker, states by partition.
        self._changes = 0
        self._lost_at: dict[str, int] = {}
        self._registered_at: dict[str, int] = {}
        self._written_at: dict[TopicPartition, int] = {}
        self.looks = 0

    # --- logs and roles ---

    def look(self, name: str, log: PartitionLog) -> None:
        self.looks += 1
        topic_partition = log.topic_partition
        start, stable, committed, end = (
            log.log_start_offset,
            log.last_stable_offset,
            log.high_watermark,
            log.log_end_offset,
        )
        if not start <= stable <= committed <= end:
            raise Violation(
                f"{name} {topic_partition}: start {start}, stable {stable}, watermark {committed}, end {end}"
            )
        topic_id = log.topic_id
        if topic_id is None or log.log_dir.failure is not None:
            return
        key = (*topic_partition, topic_id)
        history = self.histories.get(key)
        if history is None:
            history = self.histories[key] = History()
        replica = self.replicas.get((name, key))
        if replica is None:
            replica = self.replicas[name, key] = Replica()
        if name not in self.in_debt:
            replica.end_before_loss = -1
        if end < replica.end:
            replica.checked = min(replica.checked, end)
        replica.end = end
        is_safe = self._is_safe(topic_partition.topic)
        partition = self._member(name, topic_partition)
        leader = None if partition is None or partition.log is not log else partition.leader
        if leader is not None:
            self._look_at_leader(name, key, log, leader, history, replica, is_safe)
        if is_safe and committed > replica.checked:
            before = history.end
            self._compare(f"{name} {topic_partition}", log, history, max(replica.checked, start), committed)
            replica.checked = committed
            if history.end > before:
                self._count_copies(name, key, history)
        if is_safe:
            self._look_at_isr(topic_partition, key, history)
        if name in self.in_debt:
            self._maybe_pay_off(name)

    def _count_copies(self, name: str, key: Key, history: History) -> None:
        """What is committed lies in at least min.insync.replicas logs at that moment (rule 17)."""
        holders = self.holders(key, history.end)
        if len(holders) < self.min_in_sync:
            raise Violation(f"{name} {key[0]}-{key[1]}: {history.end} is committed, and only {holders} end there")

    def holders(self, key: Key, end: int) -> list[str]:
        """Who has all below `end`, or had it before a loss that nobody knows of yet."""
        return [
            name
            for (name, known), each in self.replicas.items()
            if known == key and (each.end >= end or (name in self.in_debt and each.end_before_loss >= end))
        ]

    def _maybe_pay_off(self, name: str) -> None:
        """A broker that lost records owes nothing more when it is in sync everywhere in its new life, and has all."""
        registered_at = self._registered_at.get(name, 0)
        if registered_at <= self._lost_at.get(name, 0):
            return
        for key, history in self.histories.items():
            topic_partition = TopicPartition(key[0], key[1])
            replicas = self.assignments.get(topic_partition, ())
            if not self._is_safe(key[0]) or not any(self._name_of(each) == name for each in replicas):
                continue
            state, replica = self.states.get(topic_partition), self.replicas.get((name, key))
            if state is None or not any(self._name_of(each) == name for each in state.isr):
                return
            if replica is None or replica.end < history.end or self._written_at[topic_partition] < registered_at:
                return
        self.in_debt.discard(name)
        self._tell(f"{name} has all again")

    def _look_at_leader(
        self,
        name: str,
        key: Key,
        log: PartitionLog,
        leader: Any,
        history: History,
        replica: Replica,
        is_safe: bool,
    ) -> None:
        epoch = leader.epoch
        other = history.leaders.setdefault(epoch, name)
        if other != name:
            raise Violation(f"{name} leads {log.topic_partition} in epoch {epoch}, and so did {other}")
        if replica.epoch != epoch:
            replica.epoch, replica.high_watermark = epoch, log.high_watermark
        elif log.high_watermark < replica.high_watermark:
            raise Violation(
                f"{name} {log.topic_partition}: high watermark {log.high_watermark} in epoch {epoch}, it was"
                f" {replica.high_watermark}"
            )
        replica.high_watermark = log.high_watermark
        if not is_safe:
            return
        state = self.states.get(TopicPartition(key[0], key[1]))
        if state is not None and state.epoch < epoch:
            raise Violation(f"{name} leads {log.topic_partition} in epoch {epoch}, ZooKeeper has {state.epoch}")
        if replica.checked < history.end and epoch == max(history.leaders) and state is not None:
            # Elected: all that was ever committed is there.
            who = f"{name}, leader of {log.topic_partition} in epoch {epoch}"
            if log.log_end_offset < history.end:
                raise Violation(f"{who}, ends at {log.log_end_offset}, and up to {history.end} was committed")
            self._compare(who, log, history, max(replica.checked, log.log_start_offset), history.end)
            replica.checked = history.end

    def _compare(self, who: str, log: PartitionLog, history: History, start: int, end: int) -> None:
        at = start
        for batch in read_log(log, start, end):
            if batch.base > at:
                raise Violation(f"{who}: offset {at} is missing, {batch.base} follows")
            history.take(who, batch)
            at = batch.last + 1
        if at < end:
            raise Violation(f"{who}: offsets from {at} to {end} cannot be read")

    def _look_at_isr(self, topic_partition: TopicPartition, key: Key, history: History) -> None:
        """Whoever is in sync has all that was committed."""
        state = self.states.get(topic_partition)
        if state is None:
            return
        for broker_id in state.isr:
            name = self._name_of(broker_id)
            if name in self.in_debt:
                continue
            replica = self.replicas.get((name, key))
            if replica is not None and 0 <= replica.end < history.end:
                raise Violation(
                    f"{name} is in sync for {topic_partition} and ends at {replica.end}; up to {history.end} was"
                    f" committed (epoch {state.epoch}, leader {state.leader}, in sync {state.isr})"
                )

    def forget_life(self, name: str) -> None:
        """A broker has ended: the next one looks at its logs anew. Where they end is remembered."""
        for (other, _), replica in self.replicas.items():
            if other == name:
                replica.checked = 0
                replica.epoch = -1

    def forget_ends(self, name: str) -> None:
        """A broker has lost what it had not synced."""
        self._lost_at[name] = self._changes
        for (other, _), replica in self.replicas.items():
            if other == name:
                replica.end_before_loss = max(replica.end, replica.end_before_loss)
                replica.end = -1

    # --- ZooKeeper ---

    def written(self, path: str, data: bytes | None) -> None:
        self._changes += 1
        parts = path.split("/")
        if path.startswith("/brokers/ids/") and data is not None:
            self._registered_at[self._name_of(int(parts[3]))] = self._changes
        elif path == "/controller_epoch" and data is not None:
            epoch = int(data)
            if epoch < self.controller_epoch:
                raise Violation(f"the controller's epoch went from {self.controller_epoch} to {epoch}")
            self.controller_epoch = epoch
        elif len(parts) == 4 and path.startswith("/brokers/topics/"):
            self._topic_written(parts[3], data)
        elif len(parts) == 7 and parts[6] == "state" and path.startswith("/brokers/topics/"):
            self._state_written(TopicPartition(parts[3], int(parts[5])), data)

    def _topic_written(self, topic: str, data: bytes | None) -> None:
        if data is None:
            self.topic_ids.pop(topic, None)
            for key in [key for key in self.assignments if key.topic == topic]:
                del self.assignments[key]
            return
        found = json.loads(data)
        self.topic_ids[topic] = found.get("topic_id", "")
        for index, replicas in found["partitions"].items():
            self.assignments[TopicPartition(topic, int(index))] = tuple(replicas)

    def _state_written(self, key: TopicPartition, data: bytes | None) -> None:
        before = self.states.get(key)
        if data is None:
            self.states.pop(key, None)
            return
        found = json.loads(data)
        now = State(found["leader"], found["leader_epoch"], tuple(found["isr"]), found["controller_epoch"])
        self.states[key] = now
        self._written_at[key] = self._changes
        if before is None or before[:3] != now[:3]:
            self._tell(f"{key}: leader {now.leader} in epoch {now.epoch}, in sync {list(now.isr)}")
        if now.controller_epoch != self.controller_epoch:
            raise Violation(
                f"{key} was written by a controller of epoch {now.controller_epoch}, there is {self.controller_epoch}"
            )
        replicas = self.assignments.get(key)
        if replicas is not None and not set(now.isr) <= set(replicas):
            raise Violation(f"{key}: {now.isr} are in sync, the replicas are {replicas}")
        if not now.isr:
            raise Violation(f"{key}: nobody is in sync")
        if now.leader != NO_LEADER and now.leader not in now.isr:
            raise Violation(f"{key}: {now.leader} leads and is not in sync: {now.isr}")
        if before is None:
            return
        if now.epoch < before.epoch or (now.leader != before.leader and now.epoch == before.epoch):
            raise Violation(f"{key}: {before} became {now}")
        # Who is not in sync is elected only where nobody led, as the one who holds most (rule 26): its log tells.
        if NO_LEADER not in (before.leader, now.leader) and now.leader not in before.isr:
            raise Violation(f"{key}: {now.leader} was elected and was not in sync: {before}")
        if self._is_safe(key.topic):
            for known, history in self.histories.items():
                if known[:2] == key:
                    self._look_at_isr(key, known, history)

    def history_of(self, topic: str, partition: int) -> History:
        """Of the latest topic of the name."""
        found = [history for key, history in self.histories.items() if key[:2] == (topic, partition)]
        return found[-1] if found else History()

    def is_committed(self, key: TopicPartition, end: int) -> bool:
        """Whether all below `end` was seen to be committed, or is so though its leader's disk has failed since."""
        if self.history_of(*key).end >= end:
            return True
        return any(len(self.holders(known, end)) >= self.min_in_sync for known in self.histories if known[:2] == key)
