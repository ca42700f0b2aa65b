"""Transactions on the way of a walk: what the inner loops know of them is what a look at each batch would say."""

from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from kstore._native.batch import RecordBatch
from kstore._native.builder import BatchBuilder, control_batch
from kstore._native.compaction import FULL, OTHER, Compactor, OffsetMap, check_chunk
from kstore.log.cleaner.transactions import WalkedTransactions
from kstore.log.transaction_index import AbortedTxn
from tests.log.build import NOW

# (producer, 0 a batch of its transaction, 1 commits, 2 aborts); producer 0 has no transactions.
Steps = list[tuple[int, int]]
steps = st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0, 0, 0, 1, 2])), max_size=40)


def log_of(plan: Steps) -> tuple[bytes, list[AbortedTxn]]:
    data = bytearray()
    aborted = []
    begun: dict[int, int] = {}
    for offset, (producer_id, what) in enumerate(plan):
        if producer_id and what:
            data += control_batch(
                2 - what, base_offset=offset, timestamp=NOW, producer_id=producer_id, producer_epoch=0
            )
            first_offset = begun.pop(producer_id, None)
            if what == 2 and first_offset is not None:
                aborted.append(AbortedTxn(producer_id, first_offset, offset, offset + 1))
            continue
        options = {"producer_id": producer_id, "producer_epoch": 0, "base_sequence": offset} if producer_id else {}
        builder = BatchBuilder(base_offset=offset, is_transactional=producer_id > 0, **options)  # type: ignore[arg-type]
        builder.append(NOW, b"k%d" % (offset % 3), b"v")
        data += builder.build()
        if producer_id:
            begun.setdefault(producer_id, offset)
    for producer_id, first_offset in begun.items():  # nothing undecided is ever walked
        aborted.append(AbortedTxn(producer_id, first_offset, len(plan) + producer_id, len(plan) + 9))
    return bytes(data), aborted


def walk(data: bytes, walked: WalkedTransactions, compactor: Compactor) -> Iterator[bytes]:
    position = 0
    while True:
        position, status = compactor.compact_chunk(data, position)
        if status not in (OTHER, FULL):
            break
        batch = RecordBatch(data, position)
        position += batch.size_in_bytes
        if batch.is_control:
            compactor.compact_batch(batch, marker_is_free=walked.is_free(batch), max_bytes=1 << 20)
        else:
            discard = batch.is_transactional and walked.is_aborted(batch)
            compactor.compact_batch(batch, discard=discard, max_bytes=1 << 20)
        yield batch.to_bytes()


@given(steps)
@settings(max_examples=400, deadline=None)
def test_a_transaction_is_looked_at_once(plan: Steps) -> None:
    data, aborted = log_of(plan)
    assert check_chunk(data, 0) == len(data)
    written, looks, kept = [], [], []
    for knows in (True, False):
        walked = WalkedTransactions(aborted)
        compactor = Compactor(
            OffsetMap(10),
            now_ms=NOW,
            delete_retention_ms=5,
            transactions=walked.open if knows else None,
        )
        looks.append(len(list(walk(data, walked, compactor))))
        written.append(bytes(compactor.finish()[: compactor.size]))
        kept.append(walked.kept_aborted)
    assert written[0] == written[1]
    assert kept[0] == kept[1]
    assert looks[0] <= looks[1]


@given(steps, st.integers(0, 40))
@settings(max_examples=400, deadline=None)
def test_aborted_records_are_not_in_the_map(plan: Steps, start_offset: int) -> None:
    data, aborted = log_of(plan)
    found = []
    for knows in (True, False):
        walked = WalkedTransactions(aborted)
        offset_map = OffsetMap(10)
        position = 0
        while True:
            known = walked.open if knows else None
            position, status = offset_map.index_chunk(data, position, start_offset, known)
            if status != OTHER:
                break
            batch = RecordBatch(data, position)
            position += batch.size_in_bytes
            if batch.is_control:
                walked.is_free(batch)
            elif not walked.is_aborted(batch):
                offset_map.index_batch(batch, start_offset, 1 << 20)
            if batch.last_offset >= start_offset:
                offset_map.latest_offset = batch.last_offset
        found.append(([offset_map.get(b"k%d" % key) for key in range(3)], offset_map.latest_offset))
    assert found[0] == found[1]
    expected = {}
    for offset, (producer_id, what) in enumerate(plan):
        inside = any(
            txn.producer_id == producer_id and txn.first_offset <= offset <= txn.last_offset for txn in aborted
        )
        if offset >= start_offset and not (producer_id and what) and not inside:
            expected[offset % 3] = offset
    assert found[0][0] == [expected.get(key, -1) for key in range(3)]


def test_more_transactions_than_are_remembered() -> None:
    data = bytearray()
    for offset in range(200):
        builder = BatchBuilder(
            base_offset=offset,
            is_transactional=True,
            producer_id=offset % 50,
            producer_epoch=0,
            base_sequence=offset,
        )
        builder.append(NOW, b"k", b"v")
        data += builder.build()
    walked = WalkedTransactions([AbortedTxn(40, 40, 1000, 1001), AbortedTxn(3, 3, 1000, 1001)])
    compactor = Compactor(OffsetMap(10), now_ms=NOW, delete_retention_ms=5, transactions=walked.open)
    looks = list(walk(bytes(data), walked, compactor))
    assert 50 <= len(looks) < 150
    assert compactor.records_kept == 200 - 8
