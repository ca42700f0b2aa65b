"""Frames out of a stream: four bytes of length, then that many bytes. Sans-io.

A length is believed only up to `max_size`, and memory is spent only on bytes that have come. A frame of less
than nothing, or of more than the limit, ends the stream: where the next one begins can no longer be known.
"""

from kstore.errors import InvalidRequestError

LENGTH_SIZE = 4


def frame_size(prefix: bytes | bytearray | memoryview, max_size: int) -> int:
    """The size of the frame after these four bytes. Raises InvalidRequestError."""
    size = int.from_bytes(prefix, "big", signed=True)
    if size < 0 or size > max_size:
        raise InvalidRequestError(f"a frame of {size} bytes is not in [0, {max_size}]{_guess(bytes(prefix))}")
    return size


def _guess(prefix: bytes) -> str:
    """What a stranger at this port probably wanted."""
    if prefix[:2] == b"\x16\x03":
        return "; it begins like a TLS hello"
    if prefix in (b"GET ", b"POST", b"HEAD", b"PUT "):
        return "; it begins like HTTP"
    return ""


class FrameReader:
    """Collects what comes and gives out whole frames, without their lengths."""

    __slots__ = ("_frame", "_prefix", "_size", "max_size")

    def __init__(self, max_size: int) -> None:
        self.max_size = max_size
        self._prefix = bytearray()
        self._size = -1  # of the frame that is coming in, once its length is there
        self._frame = bytearray()

    @property
    def buffered(self) -> int:
        """Bytes held of a frame that is not whole yet."""
        return len(self._prefix) + len(self._frame)

    def feed(self, data: bytes | bytearray | memoryview) -> list[bytearray]:
        """The frames that `data` completes. Raises InvalidRequestError for a length out of bounds."""
        frames: list[bytearray] = []
        view = memoryview(data)
        position = 0
        while position < len(view) or self._size == 0:
            if self._size < 0:
                taken = min(LENGTH_SIZE - len(self._prefix), len(view) - position)
                self._prefix += view[position : position + taken]
                position += taken
                if len(self._prefix) < LENGTH_SIZE:
                    break
                self._size = frame_size(self._prefix, self.max_size)
                continue
            taken = min(self._size - len(self._frame), len(view) - position)
            self._frame += view[position : position + taken]
            position += taken
            if len(self._frame) == self._size:
                frames.append(self._frame)
                self._frame = bytearray()
                self._prefix.clear()
                self._size = -1
        return frames
