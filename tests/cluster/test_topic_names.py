"""Topic names: the verdict of Kafka's Topic.java for every character and length."""

import pytest

from kstore.cluster.topic_names import MAX_LENGTH, TakenNames, validate_topic_name
from kstore.errors import InvalidTopicError

LEGAL = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"


@pytest.mark.parametrize("code", range(256))
def test_only_ascii_letters_digits_dot_underscore_and_dash_are_legal(code):
    name = f"a{chr(code)}b"
    if chr(code) in LEGAL:
        validate_topic_name(name)
    else:
        with pytest.raises(InvalidTopicError):
            validate_topic_name(name)


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_names_that_are_directories_of_every_directory_are_refused(name):
    with pytest.raises(InvalidTopicError):
        validate_topic_name(name)


@pytest.mark.parametrize("name", ["...", ".a", "a.", "-", "_", "__consumer_offsets", "a" * MAX_LENGTH])
def test_unusual_names_are_legal(name):
    validate_topic_name(name)


def test_a_name_of_250_characters_is_too_long():
    with pytest.raises(InvalidTopicError, match="249"):
        validate_topic_name("a" * (MAX_LENGTH + 1))


@pytest.mark.parametrize("name", ["\u00e9", "a\u0661", "a\uff0e", "a\n", "a\u0000", "\U0001f600", "a\udcff"])
def test_other_scripts_and_controls_are_refused(name):
    with pytest.raises(InvalidTopicError):
        validate_topic_name(name)


def test_a_dot_and_an_underscore_collide():
    names = TakenNames(["a.b_c", "plain"])
    assert names.collision("a_b.c") == "a.b_c"
    assert names.collision("a.b.c") == "a.b_c"
    assert names.collision("a-b-c") is None
    assert names.collision("plain") is None


def test_a_name_does_not_collide_with_itself():
    assert TakenNames(["a.b"]).collision("a.b") is None


@pytest.mark.parametrize("asked_before", [True, False])
def test_names_given_by_the_same_request_are_taken_and_do_not_collide(asked_before):
    names = TakenNames([])
    if asked_before:
        assert names.collision("a.b") is None
    names.add("a_b")
    assert "a_b" in names
    assert names.collision("a.b") is None


def test_case_is_part_of_a_name():
    names = TakenNames(["Topic.x"])
    assert "topic.x" not in names
    assert names.collision("topic_x") is None
