"""A process whose N-th system call on its store fails, for every N: nothing acknowledged is lost, nothing crashes.

The calls fail below Python and C, in a library that is loaded before the C library (failing_calls.c): open, write,
fsync, rename, read, truncate and unlink, with each error that they may give, or short. Then a process that nothing
fails opens what is left. Some hundred runs in `make test`, all of them in `make fail-calls` (KSTORE_FAIL_CALLS=all).
"""

import errno
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
EXHAUSTIVE = os.environ.get("KSTORE_FAIL_CALLS") == "all"
# In all; each call and error gets its share.
SAMPLED = 120

SHORT = 0
OPEN, WRITE, SYNC, RENAME, READ, TRUNCATE, UNLINK = (1 << bit for bit in range(7))
FAILURES = {
    "open": (OPEN, (errno.EIO, errno.ENOSPC, errno.EMFILE, errno.EINTR)),
    "write": (WRITE, (errno.EIO, errno.ENOSPC, errno.EINTR, SHORT)),
    "fsync": (SYNC, (errno.EIO, errno.ENOSPC, errno.EINTR)),
    "rename": (RENAME, (errno.EIO, errno.ENOSPC)),
    "read": (READ, (errno.EIO, errno.EINTR, SHORT)),
    "truncate": (TRUNCATE, (errno.EIO, errno.EINTR)),
    "unlink": (UNLINK, (errno.EIO,)),
}
CASES = [(name, error) for name, (_, errors) in FAILURES.items() for error in errors]


class Victim:
    """The process that runs the script, again and again."""

    def __init__(self, directory: Path, library: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.embedded.system_calls_victim", str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=HERE.parents[1],
            env={**os.environ, "LD_PRELOAD": str(library)},
        )

    def run(self, kinds: int, nth: int, error: int) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{kinds} {nth} {error}\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        with suppress(BrokenPipeError):
            self._process.communicate()


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    library = tmp_path_factory.mktemp("library") / "failing_calls.so"
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC"]
    subprocess.run(["cc", *flags, str(HERE / "failing_calls.c"), "-o", str(library), "-ldl"], check=True)
    fast = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="kstore-calls-", dir=fast) as directory:
        running = Victim(Path(directory), library)
        yield running
        running.close()


def broken(name: str, error: int, told: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    """What does not hold after a run."""
    if "died" in told:
        yield f"the process ended with status {told['died']}"
        return
    yield from told["unforeseen"]
    yield from told["wrong"]
    if "error" in found:
        yield f"what is left cannot be opened: {found['error']}"
        return
    if missing := set(told["created"]) - set(found["topics"]):
        yield f"topics are lost: {missing}"
    maybe = set(told["maybe"])
    acknowledged = {int(offset): value for offset, value in told["acknowledged"].items()}
    there = {offset: value for offset, _, value in found.get("plain", ())}
    for offset, value in acknowledged.items():
        if there.get(offset) != value and offset not in maybe:
            yield f"offset {offset} was acknowledged, and is {there.get(offset, 'not there')!r}"
    if refused := there.keys() - acknowledged.keys() - maybe:
        yield f"offsets {sorted(refused)} are there, and nobody was told so"
    last = {key: value for _, key, value in found.get("keyed", ())}
    for key, (value,) in told["keys"].items():
        if last.get(key) != value:
            yield f"key {key} has {last.get(key)!r}, not {value!r}"
    # What is replaced whole is written anew when there is room again, and its directory with it.
    is_anew = error == errno.ENOSPC and not told["hit"].endswith((".log", "index", ".snapshot"))
    if name == "fsync" and error != errno.EINTR and told["syncs_after_hit"] and not is_anew:
        yield "what could not be synced was synced once more"
    # An fsync that is interrupted takes the directory offline like one that fails: what it did is not known.
    if error in (errno.EINTR, SHORT) and told["refused"] and name != "fsync":
        yield f"refused because of nothing: {told['refused'][:2]}"


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("name", "error"), CASES, ids=[f"{n}-{errno.errorcode.get(e, 'short')}" for n, e in CASES])
def test_whatever_call_fails_nothing_acknowledged_is_lost(victim: Victim, name: str, error: int) -> None:
    kinds = FAILURES[name][0]
    whole = victim.run(kinds, 0, error)
    assert list(broken(name, error, **whole)) == []
    assert whole["told"]["refused"] == []
    count = whole["told"]["seen"]
    assert count >= 5
    chosen = list(range(1, count + 1))
    if not EXHAUSTIVE:
        chosen = sorted(random.Random(f"{name} {error}").sample(chosen, min(count, SAMPLED // len(CASES))))
    wrong = []
    for nth in chosen:
        done = victim.run(kinds, nth, error)
        wrong += [f"{nth} of {count}, {done['told'].get('hit')}: {what}" for what in broken(name, error, **done)]
    assert not wrong, "\n".join(wrong[:40])
