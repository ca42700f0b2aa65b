"""What lies in the directories of a cluster, batch by batch, as Kafka's DumpLogSegments and `kstore log dump` say."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.chaos.cluster import Broker, Cluster
from tests.judge import home
from tests.judge.tools import DUMP_COMPLAINTS, KafkaTools

LINE = re.compile(
    r"^baseOffset: (?P<base>\d+) lastOffset: (?P<last>\d+) count: (?P<count>\d+) baseSequence: (?P<sequence>-?\d+) "
    r".*?producerId: (?P<producer>-?\d+) producerEpoch: (?P<producer_epoch>-?\d+) partitionLeaderEpoch: (?P<epoch>\d+) "
    r".*?size: (?P<size>\d+) .*?crc: (?P<crc>\d+) isvalid: true",
    re.MULTILINE,
)


class Batch(NamedTuple):
    base_offset: int
    last_offset: int
    count: int
    base_sequence: int
    producer_id: int
    producer_epoch: int
    leader_epoch: int
    size: int
    crc: int


def by_kafka(directory: Path, tools: KafkaTools) -> list[Batch]:
    files = sorted(directory.glob("*.log"))
    printed = tools.dump_log(*files, deep=False)
    complaint = DUMP_COMPLAINTS.search(printed)
    assert complaint is None, f"DumpLogSegments of {directory}: {complaint and complaint[0]}\n{printed[-3000:]}"
    found = [Batch(*map(int, match.groups())) for match in LINE.finditer(printed)]
    assert len(found) == printed.count("baseOffset: "), f"lines of {directory} are not understood\n{printed[:2000]}"
    return found


def by_kstore(directory: Path) -> list[Batch]:
    command = [sys.executable, "-m", "kstore.cli.main", "log", "dump", str(directory), "--only", "log", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(home.REPOSITORY)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr}"
    found = []
    for row in map(json.loads, done.stdout.splitlines()):
        if row["type"] == "batch":
            assert row["crc_valid"], row
            found.append(
                Batch(
                    row["base_offset"],
                    row["last_offset"],
                    row["count"],
                    row["base_sequence"],
                    row["producer_id"],
                    row["producer_epoch"],
                    row["leader_epoch"],
                    row["size"],
                    row["crc"],
                )
            )
    return found


def partitions_of(broker: Broker) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for disk in broker.disks:
        for directory in disk.directory.iterdir():
            if directory.is_dir() and any(directory.glob("*.log")):
                assert directory.name not in found, f"{directory.name} lies twice: {found[directory.name]}, {directory}"
                found[directory.name] = directory
    return found


def assert_same_batches(cluster: Cluster, tools: KafkaTools) -> int:
    """Of brokers that are stopped: every partition has the same batches everywhere, whoever reads them; how many."""
    directories = {broker.id: partitions_of(broker) for broker in cluster.brokers.values()}
    names = set.union(*map(set, directories.values()))
    count = 0
    for name in sorted(names):
        replicas = {number: found[name] for number, found in directories.items() if name in found}
        (first, where), *others = replicas.items()
        expected = by_kafka(where, tools)
        assert by_kstore(where) == expected, f"{name} of broker {first}: Kafka and kstore read it differently"
        assert [batch.base_offset for batch in expected] == sorted({batch.base_offset for batch in expected})
        for number, directory in others:
            assert by_kafka(directory, tools) == expected, f"{name} differs between brokers {first} and {number}"
            assert by_kstore(directory) == expected
        count += len(expected)
    return count
