"""Reading batches of the metadata log and of its snapshots into an image.

Control batches are KRaft's own: of them the version and the voters are kept, for a snapshot must repeat them
(KIP-853). kstore is a cluster of one, so a log with other voters is refused.
"""

from kstore._native.batch import RecordBatch
from kstore._native.record import Record
from kstore.cluster.image import ClusterImage
from kstore.cluster.records import NEWEST_METADATA_VERSION, ImageBuilder
from kstore.errors import ConfigError, CorruptRecordError, KafkaError
from kstore.protocol.messages.control_records import VotersRecord, decode_control_record
from kstore.protocol.messages.metadata_records import decode_record

# Control record types (ControlRecordType.java).
KRAFT_VERSION = 5
KRAFT_VOTERS = 6

# A batch is read whole; Kafka writes none above this (KafkaRaftClient.MAX_BATCH_SIZE_BYTES).
MAX_BATCH_BYTES = 8 * 1024 * 1024


class Replay:
    """What has been read so far, from `source`, which is named in errors."""

    def __init__(self, source: str, *, node_id: int) -> None:
        self.source = source
        self._node_id = node_id
        self._builder = ImageBuilder(ClusterImage())
        self.offset = -1
        self.epoch = 0
        self.timestamp = 0
        # Control record type -> (key, value) as it was written.
        self.control: dict[int, tuple[bytes, bytes]] = {}

    @property
    def in_transaction(self) -> bool:
        return self._builder.in_transaction

    def image(self) -> ClusterImage:
        return self._builder.build(offset=self.offset, epoch=self.epoch)

    def batch(self, batch: RecordBatch) -> None:
        """Raises CorruptRecordError, UnsupportedVersionError, ConfigError."""
        if batch.is_control:
            for record in batch.records(MAX_BATCH_BYTES):
                self._control(record)
        else:
            for record in batch.records(MAX_BATCH_BYTES):
                self._record(record)
        self.offset = batch.last_offset
        self.epoch = max(self.epoch, batch.partition_leader_epoch)
        self.timestamp = max(self.timestamp, batch.max_timestamp)

    def _record(self, record: Record) -> None:
        if record.value is None:
            raise CorruptRecordError(f"{self.source}: the record at offset {record.offset} has no value")
        try:
            message, _ = decode_record(record.value)
            self._builder.apply(message, record.value)
        except KafkaError as error:
            raise type(error)(f"{self.source}: offset {record.offset}: {error}") from error
        level = self._builder.metadata_version
        if level > NEWEST_METADATA_VERSION:
            raise ConfigError(
                f"{self.source}: metadata.version is {level}, above {NEWEST_METADATA_VERSION},"
                " the newest that kstore knows"
            )

    def _control(self, record: Record) -> None:
        key, value = bytes(record.key or b""), bytes(record.value or b"")
        control_type = int.from_bytes(key[2:4], "big")
        if control_type not in (KRAFT_VERSION, KRAFT_VOTERS):
            return
        self.control[control_type] = (key, value)
        if control_type == KRAFT_VOTERS:
            voters = decode_control_record(key, value)
            assert isinstance(voters, VotersRecord)
            self.check_voters([voter.voter_id for voter in voters.voters])

    def check_voters(self, voters: list[int] | tuple[int, ...]) -> None:
        """Raises ConfigError for a cluster with other controllers than this node."""
        if voters and list(voters) != [self._node_id]:
            shown = ", ".join(map(str, voters))
            raise ConfigError(f"{self.source} has the voters {shown}; kstore is node {self._node_id} on its own")
