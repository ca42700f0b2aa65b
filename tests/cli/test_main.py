"""The command itself: what every command keeps to."""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points

import pytest

from kstore.cli.main import build_parser, main
from kstore.cli.output import Column, count_text, print_table, size_text, timestamp_text
from tests.cli.run import Kstore


def parsers(
    parser: argparse.ArgumentParser, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """All commands, by their words."""
    yield words, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, found in action.choices.items():
                yield from parsers(found, (*words, name))


COMMANDS = [words for words, parser in parsers(build_parser()) if parser.get_default("run")]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_each_command_has_a_help_with_examples(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: kstore {' '.join(words)}")
    assert "examples:\n" in out
    assert f"kstore {' '.join(words)}" in out.split("examples:\n")[1]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_examples_of_the_help_are_commands_that_there_are(words: tuple[str, ...]) -> None:
    parser = dict(parsers(build_parser()))[words]
    assert parser.epilog is not None
    for line in parser.epilog.splitlines()[1:]:
        for part in re.split(r"(?<![\w/])kstore (?! )", line)[1:]:
            command = part.split("   ")[0].split("|")[0].split("<")[0].split(">")[0].split("&&")[0]
            arguments = command.replace('"', "").replace("$(", "").replace(")", "").split()
            build_parser().parse_args(arguments)


def test_a_help_does_not_wait_for_what_only_commands_need() -> None:
    """Half of the time is Python's own start; clients and tables of Kafka's come with the command that uses them."""
    code = "import sys; from kstore.cli.main import build_parser; build_parser(); print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    loaded = done.stdout.split()
    assert "kstore.cli.main" in loaded
    heavy = {"confluent_kafka", "argcomplete", "kstore._native.batch", "kstore.log", "asyncio", "logging", "rich"}
    assert heavy & set(loaded) == set()


def test_the_command_is_installed() -> None:
    (found,) = entry_points(group="console_scripts", name="kstore")
    assert found.value == "kstore.cli.main:main"


def test_an_unknown_command_is_told_in_one_line(kstore: Kstore) -> None:
    ran = kstore("topic", "list")
    assert (ran.status, ran.out) == (2, "")
    assert "invalid choice: 'topic'" in ran.err
    assert "see `kstore --help`" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_a_missing_client_library_is_told(kstore: Kstore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    ran = kstore("topics", "list")
    assert ran.status == 1
    assert "pip install 'kstore[cli]'" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_tables_are_as_wide_as_what_is_in_them(capsys: pytest.CaptureFixture[str]) -> None:
    columns = (Column("NAME", "name"), Column("N", "n", right=True), Column("LIST", "list"))
    print_table(columns, [{"name": "a", "n": 5, "list": [1, 2]}, {"name": "longer", "n": None, "list": []}])
    assert capsys.readouterr().out == "NAME    N  LIST\na       5  1,2\nlonger  -\n"


def test_names_of_anybodys_choosing_make_no_lines_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    """A group could be named so that a second row stood in the table, and a terminal did what it said."""
    columns = (Column("GROUP", "group"), Column("HOSTS", "hosts"))
    print_table(columns, [{"group": "evil\x1b[31m\nbilling  Stable", "hosts": ["a\rb", "\ud800"]}])
    assert capsys.readouterr().out == "GROUP                          HOSTS\n" + (
        "evil\\x1b[31m\\nbilling  Stable  a\\rb,\\ud800\n"
    )


def test_an_output_that_is_full_is_told_in_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "kstore.cli.main", "completion", "bash"],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=30,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "kstore: standard output: No space left on device\n")


def test_what_a_terminal_cannot_show_is_not_called_wrong() -> None:
    program = "from kstore.cli import main; main.build_parser = lambda: print('gr\\xf6\\xdfe'); exit(main.main([]))"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert done.stderr.startswith("kstore: standard output cannot show 'gr")
    assert len(done.stderr.splitlines()) == 1


def test_numbers_are_written_for_people() -> None:
    assert [size_text(size) for size in (0, 1023, 1024, 1 << 30, 5 << 41)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "1.0 GiB",
        "10.0 TiB",
    ]
    assert [count_text(2, noun) for noun in ("batch", "entry", "record")] == ["2 batches", "2 entries", "2 records"]
    assert count_text(1, "batch") == "1 batch"
    assert [timestamp_text(t) for t in (-1, 0, 1_700_000_000_001)] == [
        "-",
        "1970-01-01T00:00:00.000Z",
        "2023-11-14T22:13:20.001Z",
    ]
    assert timestamp_text(2**62) == str(2**62)
