"""The paper's Figure 3 from the runs of a sweep: what the bottleneck lets through, over its weight beta."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ibgan_plugin.evaluation.legibility import COLOURS, DASHES, colour, dash
from zoo.files import writing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_over_beta(entries: Sequence[dict[str, Any]]) -> Figure | None:
    """Draw I^U and I^L, the KL of each r_i and the score over beta, as `over_beta` returns them.

    Points are the mean over the seeds, bars the deviation where there are two or more. The KLs of a run are ordered,
    the largest first, so that the lines are of ranks. None where no run has finished.
    """
    from matplotlib.figure import Figure

    there = [entry for entry in entries if entry["seeds"]]
    if not there:
        return None
    scored = [entry for entry in there if entry["score"]]
    figure = Figure(figsize=(7, 2.6 * (2 + bool(scored))), layout="constrained")
    axes = list(figure.subplots(2 + bool(scored), 1, sharex=True, squeeze=False)[:, 0])
    for index, (key, label) in enumerate({"mi_upper": "$I^U$", "mi_lower": "$I^L$"}.items()):
        _line(axes[0], index, [entry["beta"] for entry in there], [entry[key] for entry in there], label)
    axes[0].set_ylabel("nats")
    axes[0].legend(frameon=False)
    ranks = min(len(kl) for entry in there for kl in entry["kl"])
    for rank in range(ranks):
        values = [[kl[rank] for kl in entry["kl"]] for entry in there]
        _line(axes[1], rank, [entry["beta"] for entry in there], values, f"{rank + 1}.")
    axes[1].set_ylabel("KL of each $r_i$, nats,\nby its rank")
    axes[1].legend(frameon=False, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    if scored:
        _line(axes[2], 2, [entry["beta"] for entry in scored], [entry["score"] for entry in scored], "factorvae")
        axes[2].set_ylabel("FactorVAE score")
    axes[-1].set_xlabel(r"$\beta$")
    return figure


def _line(axes: Axes, index: int, at: Sequence[float], values: Sequence[Sequence[float]], label: str) -> None:
    means = [statistics.fmean(of_one) for of_one in values]
    deviations = [statistics.stdev(of_one) if len(of_one) > 1 else 0.0 for of_one in values]
    dashes = DASHES[dash(index)]
    axes.errorbar(
        at,
        means,
        yerr=deviations if any(deviations) else None,
        label=label,
        color=COLOURS[colour(index)],
        linestyle=(0, dashes) if dashes else "-",
        linewidth=1.3,
        marker="o",
        markersize=3,
        capsize=2,
    )


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write a figure as PNG and as PDF; return both paths."""
    paths = []
    for ending in ("png", "pdf"):
        path = stem.with_name(f"{stem.name}.{ending}")
        with writing(path) as temporary:
            figure.savefig(temporary, format=ending, dpi=150)
        paths.append(path)
    return paths
