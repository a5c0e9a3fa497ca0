"""Draws the dashboard without Grafana: each panel's own queries, asked of a running Prometheus.

    python deploy/grafana/draw.py http://127.0.0.1:9090 10 docs/dashboard.png

asks for the last ten minutes. Needs matplotlib; made for the picture in docs/, where no Grafana
was to be had. Grafana draws the same numbers with its own hand.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.dates import DateFormatter

DASHBOARD = Path(__file__).parent / "dashboards" / "scratch.json"
_STEP_S = 5


def series(prometheus: str, query: str, minutes: float) -> list[dict[str, Any]]:
    now = time.time()
    window = {"start": now - minutes * 60, "end": now, "step": _STEP_S}
    asked = query.replace("$__rate_interval", "30s")
    answer = httpx.get(f"{prometheus}/api/v1/query_range", params={"query": asked, **window})
    answer.raise_for_status()
    return list(answer.json()["data"]["result"])


def label(legend: str, labels: dict[str, str]) -> str:
    for name, value in labels.items():
        legend = legend.replace("{{" + name + "}}", value)
    return legend or " ".join(labels.values())


def draw(axes: Axes, panel: dict[str, Any], prometheus: str, minutes: float) -> None:
    axes.set_visible(True)
    axes.set_title(panel["title"], fontsize=9, loc="left")
    axes.tick_params(labelsize=7)
    if panel["type"] == "heatmap":
        draw_heatmap(axes, panel, prometheus, minutes)
        return
    for target in panel["targets"]:
        for found in series(prometheus, target["expr"], minutes):
            times = [datetime.fromtimestamp(at) for at, _ in found["values"]]
            values = [float(value) for _, value in found["values"]]
            name = label(target["legendFormat"], found["metric"])
            axes.plot(times, values, label=name, linewidth=1.2)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M"))
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=6, loc="upper left")


def draw_heatmap(axes: Axes, panel: dict[str, Any], prometheus: str, minutes: float) -> None:
    """Cumulative buckets become rows of their own, as Grafana's heatmap makes them."""
    found = series(prometheus, panel["targets"][0]["expr"], minutes)
    rows = sorted(found, key=lambda row: float(row["metric"]["le"]))[:-1]  # without +Inf
    counts = [[float(value) for _, value in row["values"]] for row in rows]
    bands = [counts[0]] + [
        [high - low for high, low in zip(upper, lower, strict=True)]
        for lower, upper in pairwise(counts)
    ]
    axes.imshow(bands, aspect="auto", origin="lower", extent=(-minutes, 0, 0, 1), cmap="Blues")
    axes.set_xlabel("minutes", fontsize=7)


def main(prometheus: str, minutes: str, file: str) -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    rows = 1 + max(panel["gridPos"]["y"] for panel in panels) // 7
    figure, grid = plt.subplots(rows, 3, figsize=(16, 3.6 * rows), layout="constrained")
    figure.suptitle("Scratch detector: the dashboard's queries on a running stack under load")
    for axes in grid.flat:
        axes.set_visible(False)  # until there is a panel
    for panel in panels:
        at = panel["gridPos"]
        draw(grid[at["y"] // 7][at["x"] // 8], panel, prometheus, float(minutes))
    figure.savefig(file, dpi=75)


if __name__ == "__main__":
    main(*sys.argv[1:])
