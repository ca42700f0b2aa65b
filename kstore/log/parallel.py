"""Many calls on a few threads, with a word about progress now and then."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

logger = logging.getLogger(__name__)

REPORT_SECONDS = 5


def run_all(calls: Sequence[Callable[[], None]], threads: int, what: str) -> None:
    """Runs all calls in `threads` threads, this one among them; raises the first error at the end.

    `what` says in the log what is done with partitions.
    """
    total = len(calls)
    remaining = deque(calls)
    errors: list[BaseException] = []
    next_report = time.monotonic() + REPORT_SECONDS

    def work() -> None:
        nonlocal next_report
        while remaining and not errors:
            try:
                call = remaining.popleft()
            except IndexError:
                return
            try:
                call()
            except BaseException as error:
                errors.append(error)
            if time.monotonic() > next_report:
                next_report = time.monotonic() + REPORT_SECONDS
                logger.info("%s %d of %d partitions", what, total - len(remaining), total)

    helpers = [threading.Thread(target=work, name=f"log-{what}-{i}") for i in range(min(threads, total) - 1)]
    for helper in helpers:
        helper.start()
    work()
    for helper in helpers:
        helper.join()
    if errors:
        raise errors[0]
