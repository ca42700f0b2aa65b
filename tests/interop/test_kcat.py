"""kcat, Debian's, over librdkafka: what a stranger types first."""

import subprocess

import pytest

from tests.interop.conftest import NewGroup, NewTopic

pytestmark = pytest.mark.kcat


def kcat(bootstrap: str, *arguments: str, stdin: str = "") -> str:
    done = subprocess.run(
        ["kcat", "-b", bootstrap, *arguments], input=stdin, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_what_is_produced_is_consumed(bootstrap: str, new_topic: NewTopic, codec: str) -> None:
    topic = new_topic()
    lines = [f"line {number} {'x' * (number % 70)}" for number in range(1000)]
    kcat(bootstrap, "-P", "-t", topic, "-z", codec, stdin="\n".join(lines) + "\n")
    assert kcat(bootstrap, "-C", "-t", topic, "-e", "-q").splitlines() == lines


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_every_kind_of_acks(bootstrap: str, new_topic: NewTopic, acks: str) -> None:
    topic = new_topic()
    kcat(bootstrap, "-P", "-t", topic, "-X", f"acks={acks}", stdin="a\nb\nc\n")
    # Nothing says when acks=0 has arrived, but the consumer waits for three records.
    assert kcat(bootstrap, "-C", "-t", topic, "-o", "beginning", "-c", "3", "-q").split() == ["a", "b", "c"]


def test_keys_headers_and_partitions(bootstrap: str, new_topic: NewTopic) -> None:
    topic = new_topic(partitions=3)
    kcat(bootstrap, "-P", "-t", topic, "-p", "2", "-K:", "-H", "h=1", "-H", "i=", stdin="k:v\n")
    read = kcat(bootstrap, "-C", "-t", topic, "-p", "2", "-e", "-q", "-f", "%p %o %k %s %h\\n")
    assert read == "2 0 k v h=1,i=\n"


def test_null_values(bootstrap: str, new_topic: NewTopic) -> None:
    topic = new_topic()
    kcat(bootstrap, "-P", "-t", topic, "-K:", "-Z", stdin="gone:\n")
    assert kcat(bootstrap, "-C", "-t", topic, "-e", "-q", "-Z", "-f", "%k %s %S\\n") == "gone NULL -1\n"


def test_idempotent_producer(bootstrap: str, new_topic: NewTopic) -> None:
    topic = new_topic()
    lines = [str(number) for number in range(500)]
    kcat(bootstrap, "-P", "-t", topic, "-X", "enable.idempotence=true", stdin="\n".join(lines) + "\n")
    assert kcat(bootstrap, "-C", "-t", topic, "-e", "-q").splitlines() == lines


def test_offsets_from_the_start_the_end_and_the_middle(bootstrap: str, new_topic: NewTopic) -> None:
    topic = new_topic()
    kcat(bootstrap, "-P", "-t", topic, stdin="".join(f"{number}\n" for number in range(10)))
    assert kcat(bootstrap, "-C", "-t", topic, "-o", "7", "-e", "-q").split() == ["7", "8", "9"]
    assert kcat(bootstrap, "-C", "-t", topic, "-o", "-2", "-e", "-q").split() == ["8", "9"]
    assert kcat(bootstrap, "-Q", "-t", f"{topic}:0:-1").strip().endswith("offset 10")
    assert kcat(bootstrap, "-Q", "-t", f"{topic}:0:-2").strip().endswith("offset 0")


def test_offset_by_timestamp(bootstrap: str, new_topic: NewTopic) -> None:
    topic = new_topic()
    kcat(bootstrap, "-P", "-t", topic, stdin="early\n")
    stamp = int(kcat(bootstrap, "-C", "-t", topic, "-e", "-q", "-f", "%T"))
    kcat(bootstrap, "-P", "-t", topic, stdin="late\n")
    assert kcat(bootstrap, "-C", "-t", topic, "-o", f"s@{stamp}", "-e", "-q").split() == ["early", "late"]
    assert kcat(bootstrap, "-Q", "-t", f"{topic}:0:{stamp}").strip().endswith("offset 0")


@pytest.mark.parametrize("isolation", ["read_committed", "read_uncommitted"])
def test_isolation_levels(bootstrap: str, new_topic: NewTopic, isolation: str) -> None:
    topic = new_topic()
    kcat(bootstrap, "-P", "-t", topic, stdin="seen\n")
    assert kcat(bootstrap, "-C", "-t", topic, "-X", f"isolation.level={isolation}", "-e", "-q") == "seen\n"


def test_topic_is_made_by_the_first_producer(bootstrap: str) -> None:
    kcat(bootstrap, "-P", "-t", "made-by-kcat", stdin="first\n")
    assert kcat(bootstrap, "-C", "-t", "made-by-kcat", "-e", "-q") == "first\n"


def test_metadata_is_listed(bootstrap: str, new_topic: NewTopic) -> None:
    topic = new_topic(partitions=4)
    listed = kcat(bootstrap, "-L", "-t", topic)
    assert f'topic "{topic}" with 4 partitions' in listed
    assert "1 brokers" in listed


def balanced(bootstrap: str, group: str, *topics: str, count: int) -> list[str]:
    """What a member of a group reads until it has `count` records; it commits them when it leaves."""
    settings = ("-X", "auto.offset.reset=earliest", "-X", "session.timeout.ms=10000")
    return kcat(bootstrap, *settings, "-c", str(count), "-q", "-G", group, *topics).split()


def test_a_group_goes_on_where_it_was(bootstrap: str, new_topic: NewTopic, new_group: NewGroup) -> None:
    topic, group = new_topic(partitions=3), new_group()
    first, second = ([f"{part}-{number}" for number in range(30)] for part in "ab")
    kcat(bootstrap, "-P", "-t", topic, stdin="\n".join(first) + "\n")
    assert sorted(balanced(bootstrap, group, topic, count=30)) == sorted(first)
    kcat(bootstrap, "-P", "-t", topic, stdin="\n".join(second) + "\n")
    assert sorted(balanced(bootstrap, group, topic, count=30)) == sorted(second)


def test_a_group_reads_several_topics_by_pattern(bootstrap: str, new_topic: NewTopic, new_group: NewGroup) -> None:
    topics = [new_topic(), new_topic()]
    for topic in topics:
        kcat(bootstrap, "-P", "-t", topic, stdin=f"{topic}\n")
    pattern = "^" + "|^".join(topics)
    assert sorted(balanced(bootstrap, new_group(), pattern, count=2)) == sorted(topics)
