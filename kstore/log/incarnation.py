"""In which unbroken life of its records a broker is: as long as one incarnation lasts, nothing it has written is lost.

An incarnation goes on over orderly stops and over crashes of the process, whose writes are in the page cache. A crash
of the machine ends it, and so does a log directory that is not the one of before, or whose disk has failed: then a new
one begins, and a controller knows that what this broker was in sync with may be gone (rule 26; KIP-966 has unclean
shutdowns). Each log directory says it in `.kstore_incarnation`, which Kafka does not look at:

    version=1
    incarnation=...         a UUID, as a topic's id is written
    boot.id=...             of the machine's start in which the directory was last used
"""

import logging
import os
from collections.abc import Sequence

from kstore.log.checkpoint_file import read_file, replace_file
from kstore.log.load_dirs import CLEAN_SHUTDOWN_FILE
from kstore.log.log_dir import LogDir
from kstore.log.meta_properties import parse_properties
from kstore.model import random_uuid, uuid_to_text

log = logging.getLogger(__name__)

INCARNATION_FILE = ".kstore_incarnation"
VERSION = "1"
BOOT_ID = "/proc/sys/kernel/random/boot_id"


def read_boot_id() -> str:
    """Another one after each start of the machine. Raises OSError."""
    with open(BOOT_ID, encoding="ascii") as file:
        return file.read().strip()


def continue_incarnation(log_dirs: Sequence[LogDir], boot_id: str) -> str:
    """The incarnation of what lies in the directories, written to all of them. Before their logs are loaded, for a
    directory says only until then that it was closed cleanly. One that fails here goes offline."""
    found = set()
    for log_dir in log_dirs:
        try:
            found.add(_unbroken(log_dir.path, boot_id))
        except OSError as error:
            log_dir.fail("reading its incarnation", error)
    # Directories that do not agree were not used together, or a crash came between two of them here.
    incarnation = found.pop() if len(found) == 1 else None
    if incarnation is None:
        incarnation = uuid_to_text(random_uuid())
        log.info("what was written before this start may be lost in part: incarnation %s begins", incarnation)
    content = f"version={VERSION}\nincarnation={incarnation}\nboot.id={boot_id}\n".encode()
    for log_dir in log_dirs:
        if log_dir.failure is None:
            try:
                replace_file(os.path.join(log_dir.path, INCARNATION_FILE), content)
            except OSError as error:
                log_dir.fail("writing its incarnation", error)
    return incarnation


def end_incarnation(path: str) -> None:
    """Of a directory that has failed: its disk may have lost what the page cache had. As far as the disk lets it be
    said."""
    try:
        os.unlink(os.path.join(path, INCARNATION_FILE))
    except OSError as error:
        log.warning("%s: the end of its incarnation cannot be noted: %s", path, error)


def _unbroken(path: str, boot_id: str) -> str | None:
    """The incarnation that a directory is still in. Raises OSError."""
    content = read_file(os.path.join(path, INCARNATION_FILE))
    if content is None:
        return None
    found = parse_properties(content.decode("latin-1"))
    incarnation = found.get("incarnation")
    if found.get("version") != VERSION or not incarnation:
        log.warning("%s holds %r, which is no incarnation", os.path.join(path, INCARNATION_FILE), content[:64])
        return None
    was_closed = os.path.exists(os.path.join(path, CLEAN_SHUTDOWN_FILE))
    return incarnation if was_closed or found.get("boot.id") == boot_id else None
