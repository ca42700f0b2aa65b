"""Talking to a broker with confluent-kafka: how clients are made, and what their errors mean to who typed the command.

The library comes with the extra `kstore[cli]`; `kstore log` does without it.
"""

import argparse
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kstore.cli.errors import CommandError, UsageError

DEFAULT_BOOTSTRAP = "127.0.0.1:9092"
BOOTSTRAP_VARIABLE = "KSTORE_BOOTSTRAP_SERVER"
NO_SUCH_TOPIC = "there is no such topic; `kstore topics list` shows those that there are"
DEFAULT_TIMEOUT = 10.0
# What librdkafka puts before and behind the reason: the address that the user gave, and how long it took.
CONNECT_FAILED = re.compile(r"^.*?/bootstrap: |^\S+: (?=Connect)| \(after \d+ms in state \w+.*\)$")


def add_connection(parser: argparse.ArgumentParser, *, client_options: bool = True) -> None:
    """`client_options` are those of librdkafka, for commands that ask by it."""
    group = parser.add_argument_group("connection")
    group.add_argument(
        "-b",
        "--bootstrap-server",
        metavar="HOST:PORT",
        default=os.environ.get(BOOTSTRAP_VARIABLE) or DEFAULT_BOOTSTRAP,
        help=f"a broker, or several separated by commas (${BOOTSTRAP_VARIABLE}, else {DEFAULT_BOOTSTRAP})",
    )
    group.add_argument(
        "--timeout", type=seconds, default=DEFAULT_TIMEOUT, metavar="S", help="how long to wait for a broker (10)"
    )
    if not client_options:
        return
    group.add_argument(
        "-X",
        dest="client_options",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a configuration of librdkafka, such as security.protocol=SSL",
    )


def seconds(text: str) -> float:
    value = float(text)
    if not 0 < value < 86_400:
        raise argparse.ArgumentTypeError(f"{text} is not in (0, 86400)")
    return value


def key_values(words: list[str], option: str) -> dict[str, str]:
    """`key=value` words as a dictionary. Raises UsageError."""
    values = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f"{option} {word}: give KEY=VALUE")
        values[key] = value
    return values


def confluent_kafka() -> Any:
    """The client library. Raises CommandError where it is not installed."""
    try:
        import confluent_kafka
        import confluent_kafka.admin
    except ImportError as error:
        raise CommandError(f"this command needs confluent-kafka ({error}): pip install 'kstore[cli]'") from None
    return confluent_kafka


class Connection:
    """What the commands know of a broker: its address, and why it could not be reached."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.kafka = confluent_kafka()
        self.bootstrap: str = options.bootstrap_server
        self.timeout: float = options.timeout
        self._client_options = key_values(options.client_options, "-X")
        self.last_error: str | None = None
        self.is_refused = False

    def config(self, extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return {
            "bootstrap.servers": self.bootstrap,
            "client.id": "kstore-cli",
            # Its own lines on standard error would say what ours says, in other words and several times.
            "log_level": 0,
            "error_cb": self._on_error,
            **(extra or {}),
            **self._client_options,
        }

    def _on_error(self, error: Any) -> None:
        kinds = self.kafka.KafkaError
        if error.code() == kinds._ALL_BROKERS_DOWN:
            self.is_refused = True
        elif error.code() in (kinds._TRANSPORT, kinds._RESOLVE, kinds._SSL, kinds._AUTHENTICATION):
            self.last_error = CONNECT_FAILED.sub("", error.str())

    def admin(self) -> Any:
        return self._make(self.kafka.admin.AdminClient, {})

    def producer(self, config: Mapping[str, Any]) -> Any:
        return self._make(self.kafka.Producer, config)

    def consumer(self, config: Mapping[str, Any]) -> Any:
        return self._make(self.kafka.Consumer, config)

    def _make(self, client: Callable[[dict[str, Any]], Any], config: Mapping[str, Any]) -> Any:
        try:
            return client(self.config(config))
        except self.kafka.KafkaException as error:
            raise UsageError(f"-X: {error.args[0].str()}") from None
        except (TypeError, ValueError) as error:
            raise UsageError(f"-X: {error}") from None

    def explain(self, error: Any) -> str:
        """An error of the client or the broker in one line."""
        unreachable = (self.kafka.KafkaError._TRANSPORT, self.kafka.KafkaError._ALL_BROKERS_DOWN)
        if error.code() in unreachable or (error.code() == self.kafka.KafkaError._TIMED_OUT and self.last_error):
            return self.unreachable()
        if error.code() == self.kafka.KafkaError._TIMED_OUT:
            return f"no answer from {self.bootstrap} within {self.timeout:g} s: try again, or a longer --timeout"
        return str(error.str())

    def unreachable(self) -> str:
        reason = f" ({self.last_error})" if self.last_error else ""
        return (
            f"no broker answers at {self.bootstrap}{reason}: start one there, or give another address with"
            " --bootstrap-server"
        )

    @contextmanager
    def errors(self, what: str = "") -> Iterator[None]:
        """Turns what the client raises into a line that begins with `what`."""
        try:
            yield
        except self.kafka.KafkaException as error:
            text = self.explain(error.args[0])
            raise CommandError(f"{what}: {text}" if what else text) from None

    def metadata(self, client: Any, topic: str | None = None) -> Any:
        """The cluster's metadata. Raises CommandError, also when there is no `topic`."""
        # Not by its name: a broker would create a topic that is asked for so.
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                found = client.list_topics(timeout=min(0.5, self.timeout))
                break
            except self.kafka.KafkaException as error:
                client.poll(0)  # the reason comes in a callback
                if self.is_refused or time.monotonic() >= deadline:
                    raise CommandError(self.explain(error.args[0])) from None
        if topic is not None and topic not in found.topics:
            raise CommandError(f"{topic}: {NO_SUCH_TOPIC}")
        return found

    def topic_error(self, error: Any) -> str:
        if error.code() == self.kafka.KafkaError.UNKNOWN_TOPIC_OR_PART:
            return NO_SUCH_TOPIC
        return self.explain(error)
