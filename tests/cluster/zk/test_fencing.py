"""What a controller writes over what it has not read, or after another was elected, is not written."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from kstore.cluster.image import PartitionImage
from kstore.cluster.zk import paths
from kstore.cluster.zk.fencing import ControllerMovedError, Elected
from kstore.cluster.zk.session import OperationFailed, SetData
from kstore.cluster.zk.store import ClusterStore
from kstore.model import TopicPartition

KEY = TopicPartition("orders", 0)
STATE = PartitionImage((1, 2), isr=(1, 2), leader=1, leader_epoch=3, partition_epoch=7)


class Znodes:
    """A session of which only versions are asked, as ZooKeeper does: any will do where -1 is named."""

    def __init__(self, **versions: int) -> None:
        self.versions = {paths.CONTROLLER_EPOCH: versions["epoch"], paths.state(*KEY): versions["state"]}

    async def multi(self, operations: Sequence[Any]) -> list[Any] | OperationFailed:
        for number, each in enumerate(operations):
            if each.version not in (-1, self.versions[each.path]):
                return OperationFailed(number, "bad_version")
        for each in operations:
            if isinstance(each, SetData):
                self.versions[each.path] += 1
        return [SimpleNamespace(version=self.versions[each.path]) for each in operations]


def write(znodes: Znodes) -> int | None:
    store = ClusterStore(znodes)  # type: ignore[arg-type]
    return asyncio.run(store.write_states({KEY: STATE}, Elected(2, 4)))[KEY]


def test_a_state_is_written_over_the_version_that_it_was_decided_from() -> None:
    assert write(Znodes(epoch=4, state=7)) == 8


def test_a_state_that_another_has_written_meanwhile_stays() -> None:
    """(rule 44)"""
    znodes = Znodes(epoch=4, state=8)
    assert write(znodes) is None
    assert znodes.versions[paths.state(*KEY)] == 8


def test_who_controls_no_more_writes_nothing() -> None:
    """(rule 45)"""
    znodes = Znodes(epoch=5, state=7)
    with pytest.raises(ControllerMovedError):
        write(znodes)
    assert znodes.versions[paths.state(*KEY)] == 7
