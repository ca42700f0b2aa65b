"""`kstore produce` and `kstore consume`: what goes in comes out, byte for byte, through lines, files and JSON."""

import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kstore.cli.errors import UsageError
from kstore.cli.records import parse_record
from tests.cli.run import Kstore
from tests.judge.kstore import KstoreServer

TypeIn = Callable[[bytes], None]


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch) -> TypeIn:
    """Gives the next command its standard input."""

    def give(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    return give


def test_lines_go_in_and_come_out(kstore: Kstore, bootstrap: str, topic: str, type_in: TypeIn) -> None:
    type_in("one\n\nthree €\nno newline at the end".encode())
    ran = kstore("produce", topic, "-b", bootstrap)
    assert (ran.status, ran.out, ran.err) == (0, "", f"wrote 4 records to {topic}\n")
    ran = kstore("consume", topic, "-e", "-b", bootstrap)
    assert (ran.status, ran.out) == (0, "one\n\nthree €\nno newline at the end\n")


def test_keys_are_cut_off_and_put_back(kstore: Kstore, bootstrap: str, topic: str, type_in: TypeIn) -> None:
    type_in(b"a::1\nb::2::3\n::4\n")
    assert kstore("produce", topic, "-K", "::", "-z", "zstd", "-b", bootstrap).status == 0
    assert kstore("consume", topic, "-e", "--keys", "-b", bootstrap).out == "a\t1\nb\t2::3\n\t4\n"


def test_records_travel_as_json(kstore: Kstore, bootstrap: str, topic: str, type_in: TypeIn) -> None:
    records: list[dict[str, Any]] = [
        {"key": "k", "value": "v", "headers": [{"key": "h", "value": "1"}, {"key": "h", "value": None}]},
        {"key": None, "value": None, "headers": []},
        {"key_base64": "/w==", "value_base64": "AP8=", "headers": [{"key": "b", "value_base64": "/w=="}]},
        {"key": "", "value": "two\nlines", "headers": []},
    ]
    # librdkafka takes the timestamp 0 for none.
    records = [record | {"timestamp": 1 + number} for number, record in enumerate(records)]
    type_in("".join(json.dumps(record) + "\n" for record in records).encode())
    put = kstore("produce", topic, "--json", "-b", bootstrap)
    assert put.rows == [{"topic": topic, "partition": 0, "offset": offset} for offset in range(4)]
    got = kstore("consume", topic, "-e", "--json", "-b", bootstrap)
    where = [{"topic": topic, "partition": 0, "offset": offset, "timestamp_type": "CreateTime"} for offset in range(4)]
    assert got.rows == [place | record for place, record in zip(where, records, strict=True)]
    # What was printed is taken again.
    type_in(got.out.encode())
    kstore("produce", f"{topic}-copy", "--json", "-b", bootstrap)
    copied = kstore("consume", f"{topic}-copy", "-e", "--json", "-b", bootstrap).rows
    assert [row | {"topic": topic} for row in copied] == got.rows


def test_whole_files_are_records(kstore: Kstore, bootstrap: str, topic: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(range(256)))
    (tmp_path / "b").write_bytes(b"")
    kstore("produce", topic, "-f", tmp_path / "a", "--whole", "-f", tmp_path / "b", "-H", "name=x=y", "-b", bootstrap)
    first, second = kstore("consume", topic, "-e", "--json", "-b", bootstrap).rows
    assert "value_base64" in first
    assert (second["value"], second["headers"]) == ("", [{"key": "name", "value": "x=y"}])


def test_where_to_begin(kstore: Kstore, bootstrap: str, topic: str, type_in: TypeIn) -> None:
    type_in("".join(f'{{"value": "{n}", "timestamp": {1_700_000_000_000 + n * 1000}}}\n' for n in range(10)).encode())
    kstore("produce", topic, "--json", "-b", bootstrap)

    def read(*arguments: object) -> str:
        return kstore("consume", topic, "-e", "-b", bootstrap, *arguments).out.replace("\n", "")

    assert read("--from", "beginning") == "0123456789"
    assert read("--from", "7") == "789"
    assert read("--from", "-2") == "89"
    assert read("--from", "-200") == "0123456789"
    assert read("--from", "2023-11-14T22:13:25Z") == "56789"
    assert read("--from", "2023-11-14T23:13:25+01:00", "-n", 2) == "56"
    assert read("--from", "2100-01-01") == ""
    assert read("--from", "end") == ""
    assert read("-n", 3) == "012"
    assert read("-p", 0) == "0123456789"


def test_verbose_lines_tell_all_and_stay_lines(kstore: Kstore, bootstrap: str, topic: str, type_in: TypeIn) -> None:
    type_in(
        json.dumps(
            {"key": "k", "value": "a\n\x1b[2J", "headers": [{"key": "h", "value": "1"}], "timestamp": 1}
        ).encode()
    )
    kstore("produce", topic, "--json", "-b", bootstrap)
    out = kstore("consume", topic, "-e", "-v", "-b", bootstrap).out
    shown = r'key="k"  value="a\n\x1b[2J"  headers: "h"="1"'
    assert out == f"{topic}-0 0  1970-01-01T00:00:00.001Z  {shown}\n"


def test_partitions_are_chosen(kstore: Kstore, bootstrap: str, topic: str, type_in: TypeIn) -> None:
    kstore("topics", "create", topic, "--partitions", 3, "-b", bootstrap)
    for number in range(3):
        type_in(f"in {number}\n".encode())
        kstore("produce", topic, "-p", number, "-b", bootstrap)
    records = kstore("consume", topic, "-e", "--json", "-b", bootstrap)
    kstore("topics", "create", f"{topic}-copy", "--partitions", 3, "-b", bootstrap)
    type_in(records.out.encode())
    kstore("produce", f"{topic}-copy", "--json", "--keep-partitions", "-b", bootstrap)
    copied = kstore("consume", f"{topic}-copy", "-e", "--json", "-b", bootstrap).rows
    assert {(row["partition"], row["value"]) for row in copied} == {(number, f"in {number}") for number in range(3)}
    assert kstore("consume", topic, "-e", "-p", 1, "-p", 2, "-b", bootstrap).out.splitlines() == ["in 1", "in 2"]
    ran = kstore("consume", topic, "-p", 3, "-b", bootstrap)
    assert (ran.status, ran.err) == (1, f"kstore: {topic} has no partition 3; it has 0 to 2\n")


def test_a_topic_that_is_not_there_is_told(kstore: Kstore, bootstrap: str, topic: str) -> None:
    ran = kstore("consume", topic, "-b", bootstrap)
    assert ran.status == 1
    assert "there is no such topic" in ran.err


def test_records_that_are_refused_are_counted(kstore: Kstore, bootstrap: str, topic: str, type_in: TypeIn) -> None:
    kstore("topics", "create", topic, "--config", "max.message.bytes=2000", "-b", bootstrap)
    type_in(b"small\n" + b"x" * 5000 + b"\n")
    ran = kstore("produce", topic, "-b", bootstrap, "-X", "linger.ms=0", "-X", "batch.num.messages=1")
    assert ran.status == 1
    assert f"{topic}: 1 record of 2 not written: " in ran.err
    assert len(ran.err.splitlines()) == 1


def test_consume_waits_for_more_until_it_is_interrupted(
    bootstrap: str, topic: str, kstore: Kstore, type_in: TypeIn
) -> None:
    type_in(b"first\n")
    kstore("produce", topic, "-b", bootstrap)
    command = [sys.executable, "-m", "kstore.cli.main", "consume", topic, "-b", bootstrap]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "first\n"
        type_in(b"second\n")
        kstore("produce", topic, "-b", bootstrap)
        assert process.stdout.readline() == "second\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, "", "")


def test_a_reader_that_has_seen_enough_ends_it_quietly(
    kstore: Kstore, bootstrap: str, topic: str, tmp_path: Path
) -> None:
    lines = tmp_path / "lines"
    lines.write_bytes(b"x" * 100 + b"\n")
    lines.write_bytes(lines.read_bytes() * 20_000)
    assert kstore("produce", topic, "-f", lines, "-b", bootstrap).status == 0
    shell = f"{sys.executable} -m kstore.cli.main consume {topic} -b {bootstrap} | head -1; echo ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=60)
    assert (ran.stdout, ran.stderr) == ("x" * 100 + "\n0\n", "")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("nonsense", "Expecting value"),
        ("[]", "a record is an object"),
        ('{"val": "x"}', "'val' is no part of a record"),
        ('{"value": 5}', "value is a text or null"),
        ('{"value": "x", "value_base64": "eA=="}', "give value or value_base64, not both"),
        ('{"value_base64": "*"}', "value_base64: "),
        ('{"headers": ["h"]}', "a header is an object"),
        ('{"partition": -1}', "partition is a number from 0 to 2147483647"),
        ('{"timestamp": "now"}', "timestamp is a number"),
    ],
)
def test_json_that_is_no_record_is_told_with_its_line(line: str, said: str) -> None:
    with pytest.raises(UsageError, match=r"^input, line 3: ") as refused:
        parse_record(line, "input, line 3")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("produce", "t", "-f", "/no/such/file"), "/no/such/file: No such file or directory"),
        (("produce", "t", "--whole", "--json"), "--whole takes files as they are"),
        (("produce", "t", "--keep-partitions"), "--keep-partitions is for --json"),
        (("produce", "t", "-K", ""), "--key-separator: give at least one character"),
        (("consume", "t", "--from", "tomorrow"), "'tomorrow' is neither beginning, end, an offset, nor a time"),
        (("consume", "t", "--group", "g", "--from", "end"), "leave out --from and --partition"),
        (("consume", "t", "-n", "0"), "0 is not in [1, "),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line(
    kstore: Kstore, kstore_server: KstoreServer, arguments: tuple[str, ...], said: str
) -> None:
    ran = kstore(*arguments, "-b", kstore_server.bootstrap)
    assert ran.status == 2
    assert said in ran.err
    assert len(ran.err.splitlines()) == 1


def test_a_line_without_a_key_is_told_with_its_number(
    kstore: Kstore, kstore_server: KstoreServer, type_in: TypeIn, topic: str
) -> None:
    type_in(b"a:1\nb\n")
    ran = kstore("produce", topic, "-K", ":", "-b", kstore_server.bootstrap)
    assert ran.status == 2
    assert "standard input, line 2: has no ':' between key and value" in ran.err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (r'{"headers": [{"key": "\ud800"}]}', "is no text that UTF-8 can hold"),
        (r'{"value": "\ud800"}', "is no text that UTF-8 can hold"),
        ('{"headers": 5}', "headers are a list"),
        ('{"timestamp": 9223372036854775808}', "timestamp is a number from 0 to 9223372036854775807"),
        ('{"partition": 2147483648}', "partition is a number from 0 to 2147483647"),
        ("[" * 100_000, "is nested too deeply"),
    ],
)
def test_json_that_the_client_library_cannot_take_is_told_with_its_line(line: str, said: str) -> None:
    """A header that is no UTF-8 ended the process with a segmentation fault, and what was on its way with it."""
    with pytest.raises(UsageError, match=r"^line 7: ") as raised:
        parse_record(line, "line 7")
    assert said in str(raised.value)


@pytest.mark.parametrize("arguments", [("-H", "\udcff=v"), ("-H", "k=\udcff")])
def test_arguments_that_are_no_text_are_told(
    kstore: Kstore, kstore_server: KstoreServer, topic: str, type_in: TypeIn, arguments: tuple[str, ...]
) -> None:
    type_in(b"x\n")
    ran = kstore("produce", topic, "-b", kstore_server.bootstrap, *arguments)
    assert ran.status == 2
    assert "is no text that UTF-8 can hold" in ran.err
    assert len(ran.err.splitlines()) == 1


def test_a_reader_that_has_seen_enough_stops_no_writing(
    kstore: Kstore, kstore_server: KstoreServer, topic: str, tmp_path: Path
) -> None:
    """Of 200,000 records 692 were written, and the exit status was 0."""
    lines = tmp_path / "lines"
    lines.write_text('{"value": "x"}\n' * 20_000)
    program = f"{sys.executable} -m kstore.cli.main produce {topic} --json -f {lines} -b {kstore_server.bootstrap}"
    command = f"set -o pipefail; {program} | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    (row,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert row["offset"] == 0
    ran = kstore("topics", "describe", topic, "--json", "-b", kstore_server.bootstrap)
    assert sum(partition["end_offset"] for partition in ran.rows[0]["partitions"]) == 20_000


def test_a_consumer_whose_output_is_full_leaves_its_group(
    kstore: Kstore, kstore_server: KstoreServer, topic: str, type_in: TypeIn
) -> None:
    type_in(b"x\n" * 10)
    assert kstore("produce", topic, "-b", kstore_server.bootstrap).status == 0
    group = f"{topic}-group"
    arguments = ["consume", topic, "--group", group, "-n", "10", "-b", kstore_server.bootstrap]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "kstore.cli.main", *arguments],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "kstore: standard output: No space left on device\n")
    (found,) = kstore("groups", "describe", group, "--json", "-b", kstore_server.bootstrap).rows
    assert found["members"] == []
