"""The states of a group, and from which each may be entered (GroupMetadata.scala, ClassicGroupState.java).

Empty                no members; offsets may remain, or are all there ever was
PreparingRebalance   waiting for the members to join
CompletingRebalance  a new generation waits for its leader's assignment
Stable               everybody has an assignment
Dead                 its removal is being written; what asks now is sent to look again
"""

from enum import Enum


class GroupState(Enum):
    EMPTY = "Empty"
    PREPARING_REBALANCE = "PreparingRebalance"
    COMPLETING_REBALANCE = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


EMPTY = GroupState.EMPTY
PREPARING_REBALANCE = GroupState.PREPARING_REBALANCE
COMPLETING_REBALANCE = GroupState.COMPLETING_REBALANCE
STABLE = GroupState.STABLE
DEAD = GroupState.DEAD

ENTERED_FROM: dict[GroupState, frozenset[GroupState]] = {
    EMPTY: frozenset({PREPARING_REBALANCE, DEAD}),  # from Dead when the removal could not be written
    PREPARING_REBALANCE: frozenset({STABLE, COMPLETING_REBALANCE, EMPTY}),
    COMPLETING_REBALANCE: frozenset({PREPARING_REBALANCE}),
    STABLE: frozenset({COMPLETING_REBALANCE}),
    DEAD: frozenset({EMPTY}),
}
