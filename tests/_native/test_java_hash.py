"""Java's String.hashCode."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kstore._native.java_hash import java_hash


def slow_hash(text: str) -> int:
    code = 0
    units = text.encode("utf-16-be", "surrogatepass")
    for i in range(0, len(units), 2):
        code = (31 * code + (units[i] << 8 | units[i + 1])) & 0xFFFFFFFF
    return code - (1 << 32) if code & 0x80000000 else code


@given(st.text(st.characters()))
def test_it_is_javas(text: str) -> None:
    assert java_hash(text) == slow_hash(text)


def test_a_lone_surrogate_is_a_unit() -> None:
    assert java_hash("\ud83d") == 0xD83D
    assert java_hash("\U0001f600") == 31 * 0xD83D + 0xDE00


def test_the_longest_name_takes_microseconds() -> None:
    """It took 12 ms, of the loop."""
    name = "g" * 32_767
    began = time.thread_time()
    for _ in range(100):
        java_hash(name)
    assert time.thread_time() - began < 0.1


def test_only_text_has_one() -> None:
    with pytest.raises(TypeError):
        java_hash(b"g")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        java_hash(None)  # type: ignore[arg-type]
