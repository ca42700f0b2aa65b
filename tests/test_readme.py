"""The README's examples, run as a reader would: what it shows is what happens."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import kstore
from tests.fix_kstore import StartKstore

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[tuple[str, str]]:
    """(command, the output that is shown for it) for each `$` line."""
    parts = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.kcat
def test_the_shell_examples_do_what_they_show(start_kstore: StartKstore, tmp_path: Path) -> None:
    server = start_kstore(tmp_path / "data")
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    examples = [example for block in blocks("console") for example in commands(block)]
    assert len(examples) >= 5
    for command, shown in examples:
        finished = subprocess.run(
            ["bash", "-c", command.replace("127.0.0.1:9092", server.bootstrap)],
            cwd=tmp_path,
            env=environment,
            timeout=60,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        told = re.sub(r"process \d+ \([^)]+\)", "process 4711 (kstore-server)", finished.stdout)
        assert told.replace(f"{tmp_path}/", "") == shown, command


def test_the_python_example_does_what_it_shows(start_kstore: StartKstore, tmp_path: Path) -> None:
    server = start_kstore(tmp_path / "data")
    (example, _), (shown,) = blocks("python"), blocks("text")
    finished = subprocess.run(
        [sys.executable, "-c", example.replace("127.0.0.1:9092", server.bootstrap)],
        timeout=60,
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout == shown


def test_the_example_of_the_library_runs(tmp_path: Path) -> None:
    _, example = blocks("python")
    with kstore.LogStore.open(tmp_path / "data") as store:
        store.create("orders", partitions=3)
    finished = subprocess.run(
        [sys.executable, "-c", example.replace("/var/lib/kafka", str(tmp_path / "data"))],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        timeout=60,
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout == "{'orders': 3}\n"


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = set(re.findall(r"`make ([a-z-]+)`", README))
    assert named
    missing = {target for target in named if not re.search(rf"^{target}:", makefile, re.MULTILINE)}
    assert missing == set()
