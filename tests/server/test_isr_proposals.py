"""Proposals on their way to the controller: how often it is asked, and with what."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from kstore.errors import BrokerUnreachableError
from kstore.model import TopicPartition
from kstore.protocol.messages.alter_partition import AlterPartitionResponse
from kstore.replica.effects import IsrProposed
from kstore.replica.isr import PendingExpand
from kstore.server import isr_proposals
from kstore.server.isr_proposals import IsrProposals

KEY = TopicPartition("orders", 0)
ID = bytes(15) + b"\x01"
PROPOSAL = IsrProposed(KEY, ID, 4, 7, ((1, -1), (2, 50)))
STALE_BROKER_EPOCH, NOT_CONTROLLER, INELIGIBLE = 77, 41, 107


class Leading:
    """A partition that waits for its proposal."""

    def __init__(self) -> None:
        self.leader: Any = SimpleNamespace(
            epoch=4, partition_epoch=7, isr={1}, isr_state=PendingExpand(frozenset({1}), 2)
        )
        self.agreed: list[frozenset[int]] = []

    def isr_agreed(self, isr: frozenset[int], **_epochs: int) -> tuple:
        self.agreed.append(isr)
        return ()

    def isr_refused(self, error_code: int, proposal: IsrProposed) -> tuple:
        return () if error_code == INELIGIBLE else (proposal,)


class Delivering:
    def __init__(self, scene: "Scene") -> None:
        self.scene = scene

    def __call__(self, effects: tuple) -> None:
        for effect in effects:
            self.scene.proposals.add(effect)

    def turn_ended(self) -> None:
        pass


class Scene:
    def __init__(self, answers: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers = answers
        self.asked: list[Any] = []
        self.pauses: list[float] = []
        self.partition = Leading()
        self.replicas: Any = SimpleNamespace(
            partitions={KEY: self.partition}, isr_expands=0, isr_shrinks=0, failed_isr_updates=0
        )
        self.member: Any = SimpleNamespace(broker_epoch=10, is_stopping=False, ask_controller=self.ask)
        self.tasks: list[Any] = []
        context: Any = SimpleNamespace(
            node_id=1, replicas=self.replicas, deliver=Delivering(self), start_task=self.tasks.append
        )
        self.proposals = IsrProposals(context, self.member)

        async def sleep(seconds: float) -> None:
            if seconds:
                self.pauses.append(seconds)

        monkeypatch.setattr(isr_proposals.asyncio, "sleep", sleep)

    async def ask(self, request: Any, _version: int, **_options: Any) -> Any:
        self.asked.append(request)
        answer = self.answers.pop(0)
        return answer() if callable(answer) else answer

    def run(self) -> None:
        self.proposals.add(PROPOSAL)
        for task in self.tasks:
            asyncio.run(task)


def part(error_code: int = 0, **fields: Any) -> Any:
    data = AlterPartitionResponse.PartitionData(partition_index=0, error_code=error_code, **fields)
    return AlterPartitionResponse(topics=[AlterPartitionResponse.TopicData(topic_id=ID, partitions=[data])])


AGREED = part(leader_id=1, leader_epoch=4, isr=[1, 2], partition_epoch=8)


def unreachable() -> Any:
    raise BrokerUnreachableError("nobody there")


@pytest.mark.parametrize(
    "refusal",
    [lambda: part(STALE_BROKER_EPOCH), lambda: AlterPartitionResponse(error_code=STALE_BROKER_EPOCH), unreachable],
    ids=["of the partition", "of all", "no answer"],
)
def test_what_nobody_has_decided_is_asked_again_after_pauses_that_grow(
    refusal: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A partition refused with STALE_BROKER_EPOCH was proposed again at once, as often as the controller answered."""
    scene = Scene([refusal] * 6 + [AGREED], monkeypatch)
    scene.run()
    assert scene.pauses == [0.05, 0.1, 0.2, 0.4, 0.5, 0.5]
    assert scene.partition.agreed == [frozenset({1, 2})]
    assert (scene.replicas.isr_expands, scene.replicas.isr_shrinks) == (1, 0)


def test_after_a_new_registration_the_controller_hears_its_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    def registered_anew() -> Any:
        scene.member.broker_epoch = 11
        return part(STALE_BROKER_EPOCH)

    scene = Scene([registered_anew, AGREED], monkeypatch)
    scene.run()
    assert [request.broker_epoch for request in scene.asked] == [10, 11]


def test_a_refusal_for_good_is_no_reason_to_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene([part(INELIGIBLE)], monkeypatch)
    scene.run()
    assert len(scene.asked) == 1
    assert scene.replicas.failed_isr_updates == 1


def test_what_the_leader_does_not_wait_for_any_more_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def new_epoch() -> Any:
        scene.partition.leader.epoch = 5
        return AlterPartitionResponse(error_code=NOT_CONTROLLER)

    scene = Scene([new_epoch], monkeypatch)
    scene.run()
    assert len(scene.asked) == 1
