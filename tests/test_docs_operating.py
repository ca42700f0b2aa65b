"""docs/operating.md names every metric that there is, and none that is not."""

import re
from pathlib import Path

from kstore.server.metrics import collect

TEXT = (Path(__file__).parent.parent / "docs" / "operating.md").read_text()


def documented() -> set[str]:
    """Names in the first column of the table; `..._x` has the prefix of the name before it."""
    names = set()
    for line in TEXT.splitlines():
        if not line.startswith("| `kafka_"):
            continue
        prefix = ""
        for name in re.findall(r"`([a-z_.]+)`", line.split("|")[1]):
            if name.startswith("..._"):
                name = prefix + name.removeprefix("...")
            else:
                prefix = name.removesuffix("_total").rpartition("_")[0]
            names.add(name)
    return names


def test_the_table_of_metrics_is_what_the_broker_tells(broker):
    told = {
        f"{metric.name}_total" if metric.type == "counter" else metric.name
        for metric in broker.call(lambda app: collect(app.context, app.listeners))
    }
    assert documented() == told
