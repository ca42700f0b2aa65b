"""The controller of a cluster with ZooKeeper: what has happened, and what is to be written and told. No I/O, no clock.

    plan = controller.brokers_changed(live)              # decides on the image as it is
    versions = ...                                       # plan.writes, compared and set
    notices = controller.written(plan, versions)         # the image as it is written now, and what brokers are told

One plan at a time is carried out. What could not be written stays as it was in the image. Kafka: KafkaController.scala,
PartitionStateMachine.scala, ReplicaStateMachine.scala, TopicDeletionManager.scala.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from kstore.cluster.election import elect_offline, first_leader, without
from kstore.cluster.image import NO_LEADER, BrokerImage, ClusterImage, PartitionImage, TopicImage
from kstore.cluster.isr_update import IsrProposal, decide_isr
from kstore.cluster.notices import Notice, Notices
from kstore.errors import StaleBrokerEpochError, UnknownTopicOrPartitionError
from kstore.model import TopicPartition

log = logging.getLogger(__name__)


class Plan(NamedTuple):
    """`writes` are new states; the `partition_epoch` in each is the one that has to be there still, -1 none.

    `made` are partitions that nobody holds yet, `catch_up` the brokers that are to be told all, `stop` replicas that
    are to be let go of by (broker, partition).
    """

    writes: Mapping[TopicPartition, PartitionImage] = {}
    made: frozenset[TopicPartition] = frozenset()
    catch_up: frozenset[int] = frozenset()
    stop: tuple[tuple[int, TopicPartition], ...] = ()
    # Whether the replicas hear of it by LeaderAndIsr. An ISR that its leader proposed is news to the others only.
    tells_replicas: bool = True


class Controller:
    def __init__(self, *, broker_id: int, epoch: int) -> None:
        self.broker_id = broker_id
        self.epoch = epoch
        self.image = ClusterImage(controller_id=broker_id)
        self.shutting_down: set[int] = set()
        # Topics that are being deleted, and which replicas are gone already.
        self.deleting: dict[str, set[tuple[int, int]]] = {}

    # --- events ---

    def started(
        self, brokers: Mapping[int, BrokerImage], topics: Mapping[str, TopicImage], to_delete: Iterable[str]
    ) -> Plan:
        """This broker has been elected, and has read all that is written."""
        self.image = self.image._replace(
            brokers=brokers, topics=dict(topics), topic_names={topic.id: name for name, topic in topics.items()}
        )
        self.deleting = {name: set() for name in to_delete if name in topics}
        return self._elections(catch_up=frozenset(brokers))

    def brokers_changed(self, brokers: Mapping[int, BrokerImage]) -> Plan:
        """Registrations came or went. One that came anew between two looks has gone and come (rule 47)."""
        before = self.image.brokers
        came = {id for id, broker in brokers.items() if id not in before or before[id].epoch != broker.epoch}
        gone = {id for id, broker in before.items() if id not in brokers or brokers[id].epoch != broker.epoch}
        self.shutting_down -= came | gone
        self.image = self.image._replace(brokers=brokers)
        if not came and not gone:
            return Plan()
        log.info("brokers came: %s, went: %s; alive: %s", sorted(came), sorted(gone), sorted(brokers))
        staying = frozenset(brokers) - came
        writes: dict[TopicPartition, PartitionImage] = {}
        for key, partition in self._partitions():
            changed = without(partition, gone, live=staying)
            after = changed or partition
            if after.leader == NO_LEADER or after.leader not in brokers:
                # What a newcomer can bring back.
                elected = self._elect(after)
                # One write is one epoch.
                changed = elected._replace(leader_epoch=partition.leader_epoch + 1) if elected else changed
            if changed is not None:
                writes[key] = changed
        return self._plan(writes, catch_up=frozenset(came))

    def topics_came(self, topics: Mapping[str, TopicImage]) -> Plan:
        """Topics were made, or have more partitions: those that have no state get their first one."""
        known = dict(self.image.topics)
        for name, topic in topics.items():
            earlier = known.get(name)
            kept = earlier.partitions if earlier is not None and earlier.id == topic.id else {}
            known[name] = topic._replace(partitions={**topic.partitions, **kept})
        names = {topic.id: name for name, topic in known.items()}
        self.image = self.image._replace(topics=known, topic_names=names)
        return self._elections(only=frozenset(topics))

    def isr_proposed(self, key: TopicPartition, proposal: IsrProposal, *, broker_epoch: int) -> Plan:
        """A leader wants other in-sync replicas; an empty plan if it is so already. Raises a KafkaError to refuse."""
        broker = self.image.brokers.get(proposal.broker_id)
        if broker is None or broker.epoch != broker_epoch:
            raise StaleBrokerEpochError(f"broker {proposal.broker_id} is not registered with epoch {broker_epoch}")
        current = self.state(key)
        if current is None or key.topic in self.deleting:
            raise UnknownTopicOrPartitionError(f"there is no partition {key}")
        decided = decide_isr(current, proposal, brokers=self.image.brokers, shutting_down=self.shutting_down)
        if decided is None:
            return Plan()
        log.info("%s: in sync are %s, they were %s", key, decided.isr, current.isr)
        return self._plan({key: decided})._replace(tells_replicas=False)

    def shutdown_asked(self, broker_id: int, broker_epoch: int) -> Plan:
        """A broker wants to stop: what it leads goes to others in sync, and it leaves the ISR of the rest. Partitions
        with one replica stay. Raises StaleBrokerEpochError."""
        broker = self.image.brokers.get(broker_id)
        if broker is None or broker.epoch != broker_epoch:
            raise StaleBrokerEpochError(f"broker {broker_id} is not registered with epoch {broker_epoch}")
        self.shutting_down.add(broker_id)
        live = frozenset(self.image.brokers) - self.shutting_down
        writes: dict[TopicPartition, PartitionImage] = {}
        stop = []
        for key, partition in self._partitions():
            if broker_id not in partition.replicas or len(partition.replicas) == 1:
                continue
            if partition.leader == broker_id:
                elected = elect_offline(partition, live=live)
                if elected is not None:
                    writes[key] = elected
            else:
                stop.append((broker_id, key))
                changed = without(partition, {broker_id}, live=frozenset(self.image.brokers))
                if changed is not None and partition.leader in self.image.brokers:
                    writes[key] = changed
        return self._plan(writes)._replace(stop=tuple(stop))

    def led_by(self, broker_id: int) -> list[TopicPartition]:
        """The partitions with more than one replica that a broker leads still."""
        return [
            key
            for key, partition in self._partitions()
            if partition.leader == broker_id and len(partition.replicas) > 1
        ]

    # --- deletion ---

    def deletion_asked(self, name: str) -> list[Notice]:
        """Brokers forget the topic and delete its replicas; those that are away are told when they come back."""
        topic = self.image.topics.get(name)
        if topic is None:
            return []
        self.deleting.setdefault(name, set())
        notices = self._notices()
        keys = [TopicPartition(name, index) for index in topic.partitions]
        notices.update_metadata(self.image.brokers, keys)
        for key in keys:
            notices.stop_replica(topic.partitions[key.partition].replicas, key, delete=True)
        return notices.take(deleted={name: topic})

    def replica_deleted(self, broker_id: int, key: TopicPartition) -> bool:
        """A broker has deleted its replica; True if it was the last one, and the topic's znodes may go."""
        topic, gone = self.image.topics.get(key.topic), self.deleting.get(key.topic)
        if topic is None or gone is None:
            return False
        gone.add((broker_id, key.partition))
        return all(
            (replica, index) in gone for index, partition in topic.partitions.items() for replica in partition.replicas
        )

    def topic_deleted(self, name: str) -> None:
        self.deleting.pop(name, None)
        topics = {other: topic for other, topic in self.image.topics.items() if other != name}
        names = {topic.id: other for other, topic in topics.items()}
        self.image = self.image._replace(topics=topics, topic_names=names)

    # --- what was written ---

    def written(self, plan: Plan, versions: Mapping[TopicPartition, int | None]) -> list[Notice]:
        """Takes what was written into the image. Gives what brokers are told, of that and of what the plan has else."""
        changed = [key for key in plan.writes if versions.get(key) is not None]
        topics = dict(self.image.topics)
        for key in changed:
            version = versions[key]
            assert version is not None
            topic = topics.get(key.topic)
            if topic is not None:
                state = plan.writes[key]._replace(partition_epoch=version)
                topics[key.topic] = topic._replace(partitions={**topic.partitions, key.partition: state})
        self.image = self.image._replace(topics=topics)

        brokers, notices = self.image.brokers, self._notices()
        for key in changed:
            if plan.tells_replicas and key.topic in topics:
                replicas = [replica for replica in plan.writes[key].replicas if replica in brokers]
                notices.leader_and_isr(replicas, key, is_new=key in plan.made)
        if changed or plan.catch_up:
            notices.update_metadata(brokers, [key for key in changed if key.topic in topics])
        if plan.catch_up:
            decided = [(key, partition) for key, partition in self._partitions() if partition.partition_epoch >= 0]
            notices.update_metadata(plan.catch_up & frozenset(brokers), [key for key, _ in decided])
            for key, partition in decided:
                newcomers = [replica for replica in partition.replicas if replica in plan.catch_up]
                notices.leader_and_isr(newcomers, key, is_new=key in plan.made)
        for broker_id, key in plan.stop:
            notices.stop_replica([broker_id], key, delete=False)
        # A leader that its followers do not know yet is not followed: who is alive comes before who leads.
        told = notices.take(metadata_first=bool(plan.catch_up))
        if plan.catch_up:
            for name in list(self.deleting):
                told += self.deletion_asked(name)
        return told

    def state(self, key: TopicPartition) -> PartitionImage | None:
        """What is decided of a partition; None where nothing is."""
        topic = self.image.topics.get(key.topic)
        partition = None if topic is None else topic.partitions.get(key.partition)
        return None if partition is None or partition.partition_epoch < 0 else partition

    # --- helpers ---

    def _partitions(self) -> Iterator[tuple[TopicPartition, PartitionImage]]:
        """All but those of topics that are being deleted."""
        for name, topic in self.image.topics.items():
            if name not in self.deleting:
                for index, partition in topic.partitions.items():
                    yield TopicPartition(name, index), partition

    def _elect(self, partition: PartitionImage) -> PartitionImage | None:
        if partition.partition_epoch < 0:
            return first_leader(partition, live=self.image.brokers)
        return elect_offline(partition, live=self.image.brokers)

    def _elections(self, *, catch_up: frozenset[int] = frozenset(), only: frozenset[str] | None = None) -> Plan:
        """Leaders for the partitions that have none, or one that is not alive."""
        writes = {}
        for key, partition in self._partitions():
            if (only is None or key.topic in only) and partition.leader not in self.image.brokers:
                elected = self._elect(partition)
                if elected is not None:
                    writes[key] = elected
        return self._plan(writes, catch_up=catch_up)

    def _plan(self, writes: Mapping[TopicPartition, PartitionImage], *, catch_up: frozenset[int] = frozenset()) -> Plan:
        stamped = {key: state._replace(controller_epoch=self.epoch) for key, state in writes.items()}
        made = frozenset(key for key, state in stamped.items() if state.partition_epoch < 0)
        for key, state in stamped.items():
            if key not in made and state.leader != self.image.topics[key.topic].partitions[key.partition].leader:
                log.info("%s: leader %d in epoch %d, in sync %s", key, state.leader, state.leader_epoch, state.isr)
        return Plan(stamped, made, catch_up)

    def _notices(self) -> Notices:
        return Notices(self.image, controller_id=self.broker_id, controller_epoch=self.epoch)
