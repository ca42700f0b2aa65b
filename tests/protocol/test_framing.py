"""Frames come out whole however the bytes come in, and a length out of bounds ends the stream at once."""

import random

import pytest

from kstore.errors import InvalidRequestError
from kstore.protocol.framing import FrameReader, frame_size

FRAMES = [b"", b"a", b"hello", bytes(1000), b"", b"\xff" * 70_000]


def stream() -> bytes:
    return b"".join(len(frame).to_bytes(4, "big") + frame for frame in FRAMES)


def test_all_frames_of_one_read_come_out_together() -> None:
    assert FrameReader(100_000).feed(stream()) == FRAMES


@pytest.mark.parametrize("seed", range(20))
def test_frames_come_out_whole_however_the_stream_is_cut(seed: int) -> None:
    rng, reader, data, frames = random.Random(seed), FrameReader(100_000), stream(), []
    position = 0
    while position < len(data):
        size = rng.choice((1, 2, 3, 5, 1000, 50_000))
        frames += reader.feed(memoryview(data)[position : position + size])
        position += size
    assert frames == FRAMES
    assert reader.buffered == 0


def test_a_byte_at_a_time() -> None:
    reader = FrameReader(100)
    frames = [frame for byte in b"\0\0\0\x03abc\0\0\0\0\0\0\0\x01z" for frame in reader.feed(bytes([byte]))]
    assert frames == [b"abc", b"", b"z"]


@pytest.mark.parametrize("size", [-1, -(1 << 31), 101, 0x7FFFFFFF])
def test_a_length_out_of_bounds_is_refused_before_its_bytes_come(size: int) -> None:
    reader = FrameReader(100)
    with pytest.raises(InvalidRequestError, match=rf"a frame of {size} bytes is not in \[0, 100\]"):
        reader.feed(size.to_bytes(4, "big", signed=True))


@pytest.mark.parametrize(
    ("first", "guess"), [(b"\x16\x03\x01\x02", "TLS"), (b"GET / HTTP/1.1", "HTTP"), (b"POST /", "HTTP")]
)
def test_a_stranger_is_told_what_it_seems_to_speak(first: bytes, guess: str) -> None:
    with pytest.raises(InvalidRequestError, match=guess):
        FrameReader(100 << 20).feed(first)


def test_a_frame_of_the_largest_size_is_taken() -> None:
    assert frame_size(b"\0\0\0\x64", 100) == 100
    assert FrameReader(100).feed(b"\0\0\0\x64" + bytes(100)) == [bytes(100)]


def test_only_bytes_that_came_are_held() -> None:
    reader = FrameReader(100 << 20)
    assert reader.feed((100 << 20).to_bytes(4, "big") + b"abc") == []
    assert reader.buffered == 7
