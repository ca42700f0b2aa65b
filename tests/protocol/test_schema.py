"""Tables: how a line is read, what a class of a table offers, and that importing one reads nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from kstore.protocol import messages
from kstore.protocol.api_keys import APIS
from kstore.protocol.schema import (
    LATEST,
    NO_VERSIONS,
    Message,
    parse_table,
    parse_versions,
    top_level_names,
    within,
)

TABLE = """
    first        []Thing  0+   null 3+  ignorable
        inner    Deep     1-4
            leaf string   2
        count    int32    0+   = -1
    second       string   2+   null 2+ tag 7 5+  = null
    struct Shared
        key      int64    0+
    third        []Shared 0+
"""


@pytest.mark.parametrize(
    ("text", "versions"),
    [("0+", (0, LATEST)), ("3", (3, 3)), ("8-10", (8, 10)), ("none", NO_VERSIONS), ("", NO_VERSIONS)],
)
def test_versions_are_ranges(text: str, versions: tuple[int, int]) -> None:
    assert parse_versions(text) == versions


def test_no_version_is_within_none() -> None:
    assert not any(within(version, NO_VERSIONS) for version in range(-1, 100))


def test_indentation_makes_structs() -> None:
    top, structs = parse_table(TABLE)
    assert [field.name for field in top] == ["first", "second", "third"]
    assert {name: [field.name for field in fields] for name, fields in structs.items()} == {
        "Thing": ["inner", "count"],
        "Deep": ["leaf"],
        "Shared": ["key"],
    }
    first, second, third = top
    assert (first.type, first.is_array, first.is_struct, first.ignorable) == ("Thing", True, True, True)
    assert (second.tag, second.tagged, second.nullable, second.default) == (7, (5, LATEST), (2, LATEST), "null")
    assert (third.type, third.is_array) == ("Shared", True)


def test_the_fields_of_a_message_are_found_without_reading_the_rest() -> None:
    assert top_level_names(TABLE) == ("first", "second", "third")
    assert top_level_names("") == top_level_names("\n    ") == ()
    for key in messages.declared_api_keys():
        for message in messages.schema(key):
            top, _ = parse_table(message.TABLE)
            assert top_level_names(message.TABLE) == tuple(field.name for field in top)


def test_a_word_that_means_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="'nulable' means nothing"):
        parse_table("name string 0+ nulable 1+")


def test_a_message_knows_its_key_and_versions() -> None:
    request, response = messages.schema(3)
    assert (request.__name__, response.__name__) == ("MetadataRequest", "MetadataResponse")
    assert (request.api_key, request.min_version, request.max_version, request.flexible_from) == (3, 0, 12, 9)


@pytest.mark.parametrize("api_key", messages.declared_api_keys())
def test_a_table_agrees_with_the_list_of_apis(api_key: int) -> None:
    name, flexible_from = APIS[api_key]
    request, response = messages.schema(api_key)
    assert (request.__name__, response.__name__) == (f"{name}Request", f"{name}Response")
    assert request.flexible_from == response.flexible_from == flexible_from
    assert request.api_key == response.api_key == api_key
    assert (request.min_version, request.max_version) == (response.min_version, response.max_version)


def test_the_versions_that_the_broker_will_advertise_are_declared() -> None:
    """Produce begins at 3: the versions below are refused, although they are advertised."""
    newest = {key: messages.schema(key)[0].max_version for key in messages.declared_api_keys()}
    assert newest == {
        0: 11, 1: 17, 2: 9, 3: 12, 4: 7, 5: 4, 6: 8, 7: 3, 8: 9, 9: 9, 10: 6, 11: 9, 12: 4, 13: 5, 14: 5, 15: 5, 16: 5,
        18: 4, 19: 7, 20: 6, 21: 2, 22: 5, 23: 4, 32: 4, 33: 2, 34: 2, 35: 4, 37: 3, 42: 2, 43: 2, 44: 1, 45: 0, 46: 0,
        47: 0, 56: 3, 60: 1, 67: 0, 75: 0,
    }  # fmt: skip
    oldest = {key: messages.schema(key)[0].min_version for key in messages.declared_api_keys()}
    assert {key: version for key, version in oldest.items() if version} == {0: 3, 1: 4}


def test_an_api_without_a_table_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        messages.schema(99)


def test_the_parts_of_a_message_are_its_attributes() -> None:
    class Fresh(Message, versions="0", flexible="none"):
        TABLE = TABLE

    assert Fresh.Thing.__qualname__ == "Fresh.Thing"
    assert Fresh(first=[Fresh.Thing(inner=Fresh.Deep())]).first[0].count == -1
    with pytest.raises(AttributeError, match="Fresh has no Thang"):
        _ = Fresh.Thang


def test_a_field_may_not_hide_what_a_message_says_of_itself() -> None:
    with pytest.raises(ValueError, match="conflicts with class variable"):

        class Hidden(Message, api_key=1, versions="0", flexible="none"):
            TABLE = "api_key int16 0+"


def test_importing_a_table_neither_parses_nor_compiles_it() -> None:
    program = (
        "import sys\n"
        "from kstore.protocol.messages import metadata, metadata_records\n"
        "made = [c for c in (metadata.MetadataRequest, *metadata_records.RECORD_TYPES.values())"
        " if '_layout' in c.__dict__ or c._programs]\n"
        "wanted = {'asyncio', 'json', 'uuid', 'logging', 'dataclasses', 'kstore.protocol.messages.fetch'}\n"
        "print(made, sorted(wanted & set(sys.modules)))\n"
    )
    command = [sys.executable, "-S", "-c", program]
    root = Path(__file__).resolve().parents[2]
    printed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert (printed.stdout, printed.stderr) == ("[] []\n", "")
