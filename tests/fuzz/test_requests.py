"""Every API in every version, with forged counts, cut short, mutated, and crowded with tiny elements.

The process outlives all of it, its memory stays bounded, and other clients are served.
"""

import contextlib
import random
import struct
import time

import pytest

from kstore.protocol.headers import encode_request_header
from kstore.protocol.messages import schema
from kstore.server.dispatch import APIS
from tests.fuzz.target import ask, receive_frame, send_and_leave
from tests.protocol.slow_codec import SlowEncoder
from tests.protocol.test_hostile import bombs, crowds, mutate
from tests.protocol.values import random_message

API_VERSIONS = 18
MIB = 1024 * 1024

every_api = pytest.mark.parametrize("api_key", sorted(APIS), ids=lambda key: APIS[key][0])


def versions(api_key):
    _, lowest, highest = APIS[api_key]
    return range(lowest, highest + 1)


def framed(api_key, version, body):
    payload = encode_request_header(api_key, version, 1, "fuzz") + body
    return struct.pack(">i", len(payload)) + payload


def a_request(api_key, version, rng):
    return random_message(schema(api_key)[0], version, rng)


@every_api
def test_a_forged_count_closes_the_connection(target, api_key):
    with target.bounded(8):
        for version in versions(api_key):
            rng = random.Random(f"{api_key}/{version}/bomb")
            encoder = SlowEncoder(schema(api_key)[0], version)
            data = encoder.encode(a_request(api_key, version, rng))
            for count in encoder.counts:
                for bomb in bombs(data, count):
                    assert ask(target, framed(api_key, version, bomb)) is None, count


@every_api
def test_a_request_that_is_cut_short_closes_the_connection(target, api_key):
    with target.bounded(8):
        for version in versions(api_key):
            rng = random.Random(f"{api_key}/{version}/cut")
            data = a_request(api_key, version, rng).encode(version)
            step = max(1, len(data) // 40)
            for size in range(0, len(data), step):
                assert ask(target, framed(api_key, version, data[:size])) is None, size


@every_api
def test_mutated_requests_are_survived(target, api_key):
    with target.bounded(32):
        for version in versions(api_key):
            rng = random.Random(f"{api_key}/{version}/mutate")
            for _ in range(25):
                data = a_request(api_key, version, rng).encode(version)
                send_and_leave(target, framed(api_key, version, data))
                send_and_leave(target, framed(api_key, version, mutate(data, rng)))


@every_api
def test_versions_that_are_not_spoken_close_the_connection(target, api_key):
    if api_key == API_VERSIONS:
        return
    known = versions(api_key)
    for version in (-1, -32768, known[0] - 1, known[-1] + 1, 32767):
        if version not in known:
            body = encode_request_header(api_key, version, 1, "fuzz") + bytes(20)
            assert ask(target, struct.pack(">i", len(body)) + body) is None


def test_api_keys_that_are_not_spoken_close_the_connection(target):
    with target.bounded(4):
        for api_key in [*range(-2, 100), 32767, -32768]:
            if api_key not in APIS:
                body = struct.pack(">hhih", api_key, 0, 1, -1) + bytes(20)
                assert ask(target, struct.pack(">i", len(body)) + body) is None


@every_api
def test_a_crowd_of_tiny_elements_is_survived_and_holds_up_nobody_for_long(target, api_key):
    """2 MiB of the smallest elements that a request can have, in each of its arrays."""
    version = versions(api_key)[-1]
    for name, request in crowds(schema(api_key)[0], version, 2 * MIB):
        data = framed(api_key, version, request.encode(version))
        with target.bounded(160), target.connect(timeout=60) as attacker:
            attacker.sendall(data)
            began = time.monotonic()
            target.serves()
            assert time.monotonic() - began < 8, name
            # Answered or closed, but not left hanging.
            with contextlib.suppress(ConnectionError):
                receive_frame(attacker)
