"""In which unbroken life of its records a broker is: as long as one incarnation lasts, nothing it has written is lost.

An incarnation goes on over orderly stops and over crashes of the process, whose writes are in the page cache. A crash
of the machine ends it, and so do other log directories than before, and a disk that has failed: then a new one begins,
and a controller knows that what this broker was in sync with may be gone (rule 26; KIP-966 has unclean shutdowns). So
does a recovery that has to cut off whole batches behind damage.
Each log directory says it in `.kstore_incarnation`, which Kafka does not look at:

    version=1
    incarnation=...         a UUID, as a topic's id is written
    boot.id=...             of the machine's start in which the directory was last used
    directories=...         how many there were
"""

import logging
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress

from kstore.log.checkpoint_file import read_file, replace_file
from kstore.log.load_dirs import CLEAN_SHUTDOWN_FILE
from kstore.log.log_dir import INCARNATION_FILE, PASSING, LogDir
from kstore.log.meta_properties import parse_properties
from kstore.model import random_uuid, uuid_from_text, uuid_to_text

log = logging.getLogger(__name__)

VERSION = "1"
BOOT_ID = "/proc/sys/kernel/random/boot_id"


def read_boot_id() -> str:
    """Another one after each start of the machine. Raises OSError."""
    with open(BOOT_ID, encoding="ascii") as file:
        return file.read().strip()


def continue_incarnation(log_dirs: Sequence[LogDir], boot_id: str) -> str:
    """The incarnation of what lies in all of `log.dirs`, written to those that are not offline. Before their logs are
    loaded, for a directory says only until then that it was closed cleanly. One that fails here goes offline."""
    found = {_unbroken(log_dir, boot_id, len(log_dirs)) for log_dir in log_dirs}
    # Directories that do not agree were not used together, or a crash came between two of them here.
    incarnation = found.pop() if len(found) == 1 else None
    if incarnation is None:
        return begin_incarnation(log_dirs, boot_id)
    _write_all(log_dirs, boot_id, incarnation)
    return incarnation


def begin_incarnation(log_dirs: Sequence[LogDir], boot_id: str) -> str:
    """A new one, written to all directories that are not offline."""
    incarnation = uuid_to_text(random_uuid())
    log.info("what was written before this start may be lost in part: incarnation %s begins", incarnation)
    _write_all(log_dirs, boot_id, incarnation)
    return incarnation


def _write_all(log_dirs: Sequence[LogDir], boot_id: str, incarnation: str) -> None:
    lines = (
        f"version={VERSION}",
        f"incarnation={incarnation}",
        f"boot.id={boot_id}",
        f"directories={len(log_dirs)}",
        "",
    )
    for log_dir in log_dirs:
        if log_dir.failure is None:
            _write(log_dir, "\n".join(lines).encode())


def end_incarnation(log_dirs: Iterable[LogDir]) -> None:
    """A directory has failed, and its disk may have lost what the page cache had: the next start begins a new one. It
    is noted in all of them, for the one that failed may take nothing any more, or not be there the next time."""
    for log_dir in log_dirs:
        try:
            _remove(log_dir)
        except OSError as error:
            log.warning("%s: the end of its incarnation cannot be noted: %s", log_dir.path, error)


def _unbroken(log_dir: LogDir, boot_id: str, directories: int) -> str | None:
    """The incarnation that a directory is still in."""
    if log_dir.failure is not None:
        return None
    path = os.path.join(log_dir.path, INCARNATION_FILE)
    try:
        content = read_file(path)
        was_closed = os.path.exists(os.path.join(log_dir.path, CLEAN_SHUTDOWN_FILE))
    except OSError as error:
        log_dir.fail("reading its incarnation", error)
        return None
    if content is None:
        return None
    found = parse_properties(content.decode("latin-1"))
    incarnation = found.get("incarnation", "")
    try:
        uuid_from_text(incarnation)
        if found.get("version") != VERSION:
            raise ValueError(f"version {found.get('version')} is not known")
    except ValueError as error:
        log.warning("%s holds no incarnation: %s", path, error)
        return None
    if found.get("directories") != str(directories) or not (was_closed or found.get("boot.id") == boot_id):
        return None
    return incarnation


def _write(log_dir: LogDir, content: bytes) -> None:
    path = os.path.join(log_dir.path, INCARNATION_FILE)
    try:
        if read_file(path) == content:
            return
        try:
            replace_file(path, content)
        except OSError as error:
            if error.errno not in PASSING:
                raise
            # A full disk is to start and make room. Without the file the next start is as after a crash.
            log.warning("%s: its incarnation cannot be noted: %s", log_dir.path, error)
            _remove(log_dir)
    except OSError as error:
        log_dir.fail("writing its incarnation", error)


def _remove(log_dir: LogDir) -> None:
    """Raises OSError."""
    with suppress(FileNotFoundError):
        os.unlink(os.path.join(log_dir.path, INCARNATION_FILE))
