"""The examples of docs/cli.md, run one after the other against a kstore-server: what it shows is what happens."""

import os
import re
import subprocess
import sys
from pathlib import Path

from kstore.cli.logs import findings
from tests.fix_kstore import StartKstore
from tests.test_readme import commands

ROOT = Path(__file__).parent.parent
CLI = (ROOT / "docs" / "cli.md").read_text()
TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z|(?<=\"timestamp\":)\d+")


def test_the_examples_do_what_they_show(start_kstore: StartKstore, tmp_path: Path) -> None:
    overrides = {"offsets.topic.num.partitions": "2", "group.initial.rebalance.delay.ms": "0"}
    server = start_kstore(tmp_path / "data", overrides=overrides)
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "KSTORE_BOOTSTRAP_SERVER": server.bootstrap,
    }
    blocks = re.findall(r"^```console\n(.*?)^```$", CLI, re.MULTILINE | re.DOTALL)
    examples = [example for block in blocks for example in commands(block)]
    assert len(examples) >= 15
    for command, shown in examples:
        ran = subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env=environment,
            timeout=60,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert TIME.sub("TIME", ran.stdout) == TIME.sub("TIME", shown), command


def test_every_code_of_a_finding_is_told() -> None:
    sources = (Path(findings.__file__).parent / name for name in ("segment_check.py", "partition_check.py"))
    sources = [*sources, *Path(findings.__file__).parent.glob("*_check.py")]
    used = {
        code
        for source in sources
        for code in re.findall(r'(?:damaged|note|tell)\(\s*[^"]*?"([a-z-]+)"', source.read_text())
    }
    used |= set(re.findall(r'^    code = "([a-z-]+)"', "".join(s.read_text() for s in sources), re.MULTILINE))
    told = set(re.findall(r"`([a-z-]+)`", CLI))
    assert len(used) > 15
    assert used <= told
