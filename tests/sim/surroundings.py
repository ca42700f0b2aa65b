"""What a simulation has in place of the system: chance, time, threads, ZooKeeper, sockets, disks."""

import gc
import logging
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import kstore.cluster.zk.session
import kstore.log.directory
import kstore.server.app
from kstore.log.directory import DiskDirectory
from kstore.log.log_state import LogState
from kstore.log.log_writer import LogWriter
from kstore.log.partition_log import PartitionLog
from kstore.replica.partition import Partition
from tests.sim import disk, kazoo_client, listeners
from tests.sim.broker import Complaints
from tests.sim.loop import SimLoop

TMPFS = "/dev/shm"


def room() -> str:
    """Where a process keeps the directories of its simulations."""
    base = TMPFS if os.path.isdir(TMPFS) else os.environ.get("TMPDIR", "/tmp")
    return os.path.join(base, f"kstore-sim-{os.getuid()}-{os.getpid()}")


def fsync_no_directory(_directory: str) -> None:
    """Nothing is synced in truth."""


def touching(loop: SimLoop, method: Callable[..., Any], log_of: Callable[[Any], Any]) -> Callable[..., Any]:
    """The method, and a note that its log is to be looked at."""

    def touched(self: Any, *arguments: Any, **options: Any) -> Any:
        loop.touched[log_of(self)] = None
        return method(self, *arguments, **options)

    return touched


@contextmanager
def simulated(
    loop: SimLoop,
    seed: int,
    *,
    wiring: kazoo_client.Wiring,
    disks: disk.Disks,
    complain: Callable[[str, BaseException], None],
    shows_log: bool = False,
) -> Iterator[None]:
    chance = random.Random(f"system {seed}")
    logger = logging.getLogger("kstore")
    levels = logger.level, logger.propagate
    complaints = Complaints(complain)
    was_collecting = gc.isenabled()
    with ExitStack() as stack:
        enter = stack.enter_context
        enter(patch.object(os, "urandom", chance.randbytes))
        enter(patch.object(os, "cpu_count", lambda: 1))
        enter(patch.object(os, "fsync", lambda _descriptor: None))
        enter(patch.object(time, "monotonic", loop.time))
        enter(patch.object(time, "monotonic_ns", lambda: int(loop.now * 1e9)))
        enter(patch.object(kstore.cluster.zk.session, "KazooClient", kazoo_client.SimKazooClient))
        enter(patch.object(kstore.server.app, "Listeners", listeners.SimListeners))
        enter(patch.object(kstore.log.directory, "FileRecords", disk.SimRecords))
        for name, method in disk.patched_methods().items():
            enter(patch.object(DiskDirectory, name, method))

        def itself(log: Any) -> Any:
            return log

        for owner, name, log_of in (
            (LogState, "_set_high_watermark", itself),
            (LogWriter, "append_as_leader", itself),
            (LogWriter, "append_as_follower", itself),
            (PartitionLog, "truncate_to", itself),
            (PartitionLog, "truncate_fully_and_start_at", itself),
            (LogState, "maybe_increment_log_start_offset", itself),
            (Partition, "become_leader", lambda partition: partition.log),
            (Partition, "become_follower", lambda partition: partition.log),
            (Partition, "isr_agreed", lambda partition: partition.log),
        ):
            enter(patch.object(owner, name, touching(loop, owner.__dict__[name], log_of)))
        enter(patch.object(kazoo_client, "wiring", wiring))
        enter(patch.object(listeners, "network", wiring.network))
        enter(patch.object(disk, "disks", disks))
        state = random.getstate()
        random.seed(f"library {seed}")
        stack.callback(random.setstate, state)
        logger.addHandler(complaints)
        stack.callback(logger.removeHandler, complaints)
        if not shows_log:
            logger.setLevel(logging.ERROR)
            logger.propagate = False
            stack.callback(setattr, logger, "propagate", levels[1])
            stack.callback(logger.setLevel, levels[0])
        # Rubbish is collected between two simulations: never in the middle of one.
        gc.disable()
        if was_collecting:
            stack.callback(gc.enable)
        yield
