"""Headers as Kafka's own classes and kio lay them out, for every API."""

import io
from typing import Any

import pytest
from kio.index import UnknownAPIKey, UnknownEntity, load_request_schema, load_response_schema
from kio.serial import entity_writer

from kstore.protocol.api_keys import API_VERSIONS, APIS, api_name, is_flexible
from kstore.protocol.headers import encode_request_header, encode_response_header


def kio_schemas(load: Any, api_key: int) -> dict[int, Any]:
    found = {}
    for version in range(20):
        try:
            found[version] = load(api_key, version)
        except (UnknownAPIKey, UnknownEntity):
            continue
    return found


def judged_keys() -> list[int]:
    return [key for key in APIS if kio_schemas(load_request_schema, key)]


def test_kio_judges_every_header_but_those_of_apis_that_kafka_4_dropped() -> None:
    assert set(APIS) - set(judged_keys()) == {4, 5, 6, 7}


@pytest.mark.parametrize("api_key", APIS)
def test_headers_are_laid_out_as_kio_does(api_key: int) -> None:
    for version, schema in kio_schemas(load_request_schema, api_key).items():
        header_class = schema.__header_schema__
        written = io.BytesIO()
        values = {
            "request_api_key": api_key,
            "request_api_version": version,
            "correlation_id": 77,
            "client_id": "me",
        }
        entity_writer(header_class)(written, header_class(**values))
        assert encode_request_header(api_key, version, 77, "me") == written.getvalue()
    for version, schema in kio_schemas(load_response_schema, api_key).items():
        header_class = schema.__header_schema__
        written = io.BytesIO()
        entity_writer(header_class)(written, header_class(correlation_id=-3))
        assert encode_response_header(api_key, version, -3) == written.getvalue()


def test_the_answer_to_api_versions_never_has_tagged_fields_in_its_header() -> None:
    for version in range(10):
        assert encode_response_header(API_VERSIONS, version, 1) == b"\0\0\0\x01"


def test_apis_have_names_and_unknown_ones_their_number() -> None:
    assert api_name(0) == "Produce"
    assert api_name(75) == "DescribeTopicPartitions"
    assert api_name(999) == "API 999"
    assert is_flexible(3, 9)
    assert not is_flexible(3, 8)
    assert not is_flexible(17, 100)
