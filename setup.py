"""Builds the C core (one static library) and the Cython modules that link it.

KSTORE_STRICT=1    warnings are errors in our own C (set by the Makefile, not for users' compilers)
KSTORE_SANITIZE=1  AddressSanitizer and UBSan in C and Cython (`make sanitize`)
KSTORE_PROFILE=1   keep frame pointers, for perf
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
NATIVE = Path("kstore/_native")

# Python files on the way of a produce or a fetch that are also compiled as they stand.
HOT_PYTHON: list[str] = []

STRICT = os.environ.get("KSTORE_STRICT") == "1"
SANITIZE = os.environ.get("KSTORE_SANITIZE") == "1"
PROFILE = os.environ.get("KSTORE_PROFILE") == "1"

optimize = ["-O1", "-g", "-fno-omit-frame-pointer"] if SANITIZE else ["-O2", "-g0"]
if PROFILE:
    optimize += ["-g", "-fno-omit-frame-pointer"]
sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"] if SANITIZE else []
core_flags = ["-std=c11", "-D_GNU_SOURCE", "-fPIC", "-fvisibility=hidden", *optimize, *sanitizers]
if STRICT:
    core_flags += ["-Wall", "-Wextra", "-Wconversion", "-Werror"]

core_sources = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "src").glob("*.c"))
core_headers = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "src").glob("*.h"))


class BuildAfterCore(build_ext):
    """Builds the static library first, so that `setup.py build_ext --inplace` alone is enough."""

    def run(self) -> None:
        self.run_command("build_clib")
        super().run()


def extension(source: str) -> Extension:
    return Extension(
        source.rsplit(".", 1)[0].replace("/", "."),
        [source],
        include_dirs=["src"],
        depends=core_headers + core_sources,
        extra_compile_args=["-D_GNU_SOURCE", *optimize, *sanitizers],
        extra_link_args=sanitizers,
    )


modules = [str(path.relative_to(ROOT)) for path in sorted((ROOT / NATIVE).glob("*.pyx"))] + HOT_PYTHON

setup(
    cmdclass={"build_ext": BuildAfterCore},
    libraries=[
        (
            "kstore_core",
            {
                "sources": core_sources,
                "depends": core_headers,
                "include_dirs": ["src"],
                "cflags": core_flags,
                "obj_deps": {"": core_headers},
            },
        )
    ]
    if core_sources
    else [],
    ext_modules=cythonize(
        [extension(source) for source in modules],
        build_dir="build/cython",
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "embedsignature": True,
            "binding": True,
            "freethreading_compatible": False,
        },
    )
    if modules
    else [],
    cffi_modules=[f"{NATIVE}/_os_build.py:ffibuilder"] if (ROOT / NATIVE / "_os_build.py").exists() else [],
)
