"""The controller's tasks: being elected, writing what is decided, telling it.

`Controller` (kstore/cluster/controller.py) decides; here one event after the other is taken to it, and its plans to
ZooKeeper and to the brokers. Whatever is not known to be written, or written by another, ends the term of office: the
next controller, which may be this broker, reads everything anew (rules 44, 45, 48).

What the controller watches is in controller_watches.py, what others ask of it in controller_requests.py.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from kstore.cluster.controller import Controller
from kstore.cluster.image import BrokerImage, PartitionImage
from kstore.cluster.notices import Notice
from kstore.cluster.plan import Plan
from kstore.cluster.standing import Doubt
from kstore.cluster.zk.fencing import ControllerMovedError, Elected
from kstore.cluster.zk.paths import TopicAssignment
from kstore.errors import KafkaError, KstoreError, NotControllerError, SessionLostError
from kstore.model import TopicPartition
from kstore.server.controller_channel import Channel
from kstore.server.controller_requests import ControllerRequests
from kstore.server.controller_watches import ControllerWatches
from kstore.server.log_ends import Heard, ends_of
from kstore.server.membership import Membership
from kstore.server.notice_answers import NoticeAnswers

if TYPE_CHECKING:
    from kstore.server.context import Context

log = logging.getLogger(__name__)

LOOK_AGAIN_S = 1
# A cluster that this broker cannot control, as where znodes cannot be understood, is left to others for so long.
REST_S = 5
# How long replicas are waited for that may hold more than the one in sync, and how soon they are asked again.
ASK_TIMEOUT_S = 3
ASK_AGAIN_S, ASK_AGAIN_AT_MOST_S = 1, 30
# How long a broker that stops waits for what it has still to tell as controller.
LAST_NOTICES_S = 5
# So soon a new controller looks for the first time whether leaders are where they should be (onControllerFailover).
FIRST_BALANCE_S = 5


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
        self._balancing: asyncio.Task[None] | None = None
        # How often replicas have been compared: only the latest comparison goes on.
        self._comparison = 0
        self._rests_until = 0.0
        self._look_is_due = False
        self._stopping = False
        self.watches = ControllerWatches(context, member, self)
        self.requests = ControllerRequests(context, member, self, self.watches)
        self._answers = NoticeAnswers(self, self.watches)

    @property
    def is_active(self) -> bool:
        return self._decisions is not None

    def active(self) -> Controller:
        """Raises NotControllerError."""
        if self._decisions is None:
            raise NotControllerError("this broker does not control the cluster")
        return self._decisions

    @property
    def elected(self) -> Elected:
        """Of the term of office that lasts. Raises NotControllerError."""
        self.active()
        assert self._elected is not None
        return self._elected

    # --- the office ---

    async def look(self, *, anew: bool = False) -> None:
        """Who controls? If nobody does, this broker tries to. `anew`: what was watched may have been missed."""
        async with self._turn:
            self._look_is_due = False
            if self._stopping:
                return
            with suppress(NotControllerError):
                async with self._until_it_fails(refusals=NotControllerError):
                    await self._look()
                    if anew and self._decisions is not None:
                        await self.watches.look_anew()

    async def _look(self) -> None:
        store, me = self._member.store, self._context.node_id
        self.known_id = await store.controller_id(watcher=self._controller_changed)
        if self.known_id == me and self._decisions is None:
            # Of this session, whose term has ended in between, or whose election had no answer; or of an earlier one,
            # which will end.
            await store.step_down()
            self._look_later()
            return
        if self.known_id is not None:
            self._member.controller_is(self.known_id)
            if self.known_id != me:
                self.resign(f"broker {self.known_id} controls the cluster")
            return
        self.resign("nobody controls the cluster")
        if asyncio.get_running_loop().time() < self._rests_until:
            self._look_later()
            return
        elected = await store.elect(me, self._context.clock.now_ms())
        if elected is None:
            self._look_later()
            return
        self.known_id = me
        await self._begin(elected)

    async def _begin(self, elected: Elected) -> None:
        """Reads all that is written, and elects leaders where there are none."""
        log.info("this broker controls the cluster, in epoch %d", elected.epoch)
        self._elected = elected
        decisions = Controller(broker_id=self._context.node_id, epoch=elected.epoch)
        await self.watches.begin(decisions, elected)
        if self._context.config.auto_leader_rebalance_enable:
            self._balancing = self._context.start_task(self._balance(decisions))

    def take_office(self, decisions: Controller, brokers: Mapping[int, BrokerImage]) -> None:
        self._decisions = decisions
        self.match_channels(brokers)

    def resign(self, reason: str) -> None:
        """Decides no more. What is on its way to brokers is not waited for."""
        if self._decisions is not None:
            log.info("this broker controls the cluster no longer: %s", reason)
            self._drop()

    def _drop(self) -> None:
        self._decisions = None
        if self._balancing is not None:
            self._balancing.cancel()
            self._balancing = None
        for channel in self._channels.values():
            channel.stop()
        self._channels.clear()

    async def finish(self) -> None:
        """Decides nothing new, and waits until the other brokers know what was decided; the office goes with the
        session."""
        self._stopping = True
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_NOTICES_S):
                async with self._turn:
                    me = self._context.node_id
                    told = [notice for id, channel in self._channels.items() if id != me for notice in channel.waiting]
                if told:
                    await asyncio.wait(told)

    def stop(self) -> None:
        self._stopping = True
        self._drop()

    def _look_later(self) -> None:
        async def later() -> None:
            await asyncio.sleep(LOOK_AGAIN_S)
            await self.look()

        if not self._stopping:
            self._context.start_task(later())

    def _controller_changed(self) -> None:
        """What a watch calls. Each look leaves one: of all that fire together the first is enough."""
        if not self._stopping and not self._look_is_due:
            self._look_is_due = True
            self._context.start_task(self.look())

    # --- one event after the other ---

    @asynccontextmanager
    async def office(self, *, refusals: type[KafkaError] = KafkaError) -> AsyncIterator[Controller]:
        """What decides, for one event. Raises NotControllerError, also when the event ends the term of office, and the
        `refusals` that may come out of the event while all is well."""
        async with self._turn:
            if self._stopping:
                raise NotControllerError("this broker stops")
            decisions = self.active()
            async with self._until_it_fails(refusals=refusals):
                yield decisions

    @asynccontextmanager
    async def _until_it_fails(self, *, refusals: type[KafkaError]) -> AsyncIterator[None]:
        """What is not known to be carried out ends the term of office, and raises NotControllerError."""
        try:
            yield
        except SessionLostError as error:
            self.resign(str(error))
            self._look_later()
            raise NotControllerError(str(error)) from None
        except ControllerMovedError as error:
            self.resign(str(error))
            self._look_later()
            raise
        except refusals:
            raise
        except Exception as error:
            # Also what nobody has foreseen: an office that is held and not filled would be nobody's.
            known = isinstance(error, KstoreError)
            log.error("this broker cannot control the cluster: %s", error if known else repr(error), exc_info=not known)
            self.resign("it cannot")
            self._rests_until = asyncio.get_running_loop().time() + REST_S
            self._look_later()
            with suppress(SessionLostError):
                await self._member.store.step_down()
            raise NotControllerError(str(error)) from None

    async def in_office(self, event: Callable[[Controller], Awaitable[Any]], *, term: Controller | None = None) -> None:
        """Runs an event that nobody waits for; in the term of office that it belongs to, if it belongs to one."""
        with suppress(NotControllerError):
            async with self.office(refusals=NotControllerError) as decisions:
                if term is None or term is decisions:
                    await event(decisions)

    # --- carrying out ---

    async def carry_out(self, plan: Plan) -> list[asyncio.Future[Any]]:
        """Writes, then tells; gives what completes when the brokers have answered."""
        decisions, elected = self.active(), self.elected
        await self._write_assignments(plan, plan.moved_first)
        versions = await self._member.store.write_states(plan.writes, elected) if plan.writes else {}
        missed = [key for key, version in versions.items() if version is None]
        if self._decisions is not decisions:
            raise ControllerMovedError("the term of office ended while it was written")
        told = self.tell(decisions.written(plan, versions))
        # Those that go are told first: nobody would know of them any more (KafkaController.onPartitionReassignment).
        await self._write_assignments(plan, [key for key in plan.moved_last if key not in missed])
        if missed:
            told += await self._read_again(missed)
        if plan.moved:
            self.compare_ends()  # whom it waits for may be another one
            await self._member.wishes.forget_reassignment(plan.moved_last, elected)
        return told

    async def settle(self, plan: Plan) -> list[asyncio.Future[Any]]:
        """As `carry_out`, and what follows when brokers or directories have come or gone."""
        told = await self._settle(plan)
        self.compare_ends(told)
        return told

    async def _settle(self, plan: Plan) -> list[asyncio.Future[Any]]:
        told = await self.carry_out(plan)
        told += await self.elect_unclean()
        return told + await self.carry_out(self.active().reassignments_done())

    def compare_ends(self, told: Sequence[asyncio.Future[Any]] = ()) -> None:
        """Before replicas lead that may have lost records: who holds most? (rule 26) Who came a moment ago knows of its
        replicas only when it was `told`."""
        term = self.active()
        if term.doubted:
            self._comparison += 1
            self._context.start_task(self._compare_ends(term, told, number=self._comparison))

    async def _compare_ends(self, term: Controller, told: Sequence[asyncio.Future[Any]], *, number: int) -> None:
        if told:
            await asyncio.wait(told, timeout=ASK_TIMEOUT_S)
        pause_s = ASK_AGAIN_S
        while self._decisions is term and number == self._comparison and term.doubted:
            try:
                heard = await self.ask_ends(term.doubts())
                await self.in_office(partial(self._elect_longest, heard=heard), term=term)
            except Exception:
                # One answer that nobody understands must not leave all of them without a leader.
                log.exception("replicas cannot be compared")
            else:
                if not term.lacks_answers():
                    return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, ASK_AGAIN_AT_MOST_S)

    async def ask_ends(self, doubts: Mapping[TopicPartition, Doubt]) -> Heard:
        """What the replicas hold, as far as they say it in time. Raises NotControllerError."""
        brokers = dict(self.active().image.brokers)
        endpoints = {id: channel.endpoint for id, channel in self._channels.items()}
        return Heard(doubts, brokers, await ends_of(doubts, endpoints, timeout_ms=1000 * ASK_TIMEOUT_S))

    async def _elect_longest(self, decisions: Controller, *, heard: Heard) -> None:
        min_in_sync = await self.requests.promised_copies({key.topic for key in heard.doubts})
        known = heard.of(decisions.image.brokers)
        await self._settle(decisions.ends_told(heard.doubts, known, min_in_sync=min_in_sync))

    async def elect_unclean(self) -> list[asyncio.Future[Any]]:
        """Leaders for what nobody in sync can lead, where the topic, or the brokers' default, allows it. The topics'
        configurations are read as they are now (PartitionStateMachine.collectUncleanLeaderElectionState)."""
        decisions = self.active()
        waiting = decisions.leaderless()
        if not waiting:
            return []
        allowed = await self.requests.topics_allowing_unclean(waiting)
        return await self.carry_out(decisions.unclean_allowed(allowed)) if allowed else []

    async def _write_assignments(self, plan: Plan, keys: Iterable[TopicPartition]) -> None:
        by_topic: dict[str, dict[int, PartitionImage]] = {}
        for key in keys:
            by_topic.setdefault(key.topic, {})[key.partition] = plan.writes[key]
        for name, partitions in by_topic.items():

            def moved(known: TopicAssignment, partitions: Mapping[int, PartitionImage] = partitions) -> TopicAssignment:
                return with_replicas(known, partitions)

            await self._member.store.change_assignment(name, moved, self.elected)

    async def _read_again(self, keys: Sequence[TopicPartition]) -> list[asyncio.Future[Any]]:
        """Somebody else has written these states: what is there now counts, and what it takes is done."""
        decisions = self.active()
        topics = await self._member.store.topics(list(dict.fromkeys(key.topic for key in keys)))
        states = {
            key: topics[key.topic].partitions[key.partition]
            for key in keys
            if key.topic in topics and key.partition in topics[key.topic].partitions
        }
        told = self.tell(decisions.states_read(states))
        plan = decisions.unsettled(frozenset(states))
        return told + (await self.carry_out(plan) if plan.writes else [])

    def tell(self, notices: Sequence[Notice]) -> list[asyncio.Future[Any]]:
        told = []
        for notice in notices:
            channel = self._channels.get(notice.broker_id)
            if channel is not None:
                told.append(channel.send(notice))
        return told

    def match_channels(self, brokers: Mapping[int, BrokerImage]) -> None:
        """One channel to each registration; a broker that came anew, or with another address, is spoken to anew."""
        listener = self._context.config.inter_broker_listener
        for broker_id, channel in list(self._channels.items()):
            broker = brokers.get(broker_id)
            if broker is None or (broker.epoch, broker.endpoint_of(listener)) != (
                channel.broker_epoch,
                channel.endpoint,
            ):
                channel.stop()
                del self._channels[broker_id]
        for broker in brokers.values():
            endpoint = broker.endpoint_of(listener)
            if endpoint is None:
                log.error("broker %d has no listener %s", broker.id, listener)
            elif broker.id not in self._channels:
                self._channels[broker.id] = Channel(self._context, broker, endpoint, self._answers.came)

    # --- leaders where they should be ---

    async def _balance(self, term: Controller) -> None:
        config = self._context.config

        async def balance(decisions: Controller) -> None:
            await self.carry_out(decisions.balance(config.leader_imbalance_per_broker_percentage))

        await asyncio.sleep(FIRST_BALANCE_S)
        while self._decisions is term:
            await self.in_office(balance, term=term)
            await asyncio.sleep(config.leader_imbalance_check_interval_seconds)


def with_replicas(known: TopicAssignment, partitions: Mapping[int, PartitionImage]) -> TopicAssignment:
    """The assignment of a topic with other replicas for some partitions."""
    adding = {index: members for index, members in known.adding.items() if index not in partitions}
    removing = {index: members for index, members in known.removing.items() if index not in partitions}
    for index, partition in partitions.items():
        if partition.adding_replicas:
            adding[index] = partition.adding_replicas
        if partition.removing_replicas:
            removing[index] = partition.removing_replicas
    replicas = {index: partition.replicas for index, partition in partitions.items()}
    return known._replace(partitions={**known.partitions, **replicas}, adding=adding, removing=removing)
