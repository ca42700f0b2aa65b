"""Words shared by every floor: topic partitions, topic ids, the sentinels of the protocol.

Topic and directory ids are the 16 raw bytes that travel on the wire; files and messages show them as Kafka's
Uuid does, in unpadded URL-safe base64 of 22 characters (Uuid.java).
"""

import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import NamedTuple

ZERO_UUID = bytes(16)

NO_PRODUCER_ID = -1
NO_PRODUCER_EPOCH = -1
NO_SEQUENCE = -1
NO_PARTITION_LEADER_EPOCH = -1
NO_TIMESTAMP = -1

# Timestamps with a meaning in ListOffsets (ListOffsetsRequest.java; KIP-734, KIP-1005).
LATEST_TIMESTAMP = -1
EARLIEST_TIMESTAMP = -2
MAX_TIMESTAMP = -3
EARLIEST_LOCAL_TIMESTAMP = -4
LATEST_TIERED_TIMESTAMP = -5


class TopicPartition(NamedTuple):
    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


def random_uuid() -> bytes:
    """A new id whose text does not begin with a dash, so that it is safe on a command line
    (Uuid.randomUuid)."""
    while True:
        uuid = bytearray(os.urandom(16))
        uuid[6] = uuid[6] & 0x0F | 0x40  # version 4
        uuid[8] = uuid[8] & 0x3F | 0x80  # variant 2
        if not uuid_to_text(bytes(uuid)).startswith("-"):
            return bytes(uuid)


def uuid_to_text(uuid: bytes) -> str:
    return urlsafe_b64encode(uuid).rstrip(b"=").decode("ascii")


def uuid_from_text(text: str) -> bytes:
    """The 16 bytes that `text` (22 characters of URL-safe base64) stands for. Raises ValueError."""
    uuid = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if len(uuid) != 16:
        raise ValueError(f"id {text!r} holds {len(uuid)} bytes, not 16")
    return uuid
