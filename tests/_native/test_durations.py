"""kstore/_native/durations.pyx"""

import math

import pytest

from kstore._native.durations import Durations


def bound_of(nanoseconds: int) -> float:
    """The bound of the only bucket that an observation falls into."""
    durations = Durations()
    durations.observe(nanoseconds)
    return next(bound for bound, count in durations.cumulative() if count == 1)


@pytest.mark.parametrize(
    ("nanoseconds", "bound"),
    [
        (0, 1e-6),
        (1000, 1e-6),
        (1001, 2e-6),
        (2000, 2e-6),
        (2001, 4e-6),
        (4000, 4e-6),
        (1_000_000_000, 2**20 / 1e6),
        (2**26 * 1000, 2**26 / 1e6),
        (2**26 * 1000 + 1, math.inf),
        (2**62, math.inf),
        (-5, 1e-6),
    ],
)
def test_a_duration_lies_at_or_below_its_bound(nanoseconds: int, bound: float) -> None:
    assert bound_of(nanoseconds) == bound


def test_counts_add_up_from_bound_to_bound() -> None:
    durations = Durations()
    for nanoseconds in (500, 1500, 1500, 10_000_000):
        durations.observe(nanoseconds)
    counts = dict(durations.cumulative())
    assert counts[1e-6] == 1
    assert counts[2e-6] == 3
    assert counts[math.inf] == durations.count == 4
    assert durations.seconds == pytest.approx(0.0100035)
