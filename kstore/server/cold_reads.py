"""The threads that wait for a disk where the loop must not, so that a reader of old records stalls nobody else.

A handler looks up what it needs in the page cache only (`wait=False`). What is missing there a thread looks up first,
and the handler looks again. These threads are few and do nothing else: fsyncs, for which producers wait, have others.
"""

from asyncio import AbstractEventLoop
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import Any

from kstore.log.work import LookUp, bring_in

THREADS = 8
# How many look-ups of one request a thread does before others have their turn.
PIECE = 8

# Looks everything up, waiting for the disk or not, and returns what is still missing.
Attempt = Callable[[bool], Sequence[LookUp | None]]


class ColdReads(Executor):
    """Also serves the connections, which send what was found. Its threads come when they are first needed."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._threads: Executor | None = None

    def submit(self, do: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        if self._threads is None:
            from concurrent.futures import ThreadPoolExecutor

            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="cold-read")
        return self._threads.submit(do, *arguments, **options)

    async def until_found(
        self, missing: Sequence[LookUp | None], attempt: Attempt, *, is_wanted: Callable[[], bool]
    ) -> None:
        """Has `missing` brought in and tries again, until nothing is missing or wanted any more. The last attempt may
        wait: pages can be dropped as fast as they come, and a kernel may be unable to tell what it has."""
        for wait in (False, True):
            for start in range(0, len(missing), PIECE):
                await self._loop.run_in_executor(self, bring_in_all, missing[start : start + PIECE])
                if not is_wanted():
                    return
            missing = attempt(wait)
            if not missing:
                return

    def close(self) -> None:
        """Waits for nothing: whoever wanted a read is gone."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)


def bring_in_all(missing: Sequence[LookUp | None]) -> None:
    for look_up in missing:
        bring_in(look_up)
