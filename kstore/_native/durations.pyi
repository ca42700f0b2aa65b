"""How long things took: counts by powers of two of a microsecond."""

class Durations:
    """A histogram that costs a few nanoseconds an observation, and 256 bytes."""

    @property
    def count(self) -> int: ...
    @property
    def seconds(self) -> float:
        """The sum of all that was observed."""

    def observe(self, nanoseconds: int) -> None: ...
    def cumulative(self) -> list[tuple[float, int]]:
        """(seconds, how many took no longer), from a microsecond to infinity by powers of two."""
