"""Makes the golden files: log directories written by real Kafka, each with a manifest of what is in them.

    .venv/bin/python -m tests.golden.make_golden        (rewrites tests/golden/; needs Java and the jars)

Every run writes other bytes (ids, times, broker timestamps), so tests read the manifest and know no more.
README.md says what each directory holds.
"""

import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.judge import home
from tests.judge.java import wait_until
from tests.judge.kafka import KafkaBroker, ZooKeeper, read_properties
from tests.judge.tools import KafkaTools

GOLDEN = Path(__file__).resolve().parent
LEFT_OUT = {".lock"}
SETTINGS = {
    "transaction.state.log.num.partitions": "1",
    "log.cleaner.backoff.ms": "200",
    # No heartbeat records in the metadata log, and a snapshot of it before the directory is closed.
    "metadata.max.idle.interval.ms": "0",
    "metadata.log.max.record.bytes.between.snapshots": "3000",
}


def client(broker: KafkaBroker, action: str, *arguments: str) -> str:
    jars = home.jar_directory(broker.version)
    command = [
        "java",
        "-cp",
        f"{jars}/*",
        str(GOLDEN / "GoldenClient.java"),
        action,
        broker.bootstrap,
        *arguments,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def make_kraft(version: str, workplace: Path) -> None:
    """All topics, on a KRaft broker that was restarted once (so leader epochs rose) and closed cleanly."""
    broker = KafkaBroker(version, workplace / f"kafka-{version}", overrides=SETTINGS)
    with broker:
        client(broker, "write", version[0])
        client(broker, "compact")
        checkpoint = broker.log_directory / "cleaner-offset-checkpoint"
        wait_until(
            lambda: checkpoint.exists() and "compacted 0 26" in checkpoint.read_text(),
            timeout=60,
            what="the cleaner has cleaned up to the open segment",
        )
        broker.stop()
        broker.start()
        client(broker, "epochs")
        topics = json.loads(client(broker, "read"))
        broker.stop()
    keep(broker, topics)


def make_zookeeper(workplace: Path) -> None:
    """What ZooKeeper mode has of its own: meta.properties version 0, no metadata log."""
    with ZooKeeper(workplace / "zookeeper") as zookeeper:
        broker = KafkaBroker("3.9.1", workplace / "kafka-3.9.1-zookeeper", zookeeper=zookeeper)
        with broker:
            client(broker, "old", "letters")
            topics = json.loads(client(broker, "read"))
            broker.stop()
        keep(broker, topics)


def make_old_formats(workplace: Path) -> None:
    """Messages of magic 0 and 1: 3.9 is the last Kafka that writes them, when it is told to be 2.8."""
    with ZooKeeper(workplace / "zookeeper-old") as zookeeper:
        overrides = {"inter.broker.protocol.version": "2.8", "log.message.format.version": "0.9.0"}
        directory = workplace / "kafka-3.9.1-old-formats"
        broker = KafkaBroker("3.9.1", directory, zookeeper=zookeeper, overrides=overrides)
        tools = KafkaTools("3.9.1")
        with broker:
            tools.topics(broker.bootstrap, "--create", "--topic", "magic-0", "--config", "retention.ms=-1")
            for_magic_1 = ["--config", "retention.ms=-1", "--config", "message.format.version=0.10.0"]
            tools.topics(broker.bootstrap, "--create", "--topic", "magic-1", *for_magic_1)
            client(broker, "old", "magic-0", "magic-1")
            topics = json.loads(client(broker, "read"))
            broker.stop()
        tools.close()
        keep(broker, topics)


def keep(broker: KafkaBroker, topics: dict[str, Any]) -> None:
    """Copies the closed directory to tests/golden and writes its manifest."""
    target = GOLDEN / broker.log_directory.name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(broker.log_directory, target, ignore=lambda _, names: LEFT_OUT & set(names))
    tools = KafkaTools(broker.version)
    for name, topic in topics.items():
        for number, partition in topic["partitions"].items():
            partition["batches"] = batches(tools, target / f"{name}-{number}")
    tools.close()
    found = read_properties(target / "meta.properties")
    files = sorted(file for file in target.rglob("*") if file.is_file())
    manifest = {
        "kafka": broker.version,
        "cluster_id": found["cluster.id"],
        "node_id": int(found.get("node.id", found.get("broker.id", "-1"))),
        "topics": topics,
        "files": {
            str(file.relative_to(target)): {
                "size": file.stat().st_size,
                "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            }
            for file in files
        },
    }
    Path(f"{target}.json").write_text(as_text(manifest) + "\n")


BATCH = re.compile(r"^(?:baseOffset|offset): .*", re.MULTILINE)


def batches(tools: KafkaTools, directory: Path) -> list[dict[str, object]]:
    """Every batch as DumpLogSegments prints it (`baseOffset: 0 lastOffset: 3 ...`), as a dictionary."""
    found: list[dict[str, object]] = []
    for log in sorted(directory.glob("*.log")):
        printed = tools.dump_log(log, deep=False)
        for line in BATCH.findall(printed):
            words = re.findall(r"(\w+): ?(\S+)", line)
            found.append({"file": log.name} | {key: plain_value(value) for key, value in words})
    return found


def plain_value(text: str) -> object:
    if text in ("true", "false"):
        return text == "true"
    return int(text) if re.fullmatch(r"-?\d+", text) else text


def holds_dictionaries(value: object) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def as_text(value: Any, indent: str = "") -> str:
    """JSON with one record, batch or file a line: short, and readable in a diff."""
    children = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if not any(holds_dictionaries(child) for child in children):
        return json.dumps(value, ensure_ascii=False)
    deeper = indent + " "
    if isinstance(value, list):
        return "[\n" + ",\n".join(deeper + as_text(child, deeper) for child in value) + "\n" + indent + "]"
    lines = [f"{deeper}{json.dumps(key)}: {as_text(child, deeper)}" for key, child in value.items()]
    return "{\n" + ",\n".join(lines) + "\n" + indent + "}"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        workplace = Path(name)
        for version in home.VERSIONS:
            make_kraft(version, workplace)
        make_zookeeper(workplace)
        make_old_formats(workplace)


if __name__ == "__main__":
    main()
