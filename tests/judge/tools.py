"""Kafka's own command-line tools of one version, run in one JVM that stays; their output is text to judge."""

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.judge.java import JudgeError, ToolServer, java_command

DUMP_CLASS = {"3.9.1": "kafka.tools.DumpLogSegments", "4.3.0": "org.apache.kafka.tools.DumpLogSegments"}
# What DumpLogSegments prints when a file is not in order; it exits with 0 all the same.
DUMP_COMPLAINTS = re.compile(
    r"Mismatches in|Non-consecutive|timestamp mismatch|Index timestamp|larger than .* indexed|isvalid: false"
    r"|Found (?:timestamp|out of order)|No log file|Invalid|corrupt|Exception|trailing bytes|not found",
    re.IGNORECASE,
)


class KafkaTools:
    """Kafka's own command-line tools of one version, by the names that their shell scripts have."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.server = ToolServer(version)

    def run(self, main_class: str, *arguments: object, **options: object) -> str:
        return self.server.run(main_class, *arguments, **options).out  # type: ignore[arg-type]

    def dump_log(self, *files: Path, deep: bool = True, arguments: Sequence[str] = (), timeout: float = 120) -> str:
        """kafka-dump-log.sh; what it prints. `files` are any of a partition: logs, indexes, snapshots."""
        options = ["--deep-iteration", "--print-data-log"] if deep else []
        names = ",".join(map(str, files))
        return self.run(DUMP_CLASS[self.version], *options, *arguments, "--files", names, timeout=timeout)

    def assert_partition_is_sound(self, directory: Path, timeout: float = 120) -> str:
        """DumpLogSegments reads every file of a partition directory without a complaint; what it printed."""
        suffixes = (".log", ".index", ".timeindex", ".txnindex", ".snapshot")
        files = sorted(file for file in directory.iterdir() if file.suffix in suffixes)
        assert files, f"no log files in {directory}"
        printed = self.dump_log(
            *(file for file in files if file.suffix not in (".index", ".timeindex")), timeout=timeout
        )
        indexes = [file for file in files if file.suffix in (".index", ".timeindex")]
        if indexes:
            # Checked both ways: against the log (no flag), then the index's own order (--index-sanity-check).
            printed += self.dump_log(*indexes, deep=False, timeout=timeout)
            printed += self.dump_log(*indexes, deep=False, arguments=["--index-sanity-check"], timeout=timeout)
        complaint = DUMP_COMPLAINTS.search(printed)
        assert complaint is None, f"DumpLogSegments of {directory}: {complaint and complaint[0]}\n{printed[-6000:]}"
        return printed

    def topics(self, bootstrap: str, *arguments: object, **options: object) -> str:
        return self._admin("org.apache.kafka.tools.TopicCommand", bootstrap, arguments, options)

    def configs(self, bootstrap: str, *arguments: object, **options: object) -> str:
        return self._admin("kafka.admin.ConfigCommand", bootstrap, arguments, options)

    def delete_records(self, bootstrap: str, offsets_file: Path, **options: object) -> str:
        arguments = ("--offset-json-file", offsets_file)
        return self._admin("org.apache.kafka.tools.DeleteRecordsCommand", bootstrap, arguments, options)

    def log_dirs(self, bootstrap: str, *arguments: object, **options: object) -> str:
        return self._admin("org.apache.kafka.tools.LogDirsCommand", bootstrap, arguments, options)

    def groups(self, bootstrap: str, *arguments: object, **options: object) -> str:
        main = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
        return self._admin(main, bootstrap, arguments, options)

    def get_offsets(self, bootstrap: str, *arguments: object, **options: object) -> str:
        return self._admin("org.apache.kafka.tools.GetOffsetShell", bootstrap, arguments, options)

    def console_producer(self, bootstrap: str, topic: str, lines: str, *arguments: object, timeout: float = 60) -> str:
        main = "kafka.tools.ConsoleProducer" if self.version == "3.9.1" else "org.apache.kafka.tools.ConsoleProducer"
        words = ("--bootstrap-server", bootstrap, "--topic", topic, *arguments)
        return self.run(main, *words, stdin=lines, timeout=timeout)

    def console_consumer(self, bootstrap: str, topic: str, *arguments: object, timeout: float = 60) -> str:
        main = "org.apache.kafka.tools.consumer.ConsoleConsumer"
        return self.run(main, "--bootstrap-server", bootstrap, "--topic", topic, *arguments, timeout=timeout)

    def producer_performance(self, bootstrap: str, topic: str, *arguments: object, timeout: float = 120) -> str:
        main = "org.apache.kafka.tools.ProducerPerformance"
        properties = ("--producer-props", f"bootstrap.servers={bootstrap}")
        return self.run(main, "--topic", topic, *arguments, *properties, timeout=timeout)

    def verifiable_producer(self, bootstrap: str, topic: str, *arguments: object, timeout: float = 120) -> str:
        """In a JVM of its own: it says its last words when that ends."""
        main = "org.apache.kafka.tools.VerifiableProducer"
        words = [main, "--bootstrap-server", bootstrap, "--topic", topic, *map(str, arguments)]
        command = [*java_command(self.version, heap="256m"), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
        if done.returncode:
            raise JudgeError(f"{words}: {done.stdout}\n{done.stderr}")
        return done.stdout

    def _admin(
        self, main_class: str, bootstrap: str, arguments: Sequence[object], options: Mapping[str, object]
    ) -> str:
        return self.run(main_class, "--bootstrap-server", bootstrap, *arguments, **options)

    def close(self) -> None:
        self.server.close()
