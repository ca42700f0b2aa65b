"""An event loop in virtual time that runs several processes in one thread.

Always true: what is ready runs in the order in which it became ready; time moves only when nothing is ready; nothing
here asks the system's clock, a socket or a thread. Every callback belongs to the process in whose context it was
scheduled: those of a process that was killed never run again, those of one that is paused wait for it.
"""

import asyncio
import contextlib
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any

PROCESS: "ContextVar[Process | None]" = ContextVar("PROCESS", default=None)


class Process:
    """Something that can be killed or paused as one: a broker, a client."""

    __slots__ = ("clock_offset_ms", "context", "held", "is_alive", "is_paused", "name", "tasks")

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_alive = True
        self.is_paused = False
        # What wanted to run while it was paused.
        self.held: list[Handle] = []
        # All its tasks: one that can never go on must not be collected, for that would run its `finally`.
        self.tasks: list[asyncio.Task[Any]] = []
        # How far its wall clock is ahead.
        self.clock_offset_ms = 0
        self.context = copy_context()
        self.context.run(PROCESS.set, self)

    def __repr__(self) -> str:
        return self.name


class Handle:
    __slots__ = ("args", "callback", "context", "due", "is_cancelled", "process")

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: Context,
        process: Process | None,
        due: float,
    ) -> None:
        self.callback = callback
        self.args = args
        self.context = context
        self.process = process
        self.due = due
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def cancelled(self) -> bool:
        return self.is_cancelled

    def when(self) -> float:
        return self.due


class SimLoop(asyncio.AbstractEventLoop):
    """`connect` makes connections, `executor_delay` says how long a job of a thread waits and how long its result
    does; `failed` hears of exceptions that nobody caught."""

    def __init__(self) -> None:
        self.now = 0.0
        self.ready: deque[Handle] = deque()
        self.timers: list[tuple[float, int, Handle]] = []
        self.handled = 0
        self._number = 0
        self._is_over = False
        self.connect: Callable[..., Coroutine[Any, Any, Any]] | None = None
        self.executor_delay: Callable[[], tuple[float, float]] = lambda: (0.0, 0.0)
        self.failed: Callable[[dict[str, Any]], None] = lambda what: None
        # Called after every callback that touched something.
        self.looked_at: Callable[[], None] | None = None
        self.touched: dict[Any, None] = {}

    # --- asyncio's side ---

    def time(self) -> float:
        return self.now

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        if context is None:
            handle = Handle(callback, args, copy_context(), PROCESS.get(), self.now)
        else:
            handle = Handle(callback, args, context, context.get(PROCESS), self.now)
        self.ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        if context is None:
            handle = Handle(callback, args, copy_context(), PROCESS.get(), when)
        else:
            handle = Handle(callback, args, context, context.get(PROCESS), when)
        self._number += 1
        heapq.heappush(self.timers, (when, self._number, handle))
        return handle

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self, coroutine: Coroutine[Any, Any, Any], *, name: str | None = None, context: Context | None = None
    ) -> "asyncio.Task[Any]":
        task = asyncio.Task(coroutine, loop=self, name=name or "", context=context)
        process = PROCESS.get() if context is None else context.get(PROCESS)
        if process is not None:
            tasks = process.tasks
            if len(tasks) > 256 and len(tasks) & 255 == 0:
                tasks[:] = [each for each in tasks if not each.done()]
            tasks.append(task)
        return task

    def is_running(self) -> bool:
        return not self._is_over

    def is_closed(self) -> bool:
        return self._is_over

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self._is_over:
            self.failed(context)

    def run_in_executor(  # type: ignore[override]
        self, executor: object, function: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        """A thread's work is done in one piece, some time later; its result comes some time after that. What can only
        be waited for (`begin`) is a coroutine here."""
        begin = getattr(getattr(function, "__self__", None), "begin", None)
        if begin is not None:
            return self.create_task(begin(function.__name__, *args))
        future = self.create_future()
        before, after = self.executor_delay()

        def run() -> None:
            if future.cancelled():
                return
            try:
                result, error = function(*args), None
            except Exception as raised:
                result, error = None, raised
            self.call_later(after, give, result, error)

        def give(result: Any, error: Exception | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        self.call_later(before, run)
        return future

    async def create_connection(  # type: ignore[override]
        self, protocol_factory: Callable[[], Any], host: str, port: int, **_options: Any
    ) -> tuple[Any, Any]:
        assert self.connect is not None
        made: tuple[Any, Any] = await self.connect(PROCESS.get(), protocol_factory, host, port)
        return made

    # --- running ---

    def resume(self, process: Process) -> None:
        process.is_paused = False
        held, process.held = process.held, []
        self.ready.extend(held)

    def run_until(self, deadline: float, is_done: Callable[[], bool] | None = None) -> bool:
        """Runs what happens up to `deadline`; True as soon as `is_done`."""
        before = events._get_running_loop()
        events._set_running_loop(self)
        try:
            return self._run_until(deadline, is_done)
        finally:
            events._set_running_loop(before)

    def _run_until(self, deadline: float, is_done: Callable[[], bool] | None) -> bool:
        ready, timers = self.ready, self.timers
        while True:
            while ready:
                handle = ready.popleft()
                process = handle.process
                if handle.is_cancelled:
                    continue
                if process is not None:
                    if not process.is_alive:
                        continue
                    if process.is_paused:
                        process.held.append(handle)
                        continue
                self.handled += 1
                try:
                    handle.context.run(handle.callback, *handle.args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except Exception as error:
                    self.call_exception_handler({"message": f"in {handle.callback!r}", "exception": error})
                if self.touched and self.looked_at is not None:
                    self.looked_at()
            if is_done is not None and is_done():
                return True
            if not timers or timers[0][0] > deadline:
                self.now = max(self.now, deadline)
                return False
            due, _, handle = heapq.heappop(timers)
            if not handle.is_cancelled:
                self.now = max(self.now, due)
                ready.append(handle)

    def end(self, processes: list[Process]) -> None:
        """Lets go of all that never ended. Whatever that does has no effect any more."""
        self._is_over = True
        for process in processes:
            process.is_alive = False
            for task in process.tasks:
                if not task.done():
                    task._log_destroy_pending = False  # type: ignore[attr-defined]
                    # A `finally` may wait, or ask for what is gone.
                    with contextlib.suppress(BaseException):
                        task.get_coro().close()  # type: ignore[union-attr]
            process.tasks.clear()
            process.held.clear()
        self.ready.clear()
        self.timers.clear()


# What is under way between processes belongs to none: it goes on whatever becomes of its sender.
NOBODY = copy_context()


class SimClock:
    """The wall clock of one process, which may be set, and its monotonic one."""

    BASE_MS = 1_700_000_000_000

    def __init__(self, loop: SimLoop, process: Process) -> None:
        self._loop = loop
        self._process = process

    def now_ms(self) -> int:
        return self.BASE_MS + int(self._loop.now * 1000) + self._process.clock_offset_ms

    def monotonic_ms(self) -> int:
        return int(self._loop.now * 1000)
