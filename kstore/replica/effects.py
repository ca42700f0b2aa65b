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


class LogStartAdvanced(NamedTuple):
    """Offsets below `log_start_offset` are gone."""

    topic_partition: TopicPartition
    log_start_offset: int


class LeadershipBegan(NamedTuple):
    """This broker leads the partition from `leader_epoch` on."""

    topic_partition: TopicPartition
    leader_epoch: int


class LeadershipEnded(NamedTuple):
    """This broker leads the partition no longer, or not in the epoch that a waiting request was accepted in."""

    topic_partition: TopicPartition


Effect = HighWatermarkAdvanced | LogStartAdvanced | LeadershipBegan | LeadershipEnded
NO_EFFECTS: tuple[Effect, ...] = ()
