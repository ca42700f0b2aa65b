"""`kstore produce`: lines, or records as JSON, from standard input or files into a topic."""

import argparse
import sys
from collections.abc import Iterator
from typing import Any

from kstore.cli.arguments import Commands, add_command, add_topic, integer
from kstore.cli.connection import Connection, add_connection, key_values
from kstore.cli.errors import CommandError, UsageError
from kstore.cli.output import Progress, count_text, print_json
from kstore.cli.records import ToProduce, parse_record

EXAMPLES = """
echo hello | kstore produce greetings
kstore produce orders --key-separator : < orders.txt           key:value lines
kstore produce files --whole -f picture.png -f notes.txt       each file is a record
kstore consume orders -e --json | kstore produce copy --json   records with keys, headers and times
"""


def add_commands(commands: Commands) -> None:
    parser = add_command(
        commands,
        "produce",
        run,
        summary="write records, from standard input or files",
        description=(
            "Writes each line as a record: the value, or key and value with --key-separator. With --json each line is"
            "\na record as `kstore consume --json` prints it. Ends when all are acknowledged."
        ),
        examples=EXAMPLES,
    )
    add_topic(parser)
    # Not a positional: argparse takes no more of those once an option has come between.
    parser.add_argument(
        "-f",
        "--file",
        dest="files",
        action="append",
        default=[],
        metavar="FILE",
        help="else standard input; repeatable",
    )
    parser.add_argument("--json", action="store_true", help="lines are JSON; say in JSON where each record was put")
    parser.add_argument("--whole", action="store_true", help="each file is one record, whatever is in it")
    parser.add_argument("-K", "--key-separator", metavar="TEXT", help="what stands between key and value")
    parser.add_argument("-H", "--header", action="append", default=[], metavar="KEY=VALUE", help="of each record")
    parser.add_argument("-p", "--partition", type=integer(0, 2**31 - 1), metavar="N", help="else by the key's hash")
    parser.add_argument("--keep-partitions", action="store_true", help="the partition that each JSON record names")
    parser.add_argument("-z", "--compression", choices=("none", "gzip", "snappy", "lz4", "zstd"), default="none")
    parser.add_argument("--acks", choices=("0", "1", "all"), default="all", help="who has to confirm (all)")
    add_connection(parser)


def run(options: argparse.Namespace) -> int:
    if options.whole and (options.json or options.key_separator):
        raise UsageError("--whole takes files as they are: neither --json nor --key-separator goes with it")
    if options.keep_partitions and (options.partition is not None or not options.json):
        raise UsageError("--keep-partitions is for --json, and without --partition")
    if options.key_separator == "":
        raise UsageError("--key-separator: give at least one character")
    connection = Connection(options)
    config = {
        "acks": options.acks,
        "enable.idempotence": options.acks == "all",
        "compression.type": options.compression,
        "message.timeout.ms": round(connection.timeout * 1000),
        "topic.metadata.propagation.max.ms": round(connection.timeout * 1000),
        # As Java's clients do it, so that a key goes where theirs go.
        "partitioner": "murmur2_random",
        "linger.ms": 5,
    }
    producer = connection.producer(config)
    connection.metadata(producer)
    sending = Sending(connection, producer, options)
    try:
        for record in read_records(options):
            sending.send(record)
    finally:
        sending.finish()
    if sending.failed:
        raise CommandError(
            f"{options.topic}: {count_text(sending.failed, 'record')} of {sending.sent} not written: {sending.reason}"
        )
    if not options.json:
        print(f"wrote {count_text(sending.sent, 'record')} to {options.topic}", file=sys.stderr)
    return 0


class Sending:
    """Records on their way; `failed` of them were refused, the first for `reason`."""

    def __init__(self, connection: Connection, producer: Any, options: argparse.Namespace) -> None:
        self._connection = connection
        self._producer = producer
        self._topic: str = options.topic
        self._partition: int | None = options.partition
        self._keeps_partitions: bool = options.keep_partitions
        headers = key_values(options.header, "--header")
        for text in (self._topic, *headers):
            text.encode()  # the client library takes what is no UTF-8 for granted, and ends the process
        self._headers = [(key, value.encode()) for key, value in headers.items()]
        self._tells: bool = options.json
        self._progress = Progress("producing", 0)
        self.sent = self.failed = 0
        self.reason = ""

    def send(self, record: ToProduce) -> None:
        partition = record.partition if self._keeps_partitions else self._partition
        arguments: dict[str, Any] = {} if partition is None else {"partition": partition}
        if record.timestamp is not None:
            arguments["timestamp"] = record.timestamp
        headers = [*record.headers, *self._headers]
        while True:
            try:
                self._producer.produce(
                    self._topic, record.value, record.key, on_delivery=self._delivered, headers=headers, **arguments
                )
                break
            except BufferError:
                self._producer.poll(0.1)
            except self._connection.kafka.KafkaException as error:
                raise CommandError(f"{self._topic}: {self._connection.topic_error(error.args[0])}") from None
        self.sent += 1
        self._producer.poll(0)
        self._progress.advance(1, f"{self.sent} records")

    def _delivered(self, error: Any, message: Any) -> None:
        if error is not None:
            self.failed += 1
            self.reason = self.reason or self._connection.topic_error(error)
        elif self._tells:
            row = {"topic": message.topic(), "partition": message.partition(), "offset": message.offset()}
            try:
                print_json(row)
            except BrokenPipeError:
                # Who reads us has seen enough; what is on its way is written all the same.
                self._tells = False

    def finish(self) -> None:
        """Waits until each record is acknowledged or given up, which `message.timeout.ms` bounds."""
        while self._producer.flush(1):
            self._progress.advance(0, f"{len(self._producer)} records wait for an answer")
        self._progress.clear()


def read_records(options: argparse.Namespace) -> Iterator[ToProduce]:
    names = options.files or ["-"]
    separator = options.key_separator.encode() if options.key_separator else None
    for name in names:
        try:
            with sys.stdin.buffer if name == "-" else open(name, "rb") as file:
                if options.whole:
                    yield ToProduce(None, file.read(), [])
                    continue
                for number, line in enumerate(file, 1):
                    where = f"{'standard input' if name == '-' else name}, line {number}"
                    yield parse_line(line.removesuffix(b"\n"), separator, where, as_json=options.json)
        except OSError as error:
            raise UsageError(f"{name}: {error.strerror or error}") from None


def parse_line(line: bytes, separator: bytes | None, where: str, *, as_json: bool) -> ToProduce:
    if as_json:
        try:
            return parse_record(line.decode(), where)
        except UnicodeDecodeError:
            raise UsageError(f"{where}: is not UTF-8") from None
    if separator is None:
        return ToProduce(None, line, [])
    key, found, value = line.partition(separator)
    if not found:
        raise UsageError(f"{where}: has no {separator.decode()!r} between key and value")
    return ToProduce(key, value, [])
