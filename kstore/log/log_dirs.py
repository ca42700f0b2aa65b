"""The entries of `log.dirs`: made, locked, and known to be ours.

A directory is locked while it is used and belongs to one cluster and node, which meta.properties says. One that cannot
be used is offline from the start; when none can, there is no start (LogManager.createAndValidateLogDirs).
"""

import os
from collections.abc import Sequence

from kstore.errors import ConfigError
from kstore.log.checkpoint_file import fsync_directory
from kstore.log.dir_lock import DirLock
from kstore.log.log_dir import LogDir
from kstore.log.meta_properties import MetaProperties, read_meta_properties, write_meta_properties
from kstore.model import random_uuid


class LogDirs:
    """`cluster_id` is None and `node_id` -1 until a directory or `write_owner` tells."""

    def __init__(self, paths: Sequence[str], *, cluster_id: str | None = None, node_id: int = -1) -> None:
        """Creates and locks the directories. Raises ConfigError when none can be used, when one is listed twice or
        used by another process, and when one belongs to another cluster or node."""
        self.cluster_id = cluster_id
        self.node_id = node_id
        self.dirs: list[LogDir] = []
        self.directory_ids: dict[str, bytes] = {}
        self._locks: list[DirLock] = []
        try:
            self._open_dirs(paths)
        except BaseException:
            self._unlock()
            raise

    @property
    def live_dirs(self) -> list[LogDir]:
        return [log_dir for log_dir in self.dirs if log_dir.failure is None]

    def _open_dirs(self, paths: Sequence[str]) -> None:
        seen: set[str] = set()
        for path in paths:
            log_dir = LogDir(os.path.abspath(path))
            self.dirs.append(log_dir)
            try:
                self._create_directory(log_dir.path)
                real = os.path.realpath(log_dir.path)
                if real in seen:
                    raise ConfigError(f"log.dirs names the directory {real} twice: {', '.join(paths)}")
                seen.add(real)
                self._locks.append(DirLock(log_dir.path))
                self._check_owner(log_dir)
            except OSError as error:
                log_dir.fail("opening the log directory", error)
        if not self.live_dirs:
            reasons = "; ".join(f"{d.path}: {d.failure}" for d in self.dirs)
            raise ConfigError(f"none of the log directories can be used: {reasons}")

    def _create_directory(self, path: str) -> None:
        if not os.path.isdir(path):
            os.makedirs(path, exist_ok=True)
            fsync_directory(os.path.dirname(path))
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(13, "not a readable and writable directory", path)

    def _check_owner(self, log_dir: LogDir) -> None:
        found = read_meta_properties(log_dir.path)
        if found is not None:
            if self.cluster_id is None:
                self.cluster_id = found.cluster_id
            if self.node_id < 0:
                self.node_id = found.node_id
            if found.cluster_id != self.cluster_id:
                raise ConfigError(
                    f"{log_dir.path} belongs to cluster {found.cluster_id}, this is cluster {self.cluster_id}"
                )
            if found.node_id >= 0 and found.node_id != self.node_id:
                raise ConfigError(f"{log_dir.path} belongs to node {found.node_id}, this is node {self.node_id}")
            if found.directory_id is not None:
                self.directory_ids[log_dir.path] = found.directory_id

    def write_owner(self, cluster_id: str, node_id: int, *, version: int = 1) -> None:
        """Says in every online directory that it is ours; a directory that has its id keeps it. In version 0, that of
        a cluster with ZooKeeper, directories have no ids in the file."""
        self.cluster_id = cluster_id
        self.node_id = node_id
        for log_dir in self.live_dirs:
            directory_id = self.directory_ids.get(log_dir.path) or random_uuid()
            wanted = MetaProperties(cluster_id, node_id, directory_id if version else None, version)
            try:
                if read_meta_properties(log_dir.path) != wanted:
                    write_meta_properties(log_dir.path, wanted)
                self.directory_ids[log_dir.path] = directory_id
            except OSError as error:
                log_dir.fail("writing meta.properties", error)

    def _unlock(self) -> None:
        for lock in self._locks:
            lock.release()
        self._locks.clear()
