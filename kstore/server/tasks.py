"""The complete list of what a broker does on its own, and how often.

Each task is a method that decides on the loop and sends only disk work to threads. One that is still at work when its
time comes again is left alone; one that fails is logged and tried at its next time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from kstore.server.context import Context
from kstore.server.listener import SWEEP_MS, Listeners

log = logging.getLogger(__name__)

DELETE_INTERVAL_MS = 1000


class Tasks:
    def __init__(self, context: Context, listeners: Listeners) -> None:
        self._context = context
        self._listeners = listeners
        self._running: list[asyncio.Task[None]] = []

    def start(self) -> None:
        config = self._context.config
        retention_ms = config.log_retention_check_interval_ms
        every = [
            (SWEEP_MS, SWEEP_MS, self.sweep),
            (config.replica_high_watermark_checkpoint_interval_ms, 0, self.checkpoint_high_watermarks),
            (config.log_flush_offset_checkpoint_interval_ms, 0, self.flush),
            (config.log_flush_start_offset_checkpoint_interval_ms, 0, self.checkpoint_start_offsets),
            (retention_ms, config.log_initial_task_delay_ms, self.apply_retention),
            (DELETE_INTERVAL_MS, DELETE_INTERVAL_MS, self.delete_files),
            (config.producer_id_expiration_check_interval_ms, 0, self.expire_producers),
        ]
        self._running = [
            self._context.loop.create_task(self._repeat(interval_ms, first_ms or interval_ms, task))
            for interval_ms, first_ms, task in every
        ]

    def stop(self) -> None:
        for task in self._running:
            task.cancel()

    async def _repeat(self, interval_ms: int, first_ms: int, task: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(first_ms / 1000)
        while True:
            try:
                await task()
            except Exception:
                log.exception("%s failed", task.__name__)
            await asyncio.sleep(interval_ms / 1000)
