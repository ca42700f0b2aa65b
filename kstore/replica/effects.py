"""News from the replica floor, returned to the caller and never called back.

`server/deliver.py` is the one place that acts on them.
"""

from typing import NamedTuple

from kstore.model import TopicPartition


class HighWatermarkAdvanced(NamedTuple):
    """Records below `high_watermark` are committed: consumers may read them, producers with acks=all be
    answered."""

    topic_partition: TopicPartition
    high_watermark: int


class RecordsAppended(NamedTuple):
    """The log's end has moved: followers may read on, whether or not anything is committed."""

    topic_partition: TopicPartition


class LogStartAdvanced(NamedTuple):
    """Offsets below `log_start_offset` are gone."""

    topic_partition: TopicPartition
    log_start_offset: int


class LeadershipBegan(NamedTuple):
    """This broker leads the partition from `leader_epoch` on."""

    topic_partition: TopicPartition
    leader_epoch: int


class LeadershipRenewed(NamedTuple):
    """This broker leads on, in a new epoch: what it has taken it still has, and who waits for that waits on."""

    topic_partition: TopicPartition
    leader_epoch: int


class LeadershipEnded(NamedTuple):
    """This broker leads the partition no longer."""

    topic_partition: TopicPartition


class LowWatermarkMoved(NamedTuple):
    """A follower has told where its log begins by now: DeleteRecords may be waiting for that (rule 41)."""

    topic_partition: TopicPartition


class FollowingBegan(NamedTuple):
    """This broker is to fetch the partition from `leader_id`, in `leader_epoch`; nothing of an earlier epoch counts."""

    topic_partition: TopicPartition
    leader_id: int
    leader_epoch: int


class FollowingEnded(NamedTuple):
    """This broker fetches the partition no longer."""

    topic_partition: TopicPartition


class IsrProposed(NamedTuple):
    """The controller is to be asked for these in-sync replicas, each with the broker epoch that it fetches with.

    One proposal is in flight at a time (rule 21); its answer comes back with the epochs that stand here.
    """

    topic_partition: TopicPartition
    topic_id: bytes
    leader_epoch: int
    partition_epoch: int
    isr: tuple[tuple[int, int], ...]


Effect = (
    HighWatermarkAdvanced
    | RecordsAppended
    | LogStartAdvanced
    | LeadershipBegan
    | LeadershipRenewed
    | LeadershipEnded
    | LowWatermarkMoved
    | FollowingBegan
    | FollowingEnded
    | IsrProposed
)
NO_EFFECTS: tuple[Effect, ...] = ()
