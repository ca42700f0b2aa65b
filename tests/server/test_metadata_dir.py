"""A broker's directories are its own, and the metadata log lies in the one that the configuration names."""

import shutil
from pathlib import Path

import pytest

from kstore.cluster.image import ClusterImage
from kstore.errors import ConfigError
from kstore.log.manager import LogManager
from kstore.log.meta_properties import MetaProperties, read_meta_properties, write_meta_properties
from kstore.protocol.messages.control_records import VotersRecord, decode_control_record
from kstore.server.config import ServerConfig
from kstore.server.metadata_dir import controller_of, open_metadata
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


def test_a_directory_of_zookeeper_mode_is_refused_and_not_changed(tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(golden("kafka-3.9.1-zookeeper").directory, root)
    before = (root / "meta.properties").read_bytes()
    with pytest.raises(ConfigError, match="ZooKeeper"):
        start(config(root))
    assert (root / "meta.properties").read_bytes() == before
    assert not (root / "__cluster_metadata-0").exists()


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
