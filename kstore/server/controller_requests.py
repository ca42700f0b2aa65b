"""What brokers and administrators ask of the controller by request. All of it raises NotControllerError elsewhere."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from kstore.cluster.controller import UNCLEAN as UNCLEAN_ELECTION
from kstore.cluster.controller import Controller, Refusals
from kstore.cluster.image import TOPIC_RESOURCE, BrokerImage, PartitionImage, TopicImage
from kstore.cluster.isr_update import IsrProposal
from kstore.cluster.plan import Plan
from kstore.cluster.zk.paths import INT32_MAX, TopicAssignment
from kstore.errors import (
    CorruptMetadataError,
    InvalidConfigError,
    InvalidPartitionsError,
    InvalidTopicError,
    InvalidUpdateVersionError,
    KafkaError,
    NotControllerError,
    PartlyRefusedError,
    SessionLostError,
    TopicAlreadyExistsError,
    UnknownServerError,
)
from kstore.log.topic_keys import TOPIC_KEYS
from kstore.model import TopicPartition
from kstore.server.config import ServerConfig
from kstore.server.controller_office import Office, Told
from kstore.server.controller_watches import ControllerWatches
from kstore.server.membership import Membership
from kstore.server.topic_wishes import TopicWishes
from kstore.server.topics import Decision

if TYPE_CHECKING:
    from kstore.server.context import Context

log = logging.getLogger(__name__)

Value = TypeVar("Value")

# How long a change of topics waits for the brokers to know of it.
TELL_TIMEOUT_S = 5
UNCLEAN = "unclean.leader.election.enable"
MIN_IN_SYNC = "min.insync.replicas"


class ControllerRequests:
    def __init__(self, context: "Context", member: Membership, controller: Office, watches: ControllerWatches) -> None:
        self._context = context
        self._member = member
        self._controller = controller
        self._watches = watches

    @property
    def is_active(self) -> bool:
        return self._controller.is_active

    @property
    def brokers(self) -> Mapping[int, BrokerImage]:
        """Those that are alive."""
        return self._controller.active().image.brokers

    # --- topics ---

    async def change_topics(self, decide: Decision) -> None:
        """Has `decide` look at the cluster and does what it wants; returns when the brokers know. Raises KafkaError,
        PartlyRefusedError where others were quicker."""
        refusals: dict[str, KafkaError] = {}
        async with self._controller.office() as decisions:
            image = decisions.image
            wishes = TopicWishes(image, decide(image))
            told = await self._make_topics(decisions, wishes, refusals)
            told += await self._grow_topics(decisions, wishes, refusals)
            told += await self._delete_topics(decisions, wishes)
        await until_told(told)
        if refusals:
            raise PartlyRefusedError(refusals)

    async def _make_topics(self, decisions: Controller, wishes: TopicWishes, refusals: dict[str, KafkaError]) -> Told:
        made: dict[str, TopicImage] = {}
        for name, topic in wishes.made.items():
            configs = wishes.configs.get((TOPIC_RESOURCE, name), {})
            if await self._member.store.create_topic(topic, configs, self._controller.elected):
                made[name] = topic
            else:
                refusals[name] = TopicAlreadyExistsError(f"there is a topic {name!r} already, or it is being deleted")
        if not made:
            return []
        await self._watches.watch_topics(decisions, made)
        return await self._controller.carry_out(decisions.topics_came(made))

    async def _grow_topics(self, decisions: Controller, wishes: TopicWishes, refusals: dict[str, KafkaError]) -> Told:
        grown: dict[str, TopicImage] = {}
        for name, topic in wishes.grown.items():
            if name in decisions.deleting:
                # Its deletion would wait for replicas that nobody has (KafkaApis.handleCreatePartitionsRequest).
                refusals[name] = InvalidTopicError(f"topic {name!r} is being deleted")
                continue
            more = {index: found.replicas for index, found in topic.partitions.items() if found.partition_epoch < 0}

            def with_more(known: TopicAssignment, more: Mapping[int, tuple[int, ...]] = more) -> TopicAssignment:
                if known.partitions.keys() & more.keys():
                    raise InvalidPartitionsError(f"the topic has {len(known.partitions)} partitions by now")
                return known._replace(partitions={**known.partitions, **more})

            try:
                await self._member.store.change_assignment(name, with_more, self._controller.elected)
            except NotControllerError:
                raise
            except KafkaError as error:
                refusals[name] = error
            else:
                grown[name] = topic
        return await self._controller.carry_out(decisions.topics_came(grown)) if grown else []

    async def _delete_topics(self, decisions: Controller, wishes: TopicWishes) -> Told:
        told: Told = []
        for name in wishes.deleted:
            await self._member.store.ask_to_delete(name)
            told += self._controller.tell(decisions.deletion_asked(name))
            keys = [TopicPartition(name, index) for index in decisions.image.topics[name].partitions]
            await self._member.wishes.forget_reassignment(keys, self._controller.elected)
        return told

    # --- in-sync replicas, shutdown ---

    async def isr_proposed(
        self, proposals: Mapping[TopicPartition, IsrProposal], *, broker_epoch: int
    ) -> dict[TopicPartition, KafkaError | None]:
        """What becomes of each proposal: None where it is so now. Raises KafkaError for all of them."""
        async with self._controller.office() as decisions:
            results: dict[TopicPartition, KafkaError | None] = {}
            writes: dict[TopicPartition, PartitionImage] = {}
            for key, proposal in proposals.items():
                try:
                    plan = decisions.isr_proposed(key, proposal, broker_epoch=broker_epoch)
                except KafkaError as error:
                    results[key] = error
                else:
                    results[key] = None
                    writes.update(plan.writes)
            if writes:
                await self._controller.carry_out(Plan(writes, tells_replicas=False, reason="its leader proposes it"))
            for key in writes:
                state = decisions.state(key)
                if state is None or state.isr != writes[key].isr:
                    results[key] = InvalidUpdateVersionError(f"the state of {key} was written by somebody else")
            moving = [key for key in writes if key in decisions.reassignments()] if writes else []
            if moving:
                # After the answer, which tells the leader what is agreed; what follows raises the epoch.
                self._context.start_task(self._controller.in_office(self._end_reassignments(moving), term=decisions))
            return results

    def _end_reassignments(self, keys: Iterable[TopicPartition]) -> Any:
        async def end(decisions: Controller) -> None:
            await self._controller.carry_out(decisions.reassignments_done(keys))

        return end

    def state(self, key: TopicPartition) -> PartitionImage | None:
        return self._controller.active().state(key) if self.is_active else None

    def name_of(self, topic_id: bytes) -> str | None:
        return self._controller.active().image.topic_names.get(topic_id)

    async def shutdown_asked(self, broker_id: int, broker_epoch: int) -> list[TopicPartition]:
        """Moves what the broker leads; gives what it leads still. Raises KafkaError."""
        async with self._controller.office() as decisions:
            log.info("broker %d asks to shut down", broker_id)
            await self._controller.carry_out(decisions.shutdown_asked(broker_id, broker_epoch))
            return decisions.led_by(broker_id)

    async def claim_producer_ids(self, broker_id: int) -> int:
        """The first id of a block of PRODUCER_ID_BLOCK."""
        self._controller.active()
        try:
            return await self._member.store.claim_producer_ids(broker_id)
        except SessionLostError as error:
            raise NotControllerError(str(error)) from None
        except CorruptMetadataError as error:
            raise UnknownServerError(str(error)) from None

    # --- elections and reassignments ---

    async def elect_leaders(
        self, kind: int, keys: Collection[TopicPartition] | None
    ) -> dict[TopicPartition, KafkaError | None]:
        """What becomes of each partition: None where the leader that was asked for leads now. Where several out of sync
        could lead they are asked first, so that the one leads that holds most."""
        heard = None
        if kind == UNCLEAN_ELECTION and (choices := self._controller.active().choices(keys)):
            heard = await self._controller.ask_ends(choices)
        async with self._controller.office() as decisions:
            if heard is not None:
                decisions.ends_heard(heard.doubts, heard.of(decisions.image.brokers))
            plan, refusals = decisions.elections_asked(kind, keys)
            told = await self._controller.carry_out(plan)
            results = _results(decisions, plan, refusals)
        await until_told(told)
        return results

    async def reassign(
        self, targets: Mapping[TopicPartition, tuple[int, ...] | None]
    ) -> dict[TopicPartition, KafkaError | None]:
        """What becomes of each wish; None where the replicas begin to move, or are there already. A wish counts more
        than what a script has left in /admin/reassign_partitions."""
        async with self._controller.office() as decisions:
            plan, refusals = decisions.reassignments_asked(targets)
            accepted = [key for key in targets if key not in refusals]
            await self._member.wishes.forget_reassignment(accepted, self._controller.elected)
            await self._controller.carry_out(plan)
            results = _results(decisions, plan, refusals)
            return {key: results.get(key) for key in targets}

    async def reassignments(self) -> dict[TopicPartition, PartitionImage]:
        return self._controller.active().reassignments()

    # --- configurations ---

    async def topics_allowing_unclean(self, names: Iterable[str]) -> frozenset[str]:
        """The topics that allow an election of replicas out of sync, by their configuration or the brokers' default.
        Raises SessionLostError."""
        wanted = list(names)
        allowed = await asyncio.gather(*(self._of_topic(name, allows_unclean, False) for name in wanted))
        return frozenset(name for name, is_allowed in zip(wanted, allowed, strict=True) if is_allowed)

    async def promised_copies(self, names: Iterable[str]) -> dict[str, int]:
        """By topic, in how many logs what was acknowledged lies: min.insync.replicas, and 0 where it may be lost (an
        unclean election is allowed). Raises SessionLostError."""
        wanted = list(names)
        found = await asyncio.gather(*(self._of_topic(name, promised, INT32_MAX) for name in wanted))
        return dict(zip(wanted, found, strict=True))

    async def _of_topic(
        self, name: str, ask: Callable[[ServerConfig, Mapping[str, str]], Value], without: Value
    ) -> Value:
        """What a topic's configuration says; `without` where it is damaged, so that nothing is lost by it."""
        resource = (TOPIC_RESOURCE, name)
        try:
            stored = await self._member.configs.read([resource])
            return ask(self._context.config, stored[resource].configs)
        except (CorruptMetadataError, InvalidConfigError) as error:
            log.error("topic %s waits for a replica in sync: %s", name, error)
            return without


def allows_unclean(config: ServerConfig, overrides: Mapping[str, str]) -> bool:
    """Raises InvalidConfigError."""
    return bool(_topic_value(config, overrides, UNCLEAN))


def promised(config: ServerConfig, overrides: Mapping[str, str]) -> int:
    """Raises InvalidConfigError."""
    return 0 if allows_unclean(config, overrides) else int(_topic_value(config, overrides, MIN_IN_SYNC))


def _topic_value(config: ServerConfig, overrides: Mapping[str, str], name: str) -> Any:
    return TOPIC_KEYS[name].parse(overrides[name]) if name in overrides else config.topic_defaults[name]


def _results(decisions: Controller, plan: Plan, refusals: Refusals) -> dict[TopicPartition, KafkaError | None]:
    results: dict[TopicPartition, KafkaError | None] = dict(refusals)
    for key, wanted in plan.writes.items():
        state = decisions.state(key)
        is_done = state is not None and (state.leader, state.replicas) == (wanted.leader, wanted.replicas)
        results[key] = (
            None if is_done else InvalidUpdateVersionError(f"the state of {key} was written by somebody else")
        )
    return results


async def until_told(told: Told) -> None:
    if told:
        await asyncio.wait(told, timeout=TELL_TIMEOUT_S)
