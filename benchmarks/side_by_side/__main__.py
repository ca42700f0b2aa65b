"""`make bench-kafka`: measures Kafka and kstore side by side and writes benchmarks/results/.

python -m benchmarks.side_by_side [--short] [--kafka kafka-3.9.1] [--only produce-16k,start]
"""

import argparse
import compileall
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.side_by_side import cluster_cells
from benchmarks.side_by_side.brokers import running
from benchmarks.side_by_side.cells import CELLS, FULL, SHORT, Contest, Figure, Scale, memory, recovery, start_times
from benchmarks.side_by_side.cluster import both
from benchmarks.side_by_side.load import BROKER_CPU, Placement, Run, build_program
from benchmarks.side_by_side.machine import pin
from benchmarks.side_by_side.report import write
from tests.judge import home

OTHERS = {"start": start_times, "memory": memory, "recovery": recovery}
NEEDED_GB = 20
KAFKA_WITH_ZOOKEEPER = "kafka-3.9.1"


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def chosen(only: str | None, kafka: str) -> list[str]:
    names = [*(cell.name for cell in CELLS), *OTHERS]
    if kafka == KAFKA_WITH_ZOOKEEPER:
        names += cluster_cells.CELLS
    wanted = only.split(",") if only else names
    unknown = set(wanted) - set(names)
    if unknown:
        sys.exit(f"bench-kafka: no such cell for {kafka}: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    return wanted


def contest(
    kafka: str, workplace: Path, scale: Scale, wanted: list[str]
) -> tuple[list[Figure], dict[str, dict[str, list[Run]]], int]:
    cells = [cell for cell in CELLS if cell.name in wanted]
    if not cells:
        return [], {}, 0
    with running(kafka, workplace / "kafka") as theirs, running("kstore", workplace / "kstore") as ours:
        if Placement.is_pinned:
            for broker in (theirs, ours):
                pin(broker.pid, BROKER_CPU)
        both = Contest(theirs, ours, scale, say)
        say(f"warming up for {scale.warm_up_seconds:.0f} s")
        both.warm_up()
        figures = [both.measure(cell) for cell in cells]
    return figures, both.runs, both.discarded


def cluster_contest(
    workplace: Path, scale: cluster_cells.ClusterScale, wanted: list[str]
) -> tuple[list[Figure], dict[str, dict[str, list[Run]]], int]:
    cells = [name for name in wanted if name in cluster_cells.CELLS]
    if not cells:
        return [], {}, 0
    say("starting two clusters of three brokers")
    with both(workplace) as clusters:
        contest = cluster_cells.ClusterContest(clusters, workplace, scale, say)
        contest.warm_up()
        figures = contest.measure(cells)
    return figures, contest.runs, contest.discarded


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench-kafka")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--kafka", default="kafka-3.9.1", choices=[f"kafka-{version}" for version in home.VERSIONS])
    parser.add_argument("--only", help="cells, with commas between them")
    parser.add_argument("--pinned", action="store_true", help="brokers on CPU 0, the client on CPU 1")
    parser.add_argument("--directory", type=Path, help="where brokers keep their data; build/bench by default")
    arguments = parser.parse_args()
    why_not = home.why_kafka_cannot_run()
    if why_not:
        sys.exit(f"bench-kafka: {why_not}")
    wanted = chosen(arguments.only, arguments.kafka)
    if arguments.pinned:
        Placement.pin_clients()
    scale = SHORT if arguments.short else FULL
    parent = arguments.directory or home.REPOSITORY / "build" / "bench"
    parent.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(parent).free < NEEDED_GB * 1e9:
        sys.exit(f"bench-kafka: less than {NEEDED_GB} GB free in {parent}")
    build_program()
    # As an installation has it: a checkout compiles its modules at each start where Python is told to keep none.
    compileall.compile_dir(home.REPOSITORY / "kstore", quiet=1)
    with tempfile.TemporaryDirectory(dir=parent) as name:
        workplace = Path(name)
        figures, runs, discarded = contest(arguments.kafka, workplace, scale, wanted)
        for question, measure in OTHERS.items():
            if question in wanted:
                figures += measure(arguments.kafka, workplace, scale, say)
        cluster_scale = cluster_cells.SHORT if arguments.short else cluster_cells.FULL
        of_clusters = cluster_contest(workplace, cluster_scale, wanted)
    marks = [mark for mark in ("pinned", "short") if getattr(arguments, mark)]
    reports = (
        ([arguments.kafka, *marks], scale._asdict(), figures, runs, discarded),
        ([arguments.kafka, "clusters", *marks], cluster_scale._asdict(), *of_clusters),
    )
    for words, scale_of, figures_of, runs_of, discarded_of in reports:
        if figures_of:
            path = write(
                home.REPOSITORY / "benchmarks" / "results",
                "-".join(words),
                figures_of,
                runs_of,
                kafka=arguments.kafka,
                scale=scale_of,
                discarded=discarded_of,
            )
            print(path.read_text())
            say(f"written to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
