"""Medians, spreads and the interval of a ratio, from few interleaved pairs."""

import random
from statistics import median
from typing import NamedTuple


class Ratio(NamedTuple):
    """kstore's figure of Kafka's: the median of the pairs' ratios and its 95 % bootstrap interval."""

    median: float
    low: float
    high: float


def ratio_of_pairs(kafka: list[float], kstore: list[float]) -> Ratio:
    """Pairs belong together: each was measured one right after the other."""
    ratios = [ours / theirs for theirs, ours in zip(kafka, kstore, strict=True) if theirs > 0]
    dice = random.Random(1)
    medians = sorted(median(dice.choices(ratios, k=len(ratios))) for _ in range(2000))
    return Ratio(median(ratios), medians[50], medians[-51])
