"""A broker's directories are its own, and the metadata log lies in the one that the configuration names."""

import errno
import re
import shutil
from pathlib import Path

import pytest

from kstore.cluster.image import ClusterImage, PartitionImage, TopicImage
from kstore.errors import ConfigError, CorruptRecordError
from kstore.log.directory import format_partition_metadata
from kstore.log.manager import LogManager
from kstore.log.meta_properties import MetaProperties, read_meta_properties, write_meta_properties
from kstore.model import TopicPartition, uuid_to_text
from kstore.protocol.messages.control_records import VotersRecord, decode_control_record
from kstore.server.config import ServerConfig
from kstore.server.metadata_dir import controller_of, open_metadata, stray_check
from tests.golden.golden import golden

NOW = 1_700_000_000_000


def start(config: ServerConfig) -> tuple[LogManager, ClusterImage]:
    """What a broker does first with its directories; both are closed again."""
    logs = LogManager(config.log_dirs, node_id=config.node_id)
    try:
        metadata = open_metadata(config, logs, now_ms=NOW)
        metadata.close(now_ms=NOW)
    finally:
        logs.close_handles()
    return logs, metadata.image


def config(*directories: Path, **overrides: object) -> ServerConfig:
    more = [f"{key.replace('_', '.')}={value}" for key, value in overrides.items()]
    return ServerConfig.from_arguments(",".join(map(str, directories)), 9092, more)


def meta(directory: Path) -> MetaProperties:
    found = read_meta_properties(str(directory))
    assert found is not None
    return found


def test_new_directories_are_given_to_node_1_of_a_new_cluster(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    start(config(one, two))
    assert (meta(one).version, meta(one).node_id) == (1, 1)
    assert len(meta(one).cluster_id) == 22
    assert meta(one).cluster_id == meta(two).cluster_id
    assert meta(one).directory_id != meta(two).directory_id
    assert (one / "__cluster_metadata-0").is_dir()
    assert not (two / "__cluster_metadata-0").exists()


def test_directories_keep_what_they_are(tmp_path: Path) -> None:
    start(config(tmp_path, node_id=7))
    before = meta(tmp_path)
    assert before.node_id == 7
    logs, image = start(config(tmp_path))
    assert meta(tmp_path) == before
    assert (logs.node_id, logs.cluster_id) == (7, before.cluster_id)
    assert image.metadata_version == 21


def test_a_directory_of_another_node_is_refused(tmp_path: Path) -> None:
    start(config(tmp_path, node_id=7))
    with pytest.raises(ConfigError, match="belongs to node 7, this is node 8"):
        start(config(tmp_path, node_id=8))


def test_a_directory_that_comes_later_joins(tmp_path: Path) -> None:
    start(config(tmp_path / "one"))
    start(config(tmp_path / "one", tmp_path / "two"))
    assert meta(tmp_path / "two").cluster_id == meta(tmp_path / "one").cluster_id


def test_the_metadata_log_may_have_a_directory_of_its_own(tmp_path: Path) -> None:
    data, metadata = tmp_path / "data", tmp_path / "metadata"
    for _ in range(2):
        start(config(data, metadata_log_dir=metadata))
        assert (metadata / "__cluster_metadata-0").is_dir()
        assert not (data / "__cluster_metadata-0").exists()
        assert meta(metadata).cluster_id == meta(data).cluster_id
        assert meta(metadata).node_id == meta(data).node_id
    write_meta_properties(str(metadata), meta(metadata)._replace(cluster_id="another"))
    with pytest.raises(ConfigError, match="another"):
        start(config(data, metadata_log_dir=metadata))


def test_a_metadata_directory_that_cannot_be_opened_is_free_again(tmp_path: Path) -> None:
    """The lock was kept, and the directory could not be used again before the process ended."""
    data, metadata = tmp_path / "data", tmp_path / "metadata"
    start(config(data, metadata_log_dir=metadata))
    (log,) = (metadata / "__cluster_metadata-0").glob("*.log")
    good = log.read_bytes()
    log.write_bytes(good[:20] + bytes([good[20] ^ 1]) + good[21:] + good)
    with pytest.raises(CorruptRecordError):
        start(config(data, metadata_log_dir=metadata))
    log.write_bytes(good)
    (metadata / "meta.properties").write_text("version=7\n")
    with pytest.raises(ConfigError):
        start(config(data, metadata_log_dir=metadata))
    shutil.copy(data / "meta.properties", metadata / "meta.properties")
    start(config(data, metadata_log_dir=metadata))


def test_a_directory_of_zookeeper_mode_is_refused_and_not_changed(tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(golden("kafka-3.9.1-zookeeper").directory, root)
    before = (root / "meta.properties").read_bytes()
    with pytest.raises(ConfigError, match="ZooKeeper"):
        start(config(root))
    assert (root / "meta.properties").read_bytes() == before
    assert not (root / "__cluster_metadata-0").exists()


def test_partitions_without_their_metadata_log_stop_the_start_and_nothing_is_changed(tmp_path: Path) -> None:
    data, metadata = tmp_path / "data", tmp_path / "metadata"
    start(config(data))
    make_partition(data, "letters-0", bytes(range(16)))
    for other in (config(data, metadata_log_dir=metadata), config(tmp_path / "empty", data)):
        with pytest.raises(ConfigError, match=r"data holds __cluster_metadata-0, but .* has no"):
            start(other)
    shutil.rmtree(data / "__cluster_metadata-0")
    (data / "__cluster_metadata-0").mkdir()
    with pytest.raises(ConfigError, match="letters-0"):
        start(config(data))
    assert not list((data / "__cluster_metadata-0").iterdir())


def make_partition(root: Path, name: str, topic_id: bytes) -> None:
    directory = root / name
    directory.mkdir()
    (directory / f"{0:020}.log").touch()
    (directory / "partition.metadata").write_bytes(format_partition_metadata(uuid_to_text(topic_id)))


def test_what_no_topic_owns_is_set_aside_under_another_name(tmp_path: Path) -> None:
    mine, old = bytes(range(16)), bytes(range(16, 32))
    for name, topic_id in (("known-0", mine), ("known-1", mine), ("reborn-0", old), ("gone-0", old)):
        make_partition(tmp_path, name, topic_id)
    partition = PartitionImage((1,), (1,), 1, leader_epoch=0, partition_epoch=0)
    topics = {name: TopicImage(name, mine, {0: partition}) for name in ("known", "reborn")}
    logs = LogManager([str(tmp_path)])
    logs.load_all(NOW, is_stray=stray_check(ClusterImage(topics=topics)))
    assert set(logs.logs) == {TopicPartition("known", 0)}
    kept = sorted(re.sub(r"\.[0-9a-f]{32}", "", entry.name) for entry in tmp_path.iterdir() if entry.is_dir())
    assert kept == ["gone-0-stray", "known-0", "known-1-stray", "reborn-0-stray"]
    logs.close_handles()


def test_the_voter_stands_where_the_file_has_its_controller(tmp_path: Path) -> None:
    listeners = "listeners=PLAINTEXT://:9092,CTRL://:9193"
    file = tmp_path / "server.properties"
    file.write_text(f"{listeners}\ncontroller.listener.names=CTRL\nadvertised.listeners=PLAINTEXT://h:1,CTRL://c:2\n")
    controller = controller_of(ServerConfig.from_file(str(file)), 4, bytes(16))
    assert (controller.node_id, controller.listener, controller.host, controller.port) == (4, "CTRL", "c", 2)
    assert controller_of(config(tmp_path), 1, bytes(16)).port == 9093
    from kstore.cluster.bootstrap import voters_of

    voters = [decode_control_record(*pair) for pair in voters_of(controller).values()][1]
    assert isinstance(voters, VotersRecord)
    assert [(voter.voter_id, voter.endpoints[0].host) for voter in voters.voters] == [(4, "c")]


def test_a_directory_that_cannot_be_made_ours_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start went on, and ended with a KeyError."""

    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr("kstore.log.log_dirs.write_meta_properties", broken)
    with pytest.raises(
        ConfigError, match=rf"{tmp_path} is to hold the metadata log .* writing meta\.properties: .*broken"
    ):
        start(config(tmp_path))
