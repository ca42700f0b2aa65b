"""The house rules of imports: a floor knows only the floors below, a package's files only earlier ones.

The floors stand in `kstore/__init__.py`, the order of a package's files in its own `__init__.py`: a docstring
that says "in dependency order: a, b, c." Both are read from there. Imports are found with `ast`, in Cython by
their first words; one inside a function or under TYPE_CHECKING counts like any other.
"""

import ast
import re
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

KSTORE = Path(__file__).resolve().parents[1] / "kstore"
SOURCES = sorted([*KSTORE.rglob("*.py"), *KSTORE.rglob("*.pyx"), *KSTORE.rglob("*.pxd")])
CYTHON_IMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+c?import\s+\(?([\w, ]*)|c?import\s+([\w.]+))", re.M)

# What only the floors from 5 on may use: below, nobody waits (kstore/cluster/zk is the bridge to kazoo's
# threads).
TOP_ONLY = {"asyncio", "selectors", "socket", "uvloop"}


def module_name(source: Path) -> str:
    parts = source.relative_to(KSTORE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> frozenset[str]:
    return frozenset(module_name(source) for source in SOURCES)


def imported_names(source: Path) -> set[str]:
    """Full names of the modules that a file imports."""
    text = source.read_text()
    names = set()
    if source.suffix != ".py":
        for origin, what, whole in CYTHON_IMPORT.findall(text):
            names.add(whole or origin)
            names |= {f"{origin}.{name.strip()}" for name in what.split(",") if origin and name.strip()}
        return names
    package = module_name(source).split(".")
    if source.name != "__init__.py":
        package.pop()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            names |= {origin, *(f"{origin}.{alias.name}" for alias in node.names)}
    return names


@cache
def imports_of(source: Path) -> frozenset[str]:
    """The modules of kstore that a file imports; a package is left out where one of its modules is meant."""
    names = imported_names(source) & modules()
    return frozenset(name for name in names if not any(other.startswith(f"{name}.") for other in names)) - {
        module_name(source),
        "kstore",
    }


@cache
def floors() -> dict[str, int]:
    """First-level name -> floor, from the docstring of kstore."""
    docstring = ast.get_docstring(ast.parse((KSTORE / "__init__.py").read_text())) or ""
    found = {}
    for number, names in re.findall(r"^(\d+)\. +((?:\w+, )*\w+)(?: |$)", docstring, re.M):
        found |= {name: int(number) for name in names.split(", ")}
    return found


def listed_order(package: Path) -> list[str]:
    """The files of a package in the order of its docstring; empty when it gives none."""
    docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""
    listed = re.search(r"in dependency order: ([\w,\s]+)\.", docstring)
    return re.split(r",\s+", listed[1].replace("\n", " ").strip()) if listed else []


PACKAGES = sorted(source.parent for source in KSTORE.rglob("__init__.py"))


def test_every_package_and_shared_module_stands_on_a_floor() -> None:
    first_level = {name.split(".")[1] for name in modules() if name != "kstore"}
    assert first_level <= set(floors()), "name it in the docstring of kstore/__init__.py"


@pytest.mark.parametrize("source", SOURCES, ids=module_name)
def test_a_floor_knows_only_the_floors_below(source: Path) -> None:
    if source.parent == KSTORE and source.name == "__init__.py":
        return
    own = module_name(source).split(".")[1]
    for name in imports_of(source):
        other = name.split(".")[1]
        allowed = other == own or floors()[other] < floors()[own] or floors()[other] == floors()[own] == 0
        assert allowed, f"{module_name(source)} (floor {floors()[own]}) imports {name} (floor {floors()[other]})"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: module_name(package / "__init__.py"))
def test_files_import_only_earlier_files_of_their_package(package: Path) -> None:
    order = listed_order(package)
    prefix = module_name(package / "__init__.py") + "."
    for source in SOURCES:
        if not module_name(source).startswith(prefix):
            continue
        own = module_name(source).removeprefix(prefix).split(".")[0]
        for name in imports_of(source):
            other = name.removeprefix(prefix).split(".")[0]
            if name.startswith(prefix) and own != other and own in order and other in order:
                assert order.index(other) < order.index(own), f"{own} imports {other}, which is listed later"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: module_name(package / "__init__.py"))
def test_a_package_that_gives_an_order_lists_all_its_files(package: Path) -> None:
    order = listed_order(package)
    files = {source.stem for source in package.iterdir() if source.suffix in (".py", ".pyx")} - {"__init__"}
    assert not order or files <= set(order), "list it in the docstring of the package's __init__.py"


def test_no_import_goes_in_circles() -> None:
    graph: dict[str, set[str]] = {}
    for source in SOURCES:
        if source.suffix == ".py" and source.name == "__init__.py" and source.parent != KSTORE:
            continue  # a package's own file may gather what its modules offer
        graph.setdefault(module_name(source), set()).update(imports_of(source))
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("source", SOURCES, ids=module_name)
def test_sockets_and_the_event_loop_stay_on_the_upper_floors(source: Path) -> None:
    name = module_name(source)
    if name == "kstore" or floors()[name.split(".")[1]] >= 5 or name.startswith("kstore.cluster.zk"):
        return
    used = {imported.split(".")[0] for imported in imported_names(source)}
    assert not used & TOP_ONLY
