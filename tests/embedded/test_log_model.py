"""A log beside a list that says what it must hold, driven by hypothesis: through cuts, reopenings and crashes."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import kstore
from kstore.embedded.options import LogOptions

OPTIONS: LogOptions = {"segment_bytes": 700, "index_interval_bytes": 50, "file_delete_delay_ms": 0}
VALUES = st.binary(max_size=60)


class LogBesideList(RuleBasedStateMachine):
    """`batches` are what was appended together; a cut inside a batch takes all of it."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.path = self.root / "log"
        self.clock = kstore.ManualClock()
        self.values: dict[int, bytes] = {}
        self.batches: list[range] = []
        self.start = self.end = 0

    @initialize(compression=st.sampled_from(["none", "lz4", "zstd"]))
    def open(self, compression: str) -> None:
        self.compression = compression
        self.log = self.reopened()

    def reopened(self) -> kstore.Log:
        return kstore.Log.open(self.path, compression=self.compression, clock=self.clock, background=False, **OPTIONS)

    @rule(values=st.lists(VALUES, min_size=1, max_size=5))
    def extend(self, values: list[bytes]) -> None:
        offsets = self.log.extend(values)
        assert offsets == range(self.end, self.end + len(values))
        self.values.update(zip(offsets, values, strict=True))
        self.batches.append(offsets)
        self.end = offsets.stop

    @rule(values=st.lists(VALUES, min_size=1, max_size=20))
    def batch(self, values: list[bytes]) -> None:
        with self.log.batch(linger_ms=60_000) as batch:
            pending = [batch.append(value) for value in values]
        assert [each.result() for each in pending] == list(range(self.end, self.end + len(values)))
        self.values.update(zip(range(self.end, self.end + len(values)), values, strict=True))
        # How they were divided is the batch's own business.
        self.batches += [range(each.base_offset, each.next_offset) for each in self.log.read_batches(self.end)]
        self.end += len(values)

    @rule(data=st.data())
    def truncate(self, data: Any) -> None:
        offset = data.draw(st.integers(self.start, self.end))
        torn = next((batch.start for batch in self.batches if offset in batch), offset)
        self.end = max(torn, self.start)
        assert self.log.truncate_to(offset) == self.end
        self.batches = [batch for batch in self.batches if batch.stop <= torn]
        self.values = {each: value for each, value in self.values.items() if each < torn}

    @rule(data=st.data())
    def delete_before(self, data: Any) -> None:
        self.start = data.draw(st.integers(self.start, self.end))
        assert self.log.delete_before(self.start) == self.start

    @rule()
    def let_time_pass(self) -> None:
        self.clock.advance(hours=1)
        self.log.tend()

    @rule()
    def flush(self) -> None:
        self.log.flush()
        assert self.log.flushed_offset == self.end

    @rule()
    def close_and_open(self) -> None:
        self.log.close()
        self.log = self.reopened()

    @rule()
    def crash_and_open(self) -> None:
        """The process ends, and the page cache does not; the start that was moved may come back."""
        self.log._host.let_go()  # type: ignore[attr-defined]
        self.log._host.closed()  # type: ignore[attr-defined]
        self.log = self.reopened()
        assert self.log.start_offset <= self.start
        self.log.delete_before(self.start)

    @rule(data=st.data())
    def read_a_range(self, data: Any) -> None:
        first = data.draw(st.integers(self.start, self.end))
        until = data.draw(st.integers(first, self.end))
        expected = [(offset, self.values[offset]) for offset in range(first, until) if offset in self.values]
        assert [(record.offset, record.value) for record in self.log.read(first, until)] == expected
        with kstore.Log.open(self.path, readonly=True) as reader:
            if first >= reader.start_offset:
                assert [(record.offset, record.value) for record in reader.read(first, until)] == expected

    @invariant()
    def it_begins_and_ends_where_it_should(self) -> None:
        if hasattr(self, "log"):
            assert (self.log.start_offset, self.log.end_offset) == (self.start, self.end)

    def teardown(self) -> None:
        if hasattr(self, "log"):
            self.log.close()
        shutil.rmtree(self.root)


LogBesideList.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
test_a_log_holds_what_the_list_beside_it_holds = LogBesideList.TestCase
