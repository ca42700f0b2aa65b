"""What lies in a partition's log files, read by the slow reader of tests/oracle and by nothing of kstore's."""

from pathlib import Path

from tests.oracle.record_batch import OracleBatch, read_batch


def batches(directory: Path) -> list[OracleBatch]:
    """All batches of a partition directory, in order."""
    found = []
    for file in sorted(directory.glob("*.log")):
        data, position = file.read_bytes(), 0
        while position < len(data):
            found.append(read_batch(data, position))
            position += found[-1].size_in_bytes
    return found
