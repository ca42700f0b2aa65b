"""Record batch v2, slowly: the drawing in src/ks_batch.h and src/ks_record.h read with indexes and ints.

Nothing here is shared with what it judges, not even the checksum. A refusal is a `Refused` that names its
kind the way the native side's exception classes do. Rules: DefaultRecordBatch.java, DefaultRecord.java,
ByteUtils.java.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

HEADER_SIZE = 61
CRC_START = 21

Headers = tuple[tuple[str, bytes | None], ...]
Decompress = Callable[[int, bytes, int], bytes]


class Refused(Exception):
    """kind: "corrupt" (the batch), "format" (an old one), "record" (the records); index: of the bad
    record."""

    def __init__(self, kind: str, index: int | None = None) -> None:
        super().__init__(kind, index)
        self.kind = kind
        self.index = index


@dataclass(frozen=True)
class OracleRecord:
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass(frozen=True)
class OracleBatch:
    """The fields of a header, and what follows it."""

    base_offset: int = 0
    partition_leader_epoch: int = -1
    magic: int = 2
    crc: int = 0
    attributes: int = 0
    last_offset_delta: int = 0
    base_timestamp: int = 0
    max_timestamp: int = 0
    producer_id: int = -1
    producer_epoch: int = -1
    base_sequence: int = -1
    count: int = 0
    payload: bytes = field(default=b"", repr=False)

    @property
    def size_in_bytes(self) -> int:
        return HEADER_SIZE + len(self.payload)

    @property
    def last_offset(self) -> int:
        return wrap(self.base_offset + self.last_offset_delta, 64)

    @property
    def last_sequence(self) -> int:
        if self.base_sequence < 0:
            return -1
        return (self.base_sequence + self.last_offset_delta) % 2**31

    @property
    def codec(self) -> int:
        return self.attributes & 7

    @property
    def has_log_append_time(self) -> bool:
        return bool(self.attributes & 8)

    def bytes_under_crc(self) -> bytes:
        return (
            signed(self.attributes, 2)
            + signed(self.last_offset_delta, 4)
            + signed(self.base_timestamp, 8)
            + signed(self.max_timestamp, 8)
            + signed(self.producer_id, 8)
            + signed(self.producer_epoch, 2)
            + signed(self.base_sequence, 4)
            + signed(self.count, 4)
            + self.payload
        )

    def with_right_crc(self) -> "OracleBatch":
        return replace(self, crc=crc32c(self.bytes_under_crc()))

    def to_bytes(self) -> bytes:
        return (
            signed(self.base_offset, 8)
            + signed(HEADER_SIZE - 12 + len(self.payload), 4)
            + signed(self.partition_leader_epoch, 4)
            + self.magic.to_bytes(1, "big")
            + self.crc.to_bytes(4, "big")
            + self.bytes_under_crc()
        )


def signed(value: int, width: int) -> bytes:
    return value.to_bytes(width, "big", signed=True)


def wrap(value: int, bits: int) -> int:
    """As Java's integers overflow."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def crc32c(data: bytes) -> int:
    """Bit by bit, from the polynomial (RFC 3720, B.4)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


CRC_TABLE = [_crc_of_byte(byte) for byte in range(256)]


# Reading


def read_batch(data: bytes, position: int = 0, limit: int | None = None) -> OracleBatch:
    data = data[position:limit]
    if len(data) < 17:
        raise Refused("corrupt")
    length = int.from_bytes(data[8:12], "big", signed=True)
    if length < 14 or 12 + length > len(data):
        raise Refused("corrupt")
    magic = data[16]
    if magic in (0, 1):
        raise Refused("format")
    if magic != 2 or 12 + length < HEADER_SIZE:
        raise Refused("corrupt")

    def integer(start: int, width: int) -> int:
        return int.from_bytes(data[start : start + width], "big", signed=True)

    return OracleBatch(
        base_offset=integer(0, 8),
        partition_leader_epoch=integer(12, 4),
        magic=magic,
        crc=int.from_bytes(data[17:21], "big"),
        attributes=integer(21, 2),
        last_offset_delta=integer(23, 4),
        base_timestamp=integer(27, 8),
        max_timestamp=integer(35, 8),
        producer_id=integer(43, 8),
        producer_epoch=integer(51, 2),
        base_sequence=integer(53, 4),
        count=integer(57, 4),
        payload=data[HEADER_SIZE : 12 + length],
    )


def is_crc_valid(batch: OracleBatch) -> bool:
    return batch.crc == crc32c(batch.bytes_under_crc())


class _Reader:
    """Reads from the front of some bytes; ValueError beyond their end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def left(self) -> int:
        return len(self.data) - self.position

    def take(self, size: int) -> bytes:
        if size < 0 or size > self.left():
            raise ValueError
        self.position += size
        return self.data[self.position - size : self.position]

    def varint(self, bits: int) -> int:
        value = 0
        for i in range(-(-bits // 7)):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << 7 * i
            if byte < 0x80:
                value &= (1 << bits) - 1
                return value >> 1 if value & 1 == 0 else -(value >> 1) - 1
        raise ValueError

    def sized(self) -> bytes | None:
        size = self.varint(32)
        if size == -1:
            return None
        return self.take(size)


@dataclass(frozen=True)
class RawRecord:
    timestamp_delta: int
    offset_delta: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[bytes, bytes | None], ...]


def read_raw_record(reader: _Reader) -> RawRecord:
    body = _Reader(reader.take(reader.varint(32)))
    body.take(1)  # attributes, unused
    timestamp_delta = body.varint(64)
    offset_delta = body.varint(32)
    key, value = body.sized(), body.sized()
    count = body.varint(32)
    if count < 0 or count > body.left():
        raise ValueError
    headers = []
    for _ in range(count):
        header_key = body.sized()
        if header_key is None:
            raise ValueError
        headers.append((header_key, body.sized()))
    if body.left():
        raise ValueError
    return RawRecord(timestamp_delta, offset_delta, key, value, tuple(headers))


def raw_records(batch: OracleBatch, payload: bytes) -> Iterator[RawRecord]:
    """The records, whose payload is decompressed already; Refused at the first bad one."""
    if batch.count < 0:
        raise Refused("record")
    reader = _Reader(payload)
    for index in range(batch.count):
        try:
            record = read_raw_record(reader)
        except ValueError:
            raise Refused("record", index) from None
        yield record
    if reader.left():
        raise Refused("record", batch.count)


def timestamp_of(batch: OracleBatch, record: RawRecord) -> int:
    if batch.has_log_append_time:
        return batch.max_timestamp
    return wrap(batch.base_timestamp + record.timestamp_delta, 64)


def records(batch: OracleBatch, payload: bytes) -> Iterator[OracleRecord]:
    for index, raw in enumerate(raw_records(batch, payload)):
        try:
            headers = tuple((key.decode(), value) for key, value in raw.headers)
        except UnicodeDecodeError:
            raise Refused("record", index) from None
        offset = wrap(batch.base_offset + raw.offset_delta, 64)
        yield OracleRecord(offset, timestamp_of(batch, raw), raw.key, raw.value, headers)


@dataclass(frozen=True)
class OracleSummary:
    count: int
    min_timestamp: int
    max_timestamp: int
    offset_of_max_timestamp: int
    has_null_key: bool
    size_in_bytes: int


def check_records(batch: OracleBatch, payload: bytes, consecutive: bool = True) -> OracleSummary:
    if batch.count < 0 or (consecutive and batch.last_offset_delta + 1 != batch.count):
        raise Refused("record")
    found = []
    previous = -1
    for index, record in enumerate(raw_records(batch, payload)):
        if consecutive and record.offset_delta != index:
            raise Refused("record", index)
        if record.offset_delta <= previous or record.offset_delta > batch.last_offset_delta:
            raise Refused("record", index)
        previous = record.offset_delta
        found.append(record)
    has_null_key = any(record.key is None for record in found)
    if not found or batch.has_log_append_time:
        low = high = batch.max_timestamp
        offset = batch.last_offset
    else:
        timestamps = [timestamp_of(batch, record) for record in found]
        low, high = min(timestamps), max(timestamps)
        offset = wrap(batch.base_offset + found[timestamps.index(high)].offset_delta, 64)
    return OracleSummary(len(found), low, high, offset, has_null_key, len(payload))


def scan(data: bytes) -> tuple[list[tuple[int, OracleBatch]], str | None]:
    """The (position, batch) of all good batches from the start, and the kind of what stopped the walk."""
    position = 0
    batches = []
    while position < len(data):
        try:
            batch = read_batch(data, position)
        except Refused as refused:
            return batches, refused.kind
        if not is_crc_valid(batch):
            return batches, "corrupt"
        batches.append((position, batch))
        position += batch.size_in_bytes
    return batches, None


# Writing


def varint(value: int, bits: int = 32, padding: int = 0) -> bytes:
    """Zig-zag; `padding` adds bytes that say nothing, which readers must bear up to their limit."""
    value = (value << 1 ^ value >> (bits - 1)) & (1 << bits) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    for _ in range(padding):
        out[-1] |= 0x80
        out.append(0)
    return bytes(out)


def sized(data: bytes | None) -> bytes:
    return varint(-1) if data is None else varint(len(data)) + data


def write_record(
    timestamp_delta: int,
    offset_delta: int,
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[tuple[str | bytes, bytes | None]] = (),
) -> bytes:
    body = (
        b"\0"
        + varint(timestamp_delta, 64)
        + varint(offset_delta)
        + sized(key)
        + sized(value)
        + varint(len(headers))
        + b"".join(sized(key.encode() if isinstance(key, str) else key) + sized(value) for key, value in headers)
    )
    return varint(len(body)) + body


def write_records(base_offset: int, base_timestamp: int, items: Sequence[OracleRecord]) -> bytes:
    return b"".join(
        write_record(
            wrap(item.timestamp - base_timestamp, 64),
            item.offset - base_offset,
            item.key,
            item.value,
            item.headers,
        )
        for item in items
    )
