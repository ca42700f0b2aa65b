"""The reference of the library does what it shows: its blocks are run section by section, what they print is compared.

The blocks of a section run one after the other in an empty directory; a `text` block is what the one before it prints.
"""

import contextlib
import io
import re
from pathlib import Path

import pytest

import kstore

ROOT = Path(__file__).parent.parent
LIBRARY = ROOT / "docs" / "library.md"
SECTION = re.compile(r"^## (.+?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

SECTIONS = {title: BLOCK.findall(body) for title, body in SECTION.findall(LIBRARY.read_text())}


@pytest.mark.parametrize("title", [title for title, blocks in SECTIONS.items() if blocks])
def test_the_examples_print_what_is_shown(title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    blocks = SECTIONS[title]
    for (language, source), (following, shown) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if language != "python":
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, f"{LIBRARY.name}, {title}", "exec"), namespace)
        expected = shown if following == "text" else ""
        assert printed.getvalue().replace(str(tmp_path), "") == expected, source


def test_every_name_of_the_library_stands_in_its_reference() -> None:
    text = LIBRARY.read_text()
    told = {"AsyncBatch", "Batch", "Record", "RecordBatch"}  # what calls give; told of where they are made
    assert [name for name in kstore.__all__ if name not in text and name not in told] == []


@pytest.mark.parametrize("name", ["Log", "LogStore", "ReadonlyLog", "Broker"])
def test_every_method_is_mentioned(name: str) -> None:
    text = LIBRARY.read_text()
    public = [each for each in dir(getattr(kstore, name)) if not each.startswith("_")]
    obvious = {"is_closed", "partition", "path", "size_in_bytes", "topic", "clock"}
    assert [each for each in public if each not in text and each not in obvious] == []


def test_links_lead_somewhere() -> None:
    text = LIBRARY.read_text()
    headings = {
        re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in headings
        elif not target.startswith("http"):
            assert (LIBRARY.parent / target).exists(), target
