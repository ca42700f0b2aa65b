"""The controller's tasks: being elected, watching, writing what is decided, telling it.

`Controller` (kstore/cluster/controller.py) decides; here one event after the other is taken to it, and its plans to
ZooKeeper and to the brokers. Whatever is not known to be written, or written by another, ends the term of office: the
next controller, which may be this broker, reads everything anew (rules 44, 45, 48).
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kstore.cluster.controller import Controller, Plan
from kstore.cluster.image import BrokerImage, ClusterImage, PartitionImage
from kstore.cluster.isr_update import IsrProposal
from kstore.cluster.notices import STOP_REPLICA_VERSION, Notice
from kstore.cluster.zk.store import ControllerMovedError, Elected
from kstore.errors import (
    NONE,
    CorruptMetadataError,
    InvalidUpdateVersionError,
    KafkaError,
    NotControllerError,
    SessionLostError,
)
from kstore.model import TopicPartition
from kstore.protocol.api_keys import STOP_REPLICA, api_name
from kstore.server.cluster_topics import TopicWishes
from kstore.server.controller_channel import Channel
from kstore.server.membership import Membership
from kstore.server.topics import Decision

if TYPE_CHECKING:
    from kstore.server.context import Context

log = logging.getLogger(__name__)

# How long a change of topics waits for the brokers to know of it.
TELL_TIMEOUT_S = 5
LOOK_AGAIN_S = 1


class ClusterController:
    def __init__(self, context: "Context", member: Membership) -> None:
        self._context = context
        self._member = member
        self.known_id: int | None = None
        self._decisions: Controller | None = None
        self._elected: Elected | None = None
        # One event is decided, written and told before the next.
        self._turn = asyncio.Lock()
        self._channels: dict[int, Channel] = {}
        self._stopping = False

    @property
    def is_active(self) -> bool:
        return self._decisions is not None

    def stop(self) -> None:
        self._stopping = True
        self._drop()

    # --- the office ---

    async def look(self, *, anew: bool = False) -> None:
        """Who controls? If nobody does, this broker tries to. `anew`: what was watched may have been missed."""
        async with self._turn:
            if self._stopping:
                return
            try:
                await self._look()
                if anew and self._decisions is not None:
                    await self._read_brokers()
            except (ControllerMovedError, SessionLostError) as error:
                self.resign(str(error))
                self._look_later()
            except CorruptMetadataError as error:
                log.error("this broker cannot control the cluster: %s", error)
                await self._step_down()
                self._look_later()

    async def _look(self) -> None:
        store, me = self._member.store, self._context.node_id
        self.known_id = await store.controller_id(watcher=self._news(self.look))
        if self.known_id == me and self._decisions is None:
            # Of an earlier session, which will end; or of this one, whose term has ended in between.
            if self._elected is not None:
                await store.step_down(self._elected)
            else:
                self._look_later()
            return
        if self.known_id is not None:
            if self.known_id != me:
                self.resign(f"broker {self.known_id} controls the cluster")
            return
        self.resign("nobody controls the cluster")
        elected = await store.elect(me, self._context.clock.now_ms())
        if elected is None:
            self._look_later()
            return
        self.known_id = me
        await self._begin(elected)

    async def _begin(self, elected: Elected) -> None:
        """Reads all that is written, and elects leaders where there are none."""
        log.info("this broker controls the cluster, in epoch %d", elected.epoch)
        store = self._member.store
        self._elected = elected
        brokers = await store.brokers(watcher=self._news(self._brokers_changed))
        topics = await store.topics(await store.topic_names())
        to_delete = await store.topics_to_delete()
        for name in [name for name in to_delete if name not in topics]:
            # What is left of a deletion must not meet a later topic of the same name (KafkaController.scala).
            await store.delete_topic(name, elected)
            to_delete.remove(name)
        decisions = self._decisions = Controller(broker_id=self._context.node_id, epoch=elected.epoch)
        plan = decisions.started(brokers, topics, to_delete)
        self._match_channels(brokers)
        await self._carry_out(plan)

    def resign(self, reason: str) -> None:
        """Decides no more. What is on its way to brokers is not waited for."""
        if self._decisions is not None:
            log.info("this broker controls the cluster no longer: %s", reason)
            self._drop()

    async def _step_down(self) -> None:
        self.resign("it cannot")
        try:
            if self._elected is not None:
                await self._member.store.step_down(self._elected)
        except SessionLostError as error:
            log.warning("%s", error)

    def _drop(self) -> None:
        self._decisions = None
        for channel in self._channels.values():
            channel.stop()
        self._channels.clear()

    def _look_later(self) -> None:
        async def later() -> None:
            await asyncio.sleep(LOOK_AGAIN_S)
            await self.look()

        if not self._stopping:
            self._context.start_task(later())

    def _news(self, look: Callable[[], Any]) -> Callable[[], None]:
        """What a watch calls."""

        def changed() -> None:
            if not self._stopping:
                self._context.start_task(look())

        return changed

    def _active(self) -> Controller:
        """Raises NotControllerError."""
        if self._decisions is None:
            raise NotControllerError("this broker does not control the cluster")
        return self._decisions

    # --- events ---

    async def _brokers_changed(self) -> None:
        async with self._turn:
            if self._decisions is None:
                return
            try:
                await self._read_brokers()
            except (ControllerMovedError, SessionLostError, CorruptMetadataError) as error:
                self.resign(str(error))
                await self._step_down()
                self._look_later()

    async def _read_brokers(self) -> None:
        brokers = await self._member.store.brokers(watcher=self._news(self._brokers_changed))
        decisions = self._active()
        plan = decisions.brokers_changed(brokers)
        self._match_channels(brokers)
        await self._carry_out(plan)

    async def change_topics(self, decide: Decision) -> None:
        """Has `decide` look at the cluster and does what it wants; returns when the brokers know. Raises KafkaError."""
        async with self._turn:
            decisions = self._active()
            image = self.image_for_decisions(decisions)
            wishes = TopicWishes(image, decide(image))
            told: list[asyncio.Future[Any]] = []
            with self._or_resign():
                told += await self._make_topics(decisions, wishes)
                for name, configs in wishes.configs.items():
                    if name not in wishes.made:
                        await self._member.store.change_topic_config(name, configs)
                for name in wishes.deleted:
                    await self._member.store.ask_to_delete(name)
                    told += self._tell(decisions.deletion_asked(name))
        if told:
            await asyncio.wait(told, timeout=TELL_TIMEOUT_S)

    def image_for_decisions(self, decisions: Controller) -> ClusterImage:
        """The controller's image with the configurations; topics that are being deleted cannot be made anew yet."""
        return decisions.image._replace(configs=self._member.image.configs)

    async def _make_topics(self, decisions: Controller, wishes: TopicWishes) -> list[asyncio.Future[Any]]:
        store = self._member.store
        for name, topic in wishes.made.items():
            await store.create_topic(topic, wishes.configs.get(name, {}))
        for topic in wishes.grown.values():
            await store.grow_topic(topic)
        if not wishes.made and not wishes.grown:
            return []
        return await self._carry_out(decisions.topics_came({**wishes.made, **wishes.grown}))

    async def isr_proposed(
        self, proposals: Mapping[TopicPartition, IsrProposal], *, broker_epoch: int
    ) -> dict[TopicPartition, KafkaError | None]:
        """What becomes of each proposal: None where it is so now. Raises KafkaError for all of them."""
        async with self._turn:
            decisions = self._active()
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
            with self._or_resign():
                await self._carry_out(Plan(writes, tells_replicas=False))
            for key in writes:
                state = decisions.state(key)
                if state is None or state.isr != writes[key].isr:
                    results[key] = InvalidUpdateVersionError(f"the state of {key} was written by somebody else")
            return results

    def state(self, key: TopicPartition) -> Any:
        return None if self._decisions is None else self._decisions.state(key)

    def name_of(self, topic_id: bytes) -> str | None:
        """Raises NotControllerError."""
        return self._active().image.topic_names.get(topic_id)

    async def shutdown_asked(self, broker_id: int, broker_epoch: int) -> list[TopicPartition]:
        """Moves what the broker leads; gives what it leads still. Raises KafkaError."""
        async with self._turn:
            decisions = self._active()
            log.info("broker %d asks to shut down", broker_id)
            with self._or_resign():
                await self._carry_out(decisions.shutdown_asked(broker_id, broker_epoch))
            return decisions.led_by(broker_id)

    async def claim_producer_ids(self, broker_id: int) -> int:
        """The first id of a block of PRODUCER_ID_BLOCK. Raises NotControllerError."""
        self._active()
        try:
            return await self._member.store.claim_producer_ids(broker_id)
        except SessionLostError as error:
            raise NotControllerError(str(error)) from None

    # --- carrying out ---

    @contextmanager
    def _or_resign(self) -> Iterator[None]:
        """What is not known to be carried out ends the term of office, and raises NotControllerError."""
        try:
            yield
        except SessionLostError as error:
            self.resign(str(error))
            self._look_later()
            raise NotControllerError(str(error)) from None
        except ControllerMovedError as error:
            self.resign(str(error))
            raise

    async def _carry_out(self, plan: Plan) -> list[asyncio.Future[Any]]:
        """Writes, then tells; gives what completes when the brokers have answered."""
        decisions, elected = self._active(), self._elected
        assert elected is not None
        versions = await self._member.store.write_states(plan.writes, elected) if plan.writes else {}
        if self._decisions is not decisions:
            raise ControllerMovedError("the term of office ended while it was written")
        return self._tell(decisions.written(plan, versions))

    def _tell(self, notices: Sequence[Notice]) -> list[asyncio.Future[Any]]:
        told = []
        for notice in notices:
            channel = self._channels.get(notice.broker_id)
            if channel is not None:
                told.append(channel.send(notice))
        return told

    def _match_channels(self, brokers: Mapping[int, BrokerImage]) -> None:
        """One channel to each registration; a broker that came anew is spoken to anew."""
        for broker_id, channel in list(self._channels.items()):
            broker = brokers.get(broker_id)
            if broker is None or broker.epoch != channel.broker_epoch:
                channel.stop()
                del self._channels[broker_id]
        for broker in brokers.values():
            endpoint = broker.endpoint_of(self._context.config.inter_broker_listener)
            if endpoint is None:
                log.error("broker %d has no listener %s", broker.id, self._context.config.inter_broker_listener)
            elif broker.id not in self._channels:
                self._channels[broker.id] = Channel(self._context, broker, endpoint, self._answered)

    def _answered(self, broker_id: int, notice: Notice, answer: Any) -> None:
        if answer.error_code != NONE:
            name = api_name(type(notice.request).api_key)
            log.warning("broker %d refuses %s with error %d", broker_id, name, answer.error_code)
        elif type(notice.request).api_key == STOP_REPLICA and notice.version == STOP_REPLICA_VERSION:
            self._replicas_stopped(broker_id, notice.request, answer)

    def _replicas_stopped(self, broker_id: int, request: Any, answer: Any) -> None:
        refused = {(each.topic_name, each.partition_index) for each in answer.partition_errors if each.error_code}
        for topic in request.topic_states:
            for state in topic.partition_states:
                key = TopicPartition(topic.topic_name, state.partition_index)
                if not state.delete_partition or key in refused or self._decisions is None:
                    continue
                if self._decisions.replica_deleted(broker_id, key):
                    self._context.start_task(self._topic_gone(key.topic))

    async def _topic_gone(self, name: str) -> None:
        """Every replica is deleted: now the znodes go."""
        async with self._turn:
            if self._decisions is None or self._elected is None:
                return
            try:
                await self._member.store.delete_topic(name, self._elected)
            except (ControllerMovedError, SessionLostError) as error:
                self.resign(str(error))
                self._look_later()
                return
            self._decisions.topic_deleted(name)
            log.info("topic %s is deleted", name)
