"""Producer state from the log: what a snapshot does not hold is read from the batches behind it.

Headers are enough, but for transaction markers. Nothing is refused here: the leader did that when it appended
(UnifiedLog.rebuildProducerState, ProducerAppendInfo.java; rule 37).
"""

from kstore._native.batch import RecordBatch
from kstore._native.record import ABORT_MARKER, COMMIT_MARKER
from kstore.log.files import Header
from kstore.log.log_dir import LogDir
from kstore.log.producer_entry import MAX_SEQUENCE, CompletedTxn
from kstore.log.producer_state import ProducerState
from kstore.log.segment import Segment
from kstore.log.segments import Segments

TRANSACTIONAL = 0x10
CONTROL = 0x20

# A marker has some 80 bytes: a control batch that says more of itself is no marker, and is not read for one.
LARGEST_MARKER = 64 * 1024


def apply_batch(
    state: ProducerState, batch: RecordBatch, segment_base_offset: int = -1, position: int = -1
) -> CompletedTxn | None:
    """Takes a batch that is in the log into the producer state. The caller completes the transaction that is
    returned.

    Nothing is refused here: the leader has done that. A control batch that is empty is what compaction left.
    """
    if batch.is_control:
        marker = batch.control_record()
        if marker is None or marker[0] not in (ABORT_MARKER, COMMIT_MARKER):
            return None
        return state.append_marker(
            batch.producer_id,
            batch.producer_epoch,
            marker[1],
            batch.base_offset,
            batch.max_timestamp,
            aborted=marker[0] == ABORT_MARKER,
        )
    state.append_data(
        batch.producer_id,
        batch.producer_epoch,
        batch.last_sequence,
        batch.base_offset,
        batch.last_offset,
        batch.max_timestamp,
        transactional=batch.is_transactional,
        segment_base_offset=segment_base_offset,
        position=position,
    )
    return None


def apply_header(state: ProducerState, segment: Segment, header: Header) -> CompletedTxn | None:
    """As `apply_batch`, from a header alone; only markers are read whole."""
    if header.attributes & CONTROL:
        if header.size_in_bytes > LARGEST_MARKER:
            return None
        batch = segment.records.read_batch(header.position)
        return None if batch is None else apply_batch(state, batch)
    sequence = header.base_sequence
    if sequence >= 0:
        sequence += header.last_offset - header.base_offset
    state.append_data(
        header.producer_id,
        header.producer_epoch,
        sequence if sequence <= MAX_SEQUENCE else sequence - MAX_SEQUENCE - 1,
        header.base_offset,
        header.last_offset,
        header.max_timestamp,
        transactional=bool(header.attributes & TRANSACTIONAL),
        segment_base_offset=segment.base_offset,
        position=header.position,
    )
    return None


def replay(state: ProducerState, segments: Segments, end_offset: int) -> None:
    """Reads the headers from the state's end offset up to `end_offset` into the state."""
    for segment in segments.between(state.map_end_offset, end_offset):
        start_offset = max(segment.base_offset, state.map_end_offset)
        _, position = segment.offset_index.lookup(start_offset)
        for header in segment.records.batch_headers(position, segment.size):
            if header.base_offset >= end_offset:
                break
            if header.last_offset >= start_offset and header.producer_id >= 0:
                completed = apply_header(state, segment, header)
                if completed is not None:
                    state.complete(completed)
            if header.last_offset + 1 >= end_offset:
                break  # without a look at what follows, which need not be a batch
    state.map_end_offset = max(state.map_end_offset, end_offset)


def rebuild_producer_state(
    state: ProducerState, segments: Segments, log_start_offset: int, end_offset: int, *, now_ms: int
) -> None:
    """Makes the state that of a log that ends at `end_offset`: from the latest snapshot, and by reading
    on."""
    was_empty = state.is_empty() and state.map_end_offset >= end_offset
    state.truncate_and_reload(log_start_offset, end_offset, now_ms)
    if end_offset > state.map_end_offset and not was_empty:
        replay(state, segments, end_offset)
    state.map_end_offset = end_offset


def take_snapshot(state: ProducerState, log_dir: LogDir) -> None:
    """Writes a snapshot if the disk lets us: without it a recovery begins at an older one."""
    try:
        state.take_snapshot()
    except OSError as error:
        log_dir.io_error(f"writing a producer snapshot of {state.topic_partition}", error)
