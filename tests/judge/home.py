"""Where the real Kafka lies: jar directories in the cache, filled by tests/setup/prepare.py.

`KSTORE_CACHE` names another cache directory than `.cache`, so that several clones share one.
Standard library only: the set-up runs before the virtual environment exists.
"""

import os
import shutil
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
JUDGE = Path(__file__).resolve().parent
SEED = REPOSITORY / "tests" / "interop" / "seed"  # small Java programs of users, compiled beside the judge's own
VERSIONS = ("3.9.1", "4.3.0")


def cache_directory() -> Path:
    return Path(os.environ.get("KSTORE_CACHE") or REPOSITORY / ".cache").resolve()


def jar_directory(version: str) -> Path:
    return cache_directory() / f"kafka-{version}"


def has_jars(version: str) -> bool:
    """The set-up writes `.complete` last, so a copy that was interrupted does not count."""
    return (jar_directory(version) / ".complete").exists()


def why_kafka_cannot_run() -> str | None:
    """The reason why tests that Kafka judges cannot run here, or None."""
    if shutil.which("java") is None:
        return "no java"
    if shutil.which("javac") is None:
        return "no javac (a JDK is needed, not a JRE)"
    missing = [version for version in VERSIONS if not has_jars(version)]
    if not missing:
        return None
    if shutil.which("mvn") is None:
        return "no mvn"
    return f"Kafka's jars {', '.join(missing)} are not in {cache_directory()}: `make test` fetches them"


def why_kcat_cannot_run() -> str | None:
    return None if shutil.which("kcat") else "no kcat"
