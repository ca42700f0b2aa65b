"""A configuration key: its type, its default, what it may be; and how a value is read and written.

The rules are those of Kafka's ConfigDef: values are trimmed, numbers are Java's, booleans are `true` or
`false` in any case, lists are separated by commas. `valid` is a little language of its own:

    1..          1 and more          0..1     from 0 to 1         -1|1..9   -1, or from 1 to 9
    gzip|lz4     one of these words (each element of a list)      i:A|B     the same in any case
    @version     a version of Kafka such as 3.9-IV0 or 3.9        @nonempty not empty
    @throttled   `*`, or partition:broker pairs separated by commas
"""

import re
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from kstore.errors import InvalidConfigError

ConfigValue: TypeAlias = str | int | float | bool | list[str] | None

INTEGER_BITS = {"short": 16, "int": 32, "long": 64}


class ConfigKey(NamedTuple):
    name: str
    type: str  # boolean, string, int, short, long, double, list, class, password
    default: str | None
    valid: str = ""
    mode: str = "ro"  # "ro" read-only, "broker" each broker's own at run time, "cluster" for all brokers too
    effect: str = "honoured"  # or why it has none; see the table that it stands in
    internal: bool = False

    @property
    def is_sensitive(self) -> bool:
        return self.type == "password"

    def parse(self, text: str | None) -> ConfigValue:
        """The value that `text` stands for. Raises InvalidConfigError with what would be right."""
        if text is None:
            return None
        text = text.strip()
        value = self._parse_type(text)
        if self.valid and not self._is_valid(value):
            raise self._refusal(text)
        return value

    def format(self, value: ConfigValue) -> str | None:
        """The text that Kafka answers with for `value`."""
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, float):
            return java_double(value)
        return ",".join(value) if isinstance(value, list) else None if value is None else str(value)

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        article = "an" if self.type == "int" else "a"
        words = {"@version": "a version of Kafka such as 3.9", "@nonempty": "not empty"}
        words["@throttled"] = "* or partition:broker pairs separated by commas"
        if self.valid in words:
            return words[self.valid]
        choices = self.valid.removeprefix("i:").split("|")
        if self.type in INTEGER_BITS or self.type == "double":
            return f"{article} {self.type}" + (", " + " or ".join(map(_range_in_words, choices)) if self.valid else "")
        if self.type == "boolean":
            return "true or false"
        if self.valid:
            return f"{'a list of' if self.type == 'list' else 'one of'} {', '.join(choices)}"
        return f"{article} {self.type}"

    def _refusal(self, text: str) -> InvalidConfigError:
        shown = "(hidden)" if self.is_sensitive else repr(text)
        return InvalidConfigError(f"{self.name}: {shown} is not {self.expected}")

    def _parse_type(self, text: str) -> ConfigValue:
        if bits := INTEGER_BITS.get(self.type):
            # int() would also take underscores and the digits of other scripts.
            if not re.fullmatch(r"[+-]?[0-9]+", text) or not -(1 << bits - 1) <= int(text) < 1 << bits - 1:
                raise self._refusal(text)
            return int(text)
        if self.type == "boolean":
            if text.lower() not in ("true", "false"):
                raise self._refusal(text)
            return text.lower() == "true"
        if self.type == "double":
            if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
                raise self._refusal(text)
            return float(text)
        if self.type == "list":
            return re.split(r"\s*,\s*", text) if text else []
        return text

    def _is_valid(self, value: ConfigValue) -> bool:
        match self.valid:
            case "@version":
                return bool(re.fullmatch(r"\d+\.\d+(\.\d+)?(-IV\d+)?", str(value)))
            case "@nonempty":
                return value != ""
            case "@throttled":
                return value in ([], ["*"]) or all(re.fullmatch(r"\d+:\d+", pair) for pair in value)  # type: ignore
        if isinstance(value, int | float):
            return any(_is_in_range(value, choice) for choice in self.valid.split("|"))
        if self.valid.startswith("i:"):
            return str(value).upper() in self.valid[2:].upper().split("|")
        choices = self.valid.split("|")
        return all(part in choices for part in (value if isinstance(value, list) else [value]))


def _is_in_range(value: float, text: str) -> bool:
    low, dots, high = text.partition("..")
    if not dots:
        return value == float(low)
    # Python compares int and float exactly, so a long near 2**63 is not rounded on the way.
    return value >= _number(low) and (not high or value <= _number(high))


def _range_in_words(text: str) -> str:
    low, dots, high = text.partition("..")
    return f"from {low} to {high}" if high else f"{low} or more" if dots else low


@lru_cache(maxsize=64)
def _number(text: str) -> float:
    return float(text) if "." in text else int(text)


def java_double(value: float) -> str:
    """`value` as Java's Double.toString writes it: 0.5, 1.0E7."""
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(value)
    from decimal import Decimal  # read by nobody who does not describe such a value

    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    text = "".join(map(str, digits))
    return f"{'-' * sign}{text[0]}.{text[1:] or '0'}E{len(text) - 1 + int(exponent)}"
