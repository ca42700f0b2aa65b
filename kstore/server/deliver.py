"""The one place where effects of the replica floor go.

Within a turn of the loop they are only noted; when the turn ends each waiting request hears of a partition
once, however many appends the turn held.
"""

from typing import Protocol

from kstore.model import TopicPartition
from kstore.replica.effects import (
    Effect,
    FollowingBegan,
    FollowingEnded,
    HighWatermarkAdvanced,
    IsrProposed,
    LeadershipBegan,
    LeadershipEnded,
    LeadershipRenewed,
    LogStartAdvanced,
    LowWatermarkMoved,
    RecordsAppended,
)
from kstore.server.purgatory import DeletePurgatory, FetchPurgatory, ProducePurgatory


class Coordinators(Protocol):
    """Who coordinates as long as this broker leads a partition of an internal topic."""

    def elected(self, topic_partition: TopicPartition, leader_epoch: int) -> None: ...
    def renewed(self, topic_partition: TopicPartition, leader_epoch: int) -> None: ...
    def resigned(self, topic_partition: TopicPartition) -> None: ...


class Replication(Protocol):
    """Who fetches from leaders and asks the controller, in a cluster."""

    def following_began(self, topic_partition: TopicPartition, leader_id: int) -> None: ...
    def following_ended(self, topic_partition: TopicPartition) -> None: ...
    def isr_proposed(self, proposal: IsrProposed) -> None: ...


class Deliver:
    def __init__(
        self,
        produces: ProducePurgatory,
        fetches: FetchPurgatory,
        coordinators: Coordinators,
        deletes: DeletePurgatory | None = None,
    ) -> None:
        """Without `deletes` nobody waits for followers that delete."""
        self.produces = produces
        self.fetches = fetches
        self.deletes = deletes
        self.coordinators = coordinators
        # Set by a broker that is a member of a cluster.
        self.replication: Replication | None = None
        self.appended: dict[TopicPartition, None] = {}
        self.advanced: dict[TopicPartition, int] = {}

    def __call__(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            if type(effect) is HighWatermarkAdvanced:
                if self.produces.watched or self.fetches.watched or self.fetches.followers:
                    self.advanced[effect.topic_partition] = effect.high_watermark
            elif type(effect) is RecordsAppended:
                if self.fetches.watched or self.fetches.followers:
                    self.appended[effect.topic_partition] = None
            elif type(effect) is LeadershipEnded:
                self.coordinators.resigned(effect.topic_partition)
                self.produces.leadership_ended(effect.topic_partition)
                self.fetches.leadership_ended(effect.topic_partition)
                if self.deletes is not None:
                    self.deletes.leadership_ended(effect.topic_partition)
            elif type(effect) is LeadershipBegan:
                # Who has read here from a follower learns of the new epoch.
                self.fetches.leadership_ended(effect.topic_partition)
                self.coordinators.elected(effect.topic_partition, effect.leader_epoch)
            elif type(effect) is LeadershipRenewed:
                # Who fetches with the epoch before is told so at once; producers wait on.
                self.fetches.leadership_ended(effect.topic_partition)
                self.coordinators.renewed(effect.topic_partition, effect.leader_epoch)
            elif type(effect) is LogStartAdvanced:
                # No fetch is answered for that, but the next answer tells of it (rule 41).
                self.fetches.stir(effect.topic_partition)
            elif type(effect) is LowWatermarkMoved and self.deletes is not None:
                self.deletes.low_watermark_moved(effect.topic_partition)
            elif self.replication is not None:
                if type(effect) is FollowingBegan:
                    self.fetches.leadership_ended(effect.topic_partition)
                    self.replication.following_began(effect.topic_partition, effect.leader_id)
                elif type(effect) is FollowingEnded:
                    self.replication.following_ended(effect.topic_partition)
                elif type(effect) is IsrProposed:
                    self.replication.isr_proposed(effect)

    def turn_ended(self) -> None:
        """Wakes whom the turn's news concerns; what they answer may not make news again."""
        if not self.advanced and not self.appended:
            return
        advanced, self.advanced = self.advanced, {}
        appended, self.appended = self.appended, {}
        for topic_partition in appended:
            if topic_partition not in advanced:
                self.fetches.bytes_came(topic_partition)
        for topic_partition, high_watermark in advanced.items():
            self.produces.high_watermark_advanced(topic_partition, high_watermark)
            self.fetches.bytes_came(topic_partition)
