"""The lock of a log directory: who has it, in this process, in another one and after a fork."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kstore.errors import DirectoryInUseError
from kstore.log.dir_lock import DirLock, is_locked

HOLD = """
import sys
from kstore.log.dir_lock import DirLock
lock = DirLock(sys.argv[1])
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_directory_is_locked_once_and_again_when_it_is_released(tmp_path: Path) -> None:
    lock = DirLock(str(tmp_path))
    with pytest.raises(DirectoryInUseError, match="this process uses this directory") as caught:
        DirLock(str(tmp_path))
    assert caught.value.pid == os.getpid()
    lock.release()
    lock.release()
    DirLock(str(tmp_path)).release()


def test_the_process_that_has_the_lock_is_named(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        command = Path(f"/proc/{holder.pid}/comm").read_text().strip()
        with pytest.raises(DirectoryInUseError) as caught:
            DirLock(str(tmp_path))
        assert str(caught.value) == (
            f"failed to acquire the lock {tmp_path}/.lock: process {holder.pid} ({command}) uses this directory"
        )
        assert caught.value.pid == holder.pid
        assert is_locked(str(tmp_path))
        holder.communicate()
    assert not is_locked(str(tmp_path))


def test_asking_whether_a_directory_is_locked_does_not_give_our_own_lock_up(tmp_path: Path) -> None:
    assert not is_locked(str(tmp_path))
    lock = DirLock(str(tmp_path))
    assert is_locked(str(tmp_path))
    ask = "import sys; from kstore.log.dir_lock import is_locked; print(is_locked(sys.argv[1]))"
    other = subprocess.run([sys.executable, "-c", ask, tmp_path], capture_output=True, text=True, check=True)
    assert other.stdout == "True\n"
    lock.release()


def test_a_forked_child_does_not_have_the_parents_lock_and_cannot_give_it_up(tmp_path: Path) -> None:
    lock = DirLock(str(tmp_path))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        told = b"nothing"
        try:
            DirLock(str(tmp_path))
        except DirectoryInUseError as error:
            told = b"%d" % (error.pid or 0)
        finally:
            lock.release()
            os.write(writing, told)
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert int(pipe.read()) == os.getpid()
    os.waitpid(child, 0)
    with pytest.raises(DirectoryInUseError):
        DirLock(str(tmp_path))
    lock.release()
