"""What all benchmarks share: the closing table of rates, in the units that each benchmark names."""

from typing import Any

import pytest


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    session: Any = getattr(config, "_benchmarksession", None)
    rows = [
        (bench.group or "", bench.name, bench.extra_info["per_second"], bench.extra_info["unit"])
        for bench in (session.benchmarks if session else [])
        if "per_second" in bench.extra_info
    ]
    if not rows:
        return
    terminalreporter.write_line("")
    terminalreporter.write_line("In a second, at the best time:")
    shown = ""
    for group, name, rate, unit in sorted(rows):
        if group != shown:
            terminalreporter.write_line(f"\n{group}")
            shown = group
        terminalreporter.write_line(f"  {name.removeprefix('test_'):<44} {rate:>18} {unit}")
