"""The codecs of record batches: gzip, snappy, lz4, zstd, by the libraries that do them best.

What comes in is not trusted: `decompress` never produces more than `max_bytes` (and asks for memory piece by
piece, or after checking what the data declare), whatever the ratio. What goes out is what Java's readers
accept: xerial framing for snappy (SnappyOutputStream), independent blocks of 64 KiB for lz4
(Lz4BlockOutputStream.java refuses linked ones). A codec is imported when it is first used; none is needed to
start a broker.
"""

import threading
from collections.abc import Callable, Iterator

from kstore.errors import CorruptRecordError, UnsupportedCompressionTypeError

Buffer = bytes | bytearray | memoryview

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)

# Kafka's levels when none is configured (CompressionType.java). lz4's "9" means its fast compressor there.
DEFAULT_LEVELS = {GZIP: -1, LZ4: 9, ZSTD: 3}

# Magic, version 1, compatible with version 1 (SnappyCodec of snappy-java).
XERIAL_HEADER = b"\x82SNAPPY\x00" + (1).to_bytes(4, "big") + (1).to_bytes(4, "big")
XERIAL_MAGIC_SIZE = 8
XERIAL_BLOCK_SIZE = 32 * 1024

PIECE_SIZE = 256 * 1024  # of output
FIRST_INPUT_SIZE = 1024
INPUT_SIZE = 64 * 1024  # what is fed at a time: the libraries copy the rest that they did not get to

# Frames, members and blocks cost microseconds each however little is in them. Writers fill theirs with 32 KiB or more;
# a megabyte of empty ones would keep a processor busy for a second, so beyond some hundreds they must have a size, or
# be no more than what may come out fills.
FREE_PARTS = 1024
LARGEST_OUTPUT = 1 << 30  # beyond it a caller who sets no limit would set none on parts either
LEAST_PART_SIZE = 64


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
    """What `data` hold, at one go. Raises as decompress_pieces."""
    if codec == NONE:
        if len(data) > max_bytes:
            raise _too_large(max_bytes)
        return data
    pieces = list(decompress_pieces(codec, data, max_bytes))
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def decompress_pieces(codec: int, data: Buffer, max_bytes: int) -> Iterator[bytes]:
    """What `data` hold, in pieces of about PIECE_SIZE.

    Raises CorruptRecordError where the data turn out to be damaged, incomplete or more than `max_bytes`, and
    UnsupportedCompressionTypeError for a codec that is not one of the four.
    """
    try:
        pieces = _DECOMPRESSORS[codec](data, _Budget(max_bytes, _most_parts(len(data), max_bytes)))
    except KeyError:
        raise _unknown(codec) from None
    try:
        yield from pieces
    except _Damaged as fault:
        raise CorruptRecordError(f"{_NAMES[codec]} data: {fault}") from fault.__cause__


def _most_parts(size: int, max_bytes: int) -> int:
    return FREE_PARTS + size // LEAST_PART_SIZE + min(max_bytes, LARGEST_OUTPUT) // XERIAL_BLOCK_SIZE


_NAMES = ("uncompressed", "gzip", "snappy", "lz4", "zstd")


def _unknown(codec: int) -> UnsupportedCompressionTypeError:
    return UnsupportedCompressionTypeError(f"compression type {codec} is not known")


def _too_large(max_bytes: int) -> CorruptRecordError:
    return CorruptRecordError(f"records decompress to more than {max_bytes} bytes")


class _Budget:
    """How many bytes may still come out, and of how many parts."""

    def __init__(self, max_bytes: int, max_parts: int) -> None:
        self._max_bytes = max_bytes
        self._left = max_bytes
        self._parts_left = max_parts

    def begin_part(self) -> None:
        self._parts_left -= 1
        if self._parts_left < 0:
            raise _Damaged("they are cut into too many parts that are next to empty")

    def next_piece(self) -> int:
        """How much to ask for next: up to one byte above the limit, so that passing it shows."""
        return min(PIECE_SIZE, self._left + 1)

    def reserve(self, size: int) -> None:
        if size > self._left:
            raise _too_large(self._max_bytes)

    def spend(self, piece: bytes) -> bytes:
        self.reserve(len(piece))
        self._left -= len(piece)
        return piece


# gzip


def _compress_gzip(data: Buffer, level: int) -> bytes:
    import zlib

    compressor = zlib.compressobj(level, wbits=31)
    return compressor.compress(data) + compressor.flush()


def _decompress_gzip(data: Buffer, budget: _Budget) -> Iterator[bytes]:
    """One or more members, as GZIPInputStream reads them."""
    import zlib

    view = memoryview(data)
    position = 0
    while position < len(view):
        budget.begin_part()
        member = zlib.decompressobj(wbits=31)
        # What a member leaves is copied: a batch of tiny ones must not cost 64 KiB for each.
        next_size = FIRST_INPUT_SIZE
        while not member.eof:
            rest: Buffer = member.unconsumed_tail
            if not rest:
                rest = view[position : position + next_size]
                position += len(rest)
                next_size = min(4 * next_size, INPUT_SIZE)
            try:
                piece = member.decompress(rest, budget.next_piece())
            except zlib.error as error:
                raise _Damaged(str(error)) from error
            if not (piece or member.eof or member.unconsumed_tail or position < len(view)):
                raise _Damaged("they end too early")
            yield budget.spend(piece)
        position -= len(member.unused_data)


# snappy


def _compress_snappy(data: Buffer, level: int) -> bytes:
    from snappy import compress as compress_block

    view = memoryview(data)
    pieces = [XERIAL_HEADER]
    for start in range(0, len(view), XERIAL_BLOCK_SIZE):
        block = compress_block(bytes(view[start : start + XERIAL_BLOCK_SIZE]))
        pieces += (len(block).to_bytes(4, "big"), block)
    return b"".join(pieces)


def _decompress_snappy(data: Buffer, budget: _Budget) -> Iterator[bytes]:
    """Xerial's frames of blocks, or one raw block as clients of librdkafka's kind send it."""
    view = memoryview(data)
    if bytes(view[:XERIAL_MAGIC_SIZE]) != XERIAL_HEADER[:XERIAL_MAGIC_SIZE]:
        yield _decompress_block(view, budget)
        return
    position = len(XERIAL_HEADER)
    if len(view) < position:
        raise _Damaged("the xerial header is cut")
    while position < len(view):
        if bytes(view[position : position + XERIAL_MAGIC_SIZE]) == XERIAL_HEADER[:XERIAL_MAGIC_SIZE]:
            budget.begin_part()
            position += len(XERIAL_HEADER)  # streams may follow each other
            continue
        size = int.from_bytes(view[position : position + 4], "big")
        position += 4
        if size > len(view) - position:
            raise _Damaged(f"a block of {size} bytes, {max(0, len(view) - position)} are there")
        yield _decompress_block(view[position : position + size], budget)
        position += size


def _decompress_block(block: memoryview, budget: _Budget) -> bytes:
    from snappy import UncompressError
    from snappy import uncompress as decompress_block

    budget.begin_part()
    # The library allocates what the block declares, so that is checked first.
    budget.reserve(_declared_size(block))
    try:
        return budget.spend(decompress_block(bytes(block)))
    except UncompressError as error:
        raise _Damaged(str(error.__cause__ or error)) from error


def _declared_size(block: memoryview) -> int:
    size = 0
    for i, byte in enumerate(block[:5]):
        size |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            # The densest element copies 64 bytes and takes three.
            if 3 * size > 64 * len(block):
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


def _decompress_lz4(data: Buffer, budget: _Budget) -> Iterator[bytes]:
    """One frame. Linked blocks are refused: no Java client could read them (Lz4BlockInputStream.java)."""
    import lz4.frame

    if bytes(data[:4]) != _LZ4_MAGIC or len(data) < 7:
        raise _Damaged("no frame begins here")
    if not data[4] & _LZ4_INDEPENDENT_BLOCKS:
        raise _Damaged("the blocks of the frame are linked")
    view = memoryview(data)
    frame = lz4.frame.LZ4FrameDecompressor()
    position = 0
    while not frame.eof:
        rest = view[position : position + INPUT_SIZE] if frame.needs_input else view[:0]
        position += len(rest)
        try:
            piece = frame.decompress(rest, budget.next_piece())
        except RuntimeError as error:
            raise _Damaged(str(error)) from error
        if not (piece or frame.eof or position < len(view)):
            raise _Damaged("they end too early")
        yield budget.spend(piece)
    if frame.unused_data or position < len(view):
        raise _Damaged("more bytes follow the frame")


# zstd

_ZSTD_MAGIC = 0xFD2FB528
_ZSTD_SKIPPABLE = 0x184D2A50  # and the 15 numbers after it
_ZSTD_RLE_BLOCK = 1

_ZSTD_BLOCK_MAX = 128 * 1024  # what one block decompresses to at most

# Contexts cost 10 to 40 us to make, and one must not be used for two things at a time.
_contexts = threading.local()


def _compress_zstd(data: Buffer, level: int) -> bytes:
    import zstandard

    compressors = _contexts.__dict__.setdefault("compressors", {})
    if level not in compressors:
        compressors[level] = zstandard.ZstdCompressor(level=level)
    compressed: bytes = compressors[level].compress(data)
    return compressed


def _decompress_zstd(data: Buffer, budget: _Budget) -> Iterator[bytes]:
    """One or more frames, with or without a content size (zstd-jni streams write none)."""
    import zstandard

    idle: list[zstandard.ZstdDecompressor] = _contexts.__dict__.setdefault("decompressors", [])
    decompressor = idle.pop() if idle else zstandard.ZstdDecompressor()
    view = memoryview(data)
    position = 0
    try:
        while position < len(view):
            end, most = _zstd_frame(view, position, budget)
            frame = view[position:end]
            declared = -1 if most < 0 else zstandard.frame_content_size(frame)
            if declared > most:
                raise _Damaged(f"a frame of at most {most} bytes declares {declared}")
            budget.reserve(declared)
            if most < 0:
                pass  # a frame without content
            elif most <= PIECE_SIZE:
                yield budget.spend(decompressor.decompress(frame, max_output_size=most))
            else:
                with decompressor.stream_reader(frame) as reader:
                    while piece := reader.read(budget.next_piece()):
                        yield budget.spend(piece)
            position = end
    except zstandard.ZstdError as error:
        raise _Damaged(str(error)) from error
    finally:
        idle.append(decompressor)


def _zstd_frame(view: memoryview, position: int, budget: _Budget) -> tuple[int, int]:
    """Where the frame ends and how much can be in it, -1 for one that may be skipped.

    The streaming reader takes a cut frame for a whole one, so the outline is followed here (RFC 8878, 3.1).
    """
    import zstandard

    budget.begin_part()
    most = 0
    magic = int.from_bytes(view[position : position + 4], "little")
    if magic & ~0xF == _ZSTD_SKIPPABLE and len(view) >= position + 8:
        end = position + 8 + int.from_bytes(view[position + 4 : position + 8], "little")
        most = -1
    elif magic == _ZSTD_MAGIC and len(view) > position + 5:
        has_checksum = view[position + 4] & 0x04
        end = position + zstandard.frame_header_size(view[position:])
        is_last = False
        while not is_last:
            budget.begin_part()
            if end + 3 > len(view):
                raise _Damaged("they end too early")
            header = int.from_bytes(view[end : end + 3], "little")
            is_last = bool(header & 1)
            end += 3 + (1 if header >> 1 & 3 == _ZSTD_RLE_BLOCK else header >> 3)
            most += _ZSTD_BLOCK_MAX
        end += 4 if has_checksum else 0
    else:
        raise _Damaged("no frame begins here")
    if end > len(view):
        raise _Damaged("they end too early")
    return end, most


_COMPRESSORS: dict[int, Callable[[Buffer, int], bytes]] = {
    GZIP: _compress_gzip,
    SNAPPY: _compress_snappy,
    LZ4: _compress_lz4,
    ZSTD: _compress_zstd,
}
_DECOMPRESSORS: dict[int, Callable[[Buffer, _Budget], Iterator[bytes]]] = {
    GZIP: _decompress_gzip,
    SNAPPY: _decompress_snappy,
    LZ4: _decompress_lz4,
    ZSTD: _decompress_zstd,
}
