"""The metadata log as a whole: every record is understood and fits what came before it.

Afterwards `image` tells which topics there are, with their ids and configurations, so that partitions without a topic
can be told, and compacted logs. The log is read from its newest snapshot on (KIP-630, KIP-631).
"""

import os

from kstore._native.batch import RecordBatch
from kstore._native.records import FileRecords
from kstore.cli.logs.batches import walk
from kstore.cli.logs.findings import Findings
from kstore.cluster.image import TOPIC_RESOURCE, ClusterImage
from kstore.cluster.records import ImageBuilder
from kstore.cluster.replay import MAX_BATCH_BYTES
from kstore.cluster.snapshot import find_snapshots
from kstore.errors import KafkaError
from kstore.protocol.messages.control_records import decode_control_record
from kstore.protocol.messages.metadata_records import decode_record

METADATA_DIR = "__cluster_metadata-0"


class MetadataCheck:
    """Reads the metadata log in `log_dir`, where there is one. `image` is None where there is not."""

    def __init__(self, log_dir: str, findings: Findings) -> None:
        self._directory = os.path.join(log_dir, METADATA_DIR)
        self._findings = findings
        self._builder = ImageBuilder(ClusterImage())
        self._is_whole = True
        self.image: ClusterImage | None = None

    def run(self) -> None:
        """Raises OSError."""
        if not os.path.isdir(self._directory):
            return
        snapshots = find_snapshots(self._directory)
        offset = 0
        if snapshots:
            self._read(os.path.join(self._directory, snapshots[-1].name), 0)
            offset = snapshots[-1].offset
        names = sorted(name for name in os.listdir(self._directory) if name.endswith(".log") and name[:-4].isdecimal())
        if names and int(names[0][:-4]) > offset:
            self._findings.damaged(
                self._directory,
                "metadata",
                f"the log begins at offset {int(names[0][:-4])}, and no snapshot reaches up to there",
            )
            self._is_whole = False
        for name in names:
            self._read(os.path.join(self._directory, name), offset)
        if self._is_whole:
            self.image = self._builder.build(offset=0, epoch=0)

    def _read(self, path: str, first_offset: int) -> None:
        records = FileRecords(path, writable=False)
        try:
            for position, found in walk(records):
                # What is no good batch the partition's own check tells.
                if not isinstance(found, RecordBatch) or not found.is_crc_valid():
                    self._is_whole = False
                elif found.last_offset >= first_offset:
                    self._batch(path, position, found)
        finally:
            records.close()
        self._findings.end_of_file(path)

    def _batch(self, path: str, position: int, batch: RecordBatch) -> None:
        offset = batch.base_offset
        try:
            for record in batch.records(MAX_BATCH_BYTES):
                offset = record.offset
                if batch.is_control:
                    decode_control_record(bytes(record.key or b""), bytes(record.value or b""))
                    continue
                message, _ = decode_record(record.value or b"")
                self._builder.apply(message, record.value)
        except (KafkaError, KeyError) as error:
            self._is_whole = False
            self._findings.damaged(path, "metadata", f"the record at offset {offset}: {error}", position)


def is_compacted(image: ClusterImage | None, topic: str) -> bool | None:
    """Whether a topic's logs are to be compacted; None where there is no metadata log that knows the topic."""
    if topic in ("__consumer_offsets", "__transaction_state", "__share_group_state"):
        return True
    if image is None or topic not in image.topics:
        return None
    return "compact" in image.configs.get((TOPIC_RESOURCE, topic), {}).get("cleanup.policy", "delete")
