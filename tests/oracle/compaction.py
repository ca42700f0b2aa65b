"""What compaction leaves of a batch, slowly (MemoryRecords.filterTo, Cleaner.shouldRetainRecord); and SipHash from its
paper. Batches come in uncompressed."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tests.oracle.record_batch import OracleBatch, records, wrap, write_records

LOG_APPEND_TIME, TRANSACTIONAL, CONTROL, DELETE_HORIZON = 0x08, 0x10, 0x20, 0x40


@dataclass(frozen=True)
class Rules:
    """`offsets` are the last of each key up to `latest_offset`; `last` of each producer (last offset or -1, epoch)."""

    now_ms: int
    delete_retention_ms: int
    latest_offset: int = -1
    offsets: Mapping[bytes, int] = field(default_factory=dict)
    last: Mapping[int, tuple[int, int]] = field(default_factory=dict)


def is_last(batch: OracleBatch, rules: Rules) -> bool:
    found = rules.last.get(batch.producer_id)
    if batch.producer_id < 0 or found is None:
        return False
    last_offset, epoch = found
    if last_offset >= 0:
        return batch.last_offset == last_offset
    return bool(batch.attributes & CONTROL) and batch.producer_epoch == epoch


def compact(
    batch: OracleBatch, rules: Rules, *, discard: bool = False, marker_is_free: bool = False
) -> OracleBatch | None:
    horizon = batch.base_timestamp if batch.attributes & DELETE_HORIZON else -1
    kept = []
    for record in records(batch, batch.payload):
        if discard:
            continue
        if not batch.attributes & CONTROL and record.offset <= rules.latest_offset:
            if record.key is None or record.offset < rules.offsets.get(record.key, -1):
                continue
            if record.value is None and 0 <= horizon <= rules.now_ms:
                continue
        kept.append(record)
    if not kept:
        if not is_last(batch, rules):
            return None
        return replace(
            batch,
            attributes=batch.attributes & (LOG_APPEND_TIME | TRANSACTIONAL | CONTROL),
            base_timestamp=-1,
            count=0,
            payload=b"",
        ).with_right_crc()
    needs_horizon = horizon < 0 and (marker_is_free or any(record.value is None for record in kept))
    if len(kept) == batch.count and not needs_horizon:
        return batch
    if needs_horizon:
        horizon = wrap(rules.now_ms + rules.delete_retention_ms, 64)
    base_timestamp = horizon if horizon >= 0 else kept[0].timestamp
    return replace(
        batch,
        attributes=batch.attributes & ~DELETE_HORIZON | (DELETE_HORIZON if horizon >= 0 else 0),
        base_timestamp=base_timestamp,
        max_timestamp=batch.max_timestamp if batch.has_log_append_time else max(r.timestamp for r in kept),
        count=len(kept),
        payload=write_records(batch.base_offset, base_timestamp, kept),
    ).with_right_crc()


def siphash128(key: bytes, data: bytes) -> bytes:
    """SipHash-2-4 with 128 bits of output."""
    mask = 2**64 - 1
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D ^ 0xEE, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def rotate(x: int, bits: int) -> int:
        return (x << bits | x >> 64 - bits) & mask

    def rounds(count: int) -> None:
        for _ in range(count):
            v[0] = v[0] + v[1] & mask
            v[2] = v[2] + v[3] & mask
            v[1], v[3] = rotate(v[1], 13) ^ v[0], rotate(v[3], 16) ^ v[2]
            v[0] = rotate(v[0], 32)
            v[2] = v[2] + v[1] & mask
            v[0] = v[0] + v[3] & mask
            v[1], v[3] = rotate(v[1], 17) ^ v[2], rotate(v[3], 21) ^ v[0]
            v[2] = rotate(v[2], 32)

    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 0xFF])
    for start in range(0, len(padded), 8):
        word = int.from_bytes(padded[start : start + 8], "little")
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xEE
    rounds(4)
    low = v[0] ^ v[1] ^ v[2] ^ v[3]
    v[1] ^= 0xDD
    rounds(4)
    return low.to_bytes(8, "little") + (v[0] ^ v[1] ^ v[2] ^ v[3]).to_bytes(8, "little")
