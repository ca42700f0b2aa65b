"""Writes of a controller: each one checks the version of /controller_epoch in the same step (rule 45)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from kstore.cluster.zk import paths
from kstore.cluster.zk.session import Check, Operation, OperationFailed, Session
from kstore.errors import NotControllerError


class ControllerMovedError(NotControllerError):
    """Another broker controls the cluster: what was to be written is not, and this one resigns."""


class Elected(NamedTuple):
    epoch: int
    epoch_version: int  # of /controller_epoch: what every write is checked against


async def fenced(session: Session, elected: Elected, operations: Sequence[Operation]) -> list[Any] | OperationFailed:
    """As `Session.multi`, by the controller that was `elected`. Raises ControllerMovedError, SessionLostError."""
    done = await session.multi([Check(paths.CONTROLLER_EPOCH, elected.epoch_version), *operations])
    if not isinstance(done, OperationFailed):
        return done[1:]
    if done.number == 0:
        raise ControllerMovedError("another controller has been elected")
    return OperationFailed(done.number - 1, done.reason)
