"""Whatever moment a kill or a damaged byte hits, the metadata log says what was agreed on, or says that it cannot."""

import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kstore.cluster.bootstrap import Controller
from kstore.cluster.metadata_log import MetadataLog
from kstore.cluster.snapshot import find_snapshots
from kstore.errors import KstoreError
from tests.judge.home import REPOSITORY

NOW = 1_700_000_000_000
ME = Controller(1, bytes(range(16)))

# Makes one topic after the other, with a snapshot now and then, and says so when each is durable.
WRITER = """
import sys
from kstore.cluster.bootstrap import Controller
from kstore.cluster.metadata_log import MetadataLog
from kstore.protocol.messages.metadata_records import ConfigRecord, TopicRecord

metadata = MetadataLog.open(sys.argv[1], Controller(1, bytes(range(16))), now_ms=1_700_000_000_000, snapshot_bytes=2000)
first = len(metadata.image.topics)
print(first, flush=True)
for number in range(first, first + 100_000):
    name = f"topic-{number}"
    records = [
        TopicRecord(name=name, topic_id=number.to_bytes(16, "big")),
        ConfigRecord(resource_type=2, resource_name=name, name="retention.ms", value=str(number)),
    ]
    change = metadata.append(records, now_ms=1)
    change.run()
    metadata.complete(change, now_ms=1)
    print(number + 1, flush=True)
    if metadata.is_snapshot_due(now_ms=1):
        snapshot = metadata.begin_snapshot(now_ms=1)
        snapshot.run()
        metadata.complete_snapshot(snapshot, now_ms=1)
"""


def test_topics_that_were_acknowledged_survive_kills_at_any_moment(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    acknowledged = 0
    for _ in range(8):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, cwd=REPOSITORY)
        assert writer.stdout is not None
        assert int(writer.stdout.readline()) >= acknowledged
        for _ in range(dice.randrange(1, 60)):
            acknowledged = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        rest, _ = writer.communicate(timeout=30)
        acknowledged = max([acknowledged, *(int(line) for line in rest.split())])
    metadata = MetadataLog.open(str(tmp_path), ME, now_ms=NOW)
    topics = metadata.image.topics
    assert len(topics) >= acknowledged > 0
    for number in range(len(topics)):
        assert topics[f"topic-{number}"].id == number.to_bytes(16, "big")
        assert metadata.image.topic_config(f"topic-{number}") == {"retention.ms": str(number)}


def small_log(root: Path, snapshot_bytes: int) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER.replace("100_000", "12").replace("2000", str(snapshot_bytes)), str(root)],
        stdout=subprocess.DEVNULL,
        cwd=REPOSITORY,
    )
    assert writer.wait(timeout=60) == 0


@pytest.mark.parametrize(("kind", "snapshot_bytes"), [(".log", 1_000_000), (".checkpoint", 700)])
def test_a_flipped_bit_stops_the_start_or_costs_no_more_than_the_last_change(
    tmp_path: Path, kind: str, snapshot_bytes: int
) -> None:
    root = tmp_path / "good"
    root.mkdir()
    small_log(root, snapshot_bytes)
    whole = open_image(root)
    assert len(whole) == 12
    used = sorted(file for file in (root / "__cluster_metadata-0").iterdir() if file.suffix == kind)[-1]
    data = used.read_bytes()
    assert len(data) > 100
    refused = 0
    for position in range(0, len(data), 7):
        broken = tmp_path / "broken"
        shutil.copytree(root, broken)
        flipped = bytearray(data)
        flipped[position] ^= 1 << position % 8
        (broken / "__cluster_metadata-0" / used.name).write_bytes(flipped)
        try:
            found = open_image(broken)
        except KstoreError as error:
            refused += used.name in str(error)
        else:
            assert found in (whole, whole[:-1]), f"bit {position % 8} of byte {position}"
        shutil.rmtree(broken)
    assert refused > len(data) // 10


def test_without_its_newest_snapshot_the_log_goes_on_from_the_one_before(tmp_path: Path) -> None:
    small_log(tmp_path, 700)
    whole = open_image(tmp_path)
    newest = find_snapshots(str(tmp_path / "__cluster_metadata-0"))[-1]
    (tmp_path / "__cluster_metadata-0" / newest.name).unlink()
    assert open_image(tmp_path) == whole


def open_image(root: Path) -> list[str]:
    """The names of the topics, in the order in which they were made."""
    metadata = MetadataLog.open(str(root), ME, now_ms=NOW)
    metadata.close(now_ms=NOW)
    return sorted(metadata.image.topics, key=lambda name: metadata.image.topics[name].id)
