"""What a leader knows of one follower: when it last had all that there was.

A replica that asks for the end of the log has caught up now; one that asks for what was the end at its last fetch had
caught up then, so that small appends at a high rate throw nobody out (rule 23; Replica.scala).
"""

NEVER_MS = -(2**62)
NO_BROKER_EPOCH = -1


class ReplicaState:
    __slots__ = (
        "broker_epoch",
        "end_at_last_fetch",
        "last_caught_up_ms",
        "last_fetch_ms",
        "log_start_offset",
        "previous_fetch_ms",
    )

    def __init__(self) -> None:
        # As the follower says it; -1 says nothing.
        self.broker_epoch = NO_BROKER_EPOCH
        self.log_start_offset = -1
        # The leader's log end when the follower last fetched.
        self.end_at_last_fetch = -1
        self.last_fetch_ms = NEVER_MS
        # Of the fetch before the last: its answer has been heard since.
        self.previous_fetch_ms = NEVER_MS
        self.last_caught_up_ms = NEVER_MS

    def elected(self, *, end_offset: int, is_in_sync: bool, is_new_leader: bool, monotonic_ms: int) -> None:
        """The leader's epoch begins. Who is not in sync must not hold the high watermark back until it has fetched."""
        self.last_caught_up_ms = monotonic_ms if is_in_sync else NEVER_MS
        self.last_fetch_ms = monotonic_ms if is_in_sync and not is_new_leader else NEVER_MS
        self.previous_fetch_ms = NEVER_MS
        self.end_at_last_fetch = -1 if is_new_leader else end_offset
        if is_new_leader:
            self.broker_epoch = NO_BROKER_EPOCH

    def fetched(
        self, offset: int, *, log_start_offset: int, leader_end: int, broker_epoch: int, monotonic_ms: int
    ) -> None:
        if offset >= leader_end:
            self.last_caught_up_ms = monotonic_ms
        elif offset >= self.end_at_last_fetch:
            self.last_caught_up_ms = max(self.last_caught_up_ms, self.last_fetch_ms)
        self.end_at_last_fetch = max(self.end_at_last_fetch, leader_end)
        self._has_fetched(monotonic_ms)
        self.log_start_offset = log_start_offset
        self.broker_epoch = broker_epoch

    def asked_for_end(self, monotonic_ms: int) -> None:
        """It fetched, and has all that there is."""
        self.last_caught_up_ms = monotonic_ms
        self._has_fetched(monotonic_ms)

    def _has_fetched(self, monotonic_ms: int) -> None:
        self.previous_fetch_ms = self.last_fetch_ms
        self.last_fetch_ms = monotonic_ms

    def is_caught_up(self, end_offset: int, *, leader_end: int, lag_ms: int, monotonic_ms: int) -> bool:
        return end_offset == leader_end or monotonic_ms - self.last_caught_up_ms <= lag_ms
