"""What the kernel says about processes and the machine: CPU time, memory, stolen time, and a description."""

import mmap
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

TICKS = os.sysconf("SC_CLK_TCK")
# Where less than this much of one CPU was busy for a second, nobody is at work but brokers that idle.
QUIET_CPUS = 0.25
QUIET_PATIENCE_S = 60.0
# Bytes that are not touched, for whoever needs memory meanwhile.
LEFT_FREE = 1 << 30


class ProcessTimes(NamedTuple):
    """Of all threads since the start, in seconds."""

    user: float
    system: float

    @property
    def total(self) -> float:
        return self.user + self.system


def process_times(pid: int) -> ProcessTimes:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return ProcessTimes(int(fields[11]) / TICKS, int(fields[12]) / TICKS)


def memory_mb(pid: int, field: str = "VmRSS") -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError(f"no {field} of {pid}")


def proportional_mb(pid: int) -> float:
    """Resident memory with shared pages counted by share (PSS)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError(f"no Pss of {pid}")


def pin(pid: int, cpu: int) -> None:
    """Keeps a process that already runs, with all its threads and those to come, on one CPU."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {cpu})


class MachineTimes(NamedTuple):
    """Since boot, in seconds of one CPU."""

    busy: float
    stolen: float
    all: float


def machine_times() -> MachineTimes:
    values = [int(word) / TICKS for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    idle = values[3] + values[4]
    return MachineTimes(sum(values[:8]) - idle - values[7], values[7], sum(values[:8]))


def wait_until_quiet() -> bool:
    """Returns True when the machine is quiet, or False after a minute in which it was not."""
    deadline = time.monotonic() + QUIET_PATIENCE_S
    while time.monotonic() < deadline:
        before, started = machine_times(), time.monotonic()
        time.sleep(1)
        after = machine_times()
        if after.busy - before.busy < QUIET_CPUS * (time.monotonic() - started):
            return True
    return False


def touch_free_memory() -> None:
    """Has the host of a virtual machine give it the memory that is free, which costs a first write to it dearly."""
    free = 1024 * int(Path("/proc/meminfo").read_text().split("MemFree:")[1].split()[0])
    if free > LEFT_FREE:
        mmap.mmap(-1, free - LEFT_FREE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE).close()


def describe() -> dict[str, str]:
    cpu = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            cpu = line.split(":", 1)[1].strip()
            break
    memory = int(Path("/proc/meminfo").read_text().split("MemTotal:")[1].split()[0]) / 1e6
    java = subprocess.run(["java", "-version"], capture_output=True, text=True).stderr.splitlines()
    return {
        "CPU": f"{os.cpu_count()} x {cpu}",
        "memory": f"{memory:.1f} GB",
        "kernel": platform.release(),
        "system": system_name(),
        "file system": file_system(),
        "Java": java[0] if java else "unknown",
        "Python": platform.python_version(),
    }


def system_name() -> str:
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.split("=", 1)[1].strip('"')
    return platform.system()


def file_system() -> str:
    done = subprocess.run(["stat", "-f", "-c", "%T", "."], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"
