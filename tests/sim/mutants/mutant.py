"""A rule broken: a piece of one function's source replaced by another, while a process lives.

The piece must be there exactly once: a mutant whose place has moved fails, and is mended with it.
"""

import inspect
import sys
import textwrap
from importlib import import_module
from types import FunctionType
from typing import Any, NamedTuple


class Mutant(NamedTuple):
    """`target` is `module:function` or `module:Class.method`; the module stands below `kstore`. `named_tests` find it
    where a simulation cannot."""

    rule: str
    broken: str
    target: str
    old: str
    new: str
    named_tests: tuple[str, ...] = ()

    def apply(self) -> None:
        """For the rest of this process."""
        module, owner, name, original = self._place()
        changed = self.made()
        setattr(owner, name, changed)
        if owner is module:
            # Who has imported it by name has the old one.
            for other in list(sys.modules.values()):
                if getattr(other, "__name__", "").startswith("kstore.") and getattr(other, name, None) is original:
                    setattr(other, name, changed)

    def _place(self) -> tuple[Any, Any, str, Any]:
        """Module, owner, name, and what is there."""
        module_name, _, place = self.target.partition(":")
        module = import_module(f"kstore.{module_name}")
        owner_name, _, name = place.rpartition(".")
        owner: Any = getattr(module, owner_name) if owner_name else module
        return module, owner, name, owner.__dict__[name]

    def made(self) -> Any:
        """The broken function. Raises LookupError where the piece is not found."""
        module, _, name, original = self._place()
        function = original.fget if isinstance(original, property) else original
        source = textwrap.dedent(inspect.getsource(function))
        if source.count(self.old) != 1:
            raise LookupError(f"rule {self.rule}: {self.old!r} is {source.count(self.old)} times in {self.target}")
        source = source.replace(self.old, self.new)
        found: dict[str, Any] = {}
        exec(
            compile("from __future__ import annotations\n" + source, f"<mutant {self.rule}>", "exec"),
            module.__dict__,
            found,
        )
        changed = found[name]
        assert isinstance(changed, FunctionType | property | classmethod | staticmethod)
        return changed
