"""docs/guarantees.md: whatever is said to try to break a promise is there, and no rule of the checker is left out."""

import ast
import re
from functools import cache
from pathlib import Path

from tests.test_docs_cluster import anchors

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs"
TEXT = (DOCS / "guarantees.md").read_text()
REFERENCE = re.compile(r"`([\w/]*(?:\.py)?)::([\w.-]+)`")
CHECKER = "chaos/checker.py"


def references(text: str) -> list[tuple[str, str]]:
    """File and name of each; one without a file is in the file of the one before."""
    found = []
    for line in text.splitlines():
        file = ""
        for path, name in REFERENCE.findall(line):
            file = path or file
            found.append((file, name))
    return found


@cache
def names_in(file: str) -> frozenset[str]:
    """Functions, and classes with their methods; of the checker also the anomalies that it finds."""
    source = (TESTS / file).read_text()
    found = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
            found |= {f"{node.name}.{each.name}" for each in node.body if isinstance(each, ast.AsyncFunctionDef)}
    return frozenset(found | (anomalies() if file == CHECKER else set()))


def anomalies() -> set[str]:
    """Of the table at the head of the checker."""
    head = ast.get_docstring(ast.parse((TESTS / CHECKER).read_text())) or ""
    return set(re.findall(r"^    ([a-z-]+) {2,}", head, re.MULTILINE)) | set(re.findall(r"\bint-[a-z-]+", head))


def test_whatever_is_named_is_there() -> None:
    found = references(TEXT)
    assert len(found) > 80
    for file, name in found:
        assert (TESTS / file).is_file(), f"{file}::{name}"
        assert name in names_in(file), f"{file}::{name}"


def test_every_promise_has_something_that_tries_to_break_it() -> None:
    rows = re.findall(r"^\| (\d\.\d+) \| (.+) \| (.+) \|$", TEXT, re.MULTILINE)
    assert len(rows) > 25
    assert [number for number, _, tried in rows if not references(tried)] == []
    sections: dict[str, list[int]] = {}
    for number, _, _ in rows:
        section, _, place = number.partition(".")
        sections.setdefault(section, []).append(int(place))
    assert all(places == list(range(1, len(places) + 1)) for places in sections.values())


def test_every_anomaly_is_one_of_a_promise() -> None:
    assert len(anomalies()) > 10
    assert anomalies() == {name for file, name in references(TEXT) if file == CHECKER}


def test_what_is_referred_to_by_number_is_there() -> None:
    numbers = set(re.findall(r"^\| (\d\.\d+) \|", TEXT, re.MULTILINE))
    assert set(re.findall(r"\((\d\.\d+)\)", TEXT)) <= numbers


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        name, _, heading = target.partition("#")
        found = TEXT if not name else (DOCS / name).read_text()
        assert not heading or heading in anchors(found), target
