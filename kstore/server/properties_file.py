"""Reading a `server.properties` with the line of each key, so that an error can point at it.

The format is java.util.Properties': Latin-1, backslash escapes, continued lines; the last of two equal keys
wins.
"""

import sys
from types import ModuleType
from typing import NamedTuple

from kstore.errors import ConfigError


class Property(NamedTuple):
    key: str
    value: str
    origin: str  # file and line, or the argument that it came from


def read_properties(path: str) -> list[Property]:
    """The keys and values of the file at `path`, in order. Raises ConfigError."""
    reading = _javaproperties_reading()
    properties: list[Property] = []
    line = 1
    try:
        with open(path, encoding="latin-1", newline="") as file:
            for entry in reading.parse(file):
                if isinstance(entry, reading.KeyValue):
                    properties.append(Property(entry.key, entry.value, f"{path}:{line}"))
                # A continued line, and the comments between, count as they stand in the file.
                line += max(1, len(entry.source.splitlines()))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except reading.InvalidUEscapeError as error:
        raise ConfigError(f"{path}:{line}: {error}") from error
    return properties


def parse_overrides(overrides: list[str] | tuple[str, ...]) -> list[Property]:
    """The `key=value` arguments of `--override`. Raises ConfigError."""
    properties = []
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator or not key.strip():
            raise ConfigError(f"--override {override}: is not of the form key=value")
        properties.append(Property(key.strip(), value.strip(), "--override"))
    return properties


def _javaproperties_reading() -> ModuleType:
    """The reader of javaproperties without the package's `__init__`.

    That brings urllib and ssl for files in XML, which costs a start 30 ms.
    """
    from importlib import import_module
    from importlib.util import find_spec, module_from_spec

    if "javaproperties" in sys.modules:
        return import_module("javaproperties.reading")
    spec = find_spec("javaproperties")
    assert spec is not None, "javaproperties is installed with kstore"
    sys.modules["javaproperties"] = module_from_spec(spec)
    try:
        return import_module("javaproperties.reading")
    finally:
        # Whoever imports the package later gets the whole of it.
        del sys.modules["javaproperties"]
