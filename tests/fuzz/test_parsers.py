"""Whatever reads bytes of others, fed with mutations of good ones: it gives something or refuses by the error that its
docstring names, in a tenth of a second, and takes no memory for what is not there.

Each version of each request, the decompressors, batches, producer snapshots, epochs, checkpoints, properties, and the
records of groups and of the metadata log. Some hundred mutations each in `make test`; `make fuzz-python RUNS=n` makes
so many of each (KSTORE_FUZZ_RUNS).
"""

import os
import random
import resource
import struct
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from kstore._native.batch import iter_batches
from kstore._native.builder import BatchBuilder
from kstore._native.checksum import crc32c
from kstore._native.compression import compress, decompress
from kstore.cluster.image import ClusterImage
from kstore.cluster.quorum_state import read_quorum_state
from kstore.cluster.records import ImageBuilder
from kstore.coordinator.group.config import GroupConfig
from kstore.coordinator.group.records import OffsetAndMetadata, group_record, offset_record
from kstore.coordinator.group.shard import GroupShard
from kstore.errors import (
    ConfigError,
    CorruptIndexError,
    CorruptRecordError,
    InvalidRecordError,
    InvalidRequestError,
    UnsupportedCompressionTypeError,
    UnsupportedForMessageFormatError,
    UnsupportedVersionError,
)
from kstore.log.checkpoint_file import read_offsets
from kstore.log.directory import parse_partition_metadata
from kstore.log.leader_epoch import LeaderEpochCache
from kstore.log.memory_directory import MemoryDirectory
from kstore.log.meta_properties import read_meta_properties
from kstore.log.producer_entry import BatchMetadata, ProducerEntry
from kstore.log.producer_snapshots import decode_snapshot, encode_snapshot
from kstore.log.transaction_index import TransactionIndex
from kstore.protocol.framing import FrameReader
from kstore.protocol.messages import schema
from kstore.protocol.messages.control_records import decode_control_record
from kstore.protocol.messages.metadata_records import RECORD_TYPES, decode_record, encode_record
from kstore.server.dispatch import APIS
from kstore.server.properties_file import read_properties
from tests.coordinator.group.test_records import GROUP
from tests.protocol.test_hostile import mutate
from tests.protocol.values import random_message

RUNS = int(os.environ.get("KSTORE_FUZZ_RUNS", "150"))
SLOWEST_S = 0.1
MIB = 1 << 20
MOST_MEMORY = 64 * MIB
# Seeds of each target, and how many of those that were taken as good are kept to be mutated on.
SEEDS, KEPT = 8, 64

Parse = Callable[[bytes], object]


class Target(NamedTuple):
    seeds: list[bytes]
    parse: Parse
    refusals: tuple[type[Exception], ...]


# --- what is parsed ---


def request(api_key: int, version: int) -> Target:
    kind = schema(api_key)[0]
    rng = random.Random(f"{api_key} {version}")
    seeds = [random_message(kind, version, rng).encode(version) for _ in range(SEEDS)]
    return Target(seeds, lambda data: kind.decode(data, 0, len(data), version), (InvalidRequestError,))


def frames() -> Target:
    def parse(data: bytes) -> None:
        splitter = FrameReader(1000)
        for start in range(0, len(data), 7):
            splitter.feed(data[start : start + 7])

    good = b"".join(struct.pack(">i", size) + bytes(size) for size in (0, 3, 20))
    return Target([good], parse, (InvalidRequestError,))


def decompressor(codec: int) -> Target:
    rng = random.Random(codec)
    contents = [b"", b"abc" * 50, rng.randbytes(300), bytes(5000), b"".join(rng.randbytes(9) * 9 for _ in range(40))]
    return Target(
        [compress(codec, content) for content in contents],
        lambda data: decompress(codec, data, MIB),
        (CorruptRecordError,),
    )


def batch_with_right_crc(data: bytes) -> bytes:
    """The mutation that is not found out by its CRC alone."""
    if len(data) < 61:
        return data
    changed = bytearray(data)
    struct.pack_into(">i", changed, 8, len(data) - 12)
    changed[16] = 2
    struct.pack_into(">I", changed, 17, crc32c(bytes(changed[21:])))
    return bytes(changed)


def batches(codec: int) -> Target:
    builder = BatchBuilder(compression=codec)
    for number in range(6):
        builder.append(1000 + number, b"k%d" % number, b"v" * 30, [("h", b"x")])

    def parse(data: bytes) -> None:
        for batch in iter_batches(batch_with_right_crc(data), allow_partial_tail=True):
            batch.ensure_valid()
            for _ in batch.records():
                pass

    refusals = (
        CorruptRecordError, InvalidRecordError, UnsupportedForMessageFormatError, UnsupportedCompressionTypeError
    )  # fmt: skip
    return Target([bytes(builder.build())], parse, refusals)


def snapshots() -> Target:
    entries = []
    for number in range(5):
        entry = ProducerEntry(number, 1, 0, 1000, -1)
        entry.batches.append(BatchMetadata(number, 10 * number, 2, 1000))
        entries.append(entry)

    def parse(data: bytes) -> None:
        if len(data) % 2 and len(data) > 6:
            data = data[:2] + struct.pack(">I", crc32c(data[6:])) + data[6:]
        decode_snapshot(data)

    return Target([encode_snapshot(entries), encode_snapshot([])], parse, (CorruptRecordError,))


def epochs() -> Target:
    directory = MemoryDirectory()

    def parse(data: bytes) -> None:
        directory.write_file("leader-epoch-checkpoint", data)
        LeaderEpochCache(directory).load()

    return Target([b"0\n3\n0 0\n2 17\n5 99\n", b"0\n0\n"], parse, (CorruptRecordError,))


def transactions() -> Target:
    directory = MemoryDirectory()
    entry = struct.Struct(">hqqqq")
    good = entry.pack(0, 7, 0, 10, 5) + entry.pack(0, 8, 4, 15, 16)

    def parse(data: bytes) -> None:
        directory.write_file("0.txnindex", data)
        TransactionIndex(directory, "0.txnindex", 0, exists=True).sanity_check()

    return Target([good], parse, (CorruptIndexError,))


def file_in(path: Path, read: Callable[[str], object], *seeds: bytes) -> Target:
    def parse(data: bytes) -> None:
        path.write_bytes(data)
        read(str(path))

    return Target(list(seeds), parse, (CorruptRecordError, ConfigError))


def group_records() -> Target:
    committed = OffsetAndMetadata(5, 1, "metadata", 1000, -1)
    pairs = [offset_record("group", "topic", 3, committed), group_record("consumer", GROUP, {"m-1": b"assigned"})]
    seeds = [struct.pack(">h", len(key)) + key + (value or b"") for key, value in (pair[:2] for pair in pairs)]

    def parse(data: bytes) -> None:
        size = int.from_bytes(data[:2], "big")
        shard = GroupShard(0, GroupConfig())
        shard.replay(data[2 : 2 + size], data[2 + size :] or None, offset=3, producer_id=None)

    return Target(seeds, parse, (CorruptRecordError,))


def metadata_records() -> Target:
    rng = random.Random(4)
    seeds = []
    for kind in RECORD_TYPES.values():
        for version in range(kind.min_version, kind.max_version + 1):
            seeds.append(encode_record(random_message(kind, version, rng), version))

    def parse(data: bytes) -> None:
        builder = ImageBuilder(ClusterImage())
        builder.apply(decode_record(data).message, data)
        builder.build(offset=0, epoch=0)

    return Target(seeds, parse, (CorruptRecordError, UnsupportedVersionError))


def control_records() -> Target:
    def parse(data: bytes) -> None:
        decode_control_record(data[:4], data[4:])

    return Target(
        [b"\0\0\0\2" + bytes(12), b"\0\0\0\6" + bytes(20)],
        parse,
        (CorruptRecordError, InvalidRequestError, UnsupportedVersionError),
    )


CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
META_PROPERTIES = (
    b"version=1\ncluster.id=qRstUvWxYz0123456789Ab\nnode.id=1\ndirectory.id=AAECAwQFBgcICQoLDA0ODw\n",
    b"# c\nversion=0\nbroker.id=2\ncluster.id=x\\=y\n",
)
SERVER_PROPERTIES = b"a=b\nlog.dirs = /x,\\\n  /y\n# c\n! d\nk\\u0041:v\\n\n"
CHECKPOINT = b"0\n2\ntopic 0 17\nother-topic 3 1042\n"
PARTITION_METADATA = b"version: 0\ntopic_id: AAECAwQFBgcICQoLDA0ODw"
QUORUM_STATE = (
    b'{"clusterId":"","leaderId":1,"leaderEpoch":3,"votedId":-1,"currentVoters":[{"voterId":1}],"data_version":0}',
    b'{"leaderId":1,"leaderEpoch":3,"votedId":-1,"votedDirectoryId":"AAAAAAAAAAAAAAAAAAAAAA","data_version":1}',
)

OTHERS: dict[str, Callable[[Path], Target]] = {
    "frames": lambda path: frames(),
    **{f"decompress-{CODECS[codec]}": lambda path, c=codec: decompressor(c) for codec in range(1, 5)},
    **{f"batches-{CODECS[codec]}": lambda path, c=codec: batches(c) for codec in range(5)},
    "snapshot": lambda path: snapshots(),
    "leader-epochs": lambda path: epochs(),
    "transaction-index": lambda path: transactions(),
    "checkpoint": lambda path: file_in(path / "checkpoint", read_offsets, CHECKPOINT),
    "meta.properties": lambda path: file_in(
        path / "meta.properties", lambda name: read_meta_properties(str(path)), *META_PROPERTIES
    ),
    "server.properties": lambda path: file_in(path / "server.properties", read_properties, SERVER_PROPERTIES),
    "partition.metadata": lambda path: Target([PARTITION_METADATA], parse_partition_metadata, ()),
    "quorum-state": lambda path: file_in(
        path / "quorum-state", lambda name: read_quorum_state(str(path)), *QUORUM_STATE
    ),
    "group-records": lambda path: group_records(),
    "metadata-records": lambda path: metadata_records(),
    "control-records": lambda path: control_records(),
}
REQUESTS = [
    (api_key, version)
    for api_key, (_, lowest, highest) in sorted(APIS.items())
    for version in range(lowest, highest + 1)
]


# --- what must hold ---


def attack(target: Target, seed: str, runs: int) -> int:
    """How many mutations were taken as good."""
    rng = random.Random(seed)
    # What is loaded on first use is nobody's growth.
    for good in target.seeds:
        with suppress(*target.refusals):
            target.parse(good)
    corpus = list(target.seeds)
    accepted = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(runs):
        data = mutate(rng.choice(corpus), rng)
        if rng.random() < 0.1:
            data = data[: rng.randrange(len(data) + 1)]
        began = time.thread_time()
        try:
            target.parse(data)
        except target.refusals:
            pass
        except Exception as error:
            error.add_note(f"input {data.hex()}")
            raise
        else:
            accepted += 1
            if len(corpus) < len(target.seeds) + KEPT and len(data) < 10_000:
                corpus.append(data)
        spent = time.thread_time() - began
        assert spent < SLOWEST_S, f"{spent:.3f} s for {data.hex()}"
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < MOST_MEMORY, f"grew by {grown / MIB:.0f} MiB"
    return accepted


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("api_key", "version"), REQUESTS, ids=[f"{APIS[key][0]}-v{version}" for key, version in REQUESTS]
)
def test_mutated_requests_are_refused_or_read(api_key: int, version: int) -> None:
    attack(request(api_key, version), f"{api_key} {version}", RUNS)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", OTHERS)
def test_mutated_files_and_records_are_refused_or_read(tmp_path: Path, name: str) -> None:
    if not os.access("/dev/shm", os.W_OK):
        attack(OTHERS[name](tmp_path), name, RUNS)
        return
    with tempfile.TemporaryDirectory(prefix="kstore-fuzz-", dir="/dev/shm") as path:
        attack(OTHERS[name](Path(path)), name, RUNS)
