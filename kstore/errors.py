"""The refusals of kstore: one class for each error code of Kafka that kstore answers with.

A class is raised where the fault is found, with the facts; the request's edge turns it into its `code`.
`retriable` tells whether Kafka's clients try again (Errors.java and the exceptions that it names).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar


class KstoreError(Exception):
    """The root of everything that kstore raises on purpose."""


class ConfigError(KstoreError):
    """A configuration that kstore cannot start with; the message names place, key and what would be right."""


class DirectoryInUseError(ConfigError):
    """A directory that another process has open, or this one already. `pid` is None where the system does not tell."""

    pid: int | None = None


class ClosedError(KstoreError):
    """A log, store, batch or broker that was closed."""


class ForkedError(ClosedError):
    """A log, store, batch or broker of the process that this one was forked from: it stays the parent's alone."""


class OffsetConflictError(KstoreError):
    """An append that was to have one offset, and would have had another: somebody else was first."""

    def __init__(self, message: str, *, expected: int, actual: int) -> None:
        super().__init__(message)
        self.expected = expected
        self.actual = actual


class CorruptMetadataError(KstoreError):
    """What the cluster has written down cannot be understood. Nothing is overwritten."""


class SessionLostError(KstoreError):
    """ZooKeeper could not be asked, or the answer is not known: the change may have been made or not."""


class BrokerUnreachableError(KstoreError):
    """Another broker gave no answer; what it was asked may be done or not."""


class CorruptIndexError(KstoreError):
    """An index that cannot be right; it is rebuilt from the log."""


class NotCachedError(KstoreError):
    """What was to be read without waiting for the disk is not in the page cache. No fault, and no answer.

    `look_up` is for a thread that may wait: it reads the same, gives nothing, and may raise what reading raises. Then
    the pages are there.
    """

    look_up: Callable[[], object] | None = None


class KafkaError(KstoreError):
    """A refusal that a client may see. `str(error)` is sent where the answer has room for a message."""

    code: ClassVar[int] = -1  # UNKNOWN_SERVER_ERROR
    retriable: ClassVar[bool] = False


NONE = 0


class UnknownServerError(KafkaError):
    """A broken invariant or an unforeseen fault of the broker itself."""


class RetriableError(KafkaError):
    retriable = True


class OffsetOutOfRangeError(KafkaError):
    code = 1


class CorruptRecordError(RetriableError):
    """Bytes that are not what their checksum or their own lengths say: never stored, never served."""

    code = 2
    offset: int | None = None  # of the batch, where it is known
    position: int | None = None  # of the batch, in its file or buffer


class UnknownTopicOrPartitionError(RetriableError):
    code = 3


class LeaderNotAvailableError(RetriableError):
    code = 5


class NotLeaderOrFollowerError(RetriableError):
    code = 6


class RequestTimedOutError(RetriableError):
    code = 7


class ReplicaNotAvailableError(RetriableError):
    code = 9


class MessageTooLargeError(KafkaError):
    code = 10


class OffsetMetadataTooLargeError(KafkaError):
    """The text beside a committed offset is longer than offset.metadata.max.bytes."""

    code = 12


class CoordinatorLoadInProgressError(RetriableError):
    code = 14


class CoordinatorNotAvailableError(RetriableError):
    code = 15


class NotCoordinatorError(RetriableError):
    code = 16


class InvalidTopicError(KafkaError):
    code = 17


class RecordListTooLargeError(KafkaError):
    """A batch larger than a whole segment."""

    code = 18


class NotEnoughReplicasError(RetriableError):
    code = 19


class NotEnoughReplicasAfterAppendError(RetriableError):
    code = 20


class InvalidRequiredAcksError(KafkaError):
    code = 21


class IllegalGenerationError(KafkaError):
    code = 22


class InconsistentGroupProtocolError(KafkaError):
    code = 23


class InvalidGroupIdError(KafkaError):
    code = 24


class UnknownMemberIdError(KafkaError):
    code = 25


class InvalidSessionTimeoutError(KafkaError):
    code = 26


class RebalanceInProgressError(KafkaError):
    code = 27


class InvalidCommitOffsetSizeError(KafkaError):
    """A commit whose records are more than a batch of the offsets topic may hold."""

    code = 28


class InvalidTimestampError(KafkaError):
    code = 32
    record_errors: Sequence[tuple[int, str]] = ()  # index in the batch and message of each bad record (KIP-467)


class UnsupportedVersionError(KafkaError):
    code = 35


class TopicAlreadyExistsError(KafkaError):
    code = 36


class InvalidPartitionsError(KafkaError):
    code = 37


class InvalidReplicationFactorError(KafkaError):
    code = 38


class InvalidReplicaAssignmentError(KafkaError):
    code = 39


class InvalidConfigError(KafkaError):
    code = 40


class StaleControllerEpochError(KafkaError):
    """The request of a controller that has been replaced."""

    code = 11


class StaleBrokerEpochError(KafkaError):
    """What is asked of a broker, or by it, belongs to a registration that is over."""

    code = 77


class InvalidUpdateVersionError(KafkaError):
    code = 95


class IneligibleReplicaError(KafkaError):
    code = 107


class NotControllerError(RetriableError):
    code = 41


class PartlyRefusedError(KafkaError):
    """Some of what one request wanted was refused by whoever was quicker; the rest is done."""

    def __init__(self, refusals: Mapping[str, KafkaError]) -> None:
        super().__init__("; ".join(map(str, refusals.values())))
        self.refusals = refusals


class InvalidRequestError(KafkaError):
    code = 42


class UnsupportedForMessageFormatError(KafkaError):
    code = 43
    position: int | None = None  # of the batch, in its file or buffer


class PolicyViolationError(KafkaError):
    code = 44


class OutOfOrderSequenceError(KafkaError):
    code = 45


class DuplicateSequenceError(KafkaError):
    code = 46


class InvalidProducerEpochError(KafkaError):
    code = 47


class InvalidTxnStateError(KafkaError):
    code = 48


class TransactionCoordinatorFencedError(KafkaError):
    code = 52


class TransactionalIdAuthorizationError(KafkaError):
    code = 53


class KafkaStorageError(RetriableError):
    """The disk under a partition refused: full, failed, or taken offline."""

    code = 56


class LogDirNotFoundError(KafkaError):
    code = 57


class UnknownProducerIdError(KafkaError):
    code = 59


class ReassignmentInProgressError(KafkaError):
    code = 60


class NonEmptyGroupError(KafkaError):
    code = 68


class GroupIdNotFoundError(KafkaError):
    code = 69


class FetchSessionIdNotFoundError(RetriableError):
    code = 70


class InvalidFetchSessionEpochError(RetriableError):
    code = 71


class TopicDeletionDisabledError(KafkaError):
    code = 73


class FencedLeaderEpochError(RetriableError):
    code = 74


class UnknownLeaderEpochError(RetriableError):
    code = 75


class UnsupportedCompressionTypeError(KafkaError):
    code = 76


class OffsetNotAvailableError(RetriableError):
    code = 78


class MemberIdRequiredError(KafkaError):
    """A member joins without an id and is given one to join with (KIP-394)."""

    code = 79
    member_id: str = ""


class GroupMaxSizeReachedError(KafkaError):
    code = 81


class PreferredLeaderNotAvailableError(RetriableError):
    code = 80


class FencedInstanceIdError(KafkaError):
    """Another member has taken over the group.instance.id (KIP-345)."""

    code = 82


class EligibleLeadersNotAvailableError(RetriableError):
    code = 83


class ElectionNotNeededError(RetriableError):
    code = 84


class NoReassignmentInProgressError(KafkaError):
    code = 85


class GroupSubscribedToTopicError(KafkaError):
    code = 86


class InvalidRecordError(KafkaError):
    """A record or batch that is whole but breaks a rule of its partition."""

    code = 87
    record_index: int | None = None  # in its batch, where one record is to blame
    record_errors: Sequence[tuple[int, str]] = ()  # index in the batch and message of each bad record (KIP-467)


class InvalidProduceError(InvalidRecordError):
    """Records of a produce request that are not one batch of format 2: refused before their partition is asked."""


class UnstableOffsetCommitError(RetriableError):
    """An offset whose commit is not decided yet (KIP-447)."""

    code = 88


class ThrottlingQuotaExceededError(RetriableError):
    code = 89


class UnknownTopicIdError(RetriableError):
    code = 100


class InconsistentTopicIdError(RetriableError):
    code = 103


class FetchSessionTopicIdError(RetriableError):
    code = 106


class MismatchedEndpointTypeError(KafkaError):
    code = 114


class UnsupportedEndpointTypeError(KafkaError):
    code = 115
