"""What `make test` and `make bench-kafka` need beside the virtual environment.

Debian packages (kcat, zookeeper, librdkafka's headers) where this is root or may use sudo, and Kafka's jars
by Maven where `mvn` is present. A missing compiler or Python.h is named with the command that installs it.
Idempotent, and quick when there is nothing to do. Standard library only: it runs before the virtual
environment exists.

    python3 tests/setup/prepare.py [compiler] [packages] [jars] [clang]      (no argument: all but clang)
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.judge import home

PACKAGES: dict[str, Callable[[], bool]] = {
    "kcat": lambda: shutil.which("kcat") is not None,
    "zookeeper": lambda: Path("/usr/share/zookeeper/bin").exists(),
    "librdkafka-dev": lambda: Path("/usr/include/librdkafka/rdkafka.h").exists(),
}
# Only for `make fuzz`.
CLANG: dict[str, Callable[[], bool]] = {"clang": lambda: shutil.which("clang") is not None}


def clang_runtime() -> dict[str, Callable[[], bool]]:
    """What has the libraries of libFuzzer and the sanitizers: a package apart, named after clang's version."""
    if shutil.which("clang") is None:
        return {}
    version = subprocess.run(["clang", "-dumpversion"], capture_output=True, text=True, check=True).stdout
    asked = ["clang", "-print-runtime-dir"]
    directory = Path(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip())
    return {f"libclang-rt-{version.split('.')[0]}-dev": lambda: any(directory.glob("libclang_rt.fuzzer*"))}


def say(message: str) -> None:
    print(f"set-up: {message}", flush=True)


def check_compiler() -> bool:
    """True when C extensions can be built here."""
    complaints = []
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None and shutil.which("cc") is None:
        complaints.append(f"no C compiler ({compiler}): apt-get install build-essential")
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not header.exists():
        complaints.append(f"no {header}: apt-get install python3-dev")
    for complaint in complaints:
        say(complaint)
    return not complaints


def root_command() -> list[str] | None:
    """The words before a command that make it root's, or None where that cannot be."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0:
        return ["sudo", "-n"]
    return None


def install_packages(packages: dict[str, Callable[[], bool]]) -> None:
    missing = [name for name, is_there in packages.items() if not is_there()]
    if not missing:
        return
    wanted = " ".join(missing)
    become_root = root_command()
    if become_root is None or shutil.which("apt-get") is None:
        say(f"missing: {wanted}. As root: apt-get install {wanted}")
        return
    say(f"apt-get install {wanted}")
    apt = [*become_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    subprocess.run([*apt, "update"], check=False)
    done = subprocess.run([*apt, "install", "--yes", "--no-install-recommends", *missing], check=False)
    if done.returncode:
        say(f"apt-get could not install {wanted}; the tests that need it are counted as not run")


def fetch_jars() -> None:
    for version in home.VERSIONS:
        if home.has_jars(version):
            continue
        if shutil.which("mvn") is None:
            say(f"no mvn: Kafka {version} is not fetched and its tests are not run (apt-get install maven)")
            continue
        copy_jars(version)


def copy_jars(version: str) -> None:
    """Copies to a directory of our own and renames it: runs that share a cache do not disturb each other."""
    target = home.jar_directory(version)
    staging = target.with_name(f"{target.name}.{os.getpid()}")
    say(f"fetching the jars of Kafka {version} to {target}")
    command = ["mvn", "-q", "-B", "-f", str(home.JUDGE / "pom.xml"), f"-Dkafka.version={version}"]
    command += ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={staging}"]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        say(f"Maven could not fetch Kafka {version}; its tests are not run\n{done.stdout[-2000:]}")
        shutil.rmtree(staging, ignore_errors=True)
        return
    (staging / ".complete").touch()
    if not home.has_jars(version):
        shutil.rmtree(target, ignore_errors=True)
        staging.rename(target)
    shutil.rmtree(staging, ignore_errors=True)


def main(wanted: list[str]) -> int:
    if (not wanted or "compiler" in wanted) and not check_compiler():
        return 1
    if not wanted or "packages" in wanted:
        install_packages(PACKAGES)
    if "clang" in wanted:
        install_packages(CLANG)
        install_packages(clang_runtime())
    if not wanted or "jars" in wanted:
        fetch_jars()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
