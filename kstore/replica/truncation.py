"""Where a follower cuts its log when the leader's history is another one (KIP-101, KIP-279; rule 7).

AbstractFetcherThread.scala, getOffsetTruncationState.
"""

from kstore.log.leader_epoch import EpochEndOffset


def truncation_offset(leader_end: EpochEndOffset, own_end: EpochEndOffset, log_end_offset: int) -> int:
    """`leader_end` is the leader's answer, `own_end` what our log says for the leader's epoch.

    If we do not know that epoch we cut at the end of our largest epoch below it, and ask again: it may be that this one
    parts from the leader's history too.
    """
    if own_end.end_offset < 0:
        # No epochs are known here: the leader's word alone counts.
        return min(leader_end.end_offset, log_end_offset)
    if own_end.epoch != leader_end.epoch:
        return min(own_end.end_offset, log_end_offset)
    return min(leader_end.end_offset, own_end.end_offset, log_end_offset)
