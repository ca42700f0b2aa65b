"""The entries of `log.dirs`: made, locked and owned. The cases are those of Kafka's LogManagerTest."""

import subprocess
import sys
from pathlib import Path

import pytest

from kstore.errors import ConfigError
from kstore.log.manager import LogManager
from kstore.log.meta_properties import MetaProperties, parse_properties, read_meta_properties
from kstore.model import TopicPartition
from tests.log.build import NOW, batch, create
from tests.log.conftest import MakeManager

TP = TopicPartition("topic", 0)
SIZE = len(batch())
MINUTE = 60_000


def test_directories_are_made_and_locked(tmp_path: Path, managers: MakeManager) -> None:
    managers(tmp_path / "a" / "b", tmp_path / "c")
    assert (tmp_path / "a" / "b" / ".lock").exists()
    with pytest.raises(ConfigError, match="this process uses"):
        LogManager([str(tmp_path / "c")])


def test_other_process_is_kept_out_as_kafka_does_it(tmp_path: Path, managers: MakeManager) -> None:
    managers(tmp_path)
    attempt = (
        "import fcntl, sys\n"
        "file = open(sys.argv[1], 'r+')\n"
        "try: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "except OSError: sys.exit(7)\n"
    )
    assert subprocess.run([sys.executable, "-c", attempt, str(tmp_path / ".lock")], check=False).returncode == 7


def test_lock_is_free_again_after_close(tmp_path: Path, managers: MakeManager) -> None:
    managers(tmp_path).close(NOW)
    managers(tmp_path)


def test_directory_that_is_listed_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    for twin in (str(tmp_path), f"{tmp_path}/", f"{tmp_path}/x/..", str(tmp_path / "link")):
        with pytest.raises(ConfigError, match="twice"):
            LogManager([str(tmp_path), twin])
    LogManager([str(tmp_path)]).close_handles()


def test_directory_that_cannot_be_made_is_offline_and_the_others_serve(tmp_path: Path, managers: MakeManager) -> None:
    (tmp_path / "file").write_bytes(b"")
    manager = managers(tmp_path / "file" / "dir", tmp_path / "good")
    assert [d.path for d in manager.live_dirs] == [str(tmp_path / "good")]
    assert manager.take_failed_dirs() == {str(tmp_path / "file" / "dir"): []}
    assert create(manager).log_dir.path == str(tmp_path / "good")


def test_no_usable_directory_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="none of the log directories"):
        LogManager([str(tmp_path / "file" / "dir")])


def test_owner_is_written_as_kafka_reads_it_and_kept(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path)
    manager.write_owner("Zm9vYmFyYmF6cXV4MTIzNA", 3)
    found = read_meta_properties(str(tmp_path))
    assert found is not None
    assert found[:2] == ("Zm9vYmFyYmF6cXV4MTIzNA", 3)
    lines = (tmp_path / "meta.properties").read_text().splitlines()
    assert "version=1" in lines
    assert "node.id=3" in lines
    manager.close(NOW)
    again = managers(tmp_path)
    assert (again.cluster_id, again.node_id) == ("Zm9vYmFyYmF6cXV4MTIzNA", 3)
    again.write_owner("Zm9vYmFyYmF6cXV4MTIzNA", 3)
    assert read_meta_properties(str(tmp_path)) == found


def test_directory_of_another_cluster_or_node_is_refused(tmp_path: Path, managers: MakeManager) -> None:
    manager = managers(tmp_path)
    manager.write_owner("cluster-a", 3)
    manager.close(NOW)
    with pytest.raises(ConfigError, match="cluster"):
        LogManager([str(tmp_path)], cluster_id="cluster-b")
    with pytest.raises(ConfigError, match="node"):
        LogManager([str(tmp_path)], node_id=4)


def test_meta_properties_of_kafka_are_read(tmp_path: Path) -> None:
    path = tmp_path / "meta.properties"
    path.write_text("#\n#Mon Jan 01 00:00:00 UTC 2024\nbroker.id=7\nversion=0\ncluster.id=abc\\:d\n")
    assert read_meta_properties(str(tmp_path)) == MetaProperties("abc:d", 7, None, 0)
    path.write_text("version=1\ncluster.id=x\nnode.id=1\ndirectory.id=AAECAwQFBgcICQoLDA0ODw\n")
    assert read_meta_properties(str(tmp_path)) == MetaProperties("x", 1, bytes(range(16)), 1)
    assert parse_properties("! c\n k = v=w \n\nx\\=y : z\n") == {"k": "v=w", "x=y": "z"}


@pytest.mark.parametrize("text", ["", "version=2\n", "version=1\nnode.id=1\n", "version=1\ncluster.id=x\nnode.id=a\n"])
def test_meta_properties_that_cannot_be_understood_stop_the_start(tmp_path: Path, text: str) -> None:
    (tmp_path / "meta.properties").write_text(text)
    with pytest.raises(ConfigError, match=r"meta\.properties"):
        LogManager([str(tmp_path)])
