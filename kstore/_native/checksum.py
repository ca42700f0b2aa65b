"""CRC32C, from the package crc32c.

Importing that package costs 30 ms (its command line and importlib.metadata come along), a sixth of a broker's
whole start; its compiled module alone costs nothing. So the module is loaded by its path, and the package is
the way out where that does not work.
"""

import importlib.util
from collections.abc import Callable
from importlib.machinery import ExtensionFileLoader, PathFinder
from types import ModuleType


def _load() -> ModuleType:
    package = importlib.util.find_spec("crc32c")  # finds, does not import
    if package is not None and package.submodule_search_locations is not None:
        spec = PathFinder.find_spec("crc32c._crc32c", list(package.submodule_search_locations))
        if spec is not None and isinstance(spec.loader, ExtensionFileLoader):
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    import crc32c

    return crc32c


# crc32c(data, value=0) -> int; releases the GIL from 32 KiB on.
crc32c: Callable[..., int] = _load().crc32c
