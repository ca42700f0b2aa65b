"""kstore: the log of Apache Kafka, its files, its wire and its replication, as a small native engine.

    with kstore.Log.open("events") as log:
        offset = log.append(b"value", key=b"k")
        for record in log.read(offset): ...

`docs/library.md` tells of all that stands in `__all__`; importing kstore loads none of it before it is used.

The floors, lowest first; a floor imports only floors below it (`tests/test_layering.py` holds this):

0. errors, model, clock, config_def   words shared by all
1. `src/`                             C, without Python
2. _native                            typed doors to C, and the OS calls that Python lacks
3. log, protocol                      one partition on disk; wire messages and framing
4. replica, coordinator, cluster      leader, high watermark; groups; the metadata image and its log
5. client                             talking to other brokers
6. server                             sockets, tasks, timers, handlers
7. embedded, cli                      the library's face in this process; the command line
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from kstore._native.batch import RecordBatch
    from kstore._native.record import Record
    from kstore.clock import ManualClock
    from kstore.embedded.aio import AsyncBatch, AsyncLog, AsyncReadonlyLog
    from kstore.embedded.batch import Batch, Pending
    from kstore.embedded.broker import Broker
    from kstore.embedded.log import Log
    from kstore.embedded.message import Message
    from kstore.embedded.readonly import ReadonlyLog, ReadonlyStore
    from kstore.embedded.store import LogStore
    from kstore.errors import (
        ClosedError,
        ConfigError,
        CorruptRecordError,
        DirectoryInUseError,
        ForkedError,
        InvalidConfigError,
        KafkaError,
        KafkaStorageError,
        KstoreError,
        MessageTooLargeError,
        OffsetConflictError,
        OffsetOutOfRangeError,
        TopicAlreadyExistsError,
        UnknownTopicOrPartitionError,
    )

__version__ = "0.1.0"

__all__ = [
    "AsyncBatch",
    "AsyncLog",
    "AsyncReadonlyLog",
    "Batch",
    "Broker",
    "ClosedError",
    "ConfigError",
    "CorruptRecordError",
    "DirectoryInUseError",
    "ForkedError",
    "InvalidConfigError",
    "KafkaError",
    "KafkaStorageError",
    "KstoreError",
    "Log",
    "LogStore",
    "ManualClock",
    "Message",
    "MessageTooLargeError",
    "OffsetConflictError",
    "OffsetOutOfRangeError",
    "Pending",
    "ReadonlyLog",
    "ReadonlyStore",
    "Record",
    "RecordBatch",
    "TopicAlreadyExistsError",
    "UnknownTopicOrPartitionError",
]

# Where a name is at home; all others are errors.
_HOMES = {
    "AsyncBatch": "kstore.embedded.aio",
    "AsyncLog": "kstore.embedded.aio",
    "AsyncReadonlyLog": "kstore.embedded.aio",
    "Batch": "kstore.embedded.batch",
    "Broker": "kstore.embedded.broker",
    "Log": "kstore.embedded.log",
    "LogStore": "kstore.embedded.store",
    "ManualClock": "kstore.clock",
    "Message": "kstore.embedded.message",
    "Pending": "kstore.embedded.batch",
    "ReadonlyLog": "kstore.embedded.readonly",
    "ReadonlyStore": "kstore.embedded.readonly",
    "Record": "kstore._native.record",
    "RecordBatch": "kstore._native.batch",
}


def __getattr__(name: str) -> object:
    """A name of `__all__`, loaded when it is first used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'kstore' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES.get(name, "kstore.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
