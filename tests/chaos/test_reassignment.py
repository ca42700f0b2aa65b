"""Replicas that move under load while brokers are bounced (core/reassign_partitions_test.py, throttling_test.py)."""

import json
from pathlib import Path

import pytest

from tests.chaos.cluster import KSTORE, Cluster, StartCluster, eventually
from tests.chaos.faults import Bounces, Kill, Stop, happening, leader_of
from tests.chaos.story import Story, full_load
from tests.judge.tools import KafkaTools

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]

TOPIC = "orders"
REASSIGN = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"


def reassignment(file: Path, replicas: list[list[int]]) -> Path:
    partitions = [
        {"topic": TOPIC, "partition": index, "replicas": wanted, "log_dirs": ["any"] * len(wanted)}
        for index, wanted in enumerate(replicas)
    ]
    file.write_text(json.dumps({"version": 1, "partitions": partitions}))
    return file


def wait_until_complete(cluster: Cluster, tools: KafkaTools, file: Path) -> None:
    def told() -> str:
        words = ("--bootstrap-server", cluster.bootstrap, "--reassignment-json-file", file, "--verify")
        return tools.run(REASSIGN, *words, check=False)

    eventually(
        told,
        wanted=lambda text: text.count("is completed") == 3 and "still in progress" not in text,
        timeout=90,
        what="the reassignment is completed",
    )


BEFORE, AFTER = [[1, 2, 3], [2, 3, 1], [3, 1, 2]], [[2, 3, 4], [3, 4, 1], [4, 1, 2]]


def reassign(cluster: Cluster, tools: KafkaTools, file: Path, *words: object) -> None:
    tools.run(REASSIGN, "--bootstrap-server", cluster.bootstrap, "--reassignment-json-file", file, "--execute", *words)


def assert_moved(cluster: Cluster, tools: KafkaTools, file: Path) -> None:
    wait_until_complete(cluster, tools, file)
    assert cluster.replicas(TOPIC) == dict(enumerate(AFTER))
    eventually(lambda: left_behind(cluster), wanted=lambda found: found == [], what="what nobody needs is deleted")


@pytest.mark.parametrize("throttle", [None, 1_000_000], ids=["", "throttled"])
@pytest.mark.parametrize("bounce", ["none", "clean", "hard"])
def test_replicas_move_to_a_new_broker_under_load(
    start_cluster: StartCluster, tools_39: KafkaTools, tmp_path: Path, bounce: str, throttle: int | None
) -> None:
    cluster = start_cluster(kinds=[KSTORE] * 4)
    cluster.create_groups_topic()
    with Story(cluster, TOPIC, assignment=BEFORE, load=full_load) as story:
        story.wait_for_progress(2000)
        file = reassignment(tmp_path / "reassignment.json", AFTER)
        reassign(cluster, tools_39, file, *(["--throttle", throttle] if throttle else []))
        if bounce != "none":
            with happening({"clean": Stop, "hard": Kill}[bounce](leader_of(TOPIC)), cluster):
                story.wait_for_progress()
        assert_moved(cluster, tools_39, file)
        story.wait_for_progress(500)


@pytest.mark.parametrize("hard", [False, True], ids=["clean", "hard"])
def test_replicas_that_begin_above_zero_move_while_three_have_to_be_in_sync(
    start_cluster: StartCluster, tools_39: KafkaTools, tmp_path: Path, hard: bool
) -> None:
    cluster = start_cluster(kinds=[KSTORE] * 4)
    cluster.create_groups_topic()
    configs = {"min.insync.replicas": "3"}
    with Story(cluster, TOPIC, assignment=BEFORE, load=full_load, configs=configs, begin=700) as story:
        story.wait_for_progress(2000)
        file = reassignment(tmp_path / "reassignment.json", AFTER)
        reassign(cluster, tools_39, file)
        with happening(Bounces(leader_of(TOPIC), count=1, hard=hard, between=lambda _: None), cluster):
            story.wait_for_progress(500)
        assert_moved(cluster, tools_39, file)
        story.wait_for_progress(500)


def left_behind(cluster: Cluster) -> list[Path]:
    """The directories of replicas that have moved away."""
    places = [
        each.partition_directory(TOPIC, index)
        for index, replicas in cluster.replicas(TOPIC).items()
        for each in cluster.brokers.values()
        if each.id not in replicas
    ]
    return [place for place in places if place.is_dir()]
