"""meta.properties at the root of a log directory: whose directory it is.

    version=1                       0 in ZooKeeper mode, with broker.id and without directory.id
    cluster.id=...
    node.id=1
    directory.id=...

A directory of another cluster or node is refused: serving it would mix two logs (MetaProperties.java).
"""

from typing import NamedTuple

from kstore.errors import ConfigError
from kstore.log.checkpoint_file import read_file, replace_file
from kstore.model import uuid_from_text, uuid_to_text

META_PROPERTIES = "meta.properties"


class MetaProperties(NamedTuple):
    cluster_id: str
    node_id: int
    directory_id: bytes | None = None
    version: int = 1


def read_meta_properties(directory: str) -> MetaProperties | None:
    """None where there is no such file. Raises ConfigError for one that cannot be understood, OSError."""
    path = f"{directory}/{META_PROPERTIES}"
    content = read_file(path)
    if content is None:
        return None
    properties = parse_properties(content.decode("latin-1"))
    try:
        version = int(properties.get("version", "-1"))
        if version not in (0, 1):
            raise ValueError(f"version {properties.get('version')} is not known")
        node_key = "node.id" if version == 1 else "broker.id"
        if "cluster.id" not in properties and version == 1:
            raise ValueError("cluster.id is missing")
        directory_id = properties.get("directory.id")
        return MetaProperties(
            properties.get("cluster.id", ""),
            int(properties.get(node_key, properties.get("node.id", "-1"))),
            None if directory_id is None else uuid_from_text(directory_id),
            version,
        )
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None


def write_meta_properties(directory: str, properties: MetaProperties) -> None:
    """Raises OSError."""
    node_key = "node.id" if properties.version == 1 else "broker.id"
    lines = [f"cluster.id={properties.cluster_id}"]
    if properties.directory_id is not None:
        lines.append(f"directory.id={uuid_to_text(properties.directory_id)}")
    lines += [f"{node_key}={properties.node_id}", f"version={properties.version}", ""]
    replace_file(f"{directory}/{META_PROPERTIES}", "\n".join(lines).encode())


def parse_properties(text: str) -> dict[str, str]:
    """The simple part of Java's properties: comments, `key=value` or `key:value`, backslash escapes of
    punctuation."""
    properties = {}
    for line in text.splitlines():
        line = line.strip()
        if not line or line[0] in "#!":
            continue
        key, value = _split(line)
        properties[key] = value
    return properties


def _split(line: str) -> tuple[str, str]:
    """Cuts a line at its first separator that is not escaped."""
    parts = ["", ""]
    at = 0
    escaped = False
    for char in line:
        if escaped or char not in "\\=:" or (char != "\\" and at == 1):
            parts[at] += char
            escaped = False
        elif char == "\\":
            escaped = True
        else:
            at = 1
    return parts[0].strip(), parts[1].strip()
