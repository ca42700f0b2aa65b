"""The controller of a cluster with ZooKeeper: what has happened, and what is to be written and told. No I/O, no clock.

    plan = controller.brokers_changed(live)              # decides on the image as it is
    versions = ...                                       # plan.writes, compared and set
    notices = controller.written(plan, versions)         # the image as it is written now, and what brokers are told

One plan at a time is carried out. What could not be written stays as it was in the image, until it is read anew
(`states_read`). Kafka: KafkaController.scala, PartitionStateMachine.scala, ReplicaStateMachine.scala,
TopicDeletionManager.scala.
"""

import logging
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import NamedTuple

from kstore.cluster.balance import imbalanced
from kstore.cluster.image import NO_LEADER, BrokerImage, ClusterImage, PartitionImage, TopicImage
from kstore.cluster.isr_update import IsrProposal, decide_isr
from kstore.cluster.leader_election import elect_in_sync, elect_preferred, elect_unclean, settled, without_follower
from kstore.cluster.notices import Notice, Notices
from kstore.cluster.plan import Plan, Stop
from kstore.cluster.reassignment import begun, check_target, finished, is_reassigned, origin_of
from kstore.cluster.standing import (
    Doubt,
    LogEnd,
    Standing,
    elect_longest,
    elect_longest_unclean,
    has_to_wait,
    incarnations_after,
    is_doubtful,
    standing_of,
)
from kstore.errors import (
    ElectionNotNeededError,
    EligibleLeadersNotAvailableError,
    InvalidReplicaAssignmentError,
    InvalidTopicError,
    KafkaError,
    NoReassignmentInProgressError,
    PreferredLeaderNotAvailableError,
    StaleBrokerEpochError,
    UnknownTopicOrPartitionError,
)
from kstore.model import TopicPartition

log = logging.getLogger(__name__)

# ElectLeadersRequest.ElectionType
PREFERRED, UNCLEAN = 0, 1
# So often those who are there are asked what they hold before they are taken for such as hold nothing.
MOST_IN_VAIN = 5

Refusals = dict[TopicPartition, KafkaError]


class Presence(NamedTuple):
    """The replicas of one partition that answer, those of them that do not shut down, and of these those whose logs
    nobody has to look at before they lead."""

    online: frozenset[int]
    electable: frozenset[int]
    undoubted: frozenset[int]


class Controller:
    def __init__(self, *, broker_id: int, epoch: int) -> None:
        self.broker_id = broker_id
        self.epoch = epoch
        self.image = ClusterImage(controller_id=broker_id)
        self.shutting_down: set[int] = set()
        # Topics that are being deleted, and which replicas are gone already.
        self.deleting: dict[str, set[tuple[int, int]]] = {}
        # Partitions whose replicas in sync have come back and may have lost records: all replicas are asked what they
        # hold; and what they have answered, and those of other partitions without a leader that were asked.
        self.doubted: set[TopicPartition] = set()
        self._ends: dict[TopicPartition, Mapping[int, LogEnd]] = {}
        # How often those who are there have been asked in vain.
        self._asked_in_vain: dict[TopicPartition, int] = {}
        # Replicas whose directory has failed, by broker.
        self.offline: dict[int, set[TopicPartition]] = {}

    # --- brokers, directories, topics ---

    def started(
        self, brokers: Mapping[int, BrokerImage], topics: Mapping[str, TopicImage], to_delete: Iterable[str]
    ) -> Plan:
        """This broker has been elected, and has read all that is written."""
        self.image = self.image._replace(
            brokers=brokers, topics=dict(topics), topic_names={topic.id: name for name, topic in topics.items()}
        )
        self.deleting = {name: set() for name in to_delete if name in topics}
        # Whoever is in sync of what nobody leads may have come back a moment ago.
        came: dict[TopicPartition, Container[int]] = {
            key: brokers if partition.leader == NO_LEADER else self._restarted(partition)
            for key, partition in self._partitions()
        }
        plan = self._settle(f"controller {self.broker_id} was elected", came_of=lambda key: came.get(key, ()))
        writes = _told_again(dict(self._decided()), plan.writes)
        return self._plan(writes, plan.reason)._replace(catch_up=frozenset(brokers))

    def brokers_changed(self, brokers: Mapping[int, BrokerImage]) -> Plan:
        """Registrations came, went or changed. One that came anew between two looks has gone and come (rule 47)."""
        before = self.image.brokers
        came = {id for id, broker in brokers.items() if id not in before or before[id].epoch != broker.epoch}
        gone = {id for id, broker in before.items() if id not in brokers or brokers[id].epoch != broker.epoch}
        self.shutting_down -= came | gone
        self._ends = {
            key: {id: end for id, end in ends.items() if id not in came | gone} for key, ends in self._ends.items()
        }
        for broker_id in came | gone:
            self.offline.pop(broker_id, None)
        self.image = self.image._replace(brokers=brokers)
        if not came and not gone:
            return Plan(tells_brokers=dict(before) != dict(brokers))
        log.info("brokers came: %s, went: %s; alive: %s", sorted(came), sorted(gone), sorted(brokers))
        names = [f"broker {id} came" for id in sorted(came)] + [f"broker {id} went" for id in sorted(gone - came)]
        plan = self._settle(", ".join(names), came_of=lambda _key: came)
        return plan._replace(catch_up=frozenset(came), tells_brokers=True)

    def directories_failed(self, broker_ids: Iterable[int]) -> list[Notice]:
        """Brokers have lost a directory: they are asked, by what they know already, which of their replicas answer."""
        notices = self._notices()
        asked = frozenset(broker_ids)
        for key, partition in self._decided():
            notices.leader_and_isr(asked.intersection(partition.replicas), key)
        return notices.take()

    def replicas_answered(
        self, broker_id: int, *, online: Iterable[TopicPartition], offline: Iterable[TopicPartition]
    ) -> Plan:
        """What a broker said of its replicas: those without a directory lead no more and are not in sync."""
        before = frozenset(self.offline.get(broker_id, ()))
        after = (before - frozenset(online)) | frozenset(offline)
        if after:
            self.offline[broker_id] = set(after)
        else:
            self.offline.pop(broker_id, None)
        if not after - before:
            return Plan()
        return self._settle(f"broker {broker_id} lost a directory", only=after - before)._replace(tells_brokers=True)

    def topics_came(self, topics: Mapping[str, TopicImage]) -> Plan:
        """Topics were made, or have more partitions: those that have no state get their first one."""
        known = dict(self.image.topics)
        for name, topic in topics.items():
            earlier = known.get(name)
            kept = earlier.partitions if earlier is not None and earlier.id == topic.id else {}
            known[name] = topic._replace(partitions={**topic.partitions, **kept})
        self._set_topics(known)
        keys = [TopicPartition(name, index) for name, topic in topics.items() for index in topic.partitions]
        return self._settle("it is new", only=frozenset(keys))

    def topics_went(self, names: Iterable[str]) -> None:
        """Topics whose znodes are not there any more."""
        gone = frozenset(names)
        for name in gone:
            self.deleting.pop(name, None)
        for key in [key for key in self.doubted | self._ends.keys() if key.topic in gone]:
            self._end_doubt(key)
        self._set_topics({name: topic for name, topic in self.image.topics.items() if name not in gone})

    def states_read(self, states: Mapping[TopicPartition, PartitionImage]) -> list[Notice]:
        """What others have written of partitions; all brokers are told."""
        # Partitions that are new are known, and made, when their topic's assignment is looked at.
        known = self.image.topics
        self._set_partitions(
            {
                key: found
                for key, found in states.items()
                if key.topic in known and key.partition in known[key.topic].partitions
            }
        )
        notices = self._notices()
        notices.update_metadata(self.image.brokers, [key for key in states if self.state(key) is not None])
        return notices.take()

    def unsettled(self, keys: Container[TopicPartition]) -> Plan:
        """What is still to be done for partitions that others had written in between."""
        plan = self._settle("its state was written by somebody else", only=keys)
        found = {key: partition for key, partition in self._decided() if key in keys}
        return self._plan(_told_again(found, plan.writes), plan.reason)

    # --- in-sync replicas ---

    def isr_proposed(self, key: TopicPartition, proposal: IsrProposal, *, broker_epoch: int) -> Plan:
        """A leader wants other in-sync replicas; an empty plan if it is so already. Raises a KafkaError to refuse."""
        broker = self.image.brokers.get(proposal.broker_id)
        if broker is None or broker.epoch != broker_epoch:
            raise StaleBrokerEpochError(f"broker {proposal.broker_id} is not registered with epoch {broker_epoch}")
        current = self.state(key)
        if current is None or key.topic in self.deleting:
            raise UnknownTopicOrPartitionError(f"there is no partition {key}")
        # What a replica fetched before its directory failed does not let it in.
        present = {id: each for id, each in self.image.brokers.items() if key not in self.offline.get(id, ())}
        decided = decide_isr(current, proposal, brokers=present, shutting_down=self.shutting_down)
        if decided is None:
            return Plan()
        return self._plan({key: decided}, "its leader proposes it")._replace(tells_replicas=False)

    def shutdown_asked(self, broker_id: int, broker_epoch: int) -> Plan:
        """A broker wants to stop: what it leads goes to others in sync, and it leaves the ISR of the rest. Partitions
        with one replica stay. Raises StaleBrokerEpochError."""
        broker = self.image.brokers.get(broker_id)
        if broker is None or broker.epoch != broker_epoch:
            raise StaleBrokerEpochError(f"broker {broker_id} is not registered with epoch {broker_epoch}")
        self.shutting_down.add(broker_id)
        writes: dict[TopicPartition, PartitionImage] = {}
        stop = []
        for key, partition in self._decided():
            if broker_id not in partition.replicas or len(partition.replicas) == 1:
                continue
            presence = self._presence(key, partition)
            if partition.leader == broker_id:
                changed = elect_in_sync(partition, electable=presence.undoubted)
            else:
                stop.append(Stop(broker_id, key, delete=False))
                changed = without_follower(partition, broker_id) if partition.leader in presence.online else None
            if changed is not None:
                writes[key] = changed
        return self._plan(writes, f"broker {broker_id} shuts down")._replace(stop=tuple(stop))

    def led_by(self, broker_id: int) -> list[TopicPartition]:
        """The partitions with more than one replica that a broker leads still."""
        return [
            key
            for key, partition in self._partitions()
            if partition.leader == broker_id and len(partition.replicas) > 1
        ]

    # --- elections ---

    def leaderless(self) -> frozenset[str]:
        """Topics with partitions that nobody in sync can lead, and somebody else could."""
        return frozenset(
            key.topic
            for key, partition in self._decided()
            if partition.leader == NO_LEADER and key not in self.doubted and self._presence(key, partition).electable
        )

    def doubts(self) -> dict[TopicPartition, Doubt]:
        """The partitions whose replicas are to be compared before one of them leads."""
        found = {}
        for key in self.doubted:
            partition = self.state(key)
            if partition is not None:
                found[key] = self._doubt(key, partition)
        return found

    def choices(self, keys: Iterable[TopicPartition] | None) -> dict[TopicPartition, Doubt]:
        """Those of the partitions, of all where `keys` is None, that several out of sync could lead, and nobody else:
        before an administrator has one of them lead they are asked what they hold (`ends_heard`)."""
        found = {}
        for key in [key for key, _ in self._decided()] if keys is None else keys:
            partition = self.state(key)
            if partition is None or partition.leader != NO_LEADER or key in self.doubted:
                continue
            presence = self._presence(key, partition)
            if len(presence.electable) > 1 and elect_in_sync(partition, electable=presence.undoubted) is None:
                found[key] = self._doubt(key, partition)
        return found

    def _doubt(self, key: TopicPartition, partition: PartitionImage) -> Doubt:
        electable = self._presence(key, partition).electable
        return Doubt(self.image.topics[key.topic].id, partition.leader_epoch, electable)

    def ends_heard(
        self, asked: Mapping[TopicPartition, Doubt], ends: Mapping[TopicPartition, Mapping[int, LogEnd]]
    ) -> None:
        """What the replicas hold that an administrator may choose of."""
        now = self.choices(asked)
        for key in now.keys() & asked.keys():
            if now[key].leader_epoch == asked[key].leader_epoch:
                self._ends[key] = ends.get(key, {})

    def ends_told(
        self,
        asked: Mapping[TopicPartition, Doubt],
        ends: Mapping[TopicPartition, Mapping[int, LogEnd]],
        *,
        min_in_sync: Mapping[str, int],
    ) -> Plan:
        """What the replicas of doubted partitions hold: whoever holds most leads, unless one that has not answered has
        to be waited for (rule 26). `min_in_sync` is min.insync.replicas by topic, 0 where
        unclean.leader.election.enable is true."""
        writes = {}
        for key in self.doubted & asked.keys():
            partition, doubt = self.state(key), asked[key]
            if partition is None or partition.leader_epoch != doubt.leader_epoch:
                continue
            electable = self._presence(key, partition).electable
            if not electable <= doubt.replicas:
                continue  # somebody has come since, and is asked by now
            known = {id: end for id, end in ends.get(key, {}).items() if id in electable}
            _log_ends(key, partition, known, before=self._ends.get(key))
            self._ends[key] = known
            if self._is_patient(key, electable - known.keys()):
                continue
            lost = len(self._standing(partition).broken & electable)
            if has_to_wait(partition, known, lost=lost, min_in_sync=min_in_sync.get(key.topic, 1)):
                continue
            elected = elect_longest(partition, known, electable=electable)
            if elected is not None:
                writes[key] = elected
        return self._plan(writes, "nobody is known to hold more")

    def _is_patient(self, key: TopicPartition, silent: Container[int]) -> bool:
        """Whether those who are there and have not answered are asked once more, whatever was promised."""
        if not silent:
            self._asked_in_vain.pop(key, None)
            return False
        self._asked_in_vain[key] = self._asked_in_vain.get(key, 0) + 1
        return self._asked_in_vain[key] < MOST_IN_VAIN

    def lacks_answers(self) -> bool:
        """Whether somebody who is there has not said what it holds of what waits for that."""
        return any(doubt.replicas - set(self._ends.get(key, ())) for key, doubt in self.doubts().items())

    def unclean_allowed(self, topics: Container[str]) -> Plan:
        """Leaders out of sync for what has none, in topics whose unclean.leader.election.enable is true."""
        writes = {}
        for key, partition in self._decided():
            if partition.leader == NO_LEADER and key.topic in topics and key not in self.doubted:
                elected = elect_unclean(partition, electable=self._presence(key, partition).electable)
                if elected is not None:
                    writes[key] = elected
        return self._plan(writes, "nobody in sync is there, and unclean.leader.election.enable is true")

    def elections_asked(self, kind: int, keys: Iterable[TopicPartition] | None) -> tuple[Plan, Refusals]:
        """ElectLeaders (KIP-183, KIP-460): of all partitions where `keys` is None."""
        writes: dict[TopicPartition, PartitionImage] = {}
        refusals: Refusals = {}
        asked = [key for key, _ in self._partitions()] if keys is None else list(dict.fromkeys(keys))
        for key in asked:
            try:
                writes[key] = self._election_asked(kind, key)
            except KafkaError as error:
                refusals[key] = error
        name = "preferred" if kind == PREFERRED else "unclean"
        return self._plan(writes, f"an administrator asked for the {name} leader"), refusals

    def _election_asked(self, kind: int, key: TopicPartition) -> PartitionImage:
        """Raises KafkaError."""
        partition = self._known(key)
        if key.topic in self.deleting:
            raise InvalidTopicError(f"topic {key.topic!r} is being deleted")
        presence = self._presence(key, partition)
        if kind == PREFERRED:
            if partition.leader == partition.replicas[0]:
                raise ElectionNotNeededError(f"broker {partition.leader} leads {key} already")
            elected = elect_preferred(partition, electable=presence.undoubted)
            if elected is None:
                raise PreferredLeaderNotAvailableError(
                    f"broker {partition.replicas[0]} cannot lead {key}: in sync are {list(partition.isr)}, there are"
                    f" {sorted(presence.undoubted)}"
                )
            return elected
        if partition.leader in presence.online:
            raise ElectionNotNeededError(f"broker {partition.leader} leads {key}")
        elected = elect_in_sync(partition, electable=presence.undoubted)
        if elected is None and key in self.doubted:
            if key not in self._ends:
                raise EligibleLeadersNotAvailableError(f"the replicas of {key} are being asked what they hold")
            known = {id: end for id, end in self._ends[key].items() if id in presence.electable}
            elected = elect_longest(partition, known, electable=presence.electable)
        if elected is None:
            elected = elect_longest_unclean(partition, self._ends.get(key, {}), electable=presence.electable)
        if elected is None:
            raise EligibleLeadersNotAvailableError(f"no replica of {key} is there: {list(partition.replicas)}")
        return elected

    def balance(self, percentage: int) -> Plan:
        """Preferred leaders, where too much that a broker should lead is led by others."""
        writes = {}
        partitions = dict(self._decided())
        for key in imbalanced(partitions.items(), percentage=percentage):
            presence = self._presence(key, partitions[key])
            elected = elect_preferred(partitions[key], electable=presence.undoubted)
            if elected is not None:
                writes[key] = elected
        return self._plan(writes, "too much of what its first replica should lead was led by others")

    # --- reassignment ---

    def reassignments_asked(self, targets: Mapping[TopicPartition, tuple[int, ...] | None]) -> tuple[Plan, Refusals]:
        """AlterPartitionReassignments: partitions begin to move to other replicas, or, where the target is None, back
        to those they had."""
        writes: dict[TopicPartition, PartitionImage] = {}
        refusals: Refusals = {}
        for key, target in targets.items():
            try:
                changed = self._reassigned(key, target)
            except KafkaError as error:
                refusals[key] = error
            else:
                if changed is not None:
                    writes[key] = changed
        return self._moves(writes, "it is being reassigned"), refusals

    def _reassigned(self, key: TopicPartition, target: tuple[int, ...] | None) -> PartitionImage | None:
        """None where it is so already. Raises KafkaError."""
        partition = self._known(key)
        if key.topic in self.deleting:
            raise UnknownTopicOrPartitionError(f"topic {key.topic!r} is being deleted")
        if target is None:
            if not is_reassigned(partition):
                raise NoReassignmentInProgressError(f"{key} is not being reassigned")
            wanted = origin_of(partition)
        else:
            wanted = target
            check_target(partition, wanted, live=self._live())
        if wanted == partition.replicas and not is_reassigned(partition):
            return None
        presence = self._presence(key, partition)
        after = begun(partition, wanted, electable=presence.undoubted)
        if key in self.doubted and not set(partition.isr) <= set(after.replicas):
            raise InvalidReplicaAssignmentError(
                f"{list(after.replicas)} lack some of {list(partition.isr)}: what they hold is being found out"
            )
        done = finished(after, online=presence.online, electable=presence.undoubted, raises_epoch=False)
        return done or after

    def reassignments_done(self, keys: Iterable[TopicPartition] | None = None) -> Plan:
        """Ends the reassignments whose replicas are all in sync; looks at all where `keys` is None."""
        found = self._decided() if keys is None else ((key, self.state(key)) for key in keys)
        writes = {}
        for key, partition in found:
            if partition is not None and is_reassigned(partition) and key.topic not in self.deleting:
                presence = self._presence(key, partition)
                done = finished(partition, online=presence.online, electable=presence.undoubted)
                if done is not None:
                    writes[key] = done
        return self._moves(writes, "its new replicas are in sync")

    def reassignments(self) -> dict[TopicPartition, PartitionImage]:
        return {key: partition for key, partition in self._partitions() if is_reassigned(partition)}

    def _moves(self, writes: Mapping[TopicPartition, PartitionImage], reason: str) -> Plan:
        stop = [
            Stop(replica, key, delete=True)
            for key, after in writes.items()
            for replica in self._known(key).replicas
            if replica not in after.replicas
        ]
        return self._plan(writes, reason)._replace(moved=frozenset(writes), stop=tuple(stop))

    # --- deletion ---

    def deletion_asked(self, name: str) -> list[Notice]:
        """Brokers forget the topic and delete its replicas, also those of a reassignment; those that are away are told
        when they come back."""
        topic = self.image.topics.get(name)
        if topic is None:
            return []
        if name not in self.deleting:
            log.info("topic %s is being deleted", name)
            self.deleting[name] = set()
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
        self.topics_went([name])

    # --- what was written ---

    def written(self, plan: Plan, versions: Mapping[TopicPartition, int | None]) -> list[Notice]:
        """Takes what was written into the image. Gives what brokers are told, of that and of what the plan has else."""
        before = {key: self.state(key) for key in plan.writes}
        states = {
            key: plan.writes[key]._replace(partition_epoch=version)
            for key, version in versions.items()
            if version is not None and key.topic in self.image.topics
        }
        self._set_partitions(states)
        brokers, notices = self.image.brokers, self._notices()
        for key, state in states.items():
            _log_change(key, before[key], state, plan.reason)
            if plan.tells_replicas:
                self._tell_replicas(notices, key, before[key], state, is_made=key in plan.made)
        if states or plan.catch_up or plan.tells_brokers:
            notices.update_metadata(brokers, states)
        if plan.catch_up:
            decided = list(self._decided())
            notices.update_metadata(plan.catch_up & frozenset(brokers), [key for key, _ in decided])
            for key, partition in decided:
                for replica in plan.catch_up.intersection(partition.replicas):
                    is_new = key in plan.made or _is_new_replica(partition, replica)
                    notices.leader_and_isr([replica], key, is_new=is_new)
        for broker_id, key, delete in plan.stop:
            # What could not be written is not stopped either.
            if key in states or key not in plan.writes:
                notices.stop_replica([broker_id], key, delete=delete)
        # A leader that its followers do not know yet is not followed: who is alive comes before who leads.
        told = notices.take(metadata_first=bool(plan.catch_up))
        if plan.catch_up:
            for name in list(self.deleting):
                told += self.deletion_asked(name)
        return told

    def _tell_replicas(
        self,
        notices: Notices,
        key: TopicPartition,
        before: PartitionImage | None,
        state: PartitionImage,
        *,
        is_made: bool,
    ) -> None:
        led = -1 if before is None else before.leader
        for replica in state.replicas:
            # A follower that shuts down has let go of its replica; one that led has to hear that it does not any more.
            if replica not in self.shutting_down or replica in state.isr or replica in (led, state.leader):
                notices.leader_and_isr([replica], key, is_new=is_made or _is_new_replica(state, replica))

    def state(self, key: TopicPartition) -> PartitionImage | None:
        """What is decided of a partition; None where nothing is."""
        topic = self.image.topics.get(key.topic)
        partition = None if topic is None else topic.partitions.get(key.partition)
        return None if partition is None or partition.partition_epoch < 0 else partition

    # --- helpers ---

    def _known(self, key: TopicPartition) -> PartitionImage:
        """Raises UnknownTopicOrPartitionError."""
        partition = self.state(key)
        if partition is None:
            raise UnknownTopicOrPartitionError(f"there is no partition {key}")
        return partition

    def _partitions(self) -> Iterator[tuple[TopicPartition, PartitionImage]]:
        """All but those of topics that are being deleted."""
        for name, topic in self.image.topics.items():
            if name not in self.deleting:
                for index, partition in topic.partitions.items():
                    yield TopicPartition(name, index), partition

    def _decided(self) -> Iterator[tuple[TopicPartition, PartitionImage]]:
        """Those of them that have a state."""
        return ((key, partition) for key, partition in self._partitions() if partition.partition_epoch >= 0)

    def _live(self) -> frozenset[int]:
        return frozenset(self.image.brokers) - self.shutting_down

    def _presence(self, key: TopicPartition, partition: PartitionImage) -> Presence:
        online = frozenset(
            replica
            for replica in partition.replicas
            if replica in self.image.brokers and key not in self.offline.get(replica, ())
        )
        electable = online - self.shutting_down
        broken = self._standing(partition).broken
        return Presence(online, electable, electable - (broken.union(partition.isr) if key in self.doubted else broken))

    def _standing(self, partition: PartitionImage) -> Standing:
        return standing_of(partition, self.image.brokers)

    def _restarted(self, partition: PartitionImage) -> frozenset[int]:
        """Replicas whose brokers have registered since the state was written. No controller has noticed that they went
        and came (rule 47): a leader among them may lack what was acknowledged in its epoch."""
        brokers = self.image.brokers
        return frozenset(
            replica
            for replica in partition.isr
            if replica in brokers and brokers[replica].epoch > partition.written >= 0
        )

    def _settle(
        self,
        reason: str,
        *,
        only: Container[TopicPartition] | None = None,
        came_of: Callable[[TopicPartition], Container[int]] = lambda _key: (),
    ) -> Plan:
        """Brings what is decided into line with who is there, and who came a moment ago."""
        writes = {}
        for key, partition in self._partitions():
            if only is None or key in only:
                online, electable, _ = self._presence(key, partition)
                standing = self._standing(partition)
                # A doubt lasts until the others have been asked.
                came = partition.isr if key in self.doubted else came_of(key)
                doubted = is_doubtful(partition, electable=electable, came=came, standing=standing)
                after = settled(
                    partition,
                    online=online,
                    electable=electable,
                    came=[replica for replica in partition.isr if replica in came or replica in standing.broken],
                    whole=standing.whole,
                    doubted=doubted,
                )
                if (after or partition).leader == NO_LEADER and doubted:
                    if key not in self.doubted:
                        self._end_doubt(key)  # what was asked before it counts for nothing
                    self.doubted.add(key)
                else:
                    self._end_doubt(key)
                if after is not None:
                    writes[key] = after
        return self._plan(writes, reason)

    def _end_doubt(self, key: TopicPartition) -> None:
        self.doubted.discard(key)
        self._ends.pop(key, None)
        self._asked_in_vain.pop(key, None)

    def _plan(self, writes: Mapping[TopicPartition, PartitionImage], reason: str) -> Plan:
        stamped = {
            key: state._replace(
                controller_epoch=self.epoch,
                incarnations=incarnations_after(self.state(key), state, self.image.brokers),
            )
            for key, state in writes.items()
        }
        made = frozenset(key for key, state in stamped.items() if state.partition_epoch < 0)
        return Plan(stamped, made, reason=reason)

    def _set_topics(self, topics: Mapping[str, TopicImage]) -> None:
        names = {topic.id: name for name, topic in topics.items()}
        self.image = self.image._replace(topics=topics, topic_names=names)

    def _set_partitions(self, states: Mapping[TopicPartition, PartitionImage]) -> None:
        topics = dict(self.image.topics)
        by_topic: dict[str, dict[int, PartitionImage]] = {}
        for key, state in states.items():
            if state.leader != NO_LEADER:
                self._end_doubt(key)
            by_topic.setdefault(key.topic, {})[key.partition] = state
        for name, changed in by_topic.items():
            topics[name] = topics[name]._replace(partitions={**topics[name].partitions, **changed})
        self.image = self.image._replace(topics=topics)

    def _notices(self) -> Notices:
        return Notices(
            self.image, controller_id=self.broker_id, controller_epoch=self.epoch, offline_directories=self.offline
        )


def _told_again(
    partitions: Mapping[TopicPartition, PartitionImage], writes: Mapping[TopicPartition, PartitionImage]
) -> dict[TopicPartition, PartitionImage]:
    """`writes`, and a new epoch for what is being reassigned: the one by which its leader was to know the new replicas
    may not have been told."""
    again = {
        key: partition._replace(leader_epoch=partition.leader_epoch + 1)
        for key, partition in partitions.items()
        if is_reassigned(partition) and key not in writes
    }
    return {**writes, **again}


def _is_new_replica(partition: PartitionImage, replica: int) -> bool:
    """Whether a broker may begin the replica anew where it has none: one that was in sync has one, perhaps in a
    directory that has failed."""
    return replica in partition.adding_replicas and replica not in partition.isr


def _log_ends(
    key: TopicPartition,
    partition: PartitionImage,
    ends: Mapping[int, LogEnd],
    *,
    before: Mapping[int, LogEnd] | None,
) -> None:
    """What the replicas of a doubtful partition have answered, when it is news."""
    if ends != before:
        found = ", ".join(f"broker {id}: {end.offset} of epoch {end.epoch}" for id, end in sorted(ends.items()))
        missing = [replica for replica in partition.replicas if replica not in ends]
        log.info("%s: in sync are %s; logs end at %s; not known of %s", key, list(partition.isr), found, missing)


def _log_change(key: TopicPartition, before: PartitionImage | None, after: PartitionImage, reason: str) -> None:
    """One line for each change of leader or in-sync replicas."""
    if before is None:
        log.info("%s: broker %d leads in epoch %d, in sync are %s: %s", key, *_said(after), reason)
    elif (before.leader, before.isr) != (after.leader, after.isr):
        log.info(
            "%s: broker %d leads in epoch %d, in sync are %s; before it was %d in %d, in sync were %s: %s",
            key,
            *_said(after),
            *_said(before),
            reason,
        )
    if before is not None and before.replicas != after.replicas:
        log.info("%s: replicas are %s, they were %s: %s", key, list(after.replicas), list(before.replicas), reason)


def _said(partition: PartitionImage) -> tuple[int, int, list[int]]:
    return partition.leader, partition.leader_epoch, list(partition.isr)
