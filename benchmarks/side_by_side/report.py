"""The results as a table to read and as JSON to compare, with the machine described."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.side_by_side.cells import FIGURES, Figure
from benchmarks.side_by_side.load import Run
from benchmarks.side_by_side.machine import describe
from benchmarks.side_by_side.statistics import ratio_of_pairs

ORDER = {name: place for place, name in enumerate(FIGURES)}


def spread(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.3g}"
    return f"{median(values):.3g} ({min(values):.3g} - {max(values):.3g})"


def verdict(figure: Figure) -> str:
    value = median(figure.kstore) if figure.absolute else ratio_of_pairs(figure.kafka, figure.kstore).median
    if value <= figure.aim:
        return "aim"
    return "reached" if value <= figure.reach else "short"


def line(figure: Figure) -> str:
    ratio = ratio_of_pairs(figure.kafka, figure.kstore)
    interval = f"{ratio.median:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"
    unit = f" {figure.unit}" if figure.absolute else ""
    cells = [
        figure.title,
        figure.unit,
        spread(figure.kafka),
        spread(figure.kstore),
        interval,
        f"{figure.reach:.3g}{unit}",
        f"{figure.aim:.3g}{unit}",
        verdict(figure),
    ]
    return "| " + " | ".join(cells) + " |"


def details(name: str, runs: Mapping[str, list[Run]]) -> list[str]:
    found = []
    for side, of_side in runs.items():
        cpu = sum(run.broker_cpu for run in of_side)
        system = sum(run.broker_system for run in of_side)
        seconds = sum(run.seconds for run in of_side)
        gigabytes = sum(run.gigabytes for run in of_side)
        other = sum(run.machine_busy - run.client_cpu for run in of_side)
        latency = [run.latency_us for run in of_side if run.latency_us]
        p50, p99, p999 = (
            (f"{median(one[key] for one in latency) / 1000:.3g}" for key in ("p50", "p99", "p999"))
            if latency
            else ("-", "-", "-")
        )
        found.append(
            f"| {name} | {side} | {gigabytes / seconds * 1000:.0f} | {cpu / seconds:.2f} "
            f"| {system / cpu * 100 if cpu else 0:.0f} | {other / seconds:.2f} | {p50} | {p99} | {p999} |"
        )
    return found


def markdown(figures: list[Figure], runs: Mapping[str, Mapping[str, list[Run]]], facts: Mapping[str, str]) -> str:
    lines = [
        f"# {facts['kafka']} and kstore side by side",
        "",
        *(f"- {key}: {value}" for key, value in facts.items()),
        "",
        "Median (smallest - largest); ratio is kstore's of Kafka's, the median of the pairs with its 95 % interval.",
        "Goals are ratios unless a unit stands there.",
        "",
        "| figure | unit | Kafka | kstore | ratio | to reach | to aim at | |",
        "|---|---|---|---|---|---|---|---|",
        *(line(figure) for figure in figures),
        "",
        *(f"- {figure.title}: {figure.notes}" for figure in figures if figure.notes),
        "",
        "Rates and latencies of the loads above (two shared cores: the client takes its part of them).",
        "`rest of machine` is all that was busy but the client: the broker, and what the kernel did for it elsewhere.",
        "",
        "| load | broker | MB/s | broker CPUs | of it kernel % | rest of machine | p50 ms | p99 ms | p99.9 ms |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, of_cell in runs.items():
        lines += details(name, of_cell)
    return "\n".join(lines) + "\n"


def write(
    directory: Path,
    name: str,
    figures: list[Figure],
    runs: Mapping[str, Mapping[str, list[Run]]],
    *,
    kafka: str,
    scale: Mapping[str, float],
    discarded: int,
) -> Path:
    """Cells that were measured before at the same scale on the same machine, and not now, stay as they were."""
    facts = {
        "kafka": kafka,
        **describe(),
        "scale": ", ".join(f"{key} {value:g}" for key, value in scale.items()),
    }
    directory.mkdir(parents=True, exist_ok=True)
    dates = dict.fromkeys((figure.name for figure in figures), time.strftime("%Y-%m-%d"))
    record = directory / f"{name}.json"
    earlier = json.loads(record.read_text()) if record.exists() else {}
    if earlier.get("facts") == facts:
        known = [Figure(**figure) for figure in earlier["figures"]]
        figures = sorted(
            [*(figure for figure in known if figure.name not in dates), *figures], key=lambda figure: ORDER[figure.name]
        )
        runs = {
            **{
                cell: {side: [Run(**run) for run in of_side] for side, of_side in of_cell.items()}
                for cell, of_cell in earlier["runs"].items()
            },
            **runs,
        }
        dates = {**earlier["dates"], **dates}
    found: dict[str, Any] = {
        "facts": facts,
        "dates": dates,
        "figures": [figure._asdict() for figure in figures],
        "runs": {
            cell: {side: [run._asdict() for run in of_side] for side, of_side in of_cell.items()}
            for cell, of_cell in runs.items()
        },
    }
    record.write_text(json.dumps(found, indent=1) + "\n")
    path = directory / f"{name}.md"
    measured = {"measured": ", ".join(sorted(set(dates.values()))), "runs discarded for stolen time": str(discarded)}
    path.write_text(markdown(figures, runs, facts | measured))
    return path
