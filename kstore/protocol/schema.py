'''Messages declared as tables, compiled when they are first used.

A message is a class with a `TABLE`, one line a field: name, type, versions, and what else is to be said.

    class MetadataRequest(Message, api_key=3, versions="0-12", flexible="9+"):
        TABLE = """
            topics             []MetadataRequestTopic  0+   null 1+
                topic_id       uuid                    10+  ignorable
                name           string                  0+   null 10+
            leader             LeaderIdAndEpoch        12+  tag 1 12+
                leader_id      int32                   12+  = -1
        """

- versions: `0+`, `3`, `8-10`; `null V`: may be null in these; `tag N V`: a tagged field in these (KIP-482);
- `= x`: the default, else 0, "", false, no bytes, an empty list, or a struct of defaults;
- `ignorable`: a value that a version has no room for is dropped; else encoding it in that version is refused;
- the fields of a struct are indented below the field that has it; `struct Name` at the margin declares one
  that several fields share. A message's parts are attributes of it: `MetadataRequest.MetadataRequestTopic`.

Names are Kafka's in snake case, and so are the rules (the README.md beside Kafka's own schemas). Importing a
module of tables makes one class a message and reads nothing else; parts and programs are made on first use.
'''

from typing import TYPE_CHECKING, Any, ClassVar, Self

from kstore._native import wire
from kstore.errors import UnsupportedVersionError
from kstore.model import ZERO_UUID

if TYPE_CHECKING:
    from typing_extensions import Buffer

KINDS = wire.KINDS
ARRAY, STRUCT = KINDS["array"], KINDS["struct"]

LATEST = 32767

_ZEROS: dict[str, Any] = {
    "bool": False,
    "string": "",
    "bytes": b"",
    "records": b"",
    "uuid": ZERO_UUID,
    "float64": 0.0,
}


Versions = tuple[int, int]  # lowest, highest
NO_VERSIONS: Versions = (LATEST, -1)


def parse_versions(text: str) -> Versions:
    if text in ("", "none"):
        return NO_VERSIONS
    if text.endswith("+"):
        return int(text[:-1]), LATEST
    lowest, _, highest = text.partition("-")
    return int(lowest), int(highest or lowest)


def within(version: int, versions: Versions) -> bool:
    return versions[0] <= version <= versions[1]


class Field:
    """One line of a table."""

    __slots__ = (
        "default",
        "ignorable",
        "is_array",
        "name",
        "nullable",
        "struct",
        "tag",
        "tagged",
        "type",
        "versions",
    )

    def __init__(self, words: list[str]) -> None:
        self.name, self.type = words[0], words[1]
        self.versions = parse_versions(words[2])
        self.is_array = self.type.startswith("[]")
        if self.is_array:
            self.type = self.type[2:]
        self.struct: list[Field] | None = None
        self.nullable = self.tagged = NO_VERSIONS
        self.tag = -1
        self.ignorable = False
        self.default: str | None = None
        rest = iter(words[3:])
        for word in rest:
            if word == "null":
                self.nullable = parse_versions(next(rest))
            elif word == "tag":
                self.tag = int(next(rest))
                self.tagged = parse_versions(next(rest))
            elif word == "=":
                self.default = next(rest)
            elif word == "ignorable":
                self.ignorable = True
            else:
                raise ValueError(f"{self.name}: {word!r} means nothing in a table")

    @property
    def is_struct(self) -> bool:
        return self.type not in KINDS

    def default_value(self, structs: "dict[str, type[wire.Struct]]") -> Any:
        """What the field holds by default; `list` and a class stand for a new one each time."""
        if self.default == "null":
            return None
        if self.is_array:
            return list
        if self.is_struct:
            return structs[self.type]
        if self.default is None:
            return _ZEROS.get(self.type, 0)
        if self.type == "bool":
            return {"true": True, "false": False}[self.default]
        if self.type == "float64":
            return float(self.default)
        return self.default if self.type == "string" else int(self.default, 0)


def parse_table(table: str) -> tuple[list[Field], dict[str, list[Field]]]:
    """The fields of the message, and of each of its structs by name."""
    top: list[Field] = []
    structs: dict[str, list[Field]] = {}
    open_structs: list[tuple[int, list[Field]]] = []  # indentation, fields
    last_type = ""
    for line in table.split("\n"):
        words = line.split()
        if not words:
            continue
        indentation = len(line) - len(line.lstrip())
        if not open_structs:
            open_structs.append((indentation, top))
        while indentation < open_structs[-1][0]:
            open_structs.pop()
        if indentation > open_structs[-1][0]:
            open_structs.append((indentation, structs.setdefault(last_type, [])))
        if words[0] == "struct":
            last_type = words[1]
            continue
        field = Field(words)
        last_type = field.type
        open_structs[-1][1].append(field)
    return top, structs


def top_level_names(table: str) -> tuple[str, ...]:
    """The names of the message's own fields, without parsing the rest."""
    lines = [line for line in table.split("\n") if line and not line.isspace()]
    if not lines:
        return ()
    margin = lines[0][: len(lines[0]) - len(lines[0].lstrip())]
    width = len(margin)
    return tuple(
        line.split(None, 1)[0] for line in lines if line[width] != " " and not line.startswith("struct ", width)
    )


class MessageType(type):
    """Makes a message of a class with a TABLE: its slots at once, its parts when one of them is asked for."""

    def __new__(
        mcs,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        api_key: int = -1,
        versions: str = "",
        flexible: str = "none",
    ) -> "MessageType":
        table = namespace.get("TABLE")
        if table is not None:
            valid = parse_versions(versions)
            namespace["__slots__"] = top_level_names(table)
            namespace["api_key"] = api_key
            namespace["min_version"], namespace["max_version"] = valid
            namespace["flexible_from"] = parse_versions(flexible)[0]
            namespace["_programs"] = {}
            # Anyone may send a request; answers and records come from brokers and disks of ours.
            namespace["_trusted"] = not name.endswith("Request")
        return super().__new__(mcs, name, bases, namespace)

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **declared: Any) -> None:
        super().__init__(name, bases, namespace)

    def __getattr__(cls, name: str) -> Any:
        if "_layout" in cls.__dict__ or "TABLE" not in cls.__dict__ or name.startswith("__"):
            raise AttributeError(f"{cls.__name__} has no {name}")
        _make_parts(cls)
        return getattr(cls, name)


class Message(wire.Struct, metaclass=MessageType):
    """The root of requests, responses and records: keyword fields, the others at their defaults."""

    __slots__ = ()

    api_key: ClassVar[int]
    min_version: ClassVar[int]
    max_version: ClassVar[int]
    flexible_from: ClassVar[int]
    _programs: ClassVar[dict[int, wire.Program]]
    _trusted: ClassVar[bool]

    @classmethod
    def decode(cls, buffer: "Buffer", position: int, limit: int, version: int) -> Self:
        """The message in [position, limit) of `buffer`. Raises InvalidRequestError."""
        program = cls._programs.get(version) or compile_message(cls, version)
        message: Self = wire.decode(program, buffer, position, limit, cls._trusted)
        return message

    def encode(self, version: int) -> bytes:
        return wire.encode(self._programs.get(version) or compile_message(type(self), version), self)

    def encode_frame(self, version: int, header: bytes) -> bytes:
        """A whole frame: its length, `header`, the message."""
        return wire.encode(self._programs.get(version) or compile_message(type(self), version), self, header)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...


def _make_parts(cls: MessageType) -> None:
    """Makes the classes of a message's structs, and the layouts of all."""
    top, structs = parse_table(cls.__dict__["TABLE"])
    classes: dict[str, type[wire.Struct]] = {}
    for name, fields in structs.items():
        slots = tuple(field.name for field in fields)
        qualname = f"{cls.__name__}.{name}"
        namespace = {"__slots__": slots, "__module__": cls.__module__, "__qualname__": qualname}
        classes[name] = type(name, (wire.Struct,), namespace)
        type.__setattr__(cls, name, classes[name])
    for name, part in classes.items():
        part._layout = _layout_of(part, structs[name], classes)  # type: ignore[attr-defined]
    type.__setattr__(cls, "_table", (top, structs))
    type.__setattr__(cls, "_layout", _layout_of(cls, top, classes))


def _layout_of(cls: type, fields: list[Field], classes: "dict[str, type[wire.Struct]]") -> wire.Layout:
    names = tuple(field.name for field in fields)
    return wire.Layout(cls, names, tuple(field.default_value(classes) for field in fields))


def compile_message(cls: MessageType, version: int) -> wire.Program:
    """The program of one version of a message, kept for the next time."""
    if not cls.min_version <= version <= cls.max_version:
        raise UnsupportedVersionError(f"{cls.__name__} v{version} is not in [{cls.min_version}, {cls.max_version}]")
    layout = cls._layout
    top, structs = cls._table
    program = _compile_struct(cls, layout, top, structs, version, "")
    cls._programs[version] = program
    return program


def _compile_struct(
    cls: MessageType,
    layout: wire.Layout,
    fields: list[Field],
    structs: dict[str, list[Field]],
    version: int,
    prefix: str,
) -> wire.Program:
    rows: list[tuple[bool, int, int, bool, int, bool, str, wire.Program | None]] = []
    for field in fields:
        path = prefix + field.name
        present = within(version, field.versions)
        kind = STRUCT if field.is_struct else KINDS[field.type]
        part = None
        if present and field.is_struct:
            part_layout = getattr(cls, field.type)._layout
            part = _compile_struct(cls, part_layout, structs[field.type], structs, version, path + ".")
        tag = field.tag if within(version, field.tagged) else -1
        nullable = within(version, field.nullable)
        rows.append((present, ARRAY if field.is_array else kind, kind, nullable, tag, field.ignorable, path, part))
    return wire.Program(layout, cls.__name__, version, version >= cls.flexible_from, prefix.rstrip("."), rows)
