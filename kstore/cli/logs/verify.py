"""`kstore log verify`: everything that lies under the paths, checked; the last line sums up."""

import os
import sys
from collections.abc import Sequence

from kstore.cli.errors import UsageError
from kstore.cli.logs.directory_check import DirectoriesCheck, check_one_partition
from kstore.cli.logs.files import is_log_dir, is_partition_dir
from kstore.cli.logs.findings import Findings
from kstore.cli.output import Progress, count_text, encode_json, size_text

SUMMED_UP = (("partitions", "partition"), ("segments", "segment"), ("batches", "batch"), ("records", "record"))


def verify(paths: Sequence[str], *, as_json: bool, quiet: bool) -> Findings:
    """Tells what is wrong as it is found. Raises UsageError for a path that is none of Kafka's, OSError."""
    paths = [os.path.normpath(path) for path in paths]
    for path in paths:
        refuse(path)
    total = sum(map(log_bytes, paths))
    progress = Progress("verifying", total, enabled=not quiet)
    findings = Findings(sys.stdout, as_json=as_json, progress=progress)
    roots = [path for path in paths if not is_partition_dir(path)]
    check = DirectoriesCheck(findings, progress)
    for path in roots:
        check.read_metadata(path)
    for path in paths:
        if path in roots:
            check.run(path)
        else:
            check_one_partition(path, findings, progress)
    progress.clear()
    if not quiet:
        tell_summary(findings, total, as_json=as_json)
    return findings


def refuse(path: str) -> None:
    if not os.path.exists(path):
        raise UsageError(f"{path}: there is no such directory")
    if not os.path.isdir(path):
        raise UsageError(f"{path}: is a file; give its partition's directory, {os.path.dirname(path) or '.'}")
    if not is_partition_dir(path) and not is_log_dir(path):
        raise UsageError(f"{path}: no log directory; give what log.dirs names, or a partition in it")


def log_bytes(path: str) -> int:
    """The size of all segments under `path`, as far as they are there."""
    total = 0
    for directory, _, names in os.walk(path):
        for name in names:
            if name.endswith(".log"):
                try:
                    total += os.stat(os.path.join(directory, name)).st_size
                except FileNotFoundError:
                    continue
    return total


def tell_summary(findings: Findings, total: int, *, as_json: bool) -> None:
    if as_json:
        counts = {name: findings.checked[name] for name, _ in SUMMED_UP}
        row = {"type": "summary", **counts, "bytes": total, "damage": findings.damage, "notices": findings.notices}
        sys.stdout.write(encode_json(row) + "\n")
        return
    verdict = f"{findings.damage} DAMAGED" if findings.damage else "sound"
    notices = f", {count_text(findings.notices, 'notice')}" if findings.notices else ""
    counts_text = ", ".join(count_text(findings.checked[name], noun) for name, noun in SUMMED_UP)
    sys.stdout.write(f"{verdict}{notices}: {counts_text}, {size_text(total)}\n")
