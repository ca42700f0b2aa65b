"""Completion: what a shell is given, and what it is told when it asks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.run import Kstore
from tests.judge.kstore import KstoreServer


def completions(line: str) -> list[str]:
    """What bash would be offered behind `line`: argcomplete's protocol, on descriptor 8."""
    environment = os.environ | {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line.encode())),
        "_ARGCOMPLETE_STDOUT_FILENAME": os.devnull,
    }
    del environment["_ARGCOMPLETE_STDOUT_FILENAME"]
    command = f"{sys.executable} -m kstore.cli.main 8>&1 9>/dev/null >/dev/null"
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=30)
    assert "Traceback" not in done.stderr, done.stderr
    return [word.strip() for word in done.stdout.split("\n") if word.strip()]


def test_commands_and_options_are_completed() -> None:
    assert set(completions("kstore ")) >= {"topics", "produce", "consume", "groups", "log", "completion"}
    assert completions("kstore log ver") == ["verify"]
    assert completions("kstore topics describe --js") == ["--json"]
    assert set(completions("kstore produce t --compression ")) == {"none", "gzip", "snappy", "lz4", "zstd"}


def test_topics_are_completed_from_the_broker(kstore: Kstore, kstore_server: KstoreServer, topic: str) -> None:
    kstore("topics", "create", topic, "-b", kstore_server.bootstrap)
    assert completions(f"kstore topics describe -b {kstore_server.bootstrap} {topic[:-2]}") == [topic]
    assert completions(f"kstore consume -b 127.0.0.1:1 {topic[:-2]}") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script(kstore: Kstore, shell: str) -> None:
    ran = kstore("completion", shell)
    assert ran.status == 0
    assert {"bash": "complete ", "zsh": "compdef ", "fish": "complete --command kstore"}[shell] in ran.out


def test_bash_takes_its_script_and_completes(kstore: Kstore, tmp_path: Path) -> None:
    script = tmp_path / "completion.bash"
    script.write_text(kstore("completion", "bash").out)
    (tmp_path / "kstore").write_text(f'#!/bin/sh\nexec {sys.executable} -m kstore.cli.main "$@"\n')
    (tmp_path / "kstore").chmod(0o755)
    ask = (
        f"source {script}; COMP_LINE='kstore groups res'; COMP_POINT=${{#COMP_LINE}};"
        ' COMP_TYPE=9; COMP_WORDS=(kstore groups res); COMP_CWORD=2; _python_argcomplete kstore; echo "${COMPREPLY[@]}"'
    )
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", ask], env=environment, capture_output=True, text=True, timeout=30)
    assert done.stdout.split() == ["reset-offsets"]
