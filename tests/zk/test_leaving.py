"""A broker that stops, and one whose session ended while it slept."""

import asyncio
import json
import signal
from pathlib import Path

import pytest

from kstore.server.app import App
from kstore.server.config import ServerConfig
from tests.judge.kafka import ZooKeeper
from tests.zk.members import QUICK, create_topic, eventually, kstore_member, wait_for_isr, wait_for_leader
from tests.zk.wishes import json_at, znodes

pytestmark = pytest.mark.kafka


def test_the_cluster_does_not_wait_for_the_disks_of_a_broker_that_stops(
    zookeeper_of_its_own: ZooKeeper, tmp_path: Path
) -> None:
    options = QUICK | {"broker.id": "1", "zookeeper.connect": zookeeper_of_its_own.connect}
    config = ServerConfig.from_arguments(
        str(tmp_path / "data"), 0, [f"{key}={value}" for key, value in options.items()]
    )
    there: list[object] = []

    async def story() -> None:
        app = App(config)
        await app.start()
        close = app.logs.close

        def closing(now_ms: int) -> None:
            with znodes(zookeeper_of_its_own) as zk:
                there.extend(path for path in ("/controller", "/brokers/ids/1") if zk.exists(path))
            close(now_ms)

        app.logs.close = closing  # type: ignore[method-assign]
        with znodes(zookeeper_of_its_own) as zk:
            assert json_at(zk, "/controller")["brokerid"] == 1
        await app.stop()

    asyncio.run(asyncio.wait_for(story(), 60))
    assert there == []


@pytest.mark.slow
def test_a_broker_whose_id_is_taken_for_a_while_registers_in_the_end(
    zookeeper_of_its_own: ZooKeeper, tmp_path: Path
) -> None:
    one, two = (kstore_member(tmp_path, number, zookeeper_of_its_own) for number in (1, 2))
    with one, two, znodes(zookeeper_of_its_own) as zk:
        create_topic([one, two], "orders", [[1, 2]])
        registration = json_at(zk, "/brokers/ids/1")
        one.signal(signal.SIGSTOP)
        eventually(lambda: zk.exists("/brokers/ids/1"), wanted=lambda found: found is None)
        zk.create("/brokers/ids/1", json.dumps(registration).encode(), ephemeral=True)
        one.signal(signal.SIGCONT)
        # Longer than a start waits.
        eventually(lambda: "this broker is not registered" in one.log_text(), wanted=bool)
        zk.delete("/brokers/ids/1")
        eventually(lambda: zk.exists("/brokers/ids/1"), wanted=lambda found: found is not None)
        wait_for_isr([two], "orders", {1, 2})
        two.kill()
        wait_for_leader([one], "orders", 1)


def test_a_broker_stops_in_order_while_zookeeper_is_away(zookeeper_of_its_own: ZooKeeper, tmp_path: Path) -> None:
    one, two = (kstore_member(tmp_path, number, zookeeper_of_its_own) for number in (1, 2))
    with one, two:
        create_topic([one, two], "orders", [[1, 2], [2, 1]])
        zookeeper_of_its_own.stop()
        for broker in (one, two):
            eventually(
                lambda broker=broker: "the session with ZooKeeper is suspended" in broker.log_text(), wanted=bool
            )
            broker.stop(timeout=20)
            assert (broker.log_directory / ".kafka_cleanshutdown").exists()
