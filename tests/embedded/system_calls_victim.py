"""The process whose system calls fail: it works on a store as `life` says, once for each call that is to fail.

    LD_PRELOAD=failing_calls.so python -m tests.embedded.system_calls_victim DIRECTORY

Each line on its standard input is one run, `kinds nth error` (see failing_calls.c), answered with a line of JSON. A run
is a forked child over a directory of its own; what it leaves is opened and read by another, which nothing fails.
"""

import contextlib
import ctypes
import gc
import json
import os
import shutil
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kstore
from kstore.errors import KstoreError

calls = ctypes.CDLL(None)
calls.failing_calls_arm.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_long, ctypes.c_int]
calls.failing_calls_arm.restype = None
calls.failing_calls_seen.restype = ctypes.c_long
calls.failing_calls_hit.restype = ctypes.c_char_p
calls.failing_calls_syncs_after_hit.restype = ctypes.c_long

LOG_OPTIONS = {"segment_bytes": 1000, "index_interval_bytes": 100, "file_delete_delay_ms": 0}


class Told:
    """What the store has said: `acknowledged` is offset -> value of the one topic, `keys` what was compacted.

    `maybe` are offsets of which it said that something had gone wrong while they were deleted or cut off. `unforeseen`
    are exceptions of kinds that no docstring names.
    """

    def __init__(self) -> None:
        self.acknowledged: dict[int, str] = {}
        self.keys: dict[str, list[str]] = {}
        self.maybe: set[int] = set()
        self.flushed = 0
        self.created: list[str] = []
        self.refused: list[str] = []
        self.unforeseen: list[str] = []
        self.wrong: list[str] = []
        self.syncs_after_hit = 0

    def attempt(self, do: Callable[[], Any], *, may_raise: tuple[type[BaseException], ...] = ()) -> Any:
        """What `do` gives, None when it is refused."""
        try:
            return do()
        except (KstoreError, *may_raise) as error:
            self.refused.append(f"{type(error).__name__}: {error}")
        except BaseException:
            self.unforeseen.append(traceback.format_exc())
        return None


def life(directory: Path, told: Told) -> None:
    """A store from its making to its end, and once more: append, flush, delete, cut, compact, checkpoint, read."""
    clock = kstore.ManualClock()
    hit = b""
    for number in range(2):
        store = told.attempt(
            lambda: kstore.LogStore.open(directory, clock=clock, background=False), may_raise=(OSError,)
        )
        if store is not None:
            work(store, clock, told, number)
            told.attempt(store.close, may_raise=(OSError,))
        if calls.failing_calls_hit() and not hit:
            # A directory is offline for as long as its owner is there.
            told.syncs_after_hit = calls.failing_calls_syncs_after_hit()
        hit = calls.failing_calls_hit()


def work(store: kstore.LogStore, clock: kstore.ManualClock, told: Told, number: int) -> None:
    for topic, options in (("plain", {}), ("keyed", {"cleanup_policy": "compact", "min_cleanable_dirty_ratio": 0.01})):
        if topic not in told.created:
            done = told.attempt(lambda t=topic, o=options: store.create(t, exist_ok=True, **LOG_OPTIONS, **o) or True)
            if done:
                told.created.append(topic)
    plain = told.attempt(lambda: store.log("plain"))
    keyed = told.attempt(lambda: store.log("keyed"))
    if plain is not None:
        write(plain, told, number, 30)
        flush(plain, told)
        cut(plain, told)
        write(plain, told, number + 10, 6)
        delete(plain, told)
        read(plain, told)
    if keyed is not None:
        for count in range(40):
            key, value = f"k{count % 5}", f"{number}-{count}" + "v" * 60
            # One that was refused is not there, so the one before counts still.
            if told.attempt(lambda k=key, v=value: keyed.append(v.encode(), key=k.encode())) is not None:
                told.keys[key] = [value]
        told.attempt(keyed.flush)
    for _ in range(3):
        clock.advance(hours=1)
        told.attempt(store.tend)
    if plain is not None:
        read(plain, told)
        write(plain, told, number + 20, 3)


def write(log: kstore.Log, told: Told, number: int, count: int) -> None:
    for index in range(count):
        value = f"{number}-{index}-" + "x" * 50
        offset = told.attempt(lambda v=value: log.append(v.encode()))
        if offset is not None:
            if offset in told.acknowledged and offset not in told.maybe:
                told.wrong.append(f"offset {offset} was given twice")
            told.acknowledged[offset] = value
            told.maybe.discard(offset)


def flush(log: kstore.Log, told: Told) -> None:
    end = max(told.acknowledged, default=-1) + 1
    if told.attempt(lambda: log.flush() or True):
        told.flushed = max(told.flushed, end)


def cut(log: kstore.Log, told: Told) -> None:
    offsets = sorted(told.acknowledged)
    if len(offsets) < 8:
        return
    wanted = offsets[-5]
    end = told.attempt(lambda: log.truncate_to(wanted))
    behind = [offset for offset in offsets if offset >= wanted]
    if end is None:
        told.maybe.update(behind)
    for offset in behind:
        if end is not None or offset not in told.maybe:
            del told.acknowledged[offset]
    if end is None:
        # Whether they are there is not known, and what comes next would be told apart by nobody.
        told.attempt(lambda: told.maybe.update(range(wanted, log.end_offset + 100)))
    else:
        told.flushed = min(told.flushed, end)


def delete(log: kstore.Log, told: Told) -> None:
    offsets = sorted(told.acknowledged)
    if len(offsets) < 15:
        return
    wanted = offsets[12]
    start = told.attempt(lambda: log.delete_before(wanted))
    before = [offset for offset in offsets if offset < wanted]
    told.maybe.update(before)
    if start is not None:
        for offset in before:
            del told.acknowledged[offset]


def read(log: kstore.Log, told: Told) -> None:
    """Whatever is read is what was acknowledged."""

    def check() -> None:
        for record in log.read():
            value = (record.value or b"").decode()
            if record.offset not in told.maybe and told.acknowledged.get(record.offset) != value:
                told.wrong.append(f"offset {record.offset} read as {value[:20]}")

    # What is read of a file when it is looked at is refused by the system itself.
    told.attempt(check, may_raise=(OSError,))


def look(directory: Path) -> dict[str, Any]:
    """What the next process finds."""
    try:
        with kstore.LogStore.open(directory, background=False) as store:
            found: dict[str, Any] = {"topics": sorted(store.topics)}
            for topic in store.topics:
                log = store.log(topic)
                found[topic] = [
                    (record.offset, (record.key or b"").decode(), (record.value or b"").decode())
                    for record in log.read()
                ]
                log.append(b"goes on", key=b"last")
            return found
    except BaseException:
        return {"error": traceback.format_exc()}


def in_a_child(do: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `do` gives in a forked process, or the signal that ended it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            with os.fdopen(writer, "w") as pipe:
                json.dump(do(), pipe)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    return json.loads(text) if text else {"died": status}


def run(directory: Path, kinds: int, nth: int, error: int) -> dict[str, Any]:
    shutil.rmtree(directory, ignore_errors=True)

    def fail() -> dict[str, Any]:
        told = Told()
        calls.failing_calls_arm(str(directory).encode(), kinds, nth, error)
        with warnings.catch_warnings(), contextlib.suppress(KeyboardInterrupt):
            warnings.simplefilter("ignore", ResourceWarning)
            life(directory, told)
            gc.collect()
        seen, hit = calls.failing_calls_seen(), calls.failing_calls_hit().decode()
        return {**vars(told), "maybe": sorted(told.maybe), "seen": seen, "hit": hit}

    told = in_a_child(fail)
    return {"told": told, "found": in_a_child(lambda: look(directory))}


def main(directory: str) -> None:
    import logging

    logging.disable(logging.CRITICAL)
    for line in sys.stdin:
        kinds, nth, error = map(int, line.split())
        print(json.dumps(run(Path(directory) / "store", kinds, nth, error)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
