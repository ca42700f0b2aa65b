"""Replicas that move under load while brokers are bounced (core/reassign_partitions_test.py, throttling_test.py)."""

from collections.abc import Container
from pathlib import Path

import pytest

from tests.chaos.cluster import KSTORE, Cluster, StartCluster, eventually
from tests.chaos.faults import Bounces, Kill, Stop, happening, leader_of
from tests.chaos.moves import Move
from tests.chaos.story import Story, full_load
from tests.judge.tools import KafkaTools

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(600)]

TOPIC = "orders"
BEFORE, AFTER = [[1, 2, 3], [2, 3, 1], [3, 1, 2]], [[2, 3, 4], [3, 4, 1], [4, 1, 2]]


@pytest.fixture
def move(start_cluster: StartCluster, tools_39: KafkaTools, tmp_path: Path) -> Move:
    """Of a cluster of four brokers, from BEFORE to AFTER."""
    cluster = start_cluster(kinds=[KSTORE] * 4)
    cluster.create_groups_topic()
    return Move(cluster, tools_39, TOPIC, AFTER, tmp_path / "reassignment.json")


@pytest.mark.parametrize("throttle", [None, 1_000_000], ids=["", "throttled"])
@pytest.mark.parametrize("bounce", ["none", "clean", "hard"])
def test_replicas_move_to_a_new_broker_under_load(move: Move, bounce: str, throttle: int | None) -> None:
    cluster = move.cluster
    with Story(cluster, TOPIC, assignment=BEFORE, load=full_load) as story:
        story.wait_for_progress(2000)
        move.begin(*(["--throttle", throttle] if throttle else []))
        away = set()
        if bounce != "none":
            fault = {"clean": Stop, "hard": Kill}[bounce](leader_of(TOPIC))
            with happening(fault, cluster):
                away.add(fault.struck)
                story.wait_for_progress()
        move.wait_until_complete()
        wait_until_tidy(cluster, away)
        story.wait_for_progress(500)


@pytest.mark.parametrize("hard", [False, True], ids=["clean", "hard"])
def test_replicas_that_begin_above_zero_move_while_three_have_to_be_in_sync(move: Move, hard: bool) -> None:
    cluster = move.cluster
    configs = {"min.insync.replicas": "3"}
    with Story(cluster, TOPIC, assignment=BEFORE, load=full_load, configs=configs, begin=700) as story:
        story.wait_for_progress(2000)
        move.begin()
        fault = Bounces(leader_of(TOPIC), count=1, hard=hard, between=lambda _: None)
        with happening(fault, cluster):
            story.wait_for_progress(500)
        move.wait_until_complete()
        wait_until_tidy(cluster, {fault.struck})
        story.wait_for_progress(500)


def wait_until_tidy(cluster: Cluster, away: Container[int]) -> None:
    eventually(
        lambda: left_behind(cluster, away), wanted=lambda found: found == [], what="what nobody needs is deleted"
    )


def left_behind(cluster: Cluster, away: Container[int]) -> list[Path]:
    """The directories of replicas that have moved away; but for brokers that were away then, who may keep what they
    have: nobody tells them later, as with Kafka on ZooKeeper."""
    places = [
        each.partition_directory(TOPIC, index)
        for index, replicas in cluster.replicas(TOPIC).items()
        for each in cluster.brokers.values()
        if each.id not in replicas and each.id not in away
    ]
    return [place for place in places if place.is_dir()]
