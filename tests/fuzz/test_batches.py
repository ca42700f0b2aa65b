"""Record batches that are bombs, or damaged: refused, never stored, and cheap to refuse."""

import gzip
import random
import struct
import zlib

import lz4.frame
import pytest
import snappy
import zstandard

from kstore._native.checksum import crc32c
from tests.fix_broker import Client, batch, produce_request
from tests.fuzz.target import MIB, send_and_leave

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
ACCEPTED = 0

COUNT, LAST_OFFSET_DELTA, LENGTH, CRC, ATTRIBUTES, RECORDS = 57, 23, 8, 17, 21, 61


def batch_of(payload, codec, *, count=1):
    """A batch whose header is right in itself, with `payload` where the compressed records are."""
    data = bytearray(batch(b"x")[:RECORDS] + payload)
    struct.pack_into(">h", data, ATTRIBUTES, codec)
    struct.pack_into(">i", data, COUNT, count)
    struct.pack_into(">i", data, LAST_OFFSET_DELTA, count - 1)
    struct.pack_into(">i", data, LENGTH, len(data) - 12)
    struct.pack_into(">I", data, CRC, crc32c(bytes(data[ATTRIBUTES:])))
    return bytes(data)


def gzip_zeros(size):
    """`size` zeros, a thousandth of it compressed."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    pieces = [compressor.compress(bytes(MIB)) for _ in range(size // MIB)]
    return b"".join(pieces) + compressor.flush()


def zstd_zeros(size):
    compressor = zstandard.ZstdCompressor(level=3).compressobj()
    return b"".join(compressor.compress(bytes(MIB)) for _ in range(size // MIB)) + compressor.flush()


def lz4_zeros(size):
    compressor = lz4.frame.LZ4FrameCompressor(block_linked=False, block_size=lz4.frame.BLOCKSIZE_MAX4MB)
    out = compressor.begin()
    for _ in range(size // (4 * MIB)):
        out += compressor.compress(bytes(4 * MIB))
    return out + compressor.flush()


def snappy_zeros(size):
    block = snappy.compress(bytes(MIB))
    header = b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1)
    return header + (struct.pack(">i", len(block)) + block) * (size // MIB)


MAKERS = {GZIP: gzip_zeros, SNAPPY: snappy_zeros, LZ4: lz4_zeros, ZSTD: zstd_zeros}
# Snappy does not get further than 1:20 or so.
SIZES = {GZIP: 300 * MIB, SNAPPY: 16 * MIB, LZ4: 200 * MIB, ZSTD: 500 * MIB}


@pytest.fixture(scope="module")
def bombs():
    return {codec: make(SIZES[codec]) for codec, make in MAKERS.items()}


@pytest.fixture
def client(target):
    with Client(target.port) as connected:
        yield connected


@pytest.mark.parametrize("codec", MAKERS)
@pytest.mark.parametrize("compression_type", ["producer", "uncompressed"])
def test_a_decompression_bomb_is_refused_and_does_not_go_off(target, client, bombs, codec, compression_type):
    topic = f"bomb.{codec}.{compression_type}"
    client.create_topic(topic, compression_type=compression_type, max_message_bytes=str(2 * MIB))
    bomb = bombs[codec]
    assert len(bomb) < 2 * MIB - 100
    data = batch_of(bomb, codec)
    with target.bounded(16 + 3 * len(data) / MIB):
        assert client.produce(topic, data).error_code != ACCEPTED
    assert client.values(topic) == []


@pytest.mark.parametrize("codec", MAKERS)
def test_a_record_that_claims_to_be_huge_is_refused(target, client, codec):
    """The first record says that it has 2 GiB; what follows it is next to nothing."""
    topic = f"huge.record.{codec}"
    client.create_topic(topic)
    record = b"\xfe\xff\xff\xff\x0f" + bytes(50)
    payload = {
        GZIP: gzip.compress(record),
        SNAPPY: snappy.compress(record),
        LZ4: lz4.frame.compress(record, block_linked=False),
        ZSTD: zstandard.compress(record),
    }[codec]
    with target.bounded(8):
        assert client.produce(topic, batch_of(payload, codec)).error_code != ACCEPTED
    assert client.values(topic) == []


def test_a_snappy_block_that_claims_to_be_huge_is_refused(target, client):
    client.create_topic("huge.snappy")
    # A varint of 4 GiB - 1, and almost nothing after it.
    with target.bounded(8):
        assert client.produce("huge.snappy", batch_of(b"\xff\xff\xff\xff\x0f\x00a", SNAPPY)).error_code != ACCEPTED


def test_a_zstd_frame_that_claims_to_be_huge_is_refused(target, client):
    client.create_topic("huge.zstd")
    frame = bytearray(zstandard.ZstdCompressor(write_content_size=True).compress(bytes(300)))
    # Frame header with an 8-byte content size and a window of many GiB (RFC 8878).
    for head in (b"\x28\xb5\x2f\xfd\xc0" + b"\xf8" + b"\xff" * 8, b"\x28\xb5\x2f\xfd\x00\xff"):
        with target.bounded(8):
            data = batch_of(head + bytes(frame[6:]), ZSTD)
            assert client.produce("huge.zstd", data).error_code != ACCEPTED


@pytest.mark.parametrize("count", [0, -1, 2**31 - 1, 1_000_000])
@pytest.mark.parametrize("codec", [0, *MAKERS])
def test_a_batch_that_claims_too_many_records_is_refused(target, client, count, codec):
    topic = f"claims.{codec}.{count}"
    client.create_topic(topic)
    good = batch(b"x", compression=codec)
    with target.bounded(8):
        assert client.produce(topic, batch_of(good[RECORDS:], codec, count=count)).error_code != ACCEPTED
    assert client.values(topic) == []


@pytest.mark.parametrize("codec", [0, *MAKERS])
def test_damaged_batches_are_never_stored(target, client, codec):
    """Bytes changed anywhere, with the CRC as it was: what is stored is what was sent whole."""
    topic = f"damaged.{codec}"
    client.create_topic(topic)
    rng = random.Random(codec)
    good = batch(*(b"%d" % index * 20 for index in range(20)), compression=codec)
    stored = 0
    with target.bounded(16):
        for _ in range(150):
            damaged = bytearray(good)
            for _ in range(rng.choice((1, 1, 2, 8))):
                damaged[rng.randrange(len(damaged))] ^= rng.randrange(1, 256)
            code = client.produce(topic, bytes(damaged)).error_code
            # The leader epoch is the broker's to say and lies outside the CRC.
            if bytes(damaged[:12] + damaged[16:]) == good[:12] + good[16:]:
                stored += code == ACCEPTED
            else:
                assert code != ACCEPTED
    assert len(client.values(topic)) == 20 * stored


@pytest.mark.parametrize("codec", [0, *MAKERS])
def test_batches_damaged_below_a_right_crc_are_survived(target, client, codec):
    """Who lies on purpose makes the CRC right too."""
    topic = f"lying.{codec}"
    client.create_topic(topic)
    rng = random.Random(100 + codec)
    good = batch(*(b"%d" % index * 20 for index in range(20)), compression=codec)
    with target.bounded(16):
        for _ in range(300):
            damaged = bytearray(good)
            for _ in range(rng.choice((1, 1, 2, 8))):
                damaged[rng.randrange(ATTRIBUTES, len(damaged))] = rng.randrange(256)
            struct.pack_into(">I", damaged, CRC, crc32c(bytes(damaged[ATTRIBUTES:])))
            client.produce(topic, bytes(damaged))
    # Whatever was accepted can be read: the log is whole.
    client.fetch(topic, 0)


def test_batches_cut_anywhere_are_never_stored(target, client):
    client.create_topic("cut")
    good = batch(b"one", b"two", compression=GZIP)
    with target.bounded(8):
        for size in range(len(good)):
            assert client.produce("cut", good[:size]).error_code != ACCEPTED
    assert client.values("cut") == []


def test_garbage_without_an_acknowledgement_is_never_stored(target, client):
    client.create_topic("silent")
    from tests.fix_broker import frame

    rng = random.Random(5)
    for _ in range(50):
        request = produce_request({("silent", 0): rng.randbytes(rng.randrange(1, 300))}, acks=0)
        send_and_leave(target, frame(request, 9))
    assert client.values("silent") == []
