"""The rate is kept over any row of slices."""

from hypothesis import given
from hypothesis import strategies as st

from kstore.log.cleaner.config import UNLIMITED, CleanerConfig
from kstore.log.cleaner.throttle import Throttle


def test_without_a_limit_there_is_no_pause() -> None:
    throttle = Throttle(UNLIMITED)
    assert throttle.slice_size(1 << 23) == 1 << 23
    assert [throttle.pause_ms(1 << 30, 10 * n) for n in range(100)] == [0] * 100


def test_a_slice_is_what_may_go_at_once() -> None:
    assert Throttle(1000.0).slice_size(1 << 23) == 300
    assert Throttle(0.5).slice_size(1 << 23) == 1


@given(st.floats(100, 1e7), st.lists(st.tuples(st.floats(0, 2), st.integers(0, 500)), min_size=1, max_size=50))
def test_the_rate_is_kept(rate: float, slices: list[tuple[float, int]]) -> None:
    """Each slice does a part of what is allowed at once, and takes some time."""
    throttle = Throttle(rate)
    now = start = 1000
    done = 0
    for part, took in slices:
        size = int(throttle.slice_size(1 << 30) * part)
        now += took
        done += size
        now += throttle.pause_ms(size, now)
    # What is not paused for yet is at most one check's worth.
    assert done * 1000 / rate <= (now - start) + 300 + 2 * len(slices)


def test_a_clock_that_goes_back_stops_nothing() -> None:
    throttle = Throttle(1000.0)
    throttle.pause_ms(10, 100_000)
    assert throttle.pause_ms(1000, 50_000) == 1010


def test_memory_is_shared_by_the_threads() -> None:
    config = CleanerConfig(threads=4, dedupe_buffer_size=16 << 20, io_buffer_size=1 << 20)
    assert (config.map_size, config.chunk_size) == (4 << 20, 128 << 10)
