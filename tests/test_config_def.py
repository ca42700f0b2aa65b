"""Values are read and written as Kafka's ConfigDef reads and writes them."""

import pytest

from kstore.config_def import ConfigKey, ConfigValue, java_double
from kstore.errors import InvalidConfigError


@pytest.mark.parametrize(
    ("kind", "valid", "text", "value"),
    [
        ("int", "1..", " 7 ", 7),
        ("int", "", "+7", 7),
        ("int", "-1|1..9", "-1", -1),
        ("long", "0..", "9223372036854775807", 2**63 - 1),
        ("short", "", "-32768", -32768),
        ("double", "0..1", "0.25", 0.25),
        ("double", "", "1e3", 1000.0),
        ("boolean", "", "TRUE", True),
        ("boolean", "", "false", False),
        ("list", "compact|delete", "compact , delete", ["compact", "delete"]),
        ("list", "", "", []),
        ("string", "gzip|lz4", "lz4", "lz4"),
        ("string", "i:GZIP|LZ4", "lz4", "lz4"),
        ("string", "@version", "3.9", "3.9"),
        ("string", "@version", "0.10.0-IV1", "0.10.0-IV1"),
        ("list", "@throttled", "0:1,2:3", ["0:1", "2:3"]),
        ("list", "@throttled", "*", ["*"]),
        ("class", "", "org.x.Y", "org.x.Y"),
    ],
)
def test_a_valid_value_is_read(kind: str, valid: str, text: str, value: ConfigValue) -> None:
    parsed = ConfigKey("key", kind, None, valid).parse(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("kind", "valid", "text", "expected"),
    [
        ("int", "1..", "0", "an int, 1 or more"),
        ("int", "", "2147483648", "an int"),
        ("int", "", "1_000", "an int"),
        ("int", "", "", "an int"),
        ("int", "", "1.0", "an int"),
        ("int", "", "١", "an int"),
        ("int", "-1|1..9", "0", "an int, -1 or from 1 to 9"),
        ("short", "", "32768", "a short"),
        ("long", "", "9223372036854775808", "a long"),
        ("double", "0..1", "1.5", "a double, from 0 to 1"),
        ("double", "", "nan", "a double"),
        ("boolean", "", "yes", "true or false"),
        ("list", "compact|delete", "compact,destroy", "a list of compact, delete"),
        ("string", "gzip|lz4", "LZ4", "one of gzip, lz4"),
        ("string", "@version", "new", "a version of Kafka such as 3.9"),
        ("string", "@nonempty", "", "not empty"),
        ("list", "@throttled", "0:1,x", "* or partition:broker pairs separated by commas"),
    ],
)
def test_an_invalid_value_is_refused_with_what_would_be_right(kind: str, valid: str, text: str, expected: str) -> None:
    with pytest.raises(InvalidConfigError) as caught:
        ConfigKey("some.key", kind, None, valid).parse(text)
    assert str(caught.value) == f"some.key: {text!r} is not {expected}"


def test_a_password_is_not_shown() -> None:
    with pytest.raises(InvalidConfigError) as caught:
        ConfigKey("key", "password", None, "@nonempty").parse("")
    assert "hidden" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("boolean", True, "true"),
        ("list", ["a", "b"], "a,b"),
        ("long", -1, "-1"),
        ("double", 0.5, "0.5"),
        ("int", None, None),
    ],
)
def test_a_value_is_written_as_kafka_writes_it(kind: str, value: ConfigValue, text: str | None) -> None:
    assert ConfigKey("key", kind, None).format(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0"),
        (0.9, "0.9"),
        (0.001, "0.001"),
        (0.0001, "1.0E-4"),
        (1e7, "1.0E7"),
        (12345678.9, "1.23456789E7"),
        (-2.5e10, "-2.5E10"),
        (1.7976931348623157e308, "1.7976931348623157E308"),
    ],
)
def test_doubles_are_written_as_java_writes_them(value: float, text: str) -> None:
    assert java_double(value) == text
