"""Whether something may still be used: nobody has closed it, and this is the process that opened it.

A forked child has the parent's objects but not its threads or its locks on directories; whatever it wrote would land in
the middle of what the parent writes. So all that was open at the fork refuses in the child, where closing it lets go of
the files and writes nothing.
"""

import os
import threading
from typing import NoReturn
from weakref import WeakSet

from kstore.errors import ClosedError, ForkedError

_guards: "WeakSet[Guard]" = WeakSet()


class Guard:
    """`refusal` is None as long as use is allowed; `lock` is what its users are kept apart by."""

    refusal: str | None = "it was never opened"

    def __init__(self, name: str) -> None:
        self.name = name
        self.lock = threading.Lock()
        self.refusal = None
        self.is_forked = False
        _guards.add(self)

    def refuse(self) -> NoReturn:
        raise (ForkedError if self.is_forked else ClosedError)(self.refusal)

    def check(self) -> None:
        """Raises ClosedError, or ForkedError in a child of the process that opened it."""
        if self.refusal is not None:
            self.refuse()

    def closed(self) -> None:
        """From now on use is refused."""
        if not self.is_forked:
            self.refusal = f"{self.name} is closed"

    def forked(self) -> None:
        """In a forked child: whoever had the lock is not here."""
        self.lock = threading.Lock()
        if self.refusal is None:
            self.is_forked = True
            self.refusal = (
                f"{self.name} was opened by process {os.getppid()}, from which this one, {os.getpid()}, was forked:"
                " open it in one of the two, after the fork"
            )


def _after_fork() -> None:
    for guard in list(_guards):
        guard.forked()


os.register_at_fork(after_in_child=_after_fork)
