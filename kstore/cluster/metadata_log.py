"""The metadata log `__cluster_metadata-0`: what the cluster agrees on, in Kafka's own KRaft records.

A change is appended, fsynced and only then part of `image`; nobody hears of it before. This node is the
only voter: what is on its disk is committed. Every start that writes has an epoch of its own, above every
epoch in log and quorum-state, so Kafka takes the log for that of an earlier leader and goes on with the
next epoch (KafkaRaftClient.initialize, QuorumState.initialize). A new log is written at metadata.version
21, which Kafka 3.9 and 4.x both start on; a log that Kafka wrote keeps its level. Records that kstore
does not use stay where they are and go into snapshots as they were written.
"""

import logging
import os
from collections.abc import Sequence

from kstore._native.builder import BatchBuilder
from kstore.cluster.bootstrap import Controller, first_messages, voters_of
from kstore.cluster.image import ClusterImage
from kstore.cluster.metadata_load import load, refuse_damage
from kstore.cluster.quorum_state import QuorumState, read_quorum_state, write_quorum_state
from kstore.cluster.records import ImageBuilder, encode_at_level
from kstore.cluster.replay import KRAFT_VERSION, MAX_BATCH_BYTES, Replay
from kstore.cluster.snapshot import SnapshotId, find_snapshots, remove_unfinished, write_snapshot
from kstore.errors import KafkaError, RecordListTooLargeError
from kstore.log.append import COORDINATOR
from kstore.log.checkpoint_file import fsync_directory
from kstore.log.config import LogConfig
from kstore.log.dir_lock import DirLock
from kstore.log.flush import FlushJob
from kstore.log.log_dir import LogDir
from kstore.log.partition_log import PartitionLog
from kstore.model import TopicPartition
from kstore.protocol.messages.metadata_records import AbortTransactionRecord, encode_record
from kstore.protocol.schema import Message

logger = logging.getLogger(__name__)

METADATA_PARTITION = TopicPartition("__cluster_metadata", 0)
METADATA_TOPIC_ID = bytes(15) + b"\x01"  # Uuid.METADATA_TOPIC_ID

# Kafka's metadata.log.segment.bytes and metadata.log.max.record.bytes.between.snapshots.
SEGMENT_BYTES = 1024 * 1024 * 1024
SNAPSHOT_BYTES = 20 * 1024 * 1024
# When a full disk has refused a snapshot, the next try.
SNAPSHOT_RETRY_MS = 60_000


class MetadataWrite:
    """A change on its way: `run` in any thread, then `MetadataLog.complete` on the owner's."""

    __slots__ = ("image", "job", "size_in_bytes")

    def __init__(self, image: ClusterImage, job: FlushJob | None, size_in_bytes: int) -> None:
        self.image = image
        self.job = job
        self.size_in_bytes = size_in_bytes

    def run(self) -> None:
        if self.job is not None:
            self.job.run()


class SnapshotWrite:
    """A snapshot on its way: `run` in any thread, then `MetadataLog.complete_snapshot`."""

    __slots__ = ("control", "covered_bytes", "directory", "error", "id", "image", "last_timestamp", "now_ms")

    def __init__(
        self,
        directory: str,
        image: ClusterImage,
        control: list[tuple[bytes, bytes]],
        *,
        covered_bytes: int,
        last_timestamp: int,
        now_ms: int,
    ) -> None:
        self.directory = directory
        self.covered_bytes = covered_bytes
        self.id = SnapshotId(image.epoch, image.offset + 1)
        self.image = image
        self.control = control
        self.last_timestamp = last_timestamp
        self.now_ms = now_ms
        self.error: OSError | None = None

    def run(self) -> None:
        try:
            write_snapshot(
                self.directory,
                self.id,
                self.image,
                control=self.control,
                last_timestamp=self.last_timestamp,
                now_ms=self.now_ms,
            )
        except OSError as error:
            self.error = error


class MetadataLog:
    """`image` is what has been agreed on and is durable.

    One thread owns the log, and one change is on its way at a time.
    """

    def __init__(
        self,
        log: PartitionLog,
        replay: Replay,
        quorum: QuorumState | None,
        controller: Controller,
        *,
        snapshot_bytes: int,
        unsnapshotted: int,
        lock: DirLock | None = None,
    ) -> None:
        self._lock = lock
        self._log = log
        self._controller = controller
        self._quorum = quorum
        # The control records that every snapshot repeats, by their type.
        self._control = replay.control
        self._last_timestamp = replay.timestamp
        self._must_abort = replay.in_transaction
        self._leads = False
        self._writing: MetadataWrite | None = None
        self._snapshotting: SnapshotWrite | None = None
        self._snapshot_bytes = snapshot_bytes
        self._unsnapshotted = unsnapshotted
        self._next_snapshot_ms = 0
        self.image = replay.image()
        # Above whatever anybody has written or voted for.
        self.epoch = max(replay.epoch, log.latest_epoch, quorum.leader_epoch if quorum else 0) + 1

    @classmethod
    def open(
        cls,
        root: str,
        controller: Controller,
        *,
        now_ms: int,
        log_dir: LogDir | None = None,
        lock: DirLock | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        snapshot_bytes: int = SNAPSHOT_BYTES,
    ) -> "MetadataLog":
        """The metadata log in the log directory `root`; a new one is made where there is none. A `lock` on a
        directory that holds nothing else is given up on `close`.

        Raises ConfigError when it belongs to a cluster of more nodes or a newer Kafka, CorruptRecordError
        when it is damaged, OSError and KafkaStorageError when the disk fails.
        """
        directory = os.path.join(root, str(METADATA_PARTITION))
        if not os.path.isdir(directory):
            os.mkdir(directory)
            fsync_directory(root)
        remove_unfinished(directory)
        refuse_damage(directory)
        log = PartitionLog.open(
            directory,
            METADATA_PARTITION,
            LogConfig(
                segment_bytes=segment_bytes,
                max_message_bytes=MAX_BATCH_BYTES,
                retention_ms=-1,
                retention_bytes=-1,
            ),
            log_dir=log_dir,
            # Like Kafka: every batch is checked at every start, whatever was said of the last stop.
            clean_shutdown=False,
            now_ms=now_ms,
            topic_id=METADATA_TOPIC_ID,
        )
        replay = Replay(directory, node_id=controller.node_id)
        quorum = read_quorum_state(directory)
        replay.check_voters(quorum.voters if quorum else ())
        size = load(log, replay, now_ms=now_ms)
        metadata = cls(
            log,
            replay,
            quorum,
            controller,
            snapshot_bytes=snapshot_bytes,
            unsnapshotted=size,
            lock=lock,
        )
        if not metadata.image.metadata_version:
            metadata._begin(root, now_ms)
        return metadata

    @property
    def directory(self) -> str:
        return self._log.directory.path

    @property
    def failure(self) -> str | None:
        """Why nothing can be written any more: the directory has failed."""
        return self._log.log_dir.failure

    def _begin(self, root: str, now_ms: int) -> None:
        """Writes what a new cluster begins with."""
        if not self._control and self._log.log_end_offset == 0:
            self._control.update(voters_of(self._controller))
            write_snapshot(
                self.directory,
                SnapshotId(0, 0),
                ClusterImage(),
                control=self._control.values(),
                last_timestamp=0,
                now_ms=now_ms,
            )
        write = self.append(first_messages(root), now_ms=now_ms)
        write.run()
        self.complete(write, now_ms=now_ms)
        logger.info("began a metadata log at metadata.version %d", self.image.metadata_version)

    # --- change ---

    def append(self, messages: Sequence[Message], *, now_ms: int) -> MetadataWrite:
        """Appends `messages` as one batch, all or nothing. They count after `run` and `complete`.

        Raises KafkaStorageError when they could not be written; nothing has changed then.
        """
        assert self._writing is None, "one change of the metadata log at a time"
        self._lead()
        builder = ImageBuilder(self.image)
        batch = BatchBuilder(partition_leader_epoch=self.epoch)
        if self._must_abort:
            # Who wrote the open transaction is gone; without this our records would be lost with it.
            batch.append(now_ms, None, encode_record(AbortTransactionRecord(reason="new leader"), 0))
        for message in messages:
            value = encode_at_level(message, builder.metadata_version)
            builder.apply(message, value)
            batch.append(now_ms, None, value)
        data = batch.build()
        if len(data) > MAX_BATCH_BYTES:
            raise RecordListTooLargeError(
                f"{len(data)} bytes of metadata in one change are more than {MAX_BATCH_BYTES}"
            )
        info = self._log.append_as_leader(
            data, 0, len(data), leader_epoch=self.epoch, now_ms=now_ms, origin=COORDINATOR
        )
        self._last_timestamp = max(self._last_timestamp, now_ms)
        try:
            job = self._log.begin_flush()
        except KafkaError:
            # A full disk refused the index: what nobody will hear of must not lie in the log either.
            self._log.truncate_to(info.first_offset, now_ms=now_ms)
            raise
        image = builder.build(offset=info.last_offset, epoch=self.epoch)
        self._writing = MetadataWrite(image, job, len(data))
        return self._writing

    def complete(self, write: MetadataWrite, *, now_ms: int) -> None:
        """Makes a change that has been run part of `image`.

        Raises KafkaStorageError when it is not durable; the directory is then offline for good.
        """
        assert write is self._writing, "a change is completed once"
        self._writing = None
        if write.job is not None:
            self._log.complete_flush(write.job, now_ms=now_ms)
        self._log.maybe_increment_high_watermark(write.image.offset + 1)
        self._must_abort = False
        self._unsnapshotted += write.size_in_bytes
        self.image = write.image

    def _lead(self) -> None:
        """Says in quorum-state that this epoch is ours, before the first record of it."""
        if self._leads:
            return
        self._log.log_dir.check()
        node_id = self._controller.node_id
        version = self._quorum.version if self._quorum else int(KRAFT_VERSION in self._control)
        state = QuorumState(self.epoch, node_id, version, (node_id,))
        try:
            write_quorum_state(self.directory, state)
        except OSError as error:
            raise self._log.log_dir.io_error("writing quorum-state", error) from error
        self._leads = True

    # --- snapshots ---

    def is_snapshot_due(self, *, now_ms: int) -> bool:
        """One that could not be written is due again only some time later."""
        return (
            self._unsnapshotted >= self._snapshot_bytes
            and self._snapshotting is None
            and now_ms >= self._next_snapshot_ms
            and self.failure is None
        )

    def begin_snapshot(self, *, now_ms: int) -> SnapshotWrite | None:
        """A snapshot of `image`; None when there is nothing new for one, or one is on its way."""
        if self._snapshotting is not None or not self._unsnapshotted:
            return None
        self._snapshotting = SnapshotWrite(
            self.directory,
            self.image,
            list(self._control.values()),
            covered_bytes=self._unsnapshotted,
            last_timestamp=self._last_timestamp,
            now_ms=now_ms,
        )
        return self._snapshotting

    def complete_snapshot(self, write: SnapshotWrite, *, now_ms: int) -> None:
        """Lets go of what lies before the snapshot before this one: the newest could be damaged.

        Raises KafkaStorageError when the snapshot could not be written; the log has lost nothing then.
        """
        assert write is self._snapshotting, "a snapshot is completed once"
        self._snapshotting = None
        if write.error is not None:
            self._next_snapshot_ms = now_ms + SNAPSHOT_RETRY_MS
            raise self._log.log_dir.io_error(f"writing the snapshot {write.id.name}", write.error) from write.error
        self._unsnapshotted -= write.covered_bytes
        logger.info("wrote the metadata snapshot %s", write.id.name)
        snapshots = find_snapshots(self.directory)
        if self._writing is None:
            self._log.roll(now_ms=now_ms)
        if len(snapshots) < 2:
            return
        oldest = snapshots[-2]
        self._log.maybe_increment_log_start_offset(oldest.offset)
        self._log.delete_old_segments(now_ms)
        for snapshot in snapshots[:-2]:
            os.unlink(os.path.join(self.directory, snapshot.name))

    def close_handles(self) -> None:
        """Gives the log up without closing it, as a crash would: for starts that fail."""
        for segment in self._log.segments:
            segment.drop_handles()
        if self._lock is not None:
            self._lock.release()

    def close(self, *, now_ms: int) -> None:
        """Flushes and closes the files."""
        if self._log.log_dir.failure is None:
            job = self._log.begin_close()
            if job is not None:
                job.run()
                self._log.complete_flush(job, now_ms=now_ms)
        self._log.close()
        if self._lock is not None:
            self._lock.release()
