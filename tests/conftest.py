"""What all tests share: the fixtures by theme, and the count of tests whose judge is not on this machine.

A test marked `kafka` (or `kcat`) is left out where its judge cannot run, and the last lines of the output say
how many and why. With CI=true that is a failure: nothing is skipped silently.
"""

import os
import signal
from collections import Counter

import pytest

from tests.judge import home

pytest_plugins = ["tests.fix_broker", "tests.fix_cold", "tests.fix_kafka", "tests.fix_kstore"]

JUDGES = {
    "kafka": ("Kafka", home.why_kafka_cannot_run),
    "kcat": ("kcat", home.why_kcat_cannot_run),
}
NOT_RUN = pytest.StashKey[Counter[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[NOT_RUN] = Counter()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # So a shell starts what is to run in the background, and so would every process here that is to be interrupted.
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)  # after -m and -k have had their say
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    missing = {marker: why for marker, (_, ask) in JUDGES.items() if (why := ask())}
    kept, left_out = [], []
    for item in items:
        marker = next((name for name in missing if item.get_closest_marker(name)), None)
        if marker is None:
            kept.append(item)
        else:
            left_out.append(item)
            config.stash[NOT_RUN][f"tests that {JUDGES[marker][0]} judges: {missing[marker]}"] += 1
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    not_run = session.config.stash[NOT_RUN]
    worker_output = getattr(session.config, "workeroutput", None)
    if worker_output is not None:
        worker_output["not_run"] = dict(not_run)
    elif not_run and os.environ.get("CI") == "true" and session.exitstatus in (0, 5):
        session.exitstatus = 1


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    # Every worker of pytest-xdist collects every test, so one worker's count is the count.
    config: pytest.Config = node.config  # type: ignore[attr-defined]
    for reason, count in getattr(node, "workeroutput", {}).get("not_run", {}).items():
        config.stash[NOT_RUN][reason] = count


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for reason, count in sorted(config.stash[NOT_RUN].items()):
        terminalreporter.write_line(f"not run: {count} {reason}", red=True)
