"""`kstore consume`: the records of topics, for people, for pipes and for programs."""

import argparse
import sys
from typing import Any

from kstore.cli.arguments import Commands, add_command, add_json, add_topic, integer
from kstore.cli.connection import Connection, add_connection
from kstore.cli.errors import CommandError, UsageError
from kstore.cli.offsets import Place, chosen_partitions, parse_place, resolve
from kstore.cli.output import one_line, print_json, timestamp_text

EXAMPLES = """
kstore consume greetings                           the values, and what is still to come
kstore consume orders -e --keys                    all that there is, with keys, and no more
kstore consume orders --from -10 -e -v             the last ten of each partition, in full
kstore consume orders --from 2024-05-01T12:00Z -n 100
kstore consume orders --group billing              as a member of a group, which remembers how far it came
"""
POLL_SECONDS = 0.2
BATCH = 500


def add_commands(commands: Commands) -> None:
    parser = add_command(
        commands,
        "consume",
        run,
        summary="read records",
        description=(
            "Prints the records of topics, a value a line, and waits for more until it is interrupted, unless -e or -n"
            "\nsay otherwise. Without --group it asks for nothing and leaves nothing behind."
        ),
        examples=EXAMPLES,
    )
    add_topic(parser, nargs="+")
    parser.add_argument(
        "--from",
        dest="start",
        type=parse_place,
        metavar="WHERE",
        help="beginning (the default), end, an offset, -N for the last N, or a time",
    )
    parser.add_argument("-e", "--exit-at-end", action="store_true", help="end when all that there is was read")
    parser.add_argument("-n", "--count", type=integer(1), metavar="N", help="end after so many records")
    parser.add_argument(
        "-p", "--partition", type=integer(0, 2**31 - 1), action="append", default=[], metavar="N", help="only these"
    )
    parser.add_argument("-g", "--group", metavar="GROUP", help="consume as a member of this group, and commit")
    parser.add_argument("--keys", action="store_true", help="key and value, with a tab between them")
    parser.add_argument("-v", "--verbose", action="store_true", help="partition, offset, time, key, value, headers")
    add_json(parser)
    add_connection(parser)


def run(options: argparse.Namespace) -> int:
    if options.group and (options.partition or options.start):
        raise UsageError(
            "--group reads where the group has come to, of the partitions that it is given: leave out --from and"
            " --partition (`kstore groups reset-offsets` moves a group)"
        )
    connection = Connection(options)
    config: dict[str, Any] = {
        "group.id": options.group or "kstore-cli",
        "enable.auto.commit": bool(options.group),
        # What was printed is committed, nothing else.
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "enable.partition.eof": True,
        "allow.auto.create.topics": False,
    }
    consumer = connection.consumer(config)
    reading = Reading(connection, consumer, options)
    try:
        if options.group:
            reading.join()
        else:
            reading.assign(options.start or Place("beginning"))
        reading.run()
    finally:
        try:
            sys.stdout.flush()
        finally:
            consumer.close()
    return 0


class Reading:
    """Prints what is read until there is reason to end."""

    def __init__(self, connection: Connection, consumer: Any, options: argparse.Namespace) -> None:
        self._connection = connection
        self._consumer = consumer
        self._options = options
        self._print = printer(options)
        self._partitions: set[tuple[str, int]] = set()
        self._at_end: set[tuple[str, int]] = set()
        self._left: int | None = options.count

    def assign(self, place: Place) -> None:
        connection = self._connection
        admin = connection.admin()
        for topic in self._options.topics:
            self._partitions.update(chosen_partitions(connection, admin, topic, self._options.partition))
        offsets = resolve(connection, admin, place, self._partitions)
        self._consumer.assign(
            [
                connection.kafka.TopicPartition(topic, partition, offset)
                for (topic, partition), offset in offsets.items()
            ]
        )

    def join(self) -> None:
        for topic in self._options.topics:
            self._connection.metadata(self._consumer, topic)
        self._consumer.subscribe(self._options.topics, on_assign=self._assigned, on_revoke=self._revoked)

    def _assigned(self, consumer: Any, partitions: list[Any]) -> None:
        self._partitions.update((found.topic, found.partition) for found in partitions)

    def _revoked(self, consumer: Any, partitions: list[Any]) -> None:
        gone = {(found.topic, found.partition) for found in partitions}
        self._partitions -= gone
        self._at_end -= gone

    def run(self) -> None:
        while not self._is_done():
            most = BATCH if self._left is None else min(BATCH, self._left)
            with self._connection.errors():
                # What has come is taken at once: consume() would wait until it has as many as it may give.
                first = self._consumer.poll(POLL_SECONDS)
                messages = [] if first is None else [first, *self._consumer.consume(most - 1, 0)]
            for message in messages:
                self._message(message)
            if messages:
                sys.stdout.flush()
            elif self._connection.is_refused:
                raise CommandError(self._connection.unreachable())

    def _is_done(self) -> bool:
        if self._left == 0:
            return True
        return bool(self._options.exit_at_end and self._partitions and self._at_end >= self._partitions)

    def _message(self, message: Any) -> None:
        error = message.error()
        where = (message.topic(), message.partition())
        if error is None:
            self._at_end.discard(where)
            self._print(message)
            if self._left is not None:
                self._left -= 1
            if self._options.group:
                self._consumer.store_offsets(message)
        elif error.code() == self._connection.kafka.KafkaError._PARTITION_EOF:
            self._at_end.add(where)
        else:
            raise CommandError(f"{message.topic() or self._options.topics[0]}: {self._connection.topic_error(error)}")


def printer(options: argparse.Namespace) -> Any:
    if options.json:
        return print_message_json
    if options.verbose:
        return print_message_verbose
    # A terminal acts on control characters; a file or a pipe gets the bytes as they are.
    return TextPrinter(with_keys=options.keys) if sys.stdout.isatty() else BytesPrinter(with_keys=options.keys)


class BytesPrinter:
    def __init__(self, *, with_keys: bool) -> None:
        self._with_keys = with_keys
        self._out = getattr(sys.stdout, "buffer", None)

    def __call__(self, message: Any) -> None:
        line = message.value() or b""
        if self._with_keys:
            line = (message.key() or b"") + b"\t" + line
        if self._out is not None:
            self._out.write(line + b"\n")
        else:
            sys.stdout.write(line.decode("utf-8", "replace") + "\n")


class TextPrinter:
    def __init__(self, *, with_keys: bool) -> None:
        self._with_keys = with_keys

    def __call__(self, message: Any) -> None:
        text = plain_text(message.value())
        sys.stdout.write(f"{plain_text(message.key())}\t{text}\n" if self._with_keys else f"{text}\n")


def plain_text(data: bytes | None) -> str:
    return one_line((data or b"").decode("utf-8", "backslashreplace"))


def print_message_json(message: Any) -> None:
    from kstore.cli.logs.rows import TIMESTAMP_TYPES, put_bytes

    kind, timestamp = message.timestamp()
    row: dict[str, Any] = {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "timestamp": timestamp,
        "timestamp_type": TIMESTAMP_TYPES[1 if kind == 2 else 0],
    }
    put_bytes(row, "key", message.key())
    put_bytes(row, "value", message.value())
    row["headers"] = [put_bytes({"key": key}, "value", value) for key, value in message.headers() or ()]
    print_json(row)


def print_message_verbose(message: Any) -> None:
    from kstore.cli.logs.rows import bytes_text, text_text

    line = (
        f"{message.topic()}-{message.partition()} {message.offset()}  {timestamp_text(message.timestamp()[1])}"
        f"  key={bytes_text(message.key(), True)}  value={bytes_text(message.value(), True)}"
    )
    headers = ", ".join(f"{text_text(key, True)}={bytes_text(value, True)}" for key, value in message.headers() or ())
    print(line + (f"  headers: {headers}" if headers else ""))
