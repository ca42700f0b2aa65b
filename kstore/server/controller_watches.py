"""What a controller sees in ZooKeeper: brokers, topics, deletions, wishes of tools and news of brokers.

Every watch fires once and is set again by whoever looks. A watch of an earlier term of office does nothing. Kafka:
KafkaController.scala (BrokerChange, TopicChange, PartitionModifications, TopicDeletion, LogDirEventNotification,
IsrChangeNotification, ZkPartitionReassignment, ReplicaLeaderElection).
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from kstore.cluster.controller import PREFERRED, Controller
from kstore.cluster.image import TopicImage
from kstore.cluster.reassignment import target_of
from kstore.cluster.zk.fencing import Elected
from kstore.cluster.zk.paths import TopicAssignment
from kstore.model import ZERO_UUID, TopicPartition, random_uuid
from kstore.server.controller_office import Office
from kstore.server.membership import Membership

if TYPE_CHECKING:
    from kstore.server.context import Context

log = logging.getLogger(__name__)

Look = Callable[[Controller], Awaitable[Any]]


class ControllerWatches:
    def __init__(self, context: "Context", member: Membership, controller: Office) -> None:
        self._context = context
        self._member = member
        self._controller = controller
        self._term: Controller | None = None
        # What is to be looked at and was not yet, and topics whose znode has changed.
        self._pending: set[Look] = set()
        self._touched: set[str] = set()

    # --- the beginning of a term ---

    async def begin(self, decisions: Controller, elected: Elected) -> None:
        """Reads everything, decides what there is to decide, and goes on with what others have begun."""
        store, wishes = self._member.store, self._member.wishes
        self._term = decisions
        self._pending.clear()
        self._touched.clear()
        # Everything is read now: what was new is not news any more.
        await wishes.forget_news(await wishes.log_dir_events(watcher=self._news(decisions, self.directories)), elected)
        await wishes.forget_news(await wishes.isr_changes(watcher=self._news(decisions, self.isr_changes)), elected)
        brokers = await store.brokers(watcher=self._news(decisions, self.brokers))
        names = await store.topic_names(watcher=self._news(decisions, self.topics))
        topics = await self._with_ids(await self._read_topics(decisions, names), elected)
        plan = decisions.started(brokers, topics, await self._read_deletions(decisions, names, elected))
        self._controller.take_office(decisions, brokers)
        await self._controller.settle(plan)
        await self.reassignment(decisions)
        await self.preferred_election(decisions)

    async def _read_deletions(self, decisions: Controller, names: Sequence[str], elected: Elected) -> list[str]:
        """The topics that are to be deleted; `names` are all there are."""
        store = self._member.store
        wanted = await store.topics_to_delete(watcher=self._news(decisions, self.deletions))
        if not self._context.config.delete_topic_enable:
            for name in wanted:
                await self._refuse_deletion(name, elected)
            return []
        for name in [name for name in wanted if name not in names]:
            # What is left of a deletion must not meet a later topic of the same name (KafkaController.scala).
            await store.delete_topic(name, elected)
        return [name for name in wanted if name in names]

    async def _refuse_deletion(self, name: str, elected: Elected) -> None:
        log.warning("topic %s is not deleted: delete.topic.enable is false", name)
        await self._member.store.forget_deletion(name, elected)

    async def look_anew(self) -> None:
        """What was watched may have been missed while there was no connection."""
        decisions = self._controller.active()
        for look in (
            self.brokers,
            self.topics,
            self._look_at_topics,
            self.deletions,
            self.directories,
            self.isr_changes,
            self.reassignment,
            self.preferred_election,
        ):
            await look(decisions)

    # --- looks, each in a turn of its own ---

    async def brokers(self, decisions: Controller) -> None:
        brokers = await self._member.store.brokers(watcher=self._news(decisions, self.brokers))
        plan = decisions.brokers_changed(brokers)
        self._controller.match_channels(brokers)
        await self._controller.settle(plan)

    async def topics(self, decisions: Controller) -> None:
        """Topics that were made, or removed, by somebody else."""
        names = await self._member.store.topic_names(watcher=self._news(decisions, self.topics))
        known = decisions.image.topics
        new = await self._read_topics(decisions, [name for name in names if name not in known])
        if new:
            log.info("topics that somebody else has made: %s", sorted(new))
            await self._controller.carry_out(decisions.topics_came(await self._with_ids(new, self._controller.elected)))
        gone = set(known) - set(names)
        if gone:
            log.warning("topics whose znodes somebody else has removed: %s", sorted(gone))
            decisions.topics_went(gone)

    async def _look_at_topics(self, decisions: Controller) -> None:
        """Topics whose assignment was written: others may have added partitions."""
        touched, self._touched = self._touched, set()
        known = [name for name in touched if name in decisions.image.topics]
        await self._grown(decisions, known)
        if len(known) < len(touched):
            await self.topics(decisions)  # mended, where they could not be understood

    async def _grown(self, decisions: Controller, names: Sequence[str]) -> None:
        grown = {}
        for name, topic in (await self._read_topics(decisions, names)).items():
            known = decisions.image.topics[name]
            if topic.id == known.id and topic.partitions.keys() - known.partitions.keys():
                grown[name] = topic
        for name in [name for name in grown if name in decisions.deleting]:
            log.warning("partitions of topic %s are not added: it is being deleted", name)
            del grown[name]
        if grown:
            log.info("topics that have more partitions: %s", sorted(grown))
            await self._controller.carry_out(decisions.topics_came(grown))

    async def deletions(self, decisions: Controller) -> None:
        store, elected = self._member.store, self._controller.elected
        for name in await store.topics_to_delete(watcher=self._news(decisions, self.deletions)):
            if name not in decisions.image.topics:
                await self.topics(decisions)  # made a moment ago, or not there at all
            if name not in decisions.image.topics and await self._member.configs.topic_exists(name):
                log.warning("topic %s is not deleted before it can be understood", name)
            elif name not in decisions.image.topics:
                log.warning("there is no topic %r to delete", name)
                await store.forget_deletion(name, elected)
            elif not self._context.config.delete_topic_enable:
                await self._refuse_deletion(name, elected)
            elif name not in decisions.deleting:
                self._controller.tell(decisions.deletion_asked(name))
                await self._member.wishes.forget_reassignment(keys_of(decisions.image.topics[name]), elected)

    async def directories(self, decisions: Controller) -> None:
        """Brokers that have lost a directory: their answers tell which replicas are gone."""
        wishes = self._member.wishes
        events = await wishes.log_dir_events(watcher=self._news(decisions, self.directories))
        brokers = {broker_id for broker_id in events.values() if broker_id is not None}
        if brokers:
            log.warning("brokers that have lost a log directory: %s", sorted(brokers))
            self._controller.tell(decisions.directories_failed(brokers))
        await wishes.forget_news(events, self._controller.elected)

    async def isr_changes(self, decisions: Controller) -> None:
        """States that brokers have written themselves, as those of before AlterPartition do."""
        wishes = self._member.wishes
        news = await wishes.isr_changes(watcher=self._news(decisions, self.isr_changes))
        keys = list(dict.fromkeys(key for found in news.values() for key in found or ()))
        if keys:
            topics = await self._member.store.topics(list(dict.fromkeys(key.topic for key in keys)))
            found = {
                key: topics[key.topic].partitions[key.partition]
                for key in keys
                if key.topic in topics and key.partition in topics[key.topic].partitions
            }
            self._controller.tell(decisions.states_read(found))
            await self._controller.carry_out(decisions.reassignments_done(found))
        await wishes.forget_news(news, self._controller.elected)

    async def reassignment(self, decisions: Controller) -> None:
        """What a script has written to /admin/reassign_partitions begins; what cannot is taken out of it."""
        wishes = self._member.wishes
        wanted = await wishes.reassignment(watcher=self._news(decisions, self.reassignment))
        moving = decisions.reassignments()
        new = {key: to for key, to in wanted.items() if key not in moving or target_of(moving[key]) != to}
        if not new:
            return
        plan, refusals = decisions.reassignments_asked(dict(new))
        for key, error in refusals.items():
            log.warning("%s is not reassigned: %s", key, error)
        await self._controller.carry_out(plan)
        # What was so already has no plan.
        done = [key for key in new if key not in plan.writes]
        await wishes.forget_reassignment([*refusals, *done], self._controller.elected)

    async def preferred_election(self, decisions: Controller) -> None:
        wishes = self._member.wishes
        wanted = await wishes.preferred_election(watcher=self._news(decisions, self.preferred_election))
        if wanted is None:
            return
        plan, refusals = decisions.elections_asked(PREFERRED, wanted)
        for key, error in refusals.items():
            log.info("%s: no preferred election: %s", key, error)
        await self._controller.carry_out(plan)
        await wishes.forget_preferred_election(self._controller.elected)

    # --- news that do not come from ZooKeeper ---

    def topic_gone(self, name: str) -> None:
        """Every replica is deleted: now the znodes go."""

        async def remove(decisions: Controller) -> None:
            if name in decisions.deleting:
                await self._member.store.delete_topic(name, self._controller.elected)
                decisions.topic_deleted(name)
                log.info("topic %s is deleted", name)

        self._context.start_task(self._controller.in_office(remove))

    def replicas_answered(
        self, term: Controller, broker_id: int, online: Sequence[TopicPartition], offline: Sequence[TopicPartition]
    ) -> None:
        async def take(decisions: Controller) -> None:
            plan = decisions.replicas_answered(broker_id, online=online, offline=offline)
            if plan.tells_brokers:
                await self._controller.settle(plan)

        self._context.start_task(self._controller.in_office(take, term=term))

    def configs_changed(self) -> None:
        """unclean.leader.election.enable may be true now, or min.insync.replicas lower."""

        async def elect(_decisions: Controller) -> None:
            await self._controller.elect_unclean()
            self._controller.compare_ends()

        if self._controller.is_active:
            self._context.start_task(self._controller.in_office(elect))

    # --- helpers ---

    def _news(self, term: Controller, look: Look) -> Callable[[], None]:
        """What a watch calls."""

        async def event(decisions: Controller) -> None:
            self._pending.discard(look)
            await look(decisions)

        def changed() -> None:
            # Of several watches on one thing the first is enough.
            if term is self._term and look not in self._pending and not self._member.is_stopping:
                self._pending.add(look)
                self._context.start_task(self._controller.in_office(event, term=term))

        return changed

    async def watch_topics(self, decisions: Controller, names: Iterable[str]) -> None:
        """Of topics that this controller has made itself."""
        await self._member.store.watch_topics(list(names), self._touch(decisions))

    async def _read_topics(self, term: Controller, names: Iterable[str]) -> dict[str, TopicImage]:
        """Topics, whose znodes are watched from now on."""
        return await self._member.store.topics(list(names), watcher=self._touch(term))

    def _touch(self, term: Controller) -> Callable[[str], None]:
        look = self._news(term, self._look_at_topics)

        def touched(name: str) -> None:
            # Many may change at once, and all of them do when the connection ends: one look is enough.
            if term is self._term:
                self._touched.add(name)
                look()

        return touched

    async def _with_ids(self, topics: dict[str, TopicImage], elected: Elected) -> dict[str, TopicImage]:
        """Topics of before there were ids get one (KafkaController.processTopicIds)."""
        for name in [name for name, topic in topics.items() if topic.id == ZERO_UUID]:

            def identified(known: TopicAssignment) -> TopicAssignment:
                return known if known.topic_id is not None else known._replace(topic_id=random_uuid())

            assignment = await self._member.store.change_assignment(name, identified, elected)
            topics[name] = topics[name]._replace(id=assignment.topic_id or ZERO_UUID)
        return topics


def keys_of(topic: TopicImage) -> list[TopicPartition]:
    return [TopicPartition(topic.name, index) for index in topic.partitions]
