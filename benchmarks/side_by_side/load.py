"""Runs the load generator (load.c) against a broker and says what broker, client and machine spent on it."""

import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

from benchmarks.side_by_side.brokers import Broker
from benchmarks.side_by_side.machine import ProcessTimes, machine_times, process_times
from tests.judge import home
from tests.judge.java import java_command

PROGRAM = home.REPOSITORY / "build" / "load"
BROKER_CPU, CLIENT_CPU = 0, 1  # with --pinned
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


class Placement:
    """Both CPUs shared by everybody, or brokers on one and the client on the other."""

    is_pinned = False
    client: ClassVar[list[str]] = []

    @classmethod
    def pin_clients(cls) -> None:
        cls.is_pinned = True
        cls.client = ["taskset", "-c", str(CLIENT_CPU)]


def build_program() -> None:
    source = Path(__file__).with_name("load.c")
    PROGRAM.parent.mkdir(exist_ok=True)
    if PROGRAM.exists() and PROGRAM.stat().st_mtime > source.stat().st_mtime:
        return
    done = subprocess.run(["cc", *FLAGS, "-o", str(PROGRAM), str(source), "-lrdkafka"])
    if done.returncode:
        sys.exit("bench-kafka: librdkafka's headers are missing: apt-get install librdkafka-dev")


class Target(Protocol):
    """Brokers under load: one, or several that are measured together by their `pids`."""

    @property
    def bootstrap(self) -> str: ...


def times_of(target: Target) -> ProcessTimes:
    """Of all its processes."""
    pids = getattr(target, "pids", None) or (target.pid,)  # type: ignore[attr-defined]
    times = [process_times(pid) for pid in pids]
    return ProcessTimes(sum(each.user for each in times), sum(each.system for each in times))


def load(mode: str, broker: Target | None, **options: object) -> Run:
    """`options` are load.c's and librdkafka's; a dot in a name is written as two underscores."""
    words = [f"{name.replace('__', '.')}={value}" for name, value in options.items()]
    if broker is not None:
        words.append(f"bootstrap.servers={broker.bootstrap}")
    before_machine = machine_times()
    before = times_of(broker) if broker is not None else None
    command = [*Placement.client, str(PROGRAM), mode, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    after = times_of(broker) if broker is not None else None
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


def java_producer(broker: Broker, *, topic: str, records: int, size: int, settings: Sequence[str]) -> Run:
    """The same with Kafka's own ProducerPerformance, in a fresh JVM each time, as its users have it."""
    main = "org.apache.kafka.tools.ProducerPerformance"
    words = ["--topic", topic, "--num-records", str(records), "--record-size", str(size), "--throughput", "-1"]
    words += ["--producer-props", f"bootstrap.servers={broker.bootstrap}", *settings]
    command = [*Placement.client, *java_command("3.9.1", heap="512m", flags=()), main, *words]
    before_machine, before, children = machine_times(), process_times(broker.pid), child_cpu()
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    after_machine, after = machine_times(), process_times(broker.pid)
    found = re.search(
        rf"{records} records sent, ([\d.]+) records/sec.* (\d+) ms 50th, .* (\d+) ms 99th, (\d+) ms 99.9th", done.stdout
    )
    if done.returncode or found is None:
        raise RuntimeError(f"{words}: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    spent_all = after_machine.all - before_machine.all
    return Run(
        records=records,
        gigabytes=records * size / 1e9,
        seconds=records / float(found[1]),
        broker_user=after.user - before.user,
        broker_system=after.system - before.system,
        client_cpu=child_cpu() - children,
        machine_busy=after_machine.busy - before_machine.busy,
        stolen_part=(after_machine.stolen - before_machine.stolen) / spent_all,
        latency_us={name: int(found[i]) * 1000 for i, name in enumerate(("p50", "p99", "p999"), start=2)},
        sum="",
    )


def child_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def settle_disk(seconds: float = 60) -> None:
    """Waits until little is dirty, so that a run does not pay for the write-back of the one before."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        lines = Path("/proc/meminfo").read_text()
        if int(lines.split("Dirty:")[1].split()[0]) < 50_000:
            return
        time.sleep(0.2)
