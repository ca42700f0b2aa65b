"""The codecs of record batches: gzip, snappy, lz4, zstd, by the libraries that do them best.

What comes in is not trusted: `decompress` never produces more than `max_bytes` (and asks for memory piece by
piece, or after checking what the data declare), whatever the ratio. What goes out is what Java's readers
accept: xerial framing for snappy (SnappyOutputStream), independent blocks of 64 KiB for lz4
(Lz4BlockOutputStream.java refuses linked ones). A codec is imported when it is first used; none is needed to
start a broker.
"""

import threading
from collections.abc import Callable

from kstore.errors import CorruptRecordError, UnsupportedCompressionTypeError

Buffer = bytes | bytearray | memoryview

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)

# Kafka's levels when none is configured (CompressionType.java). lz4's "9" means its fast compressor there.
DEFAULT_LEVELS = {GZIP: -1, LZ4: 9, ZSTD: 3}

# Magic, version 1, compatible with version 1 (SnappyCodec of snappy-java).
XERIAL_HEADER = b"\x82SNAPPY\x00" + (1).to_bytes(4, "big") + (1).to_bytes(4, "big")
XERIAL_MAGIC_SIZE = 8
XERIAL_BLOCK_SIZE = 32 * 1024

PIECE_SIZE = 256 * 1024


class _Damaged(Exception):
    """The data are not what their codec writes; the message says why."""


def compress(codec: int, data: Buffer, level: int | None = None) -> bytes:
    """`data` in the given codec. `level` None is Kafka's default; snappy has no levels."""
    if codec == NONE:
        return bytes(data)
    if level is None:
        level = DEFAULT_LEVELS.get(codec, 0)
    try:
        compressor = _COMPRESSORS[codec]
    except KeyError:
        raise _unknown(codec) from None
    return compressor(data, level)


def decompress(codec: int, data: Buffer, max_bytes: int) -> Buffer:
    """What `data` hold. Raises CorruptRecordError when that is damaged, incomplete or more than
    `max_bytes`."""
    if codec == NONE:
        if len(data) > max_bytes:
            raise _too_large(max_bytes)
        return data
    try:
        decompressor = _DECOMPRESSORS[codec]
    except KeyError:
        raise _unknown(codec) from None
    try:
        return decompressor(data, max_bytes)
    except _Damaged as fault:
        raise CorruptRecordError(f"{_NAMES[codec]} data: {fault}") from fault.__cause__


_NAMES = ("uncompressed", "gzip", "snappy", "lz4", "zstd")


def _unknown(codec: int) -> UnsupportedCompressionTypeError:
    return UnsupportedCompressionTypeError(f"compression type {codec} is not known")


def _too_large(max_bytes: int) -> CorruptRecordError:
    return CorruptRecordError(f"records decompress to more than {max_bytes} bytes")


class _Output:
    """Pieces of output that together stay within a limit."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._pieces: list[bytes] = []
        self._size = 0

    def room(self) -> int:
        """How much to ask for next: one byte above the limit, so that passing it shows."""
        return min(PIECE_SIZE, self._max_bytes - self._size + 1)

    def reserve(self, size: int) -> None:
        if size > self._max_bytes - self._size:
            raise _too_large(self._max_bytes)

    def add(self, piece: bytes) -> None:
        self.reserve(len(piece))
        self._size += len(piece)
        self._pieces.append(piece)

    def result(self) -> bytes:
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)


# gzip


def _compress_gzip(data: Buffer, level: int) -> bytes:
    import zlib

    compressor = zlib.compressobj(level, wbits=31)
    return compressor.compress(data) + compressor.flush()


def _decompress_gzip(data: Buffer, max_bytes: int) -> bytes:
    """One or more members, as GZIPInputStream reads them."""
    import zlib

    output = _Output(max_bytes)
    rest: Buffer = data
    while len(rest):
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            try:
                piece = member.decompress(rest, output.room())
            except zlib.error as error:
                raise _Damaged(str(error)) from error
            if not piece and not member.eof and not member.unconsumed_tail:
                raise _Damaged("they end too early")
            output.add(piece)
            rest = member.unconsumed_tail
        rest = member.unused_data
    return output.result()


# snappy


def _compress_snappy(data: Buffer, level: int) -> bytes:
    from snappy import compress as compress_block

    view = memoryview(data)
    pieces = [XERIAL_HEADER]
    for start in range(0, len(view), XERIAL_BLOCK_SIZE):
        block = compress_block(bytes(view[start : start + XERIAL_BLOCK_SIZE]))
        pieces += (len(block).to_bytes(4, "big"), block)
    return b"".join(pieces)


def _decompress_snappy(data: Buffer, max_bytes: int) -> bytes:
    """Xerial's frames of blocks, or one raw block as clients of librdkafka's kind send it."""
    output = _Output(max_bytes)
    view = memoryview(data)
    if bytes(view[:XERIAL_MAGIC_SIZE]) != XERIAL_HEADER[:XERIAL_MAGIC_SIZE]:
        output.add(_decompress_block(view, output))
        return output.result()
    position = len(XERIAL_HEADER)
    if len(view) < position:
        raise _Damaged("the xerial header is cut")
    while position < len(view):
        if bytes(view[position : position + XERIAL_MAGIC_SIZE]) == XERIAL_HEADER[:XERIAL_MAGIC_SIZE]:
            position += len(XERIAL_HEADER)  # streams may follow each other
            continue
        size = int.from_bytes(view[position : position + 4], "big")
        position += 4
        if size > len(view) - position:
            raise _Damaged(f"a block of {size} bytes, {max(0, len(view) - position)} are there")
        output.add(_decompress_block(view[position : position + size], output))
        position += size
    return output.result()


def _decompress_block(block: memoryview, output: _Output) -> bytes:
    from snappy import UncompressError
    from snappy import uncompress as decompress_block

    # The library allocates what the block declares, so that is checked first.
    output.reserve(_declared_size(block))
    try:
        piece: bytes = decompress_block(bytes(block))
    except UncompressError as error:
        raise _Damaged(str(error.__cause__ or error)) from error
    return piece


def _declared_size(block: memoryview) -> int:
    size = 0
    for i, byte in enumerate(block[:5]):
        size |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            # The densest element copies 64 bytes and takes three.
            if size > 64 * len(block):
                raise _Damaged(f"a block of {len(block)} bytes declares {size}")
            return size
    raise _Damaged("a block without a size")


# lz4

_LZ4_MAGIC = b"\x04\x22\x4d\x18"
_LZ4_INDEPENDENT_BLOCKS = 0x20


def _compress_lz4(data: Buffer, level: int) -> bytes:
    import lz4.frame

    compressed: bytes = lz4.frame.compress(
        data,
        compression_level=0 if level == DEFAULT_LEVELS[LZ4] else max(level, 3),
        block_size=lz4.frame.BLOCKSIZE_MAX64KB,
        block_linked=False,
        store_size=False,
    )
    return compressed


def _decompress_lz4(data: Buffer, max_bytes: int) -> bytes:
    """One frame. Linked blocks are refused because no Java client could read them
    (Lz4BlockInputStream.java)."""
    import lz4.frame

    if bytes(data[:4]) != _LZ4_MAGIC or len(data) < 7:
        raise _Damaged("no frame begins here")
    if not data[4] & _LZ4_INDEPENDENT_BLOCKS:
        raise _Damaged("the blocks of the frame are linked")
    output = _Output(max_bytes)
    frame = lz4.frame.LZ4FrameDecompressor()
    rest: Buffer = data
    while not frame.eof:
        try:
            piece = frame.decompress(rest, output.room())
        except RuntimeError as error:
            raise _Damaged(str(error)) from error
        if not piece and not frame.eof and frame.needs_input:
            raise _Damaged("they end too early")
        output.add(piece)
        rest = b""
    if frame.unused_data:
        raise _Damaged(f"{len(frame.unused_data)} bytes follow the frame")
    return output.result()


# zstd

_ZSTD_MAGIC = 0xFD2FB528
_ZSTD_SKIPPABLE = 0x184D2A50  # and the 15 numbers after it
_ZSTD_RLE_BLOCK = 1

# Contexts cost 10 to 40 us to make and must not be used by two threads at a time.
_contexts = threading.local()


def _compress_zstd(data: Buffer, level: int) -> bytes:
    import zstandard

    compressors = _contexts.__dict__.setdefault("compressors", {})
    if level not in compressors:
        compressors[level] = zstandard.ZstdCompressor(level=level)
    compressed: bytes = compressors[level].compress(data)
    return compressed


def _decompress_zstd(data: Buffer, max_bytes: int) -> bytes:
    """One or more frames, with or without a content size (zstd-jni streams write none)."""
    import zstandard

    decompressor = _contexts.__dict__.get("decompressor")
    if decompressor is None:
        decompressor = _contexts.decompressor = zstandard.ZstdDecompressor()
    output = _Output(max_bytes)
    view = memoryview(data)
    position = 0
    try:
        while position < len(view):
            end, has_content = _zstd_frame_end(view, position)
            if has_content:
                frame = view[position:end]
                size = zstandard.frame_content_size(frame)
                if size >= 0:
                    output.reserve(size)
                    output.add(decompressor.decompress(frame))
                else:
                    with decompressor.stream_reader(frame) as reader:
                        while piece := reader.read(output.room()):
                            output.add(piece)
            position = end
    except zstandard.ZstdError as error:
        raise _Damaged(str(error)) from error
    return output.result()


def _zstd_frame_end(view: memoryview, position: int) -> tuple[int, bool]:
    """Where the frame ends, and whether it is one with content. The streaming reader takes a cut frame for a
    whole one, so the frame's outline is followed here (RFC 8878, 3.1)."""
    import zstandard

    magic = int.from_bytes(view[position : position + 4], "little")
    if magic & ~0xF == _ZSTD_SKIPPABLE:
        end = position + 8 + int.from_bytes(view[position + 4 : position + 8], "little")
    elif magic == _ZSTD_MAGIC and len(view) > position + 5:
        has_checksum = view[position + 4] & 0x04
        end = position + zstandard.frame_header_size(view[position:])
        is_last = False
        while not is_last:
            if end + 3 > len(view):
                raise _Damaged("they end too early")
            header = int.from_bytes(view[end : end + 3], "little")
            is_last = bool(header & 1)
            end += 3 + (1 if header >> 1 & 3 == _ZSTD_RLE_BLOCK else header >> 3)
        end += 4 if has_checksum else 0
    else:
        raise _Damaged("no frame begins here")
    if end > len(view):
        raise _Damaged("they end too early")
    return end, magic == _ZSTD_MAGIC


_COMPRESSORS: dict[int, Callable[[Buffer, int], bytes]] = {
    GZIP: _compress_gzip,
    SNAPPY: _compress_snappy,
    LZ4: _compress_lz4,
    ZSTD: _compress_zstd,
}
_DECOMPRESSORS: dict[int, Callable[[Buffer, int], bytes]] = {
    GZIP: _decompress_gzip,
    SNAPPY: _decompress_snappy,
    LZ4: _decompress_lz4,
    ZSTD: _decompress_zstd,
}
