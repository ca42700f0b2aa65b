"""The golden files are what real Kafka wrote, whole and unchanged, and hold what they are there for."""

import hashlib

import pytest

from tests.golden.golden import ALL, GOLDEN, KRAFT, golden


@pytest.mark.parametrize("name", ALL)
def test_every_file_is_as_kafka_left_it(name: str) -> None:
    directory = GOLDEN / name
    found = {str(file.relative_to(directory)) for file in directory.rglob("*") if file.is_file()}
    assert found == set(golden(name).files)
    for path, facts in golden(name).files.items():
        data = (directory / path).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (facts["size"], facts["sha256"]), path


@pytest.mark.parametrize("name", KRAFT)
def test_batches_of_each_kind_are_there(name: str) -> None:
    batches = [batch for partition in golden(name).partitions.values() for batch in partition.batches]
    assert {batch["compresscodec"] for batch in batches} == {"none", "gzip", "snappy", "lz4", "zstd"}
    assert any(batch["isControl"] for batch in batches)
    assert any(batch["producerId"] >= 0 and not batch["isTransactional"] for batch in batches)
    assert any(batch["count"] == 0 for batch in batches), "a batch that the cleaner emptied"
    assert any(batch["deleteHorizonMs"] != "OptionalLong.empty" for batch in batches)
    assert all(batch["isvalid"] for batch in batches)


@pytest.mark.parametrize("name", KRAFT)
def test_aborted_and_open_transactions_are_there(name: str) -> None:
    partition = golden(name).partitions["transactions", 0]
    assert partition.last_stable_offset < partition.log_end_offset
    read = [record.offset for record in partition.records if record.offset < partition.last_stable_offset]
    assert set(partition.committed_offsets) < set(read)
    assert list(partition.directory.glob("*.txnindex"))


@pytest.mark.parametrize("name", KRAFT)
def test_metadata_log_has_a_snapshot(name: str) -> None:
    assert list((GOLDEN / name / "__cluster_metadata-0").glob("*.checkpoint"))


def test_old_formats_hold_magic_0_and_1() -> None:
    old = golden("kafka-3.9.1-old-formats").partitions
    assert {batch["magic"] for batch in old["magic-0", 0].batches} == {0}
    assert {batch["magic"] for batch in old["magic-1", 0].batches} == {1}
