"""Inputs that reached new code in the C core, or broke it once, break nothing."""

import subprocess
from pathlib import Path

import pytest

NATIVE = Path(__file__).parent / "native"
ROOT = NATIVE.parents[2]
TARGETS = sorted(path.stem for path in NATIVE.glob("*.c") if path.stem != "replay")
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_keeps_every_promise(target: str, tmp_path: Path) -> None:
    inputs = sorted((NATIVE / "corpus" / target).iterdir())
    assert len(inputs) >= 5
    sources = [NATIVE / f"{target}.c", NATIVE / "replay.c", *sorted((ROOT / "src").glob("*.c"))]
    program = tmp_path / target
    subprocess.run(["cc", *FLAGS, f"-I{ROOT / 'src'}", *map(str, sources), "-o", str(program)], check=True)
    done = subprocess.run([str(program), *map(str, inputs)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
