"""Memory to receive into, and whether somebody still looks at it."""

import pytest

from kstore._native.receive_buffer import ReceiveBuffer


def test_it_is_written_and_read_through_views() -> None:
    buffer = ReceiveBuffer(10)
    assert buffer.size == len(memoryview(buffer)) == 10
    memoryview(buffer)[3:6] = b"abc"
    assert bytes(memoryview(buffer)[3:6]) == b"abc"


def test_it_is_viewed_as_long_as_a_piece_of_a_view_lives() -> None:
    buffer = ReceiveBuffer(10)
    assert not buffer.has_views
    whole = memoryview(buffer)
    piece = whole[2:4]
    whole.release()
    assert buffer.has_views
    copy = bytes(piece)
    del piece
    assert not buffer.has_views
    assert len(copy) == 2


def test_a_view_keeps_the_memory() -> None:
    buffer = ReceiveBuffer(1 << 20)
    view = memoryview(buffer)
    view[-1] = 7
    del buffer
    assert view[-1] == 7


def test_there_is_no_buffer_without_room() -> None:
    for size in (0, -1):
        with pytest.raises(ValueError, match="bytes"):
            ReceiveBuffer(size)
    with pytest.raises(MemoryError):
        ReceiveBuffer(2**62)
