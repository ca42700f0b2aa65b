"""Proposals of in-sync replicas on their way to the controller: gathered, one request in flight.

Kafka: AlterPartitionManager.scala.

A proposal is asked again until the controller has decided on it, whichever broker that is by then; what a leader does
with the answer is its own affair (rules 21, 22). The pauses in between grow: a controller that is busy, or that does
not know this registration of the broker yet, is not asked in a circle.
"""

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from kstore.errors import BrokerUnreachableError, InvalidRequestError, NotControllerError, StaleBrokerEpochError
from kstore.model import TopicPartition
from kstore.protocol.messages.alter_partition import AlterPartitionRequest
from kstore.replica.effects import IsrProposed
from kstore.server.membership import Membership

if TYPE_CHECKING:
    from kstore.server.context import Context

log = logging.getLogger(__name__)

VERSION = 3
RETRY_MS = 50
MAX_RETRY_MS = 500
TIMEOUT_MS = 30_000


class IsrProposals:
    def __init__(self, context: "Context", member: Membership) -> None:
        self._context = context
        self._member = member
        self._waiting: dict[TopicPartition, IsrProposed] = {}
        self._sending = False
        # Of the last answers: nobody has decided on something.
        self._undecided = False

    def add(self, proposal: IsrProposed) -> None:
        self._waiting[proposal.topic_partition] = proposal
        if not self._sending:
            self._sending = True
            self._context.start_task(self._send_all())

    async def _send_all(self) -> None:
        retry_ms = RETRY_MS
        try:
            while self._waiting and not self._member.is_stopping:
                # What else this turn of the loop proposes goes with it.
                await asyncio.sleep(0)
                proposals = {key: each for key, each in self._waiting.items() if self._is_current(each)}
                self._waiting = {}
                if not proposals:
                    break
                self._undecided = False
                if not await self._send(list(proposals.values())):
                    # A newer proposal of the same partition counts instead.
                    self._waiting = proposals | self._waiting
                    self._undecided = True
                if not self._undecided:
                    retry_ms = RETRY_MS
                elif self._waiting:
                    await asyncio.sleep(retry_ms / 1000)
                    retry_ms = min(2 * retry_ms, MAX_RETRY_MS)
        finally:
            self._sending = False

    def _is_current(self, proposal: IsrProposed) -> bool:
        """Whether the leader waits for it still."""
        partition = self._context.replicas.partitions.get(proposal.topic_partition)
        leader = None if partition is None else partition.leader
        if leader is None or leader.isr_state.proposed is None:
            return False
        return (leader.epoch, leader.partition_epoch) == (proposal.leader_epoch, proposal.partition_epoch)

    async def _send(self, proposals: list[IsrProposed]) -> bool:
        """False if nobody has decided, and all is to be asked again. The broker epoch is that of now: what a broker
        has proposed before it was registered anew is not what the controller listens to."""
        request = AlterPartitionRequest(
            broker_id=self._context.node_id, broker_epoch=self._member.broker_epoch, topics=_topics(proposals)
        )
        try:
            response = await self._member.ask_controller(request, VERSION, timeout_ms=TIMEOUT_MS)
        except (BrokerUnreachableError, InvalidRequestError) as error:
            log.info("in-sync replicas are not changed yet: %s", error)
            return False
        if response.error_code:
            log.info("in-sync replicas are not changed yet: the controller answers with error %d", response.error_code)
            if response.error_code not in (NotControllerError.code, StaleBrokerEpochError.code):
                log.error("AlterPartition is refused with error %d", response.error_code)
            return False
        answers = {
            (topic.topic_id, part.partition_index): part for topic in response.topics for part in topic.partitions
        }
        if any(part.error_code == NotControllerError.code for part in answers.values()):
            return False
        for proposal in proposals:
            self._answered(proposal, answers.get((proposal.topic_id, proposal.topic_partition.partition)))
        self._context.deliver.turn_ended()
        return True

    def _answered(self, proposal: IsrProposed, answer: Any | None) -> None:
        partition = self._context.replicas.partitions.get(proposal.topic_partition)
        if partition is None:
            return
        replicas = self._context.replicas
        if answer is None:
            self._undecided = True
            self._waiting.setdefault(proposal.topic_partition, proposal)
        elif answer.error_code:
            replicas.failed_isr_updates += 1
            log.warning("%s: %s is refused with error %d", proposal.topic_partition, proposal.isr, answer.error_code)
            again = partition.isr_refused(answer.error_code, proposal)
            self._undecided = self._undecided or bool(again)
            self._context.deliver(again)
        else:
            log.info("%s: in sync are %s", proposal.topic_partition, answer.isr)
            before = len(partition.leader.isr) if partition.leader is not None else len(answer.isr)
            replicas.isr_expands += len(answer.isr) > before
            replicas.isr_shrinks += len(answer.isr) < before
            effects = partition.isr_agreed(
                frozenset(answer.isr), leader_epoch=answer.leader_epoch, partition_epoch=answer.partition_epoch
            )
            self._context.deliver(effects)


def _topics(proposals: list[IsrProposed]) -> list[Any]:
    topics: dict[bytes, list[Any]] = {}
    for proposal in proposals:
        topics.setdefault(proposal.topic_id, []).append(
            AlterPartitionRequest.PartitionData(
                partition_index=proposal.topic_partition.partition,
                leader_epoch=proposal.leader_epoch,
                new_isr_with_epochs=[
                    AlterPartitionRequest.BrokerState(broker_id=replica, broker_epoch=epoch)
                    for replica, epoch in proposal.isr
                ],
                partition_epoch=proposal.partition_epoch,
            )
        )
    return [AlterPartitionRequest.TopicData(topic_id=id, partitions=parts) for id, parts in topics.items()]
