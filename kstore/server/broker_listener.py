"""The listener that is the brokers' own: what they say to each other is refused on every other one."""

from kstore._native.connection import Request
from kstore.errors import InvalidRequestError
from kstore.protocol.api_keys import api_name
from kstore.server.context import Context


def check_is_for_brokers(context: Context, request: Request) -> None:
    """Raises InvalidRequestError."""
    listener, wanted = request.connection.listener_name, context.config.inter_broker_listener
    if listener != wanted:
        raise InvalidRequestError(f"{api_name(request.api_key)} of a broker came on {listener}, not on {wanted}")


def check_is_a_brokers(context: Context, request: Request, replica_id: int) -> None:
    """What says that it comes from a replica comes from another broker. Raises InvalidRequestError."""
    if replica_id < 0:
        return
    if context.cluster is None:
        raise InvalidRequestError(
            f"replica {replica_id} sends {api_name(request.api_key)} to a broker that has no followers"
        )
    check_is_for_brokers(context, request)
