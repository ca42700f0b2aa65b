"""From a request's API key to its handler, and from a handler's refusal to the client's answer.

A handler is a module with `API_KEY`, `VERSIONS` and `handle(context, request)`, imported when its API is
first asked for. `handle` returns the whole answer frame (bytes or a list of parts), None (no answer), or
PENDING after it has arranged for `request.complete(answer)`.
"""

import logging
from collections.abc import Callable
from importlib import import_module
from typing import Any

from kstore._native.connection import Request
from kstore.errors import InvalidRequestError, UnsupportedVersionError
from kstore.protocol.api_keys import API_VERSIONS, api_name
from kstore.server.broker_listener import check_is_for_brokers
from kstore.server.context import Context

log = logging.getLogger(__name__)

Handler = Callable[[Context, Request], Any]

# API key -> (handler module, lowest version, highest version): the complete list of what this broker speaks.
APIS: dict[int, tuple[str, int, int]] = {
    0: ("produce", 3, 11),
    1: ("fetch", 4, 17),
    2: ("list_offsets", 1, 9),
    3: ("metadata", 0, 12),
    8: ("offset_commit", 0, 9),
    9: ("offset_fetch", 0, 9),
    10: ("find_coordinator", 0, 6),
    11: ("join_group", 0, 9),
    12: ("heartbeat", 0, 4),
    13: ("leave_group", 0, 5),
    14: ("sync_group", 0, 5),
    15: ("describe_groups", 0, 5),
    16: ("list_groups", 0, 5),
    18: ("api_versions", 0, 4),
    19: ("create_topics", 0, 7),
    20: ("delete_topics", 0, 6),
    21: ("delete_records", 0, 2),
    22: ("init_producer_id", 0, 5),
    23: ("offset_for_leader_epoch", 0, 4),
    32: ("describe_configs", 0, 4),
    33: ("alter_configs", 0, 2),
    34: ("alter_replica_log_dirs", 0, 2),
    35: ("describe_log_dirs", 0, 4),
    37: ("create_partitions", 0, 3),
    42: ("delete_groups", 0, 2),
    44: ("incremental_alter_configs", 0, 1),
    45: ("alter_partition_reassignments", 0, 0),
    46: ("list_partition_reassignments", 0, 0),
    47: ("offset_delete", 0, 0),
    60: ("describe_cluster", 0, 1),
    75: ("describe_topic_partitions", 0, 0),
}

# What administrators ask of a cluster.
ADMIN_APIS: dict[int, tuple[str, int, int]] = {
    43: ("elect_leaders", 0, 2),
}

# What brokers of one cluster say to each other; spoken by a member of one only.
CLUSTER_APIS: dict[int, tuple[str, int, int]] = {
    4: ("leader_and_isr", 7, 7),
    5: ("stop_replica", 4, 4),
    6: ("update_metadata", 8, 8),
    7: ("controlled_shutdown", 3, 3),
    56: ("alter_partition", 2, 3),
    67: ("allocate_producer_ids", 0, 0),
}


def spoken(context: Context) -> dict[int, tuple[str, int, int]]:
    return APIS if context.cluster is None else {**APIS, **ADMIN_APIS, **CLUSTER_APIS}


def for_brokers_only(handler: Handler) -> Handler:
    """The handler of what only brokers say to each other."""

    def guarded(context: Context, request: Request) -> Any:
        check_is_for_brokers(context, request)
        return handler(context, request)

    return guarded


class Dispatcher:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._handlers: dict[int, tuple[Handler, int, int]] = {}

    def __call__(self, request: Request) -> Any:
        handler, lowest, highest = self._handlers.get(request.api_key) or self._load(request.api_key)
        # An unknown version of ApiVersions has an answer of its own (KIP-511).
        if not lowest <= request.api_version <= highest and request.api_key != API_VERSIONS:
            raise InvalidRequestError(
                f"{api_name(request.api_key)} version {request.api_version} is not in [{lowest}, {highest}]"
            )
        try:
            return handler(self._context, request)
        except InvalidRequestError:
            raise
        except UnsupportedVersionError as error:
            raise InvalidRequestError(str(error)) from error
        except Exception as error:
            log.exception("%s version %d failed", api_name(request.api_key), request.api_version)
            raise InvalidRequestError(f"internal error: {error}") from error

    def _load(self, api_key: int) -> tuple[Handler, int, int]:
        apis = spoken(self._context)
        if api_key not in apis:
            raise InvalidRequestError(f"{api_name(api_key)} is not an API that this broker speaks")
        module, lowest, highest = apis[api_key]
        handler = import_module(f"kstore.server.handlers.{module}").handle
        if api_key in CLUSTER_APIS:
            handler = for_brokers_only(handler)
        self._handlers[api_key] = (handler, lowest, highest)
        return self._handlers[api_key]
