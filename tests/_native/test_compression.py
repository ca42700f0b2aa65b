"""The codecs: what goes out comes back, what comes in is bounded, and damage is never taken for data."""

import gzip
import os
import zlib
from contextlib import suppress

import lz4.frame
import pytest
import snappy
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from kstore._native.batch import GZIP, LZ4, NONE, SNAPPY, ZSTD
from kstore._native.compression import XERIAL_HEADER, compress, decompress, decompress_pieces
from kstore.errors import CorruptRecordError, UnsupportedCompressionTypeError

CODECS = [GZIP, SNAPPY, LZ4, ZSTD]
EACH_CODEC = pytest.mark.parametrize("codec", CODECS, ids=["gzip", "snappy", "lz4", "zstd"])
NO_LIMIT = 1 << 30
SAMPLES = [b"", b"x", b"hello " * 1000, os.urandom(200_000), bytes(3_000_000)]


def zstd_stream(data: bytes, **options: object) -> bytes:
    """As zstd-jni streams it: no content size in the frame."""
    compressor = zstandard.ZstdCompressor(**options).compressobj()  # type: ignore[arg-type]
    return compressor.compress(data) + compressor.flush()


@EACH_CODEC
@pytest.mark.parametrize("sample", SAMPLES, ids=len)
def test_data_come_back(codec: int, sample: bytes) -> None:
    packed = compress(codec, memoryview(sample))
    assert bytes(decompress(codec, memoryview(packed), len(sample))) == sample


@EACH_CODEC
@pytest.mark.parametrize("sample", SAMPLES[1:], ids=len)
def test_output_is_bounded(codec: int, sample: bytes) -> None:
    packed = compress(codec, sample)
    for limit in (0, len(sample) // 2, len(sample) - 1):
        with pytest.raises(CorruptRecordError, match="more than"):
            decompress(codec, packed, limit)


def test_no_codec_is_bounded_too() -> None:
    assert decompress(NONE, b"abc", 3) == compress(NONE, b"abc") == b"abc"
    with pytest.raises(CorruptRecordError):
        decompress(NONE, b"abc", 2)


@pytest.mark.parametrize("codec", [-1, 5, 7])
def test_unknown_codecs_are_refused(codec: int) -> None:
    with pytest.raises(UnsupportedCompressionTypeError):
        compress(codec, b"")
    with pytest.raises(UnsupportedCompressionTypeError):
        decompress(codec, b"", 1)


@EACH_CODEC
def test_cut_data_are_refused(codec: int) -> None:
    packed = compress(codec, os.urandom(1000) * 100)
    blocks_end = set()
    if codec == SNAPPY:  # its frame has no end mark: a cut between blocks cannot be seen
        position = len(XERIAL_HEADER)
        while position < len(packed):
            blocks_end.add(position)
            position += 4 + int.from_bytes(packed[position : position + 4], "big")
    for size in {1, 2, 5, 20, len(packed) // 2, *range(len(packed) - 12, len(packed))} - blocks_end:
        with pytest.raises(CorruptRecordError):
            decompress(codec, packed[:size], NO_LIMIT)


@pytest.mark.parametrize("codec", [GZIP, LZ4, ZSTD])
def test_bytes_behind_the_data_are_refused(codec: int) -> None:
    with pytest.raises(CorruptRecordError):
        decompress(codec, compress(codec, b"data") + b"tail", NO_LIMIT)


@given(st.sampled_from(CODECS), st.binary(max_size=200), st.binary(max_size=60))
@settings(max_examples=500, deadline=None)
def test_any_bytes_are_refused_or_bounded(codec: int, data: bytes, noise: bytes) -> None:
    packed = bytearray(compress(codec, data))
    at = len(noise) % (len(packed) or 1)
    packed[at : at + len(noise)] = noise
    for candidate in (bytes(packed), noise):
        with suppress(CorruptRecordError):
            assert len(decompress(codec, candidate, 500)) <= 500


# gzip


def test_gzip_members_follow_each_other() -> None:
    data = compress(GZIP, b"one ") + compress(GZIP, b"") + compress(GZIP, b"two", 9)
    assert decompress(GZIP, data, 7) == b"one two"
    with pytest.raises(CorruptRecordError):
        decompress(GZIP, data, 6)


def test_zlib_without_a_gzip_header_is_refused() -> None:
    with pytest.raises(CorruptRecordError):
        decompress(GZIP, zlib.compress(b"data"), NO_LIMIT)


# snappy


def test_snappy_is_read_raw_and_in_xerials_frames() -> None:
    raw = snappy.compress(b"a raw block")
    assert decompress(SNAPPY, raw, NO_LIMIT) == b"a raw block"
    framed = XERIAL_HEADER + len(raw).to_bytes(4, "big") + raw
    assert decompress(SNAPPY, framed, NO_LIMIT) == b"a raw block"
    assert decompress(SNAPPY, framed + framed, NO_LIMIT) == b"a raw block" * 2
    assert decompress(SNAPPY, XERIAL_HEADER, NO_LIMIT) == b""


def test_many_tiny_gzip_members_follow_each_other() -> None:
    members = b"".join(gzip.compress(bytes([i % 251]) * (i % 5), mtime=0) for i in range(1000))
    assert bytes(decompress(GZIP, members, 10_000)) == b"".join(bytes([i % 251]) * (i % 5) for i in range(1000))
    with pytest.raises(CorruptRecordError):
        decompress(GZIP, members[:-1], 10_000)


def test_snappy_is_written_in_xerials_frames_of_32_kib() -> None:
    packed = compress(SNAPPY, bytes(100_000))
    assert packed.startswith(b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01")
    size = int.from_bytes(packed[16:20], "big")
    assert len(snappy.decompress(packed[20 : 20 + size])) == 32 * 1024


@pytest.mark.parametrize(
    "declared", [b"\xff\xff\xff\xff\x0f", b"\x80\x80\x80\x80\x01", b"\xff\xff\xff\xff\xff", b"\x80", b""]
)
def test_a_snappy_block_that_declares_too_much_is_refused_before_it_is_decoded(declared: bytes) -> None:
    with pytest.raises(CorruptRecordError):
        decompress(SNAPPY, declared, NO_LIMIT)
    block = declared + b"\x00x"
    with pytest.raises(CorruptRecordError):
        decompress(SNAPPY, XERIAL_HEADER + len(block).to_bytes(4, "big") + block, NO_LIMIT)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 1000])
def test_xerial_sizes_that_lie_are_refused(size: int) -> None:
    with pytest.raises(CorruptRecordError):
        decompress(SNAPPY, XERIAL_HEADER + size.to_bytes(4, "big") + b"x", NO_LIMIT)


# lz4


def test_lz4_frames_are_such_as_java_reads() -> None:
    flags, block = compress(LZ4, os.urandom(100) * 10_000)[4:6]
    assert flags == 0x60  # version 1, independent blocks, no checksums, no content size
    assert block == 0x40  # 64 KiB


def test_linked_lz4_blocks_are_refused_as_java_refuses_them() -> None:
    linked = lz4.frame.compress(b"data" * 100_000, block_linked=True)
    with pytest.raises(CorruptRecordError, match="linked"):
        decompress(LZ4, linked, NO_LIMIT)


def test_lz4_with_checksums_and_content_size_is_read_and_checked() -> None:
    packed = bytearray(
        lz4.frame.compress(
            b"data" * 1000, block_linked=False, content_checksum=True, block_checksum=True, store_size=True
        )
    )
    assert decompress(LZ4, packed, NO_LIMIT) == b"data" * 1000
    packed[-1] ^= 1
    with pytest.raises(CorruptRecordError):
        decompress(LZ4, packed, NO_LIMIT)


def test_lz4_levels_are_kafkas() -> None:
    text = b"".join(b"line %d of the text\n" % (i * i) for i in range(5000))
    assert compress(LZ4, text) == compress(LZ4, text, 9)  # the default, "9", is the fast compressor
    assert len(compress(LZ4, text, 17)) <= len(compress(LZ4, text, 3)) < len(compress(LZ4, text))


# zstd


def test_zstd_frames_without_a_content_size_are_read() -> None:
    data = os.urandom(100) * 10_000
    packed = zstd_stream(data)
    assert zstandard.frame_content_size(packed) == -1
    assert decompress(ZSTD, packed, len(data)) == data
    with pytest.raises(CorruptRecordError, match="more than"):
        decompress(ZSTD, packed, len(data) - 1)


def test_zstd_frames_follow_each_other() -> None:
    skippable = b"\x55\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"xyz"
    packed = compress(ZSTD, b"one ") + skippable + zstd_stream(b"two ") + compress(ZSTD, b"") + zstd_stream(b"")
    assert decompress(ZSTD, packed, 8) == b"one two "


def test_zstd_checksums_are_checked() -> None:
    packed = bytearray(zstandard.ZstdCompressor(write_checksum=True).compress(b"data" * 1000))
    assert decompress(ZSTD, packed, NO_LIMIT) == b"data" * 1000
    packed[-1] ^= 1
    with pytest.raises(CorruptRecordError):
        decompress(ZSTD, packed, NO_LIMIT)


@pytest.mark.parametrize("packed", [compress(ZSTD, os.urandom(500) * 700), zstd_stream(os.urandom(500) * 700)])
def test_a_cut_zstd_frame_is_noticed_wherever_it_is_cut(packed: bytes) -> None:
    for size in range(1, len(packed)):
        with pytest.raises(CorruptRecordError):
            decompress(ZSTD, packed[:size], NO_LIMIT)


EMPTY_BLOCK = (1).to_bytes(4, "big") + b"\x00"
EMPTY_FRAME = compress(ZSTD, b"")
EMPTY_ZSTD_BLOCKS = EMPTY_FRAME[:-3] + b"\x00\x00\x00" * 200_000 + EMPTY_FRAME[-3:]


@pytest.mark.parametrize(
    ("codec", "data"),
    [
        (GZIP, gzip.compress(b"") * 200_000),
        (SNAPPY, XERIAL_HEADER + EMPTY_BLOCK * 200_000),
        (SNAPPY, XERIAL_HEADER * 200_000),
        (ZSTD, EMPTY_FRAME * 200_000),
        (ZSTD, EMPTY_ZSTD_BLOCKS),
    ],
    ids=["gzip members", "snappy blocks", "snappy streams", "zstd frames", "zstd blocks"],
)
def test_thousands_of_empty_parts_are_refused_before_they_cost_a_second(codec: int, data: bytes) -> None:
    with pytest.raises(CorruptRecordError, match="too many parts"):
        decompress(codec, data, NO_LIMIT)


def test_blocks_that_are_small_because_their_content_is_simple_are_read() -> None:
    """140 MiB of zeros are 1,120 blocks of four bytes."""
    size = 140 << 20
    packed = compress(ZSTD, bytes(size))
    assert len(packed) < 5000
    assert sum(map(len, decompress_pieces(ZSTD, packed, size))) == size


def test_levels_are_obeyed() -> None:
    text = b"".join(b"line %d of the text\n" % (i * i) for i in range(5000))
    for codec, low, high in [(GZIP, 1, 9), (ZSTD, -5, 19)]:
        assert len(compress(codec, text, high)) < len(compress(codec, text, low))
        assert decompress(codec, compress(codec, text, low), NO_LIMIT) == text
