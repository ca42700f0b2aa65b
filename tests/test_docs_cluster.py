"""docs/cluster.md: the walk on one machine is walked, keys are Kafka's, alerts are of metrics that there are."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kstore.server.config import ServerConfig
from kstore.server.config_keys import broker_key, reason_for
from kstore.server.metrics import collect
from tests.judge.java import free_port
from tests.judge.kafka import ZooKeeper
from tests.test_readme import commands

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "cluster.md").read_text()
SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
SECTIONS = dict(SECTION.findall(TEXT))
WALK = "On one machine, to see it"
# What differs from run to run: the cluster's id.
CLUSTER_ID = re.compile(r"cluster [\w-]{22}:")
CONTROLLER = re.compile(r"broker \d controls")


def blocks(language: str, section: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", SECTIONS[section], re.MULTILINE | re.DOTALL)


@contextlib.contextmanager
def ended_in_the_end(directory: Path) -> Iterator[None]:
    """Whatever a broken walk leaves running is what it noted the ids of."""
    try:
        yield
    finally:
        for file in directory.glob("*.pid"):
            with contextlib.suppress(ValueError, ProcessLookupError):
                os.kill(int(file.read_text()), signal.SIGKILL)


@pytest.mark.kafka
def test_the_walk_on_one_machine_shows_what_it_says(tmp_path: Path) -> None:
    with ZooKeeper(tmp_path / "zookeeper") as zookeeper, ended_in_the_end(tmp_path):
        ports = {f":{port}": f":{free_port()}" for port in (9092, 9093, 9094)} | {":2181": f":{zookeeper.port}"}

        def here(text: str) -> str:
            return re.sub(r":(?:909[234]|2181)\b", lambda found: ports[found[0]], text)

        (file,) = blocks("properties", WALK)
        (tmp_path / "node1.properties").write_text(here(file))
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        }
        examples = [example for block in blocks("console", WALK) for example in commands(block)]
        assert len(examples) > 15
        for command, shown in examples:
            if command.startswith("export "):
                name, _, value = here(command.removeprefix("export ")).partition("=")
                environment[name] = value
                continue
            ran = subprocess.run(
                ["bash", "-c", here(command)],
                cwd=tmp_path,
                env=environment,
                timeout=90,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            assert lines_of(ran.stdout) == lines_of(here(shown)), (command, logs(tmp_path))


def lines_of(text: str) -> list[list[str]]:
    """Words by line: columns are as wide as what stands in them, and whoever was the first controls."""
    text = CONTROLLER.sub("somebody controls", CLUSTER_ID.sub("cluster ID:", text))
    return [["-" if word == "yes" else word for word in line.split()] for line in text.splitlines()]


def logs(directory: Path) -> str:
    return "\n".join(file.read_text()[-3000:] for file in sorted(directory.glob("node*.log")))


def test_the_files_of_nodes_are_understood(tmp_path: Path) -> None:
    for section in (WALK, "Three machines"):
        for text in blocks("properties", section):
            file = tmp_path / "server.properties"
            file.write_text(text)
            config = ServerConfig.from_file(str(file))
            assert config.zookeeper_connect
            assert config.notes == []


def test_every_option_of_the_table_is_kafkas_and_has_an_effect() -> None:
    rows = [line.split("|") for line in SECTIONS["What each option means"].splitlines() if line.startswith("| `")]
    keys = [key for row in rows for key in re.findall(r"`([a-z.]+)`", row[1])]
    assert len(keys) > 15
    for name in keys:
        key = broker_key(name)
        assert key is not None, name
        # Keys of clusters say so to who has none.
        assert reason_for(key) is None or key.effect == "cluster", name


def test_alerts_are_of_metrics_that_there_are(broker) -> None:
    told = {
        f"{metric.name}_total" if metric.type == "counter" else metric.name
        for metric in broker.call(lambda app: collect(app.context, app.listeners))
    }
    used = set(re.findall(r"kafka_\w+", SECTIONS["What to watch"]))
    assert len(used) >= 8
    assert used <= told


def anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in titles}


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        name, _, heading = target.partition("#")
        if name.startswith("http"):
            continue
        found = TEXT if not name else (ROOT / "docs" / name).read_text()
        assert not heading or heading in anchors(found), target
