"""What a controller wants done: states to be written, and whom it is told. Nothing of it is done yet."""

from collections.abc import Mapping
from typing import NamedTuple

from kstore.cluster.image import PartitionImage
from kstore.cluster.reassignment import is_reassigned
from kstore.model import TopicPartition


class Stop(NamedTuple):
    """A replica that a broker is to let go of, and whether its log goes too."""

    broker_id: int
    key: TopicPartition
    delete: bool


class Plan(NamedTuple):
    """`writes` are new states; the `partition_epoch` in each is the one that has to be there still, -1 none.

    `made` are partitions that nobody holds yet, `catch_up` the brokers that are to be told all. `moved` are partitions
    whose replicas are written anew in the topic's znode: before the state where new ones begin to follow, so that they
    are known whoever controls next; after it, and after they have been told, where old ones go, so that whoever
    controls next does it again.
    """

    writes: Mapping[TopicPartition, PartitionImage] = {}
    made: frozenset[TopicPartition] = frozenset()
    catch_up: frozenset[int] = frozenset()
    stop: tuple[Stop, ...] = ()
    moved: frozenset[TopicPartition] = frozenset()
    # Whether the replicas hear of it by LeaderAndIsr. An ISR that its leader proposed is news to the others only.
    tells_replicas: bool = True
    # Whether all brokers hear who is alive, although no partition may have changed.
    tells_brokers: bool = False
    # Why, for the log.
    reason: str = ""

    @property
    def moved_first(self) -> list[TopicPartition]:
        return [key for key in self.moved if is_reassigned(self.writes[key])]

    @property
    def moved_last(self) -> list[TopicPartition]:
        return [key for key in self.moved if not is_reassigned(self.writes[key])]
