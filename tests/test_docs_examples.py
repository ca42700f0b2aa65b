"""The example programs, run as a reader would."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import kstore
from examples import counter, outbox

ROOT = Path(__file__).parent.parent


def run(name: str, *arguments: object, check: bool = True) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, f"examples/{name}.py", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=check,
    )


# --- the outbox ---


def test_the_outbox_empties_into_the_log(tmp_path: Path) -> None:
    for end in (3, 6):
        assert run("outbox", tmp_path / "db", tmp_path / "log").stdout == (
            f"3 events went, the log ends at offset {end}\n"
        )
    with kstore.Log.open(tmp_path / "log") as log:
        assert [dict(record.headers)[outbox.NUMBER] for record in log.read()] == [b"%d" % i for i in range(1, 7)]


def test_a_relay_that_dies_before_it_forgets_sends_nothing_twice(tmp_path: Path) -> None:
    database = outbox.open_database(str(tmp_path / "db"))
    for number in range(10):
        outbox.place_order(database, "customer", number)
    with kstore.Log.open(tmp_path / "log") as log:
        # It has appended a part of them, and died.
        log.extend(outbox.messages(outbox.pending(database, 0, 4)))
    with kstore.Log.open(tmp_path / "log") as log:
        assert outbox.relay(database, log, at_once=3) == 6
        assert outbox.relay(database, log) == 0
        assert [int(dict(record.headers)[outbox.NUMBER] or 0) for record in log.read()] == list(range(1, 11))
    database.close()


def test_an_order_that_fails_leaves_no_event(tmp_path: Path) -> None:
    database = outbox.open_database(str(tmp_path / "db"))
    database.execute("CREATE TRIGGER no BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'no'); END")
    with pytest.raises(Exception, match="no"):
        outbox.place_order(database, "customer", 1)
    assert database.execute("SELECT count(*) FROM orders").fetchone() == (0,)
    database.close()


# --- the counter ---


def test_the_counter_counts_over_processes(tmp_path: Path) -> None:
    assert run("counter", tmp_path, "apples", "+3").stdout == "apples 3\n"
    assert run("counter", tmp_path, "pears").stdout == "pears 1\n"
    assert run("counter", tmp_path, "apples", "-1").stdout == "apples 2\n"
    refused = run("counter", tmp_path, "apples", "-5", check=False)
    assert (refused.returncode, refused.stderr) == (1, "apples is 2, and cannot go down by 5\n")
    assert run("counter", tmp_path).stdout == "apples 2\npears 1\n"


def test_two_who_count_at_once_both_count(tmp_path: Path) -> None:
    with kstore.Log.open(tmp_path / "log") as log:
        one, two = (counter.Counters(log, str(tmp_path / name)) for name in ("1.json", "2.json"))
        one.catch_up()
        two.catch_up()
        assert one.add("apples", 1) == 1
        assert two.add("apples", -1) == 0
        with pytest.raises(ValueError, match="apples is 0"):
            one.add("apples", -1)


def test_a_snapshot_and_what_followed_give_what_all_events_give(tmp_path: Path) -> None:
    with kstore.Log.open(tmp_path / "log") as log:
        first = counter.Counters(log, str(tmp_path / "snapshot.json"))
        first.add("apples", 5)
        first.save()
        first.add("apples", 2)
        again = counter.Counters(log, str(tmp_path / "snapshot.json"))
        assert (again.offset, again.counts["apples"]) == (1, 5)
        again.catch_up()
        assert again.counts == first.counts


# --- tail ---


def test_tail_shows_the_last_records(tmp_path: Path) -> None:
    with kstore.Log.open(tmp_path) as log:
        for number in range(20):
            log.append(b"value %d" % number, key=b"k", headers={"h": b"1"}, timestamp_ms=1_700_000_000_000)
        log.append(None, timestamp_ms=1_700_000_000_000)
        shown = run("tail", "-n", 2, "--no-follow", tmp_path).stdout
    assert shown == (
        "19 2023-11-14 22:13:20 k value 19 h=1\n"  #
        "20 2023-11-14 22:13:20 - (null)\n"
    )


def test_tail_follows_a_log_that_is_being_written(tmp_path: Path) -> None:
    with (
        kstore.Log.open(tmp_path) as log,
        subprocess.Popen(
            [sys.executable, "examples/tail.py", "-n", "1", log.path],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as tail,
    ):
        assert tail.stdout is not None
        for number in range(3):
            log.append(b"value %d" % number)
            assert tail.stdout.readline().endswith(f"value {number}\n")
        tail.send_signal(signal.SIGINT)
        assert tail.communicate(timeout=60) == ("", "")
        assert tail.returncode == 0


def test_tail_of_nothing_says_so_in_a_line(tmp_path: Path) -> None:
    refused = run("tail", tmp_path, check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"tail: {tmp_path} holds 0 logs")
    assert refused.stderr.count("\n") == 1


# --- the broker in a test ---


def test_the_pytest_example_passes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "examples/test_broker.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout
