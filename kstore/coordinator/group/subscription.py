"""The topics a consumer subscribes to, read out of the metadata that it joins with.

    | version: int16 | topics: array (int32 count) of strings (int16 length) | what later versions add ...

The metadata is the clients' own affair and opaque to the coordinator, but for the topics: their offsets do not
expire while a consumer reads them. Every version of the consumer protocol begins as version 0 does
(ConsumerProtocol.deserializeSubscription; GroupMetadata.computeSubscribedTopics).
"""

from struct import Struct

CONSUMER_PROTOCOL_TYPE = "consumer"

_HEAD = Struct(">hi")
_LENGTH = Struct(">h")


def subscribed_topics(metadata: bytes) -> frozenset[str]:
    """Raises ValueError for bytes that are not a subscription."""
    if len(metadata) < _HEAD.size:
        raise ValueError(f"a subscription of {len(metadata)} bytes")
    version, count = _HEAD.unpack_from(metadata)
    position = _HEAD.size
    if version < 0 or not 0 <= count <= (len(metadata) - position) // _LENGTH.size:
        raise ValueError(f"a subscription of version {version} with {count} topics in {len(metadata)} bytes")
    topics = set()
    for _ in range(count):
        end = position + _LENGTH.size
        if end > len(metadata):
            raise ValueError("a subscription ends within its topics")
        (length,) = _LENGTH.unpack_from(metadata, position)
        position, end = end, end + length
        if length < 0 or end > len(metadata):
            raise ValueError(f"a topic of {length} bytes in a subscription of {len(metadata)}")
        topics.add(metadata[position:end].decode())  # UnicodeDecodeError is a ValueError
        position = end
    return frozenset(topics)
