"""The judges themselves: real Kafka starts in each mode, stops, is killed and starts again; its tools run."""

from pathlib import Path

import pytest

from tests.fix_kafka import StartKafka
from tests.judge.java import JudgeError
from tests.judge.kafka import KafkaBroker
from tests.judge.tools import KafkaTools

pytestmark = pytest.mark.kafka


@pytest.mark.parametrize("version", ["3.9.1", "4.3.0"])
def test_records_survive_a_stop_and_a_kill_of_kafka(
    start_kafka: StartKafka, tools_39: KafkaTools, version: str
) -> None:
    broker = start_kafka(version)
    tools_39.console_producer(broker.bootstrap, "letters", "a\nb\nc\n")
    broker.stop()
    broker.start()
    broker.kill()
    broker.start()
    read = tools_39.console_consumer(broker.bootstrap, "letters", "--from-beginning", "--max-messages", 3)
    assert read.split() == ["a", "b", "c"]


def test_kafka_runs_in_zookeeper_mode(kafka_39_zookeeper: KafkaBroker, tools_39: KafkaTools) -> None:
    tools_39.topics(kafka_39_zookeeper.bootstrap, "--create", "--topic", "here")
    assert "here" in tools_39.topics(kafka_39_zookeeper.bootstrap, "--list").split()


def test_dump_of_both_versions_finds_kafkas_files_sound(
    start_kafka: StartKafka, tools_39: KafkaTools, tools_43: KafkaTools
) -> None:
    broker = start_kafka("3.9.1")
    tools_39.producer_performance(
        broker.bootstrap, "sound", "--num-records", 2000, "--record-size", 100, "--throughput", -1
    )
    broker.stop()  # while Kafka runs, its preallocated indexes end in zeros, which are no order
    directory = broker.partition_directory("sound")
    assert "lastOffset: 1999" in tools_39.assert_partition_is_sound(directory)
    assert "lastOffset: 1999" in tools_43.assert_partition_is_sound(directory)


def test_dump_complains_about_a_damaged_log(kafka_39: KafkaBroker, tools_39: KafkaTools, tmp_path: Path) -> None:
    tools_39.console_producer(kafka_39.bootstrap, "damaged", "one\ntwo\nthree\n")
    data = bytearray((kafka_39.partition_directory("damaged") / f"{0:020}.log").read_bytes())
    data[-2] ^= 1
    (tmp_path / f"{0:020}.log").write_bytes(data)
    with pytest.raises(AssertionError):
        tools_39.assert_partition_is_sound(tmp_path)


def test_failing_tool_is_an_error_with_its_output(kafka_39: KafkaBroker, tools_39: KafkaTools) -> None:
    with pytest.raises(JudgeError, match="does not exist as expected"):
        tools_39.topics(kafka_39.bootstrap, "--describe", "--topic", "never-made")
