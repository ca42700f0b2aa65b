"""What a new metadata log begins with: the level of Kafka 3.9, or what Kafka's format left; its only voter.

Kafka 3.9 and 4.x start on level 21. The voters lie in an empty snapshot before the log, as
`kafka-storage format --standalone` leaves them: then both `controller.quorum.voters` and
`controller.quorum.bootstrap.servers` lead a Kafka to this directory (KIP-853).
"""

import os
from typing import NamedTuple

from kstore.cluster.image import METADATA_VERSION
from kstore.cluster.records import METADATA_VERSION_39
from kstore.cluster.replay import KRAFT_VERSION, KRAFT_VOTERS, MAX_BATCH_BYTES
from kstore.cluster.snapshot import read_batches
from kstore.protocol.messages.control_records import (
    KRaftVersionRecord,
    VotersRecord,
    encode_control_record,
)
from kstore.protocol.messages.metadata_records import FeatureLevelRecord, decode_record
from kstore.protocol.schema import Message

BOOTSTRAP = "bootstrap.checkpoint"


class Controller(NamedTuple):
    """Who writes the log: this node, the id of the log's directory, and where its controller would listen."""

    node_id: int
    directory_id: bytes
    listener: str = "CONTROLLER"
    host: str = "localhost"
    port: int = 9093


def voters_of(controller: Controller) -> dict[int, tuple[bytes, bytes]]:
    """The control records that make `controller` the only voter (KIP-853)."""
    voter = VotersRecord.Voter(
        voter_id=controller.node_id,
        voter_directory_id=controller.directory_id,
        endpoints=[VotersRecord.Endpoint(name=controller.listener, host=controller.host, port=controller.port)],
        kraft_version_feature=VotersRecord.KRaftVersionFeature(min_supported_version=0, max_supported_version=1),
    )
    return {
        KRAFT_VERSION: encode_control_record(KRaftVersionRecord(kraft_version=1)),
        KRAFT_VOTERS: encode_control_record(VotersRecord(voters=[voter])),
    }


def first_messages(root: str) -> list[Message]:
    """What the log in `root` begins with. Raises CorruptRecordError, UnsupportedVersionError."""
    path = os.path.join(root, BOOTSTRAP)
    messages: list[Message] = []
    if os.path.exists(path):
        messages = [
            decode_record(record.value).message
            for batch in read_batches(path)
            if not batch.is_control
            for record in batch.records(MAX_BATCH_BYTES)
            if record.value is not None
        ]
    if not any(getattr(message, "name", None) == METADATA_VERSION for message in messages):
        messages.insert(0, FeatureLevelRecord(name=METADATA_VERSION, feature_level=METADATA_VERSION_39))
    return messages
