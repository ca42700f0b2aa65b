"""A whole log directory, or several of one broker: all partitions, and the files at the root that speak of them."""

import io
import os

from kstore.cli.logs.files import (
    BOOTSTRAP_CHECKPOINT,
    CLEAN_SHUTDOWN,
    CLEANER_CHECKPOINT,
    OFFSETS,
    describe_file,
    directory_names,
    file_names,
)
from kstore.cli.logs.findings import Findings
from kstore.cli.logs.metadata_check import METADATA_DIR, MetadataCheck, is_compacted
from kstore.cli.logs.owner import process_using
from kstore.cli.logs.partition_check import PartitionCheck, check_partition
from kstore.cli.logs.segment_check import Situation
from kstore.cli.output import Progress
from kstore.cluster.image import ClusterImage
from kstore.errors import ConfigError, CorruptRecordError
from kstore.log.checkpoint_file import (
    HIGH_WATERMARK_CHECKPOINT,
    LOG_START_OFFSET_CHECKPOINT,
    RECOVERY_POINT_CHECKPOINT,
    read_offsets,
)
from kstore.log.directory import (
    DELETE_DIR_SUFFIX,
    FUTURE_DIR_SUFFIX,
    STRAY_DIR_SUFFIX,
    parse_partition_dir_name,
)
from kstore.log.log_dir import INCARNATION_FILE
from kstore.log.meta_properties import META_PROPERTIES, MetaProperties, read_meta_properties
from kstore.model import TopicPartition, uuid_to_text

SIDE_DIRS = {
    DELETE_DIR_SUFFIX: "a partition that is being deleted",
    FUTURE_DIR_SUFFIX: "a copy of a partition on its way into this directory",
    STRAY_DIR_SUFFIX: "a partition that belonged to no topic when the broker started; not looked at",
}
KNOWN_ROOT_FILES = {
    ".lock",
    "cleaner-offset-checkpoint",
    ".kafka_cleanshutdown",
    INCARNATION_FILE,
    BOOTSTRAP_CHECKPOINT,
}


class DirectoriesCheck:
    """Checks the log directories of one broker, one after the other."""

    def __init__(self, findings: Findings, progress: Progress) -> None:
        self._findings = findings
        self._progress = progress
        self._owners: dict[str, MetaProperties] = {}
        self._places: dict[TopicPartition, str] = {}
        self._topic_ids: dict[str, tuple[bytes, str]] = {}
        self._cleaned: dict[str, set[TopicPartition]] = {}
        self.images: list[ClusterImage] = []

    def read_metadata(self, path: str) -> None:
        """The metadata log may lie in another directory than the partitions that it tells of: all are read first."""
        metadata = MetadataCheck(path, self._findings)
        metadata.run()
        if metadata.image is not None:
            self.images.append(metadata.image)

    @property
    def image(self) -> ClusterImage | None:
        return self.images[0] if self.images else None

    def run(self, path: str) -> None:
        """One log directory. Raises OSError."""
        self._findings.checked["directories"] += 1
        self._check_owner(path)
        is_live = process_using(path) is not None
        is_clean = not is_live and os.path.exists(os.path.join(path, CLEAN_SHUTDOWN))
        starts = self.read_offsets(path, LOG_START_OFFSET_CHECKPOINT)
        checks: dict[TopicPartition, PartitionCheck] = {}
        for name in directory_names(path):
            partition = parse_partition_dir_name(name)
            assert partition is not None
            label = os.path.join(path, name)
            side = next((suffix for suffix in SIDE_DIRS if name.endswith(suffix)), None)
            if side is not None:
                self._findings.note(label, "side-directory", SIDE_DIRS[side])
                continue
            known = self.is_compacted(path, partition)
            situation = Situation(is_live, is_clean, known, starts.get(partition, 0))
            try:
                check = check_partition(label, label, self._findings, self._progress, situation)
            except (FileNotFoundError, NotADirectoryError):
                if not is_live:
                    raise
                continue  # its topic was deleted meanwhile
            checks[partition] = check
            self._check_place(partition, label)
            self._check_topic(partition, check)
        self._check_checkpoints(path, checks, is_live=is_live, is_clean=is_clean)
        self._check_root_files(path)

    def is_compacted(self, path: str, partition: TopicPartition) -> bool | None:
        """Whether compaction may have made holes in a log, as far as the directory tells.

        The cleaner notes what it has cleaned; a topic whose policy was `compact` until lately is not known for one.
        """
        if path not in self._cleaned:
            self._cleaned[path] = set(self.read_offsets(path, CLEANER_CHECKPOINT))
        if partition in self._cleaned[path]:
            return True
        return is_compacted(self.image, partition.topic)

    # --- whose directory it is ---

    def _check_owner(self, path: str) -> None:
        label = os.path.join(path, META_PROPERTIES)
        try:
            owner = read_meta_properties(path)
        except ConfigError as error:
            self._findings.damaged(label, "owner", str(error))
            return
        if owner is None:
            self._findings.note(label, "owner", "is not there: no broker has made this directory its own")
            return
        for other, known in self._owners.items():
            if (owner.cluster_id, owner.node_id) != (known.cluster_id, known.node_id):
                self._findings.damaged(
                    label,
                    "owner",
                    f"belongs to node {owner.node_id} of cluster {owner.cluster_id}, {other} to node {known.node_id}"
                    f" of cluster {known.cluster_id}",
                )
            elif owner.directory_id is not None and owner.directory_id == known.directory_id:
                self._findings.damaged(label, "owner", f"has the directory id of {other}: one is a copy of the other")
        self._owners[path] = owner

    # --- partitions ---

    def _check_place(self, partition: TopicPartition, label: str) -> None:
        other = self._places.setdefault(partition, label)
        if other != label:
            self._findings.damaged(label, "duplicate", f"the partition lies in {other} too; no broker starts on both")

    def _check_topic(self, partition: TopicPartition, check: PartitionCheck) -> None:
        topic, topic_id = partition.topic, check.topic_id
        if topic_id is not None:
            known_id, other = self._topic_ids.setdefault(topic, (topic_id, check.label))
            if known_id != topic_id:
                self._findings.damaged(
                    check.label,
                    "topic-id",
                    f"has the topic id {check.topic_id_text}, {other} has {uuid_to_text(known_id)}",
                )
        if self.image is None or os.path.basename(check.path) == METADATA_DIR:
            return
        known = self.image.topics.get(topic)
        if known is None or partition.partition not in known.partitions:
            self._findings.note(
                check.label, "stray", "the metadata log knows no such partition; the next start sets it aside"
            )
        elif topic_id is not None and topic_id != known.id:
            self._findings.note(
                check.label,
                "stray",
                f"is of another topic of this name: its id is {check.topic_id_text}, the metadata log says"
                f" {uuid_to_text(known.id)}; the next start sets it aside",
            )

    # --- checkpoints ---

    def read_offsets(self, path: str, name: str) -> dict[TopicPartition, int]:
        label = os.path.join(path, name)
        try:
            return read_offsets(label)
        except CorruptRecordError as error:
            self._findings.damaged(label, "checkpoint", f"{error}; delete it while no broker runs")
            return {}

    def _check_checkpoints(
        self, path: str, checks: dict[TopicPartition, PartitionCheck], *, is_live: bool, is_clean: bool
    ) -> None:
        for name in (RECOVERY_POINT_CHECKPOINT, LOG_START_OFFSET_CHECKPOINT, HIGH_WATERMARK_CHECKPOINT):
            label = os.path.join(path, name)
            for partition, offset in self.read_offsets(path, name).items():
                check = checks.get(partition)
                if check is None:
                    self._missing_partition(label, partition, offset, is_live=is_live)
                elif offset > check.log.end_offset >= 0 and not is_live:
                    # Kafka knows a partition of which nothing is left but its start by this file alone.
                    tell = self._findings.damaged if is_clean else self._findings.note
                    tell(
                        label,
                        "checkpoint",
                        f"says offset {offset} of {partition}, whose log ends at {check.log.end_offset}:"
                        " records are lost",
                    )
            self._findings.end_of_file(label)

    def _missing_partition(self, label: str, partition: TopicPartition, offset: int, *, is_live: bool) -> None:
        image = self.image
        topic = image.topics.get(partition.topic) if image is not None else None
        if is_live or offset == 0:
            return
        if topic is not None and partition.partition in topic.partitions:
            text = f"says offset {offset} of {partition}, which has no directory here"
            self._findings.damaged(label, "checkpoint", text)
        else:
            self._findings.note(label, "checkpoint", f"speaks of {partition}, which is not here")

    def _check_root_files(self, path: str) -> None:
        for name in file_names(path):
            file = describe_file(os.path.join(path, name), os.path.join(path, name))
            if name.endswith((".tmp", ".part")):
                self._findings.note(file.label, "left-over", "was not finished; it has no meaning")
            elif file.kind not in (OFFSETS, "properties") and name not in KNOWN_ROOT_FILES:
                self._findings.note(file.label, "unknown", "no file that a broker makes or knows")
        with os.scandir(path) as entries:
            unknown = [e.name for e in entries if e.is_dir() and parse_partition_dir_name(e.name) is None]
        for name in sorted(unknown):
            text = "no directory of a partition; Kafka does not start with it"
            self._findings.note(os.path.join(path, name), "unknown", text)


def check_one_partition(path: str, findings: Findings, progress: Progress) -> None:
    """A partition's directory by itself; what is known of it from outside, the directory above tells. Raises
    OSError."""
    root, name = os.path.split(os.path.realpath(path))
    partition = parse_partition_dir_name(name)
    assert partition is not None
    # What is wrong with the directory above was not asked for.
    unheard = Findings(io.StringIO())
    above = DirectoriesCheck(unheard, progress)
    above.read_metadata(root)
    is_live = process_using(root) is not None
    is_clean = not is_live and os.path.exists(os.path.join(root, CLEAN_SHUTDOWN))
    known = above.is_compacted(root, partition)
    start = above.read_offsets(root, LOG_START_OFFSET_CHECKPOINT).get(partition, 0)
    check_partition(path, path, findings, progress, Situation(is_live, is_clean, known, start))
