"""Headers of requests and responses.

A request's header has no client id in version 0 (ControlledShutdown 0 only), one in version 1, and tagged
fields too in version 2, which flexible requests use; the client id keeps its 16-bit size in all of them. A
flexible response's header has tagged fields, except that of ApiVersions, which a client must be able to read
before it knows any version (KIP-482, KIP-511; ApiKeys.java).
"""

from kstore._native.hot_messages import RequestHeader, decode_request_header
from kstore.protocol.api_keys import API_VERSIONS, is_flexible

__all__ = ["RequestHeader", "decode_request_header", "encode_request_header", "encode_response_header"]


def encode_response_header(api_key: int, api_version: int, correlation_id: int) -> bytes:
    header = correlation_id.to_bytes(4, "big", signed=True)
    return header + b"\0" if has_tagged_response_header(api_key, api_version) else header


def has_tagged_response_header(api_key: int, api_version: int) -> bool:
    return api_key != API_VERSIONS and is_flexible(api_key, api_version)


def encode_request_header(api_key: int, api_version: int, correlation_id: int, client_id: str | None) -> bytes:
    header = (
        api_key.to_bytes(2, "big", signed=True)
        + api_version.to_bytes(2, "big", signed=True)
        + correlation_id.to_bytes(4, "big", signed=True)
    )
    if api_key == 7 and api_version == 0:  # ControlledShutdown
        return header
    if client_id is None:
        header += b"\xff\xff"
    else:
        name = client_id.encode()
        header += len(name).to_bytes(2, "big", signed=True) + name
    return header + b"\0" if is_flexible(api_key, api_version) else header
