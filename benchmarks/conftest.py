"""What all benchmarks share: how one is measured, and the closing table of rates in the units that each names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.side_by_side.machine import describe


@pytest.fixture
def measure(benchmark: Any) -> Callable[..., Any]:
    """measure(function, unit, how many units one call does); `setup` runs before each call, unmeasured."""

    def run(
        function: Callable[[], Any],
        unit: str,
        units: float,
        rounds: int = 20,
        setup: Callable[[], None] | None = None,
    ) -> Any:
        result = benchmark.pedantic(function, rounds=rounds, warmup_rounds=2, setup=setup)
        rate = units / benchmark.stats.stats.min
        benchmark.extra_info.update(unit=unit, per_second=f"{rate:,.0f}")
        return result

    return run


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
    table = config.getoption("--table")
    if table is not None:
        write_table(table, sorted(rows))
    shown = ""
    for group, name, rate, unit in sorted(rows):
        if group != shown:
            terminalreporter.write_line(f"\n{group}")
            shown = group
        terminalreporter.write_line(f"  {name.removeprefix('test_'):<44} {rate:>18} {unit}")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--table", type=Path, help="also write the closing table there, with the machine described")


def write_table(path: Path, rows: list[tuple[str, str, str, str]]) -> None:
    lines = ["# kstore's parts alone: in a second, at the best time", ""]
    lines += [f"- {key}: {value}" for key, value in describe().items()]
    shown = ""
    for group, name, rate, unit in rows:
        if group != shown:
            lines += ["", f"## {group}", "", "| what | a second | |", "|---|---:|---|"]
            shown = group
        lines.append(f"| {name.removeprefix('test_')} | {rate} | {unit} |")
    path.write_text("\n".join(lines) + "\n")
