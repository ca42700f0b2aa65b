"""Runs the load generator (load.c) against a broker and says what broker, client and machine spent on it."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.side_by_side.brokers import Broker
from benchmarks.side_by_side.machine import machine_times, process_times
from tests.judge import home

PROGRAM = home.REPOSITORY / "build" / "load"
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror"]


class Run(NamedTuple):
    """One load on one broker. CPU in seconds; a gigabyte is 10^9 bytes of records."""

    records: int
    gigabytes: float
    seconds: float
    broker_user: float
    broker_system: float
    client_cpu: float
    machine_busy: float
    stolen_part: float
    latency_us: dict[str, int]
    sum: str

    @property
    def broker_cpu(self) -> float:
        return self.broker_user + self.broker_system

    @property
    def cpu_per_gb(self) -> float:
        return self.broker_cpu / self.gigabytes

    @property
    def cpu_us_per_record(self) -> float:
        return self.broker_cpu / self.records * 1e6


def build_program() -> None:
    source = Path(__file__).with_name("load.c")
    PROGRAM.parent.mkdir(exist_ok=True)
    if PROGRAM.exists() and PROGRAM.stat().st_mtime > source.stat().st_mtime:
        return
    done = subprocess.run(["cc", *FLAGS, "-o", str(PROGRAM), str(source), "-lrdkafka"])
    if done.returncode:
        sys.exit("bench-kafka: librdkafka's headers are missing: apt-get install librdkafka-dev")


def load(mode: str, broker: Broker | None, **options: object) -> Run:
    """`options` are load.c's and librdkafka's; a dot in a name is written as two underscores."""
    words = [f"{name.replace('__', '.')}={value}" for name, value in options.items()]
    if broker is not None:
        words.append(f"bootstrap.servers={broker.bootstrap}")
    before_machine = machine_times()
    before = process_times(broker.pid) if broker is not None else None
    done = subprocess.run([str(PROGRAM), mode, *words], capture_output=True, text=True, timeout=1200)
    after = process_times(broker.pid) if broker is not None else None
    after_machine = machine_times()
    if done.returncode:
        raise RuntimeError(f"{mode} {words}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    spent_all = after_machine.all - before_machine.all
    return Run(
        records=found["records"],
        gigabytes=found["bytes"] / 1e9,
        seconds=found["seconds"],
        broker_user=after.user - before.user if before and after else 0.0,
        broker_system=after.system - before.system if before and after else 0.0,
        client_cpu=found["client_cpu_seconds"],
        machine_busy=after_machine.busy - before_machine.busy,
        stolen_part=(after_machine.stolen - before_machine.stolen) / spent_all if spent_all else 0.0,
        latency_us=found.get("latency_us", {}),
        sum=found["sum"],
    )


def settle_disk(seconds: float = 60) -> None:
    """Waits until little is dirty, so that a run does not pay for the write-back of the one before."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        lines = Path("/proc/meminfo").read_text()
        if int(lines.split("Dirty:")[1].split()[0]) < 50_000:
            return
        time.sleep(0.2)
