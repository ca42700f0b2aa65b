"""The in-sync replicas as their leader knows them: agreed on, or with a change of them on its way.

While a change is in flight the larger set of the two counts for the high watermark, whichever way the controller
decides (the maximal ISR; rule 21, KIP-497; Partition.scala, PartitionState).
"""

from typing import NamedTuple


class Committed(NamedTuple):
    isr: frozenset[int]

    @property
    def maximal(self) -> frozenset[int]:
        return self.isr

    @property
    def proposed(self) -> None:
        return None


class PendingExpand(NamedTuple):
    """`new` counts from the proposal on: it may be elected the moment the controller agrees."""

    isr: frozenset[int]
    new: int

    @property
    def maximal(self) -> frozenset[int]:
        return self.isr | {self.new}

    @property
    def proposed(self) -> frozenset[int]:
        return self.isr | {self.new}


class PendingShrink(NamedTuple):
    """Those who are `lagging` count until the controller has agreed that they cannot be elected any more."""

    isr: frozenset[int]
    lagging: frozenset[int]

    @property
    def maximal(self) -> frozenset[int]:
        return self.isr

    @property
    def proposed(self) -> frozenset[int]:
        return self.isr - self.lagging


IsrState = Committed | PendingExpand | PendingShrink
