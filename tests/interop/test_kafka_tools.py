"""Kafka's own command-line tools, 3.9.1 and 4.3.0, against a running broker. Those about groups: test_group_tools."""

import json
import re
import uuid
from pathlib import Path

import pytest

from tests.interop.conftest import Broker, NewTopic
from tests.judge.java import JudgeError, wait_until
from tests.judge.tools import KafkaTools

pytestmark = pytest.mark.kafka


@pytest.fixture(params=["tools_39", "tools_43"])
def tools(request: pytest.FixtureRequest) -> KafkaTools:
    found: KafkaTools = request.getfixturevalue(request.param)
    return found


def numbers(count: int) -> str:
    return "".join(f"{number}\n" for number in range(count))


def test_topics_are_made_described_changed_and_deleted(tools: KafkaTools, bootstrap: str) -> None:
    name = f"tool-{uuid.uuid4().hex[:12]}"
    tools.topics(bootstrap, "--create", "--topic", name, "--partitions", 3, "--config", "retention.ms=77777777")
    wait_until(lambda: name in tools.topics(bootstrap, "--list").split(), timeout=20, what=f"{name} is listed")
    described = tools.topics(bootstrap, "--describe", "--topic", name)
    assert re.search(r"PartitionCount: 3\s+ReplicationFactor: 1\s+Configs: .*retention\.ms=77777777", described)
    assert len(re.findall(r"Partition: \d+\s+Leader: \d+\s+Replicas: \d+\s+Isr: \d+", described)) == 3
    tools.topics(bootstrap, "--alter", "--topic", name, "--partitions", 5)
    wait_until(
        lambda: "PartitionCount: 5" in tools.topics(bootstrap, "--describe", "--topic", name),
        timeout=20,
        what="five partitions",
    )
    with pytest.raises(JudgeError, match="already"):
        tools.topics(bootstrap, "--create", "--topic", name)
    tools.topics(bootstrap, "--delete", "--topic", name)
    wait_until(lambda: name not in tools.topics(bootstrap, "--list").split(), timeout=20, what=f"{name} is gone")


def test_topic_configurations_are_set_shown_and_deleted(tools: KafkaTools, bootstrap: str, new_topic: NewTopic) -> None:
    topic = new_topic()
    entity = ("--entity-type", "topics", "--entity-name", topic)

    def shown() -> str:
        return tools.configs(bootstrap, "--describe", *entity)

    tools.configs(
        bootstrap, "--alter", *entity, "--add-config", "retention.ms=88888888,cleanup.policy=[compact,delete]"
    )
    wait_until(lambda: "retention.ms=88888888" in shown(), timeout=20, what="retention.ms is shown")
    assert "cleanup.policy=compact,delete" in shown()
    assert "DYNAMIC_TOPIC_CONFIG" in shown()
    assert "segment.bytes=1073741824" in tools.configs(bootstrap, "--describe", "--all", *entity)
    tools.configs(bootstrap, "--alter", *entity, "--delete-config", "retention.ms")
    wait_until(lambda: "retention.ms" not in shown(), timeout=20, what="retention.ms is not shown")
    with pytest.raises(JudgeError, match=r"no\.such\.key"):
        tools.configs(bootstrap, "--alter", *entity, "--add-config", "no.such.key=1")


def test_broker_configurations_are_set_and_shown(tools: KafkaTools, bootstrap: str) -> None:
    entity = ("--entity-type", "brokers", "--entity-default")
    tools.configs(bootstrap, "--alter", *entity, "--add-config", "log.cleaner.backoff.ms=16000")
    wait_until(
        lambda: "log.cleaner.backoff.ms=16000" in tools.configs(bootstrap, "--describe", *entity),
        timeout=20,
        what="the default of brokers is shown",
    )
    every = tools.configs(bootstrap, "--describe", "--all", "--entity-type", "brokers", "--entity-name", "1")
    assert "log.cleaner.backoff.ms=16000" in every
    assert "num.partitions=1" in every
    tools.configs(bootstrap, "--alter", *entity, "--delete-config", "log.cleaner.backoff.ms")


def test_records_are_deleted(tools: KafkaTools, bootstrap: str, new_topic: NewTopic, tmp_path: Path) -> None:
    topic = new_topic()
    tools.console_producer(bootstrap, topic, numbers(10))
    wanted = {"partitions": [{"topic": topic, "partition": 0, "offset": 6}], "version": 1}
    (tmp_path / "offsets.json").write_text(json.dumps(wanted))
    assert "low_watermark: 6" in tools.delete_records(bootstrap, tmp_path / "offsets.json")
    assert tools.get_offsets(bootstrap, "--topic", topic, "--time", "-2").strip() == f"{topic}:0:6"


@pytest.mark.parametrize(
    ("time", "offset"),
    [("-1", 10), ("-2", 0), ("latest", 10), ("earliest", 0), ("-4", 0), ("earliest-local", 0), ("0", 0)],
)
def test_offsets_are_shown(tools: KafkaTools, bootstrap: str, new_topic: NewTopic, time: str, offset: int) -> None:
    topic = new_topic()
    tools.console_producer(bootstrap, topic, numbers(10))
    assert tools.get_offsets(bootstrap, "--topic", topic, "--time", time).strip() == f"{topic}:0:{offset}"


def test_log_directories_are_described(tools: KafkaTools, broker: Broker, new_topic: NewTopic) -> None:
    topic = new_topic(partitions=2)
    tools.console_producer(broker.bootstrap, topic, numbers(100))
    printed = tools.log_dirs(broker.bootstrap, "--describe", "--topic-list", topic)
    (described,) = json.loads(printed[printed.index("{") :])["brokers"]
    (directory,) = described["logDirs"]
    assert directory["logDir"] == str(broker.log_directory)
    assert directory["error"] is None
    sizes = {entry["partition"]: entry["size"] for entry in directory["partitions"]}
    for number in range(2):
        (log,) = broker.partition_directory(topic, number).glob("*.log")
        assert sizes[f"{topic}-{number}"] == log.stat().st_size


def test_console_consumer_reads_an_assigned_partition(tools: KafkaTools, bootstrap: str, new_topic: NewTopic) -> None:
    topic = new_topic(partitions=2)
    tools.console_producer(bootstrap, topic, numbers(50), "--compression-codec", "lz4")
    read = []
    for partition in range(2):
        (shown,) = re.findall(rf"{topic}:{partition}:(\d+)", tools.get_offsets(bootstrap, "--topic", topic))
        if int(shown):
            arguments = ("--partition", partition, "--offset", "earliest", "--max-messages", shown)
            read += tools.console_consumer(bootstrap, topic, *arguments).split()
    assert sorted(read, key=int) == numbers(50).split()


def test_producer_performance(tools: KafkaTools, bootstrap: str, new_topic: NewTopic) -> None:
    topic = new_topic(partitions=3)
    printed = tools.producer_performance(
        bootstrap, topic, "--num-records", 20_000, "--record-size", 200, "--throughput", -1
    )
    assert "20000 records sent" in printed
    offsets = re.findall(rf"{topic}:\d:(\d+)", tools.get_offsets(bootstrap, "--topic", topic))
    assert sum(map(int, offsets)) == 20_000


def test_verifiable_producer(tools: KafkaTools, bootstrap: str, new_topic: NewTopic) -> None:
    printed = tools.verifiable_producer(bootstrap, new_topic(), "--max-messages", 500)
    events = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    assert sum(event["name"] == "producer_send_success" for event in events) == 500
    assert not any(event["name"] == "producer_send_error" for event in events)


def test_versions_are_shown(tools: KafkaTools, bootstrap: str) -> None:
    main = {"3.9.1": "kafka.admin.BrokerApiVersionsCommand", "4.3.0": "org.apache.kafka.tools.BrokerApiVersionsCommand"}
    printed = tools.run(main[tools.version], "--bootstrap-server", bootstrap)
    assert re.search(r"Produce\(0\): 0 to \d+", printed)
    assert "ERROR" not in printed


def test_cluster_id_is_shown(tools: KafkaTools, bootstrap: str) -> None:
    printed = tools.run("org.apache.kafka.tools.ClusterTool", "cluster-id", "--bootstrap-server", bootstrap)
    assert re.search(r"Cluster ID: \S{22}", printed)
