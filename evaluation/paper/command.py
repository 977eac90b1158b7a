"""`zoo reproduce`: the sweeps behind the paper's tables and figures, ours beside the paper's at the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo import terminal
from zoo.cli.argument_types import UserPath
from zoo.cli.sweep import perform, sweep_options
from zoo.registry import default_registry
from zoo.settings import listed

if TYPE_CHECKING:
    from ibgan_plugin.evaluation.paper.shipped import Reproduction
    from ibgan_plugin.evaluation.paper.tables import Table
    from zoo.sweep.plan import Plan, SweepFolder
    from zoo.sweep.results import Results

_WHAT = ("table1", "table2", "fig3", "fig4")


def _comma_separated(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(listed(value or ""))


@click.command("reproduce", short_help="Train and score what the paper's tables show.")
@click.argument("what", type=click.Choice(_WHAT))
@click.option("--steps", type=click.IntRange(1), help="Train every run for so many steps.  [default: the presets']")
@click.option(
    "--seeds", type=click.IntRange(1, 1000), help="With seeds 0 to K-1.  [default: 3 for tables, 1 for figures]"
)
@click.option("--models", metavar="A,B", callback=_comma_separated, help="Only these models.  [default: the paper's]")
@click.option(
    "--datasets", metavar="A,B", callback=_comma_separated, help="Only these datasets.  [default: the paper's]"
)
@click.option("--out", type=UserPath(), help="The sweep's folder.  [default: runs/WHAT]")
@sweep_options
def reproduce(
    what: str,
    steps: int | None,
    seeds: int | None,
    models: Sequence[str],
    datasets: Sequence[str],
    out: Path | None,
    words: Sequence[str],
    data_root: Path | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Train and score what a table or figure of the IB-GAN paper shows, and print ours beside the paper's.

    The presets train each run for 150,000 to 1,000,000 steps; --dry-run --measure tells what that costs, --steps
    shortens all runs. What this machine lacks (datasets that have to be fetched, the network of FID) is left out and
    said.
    """
    from ibgan_plugin.evaluation.paper import shipped

    registry = default_registry()
    spec = shipped.asked(what, steps=steps, seeds=seeds, models=models, datasets=datasets)
    wanted = shipped.reproduction(registry, what, spec, words, data_root)
    folder = out or Path("runs") / what
    if wanted.possible is None:
        return _nothing(wanted, as_json)

    def present(plan: Plan, folder: SweepFolder, results: Results, as_json: bool) -> dict[str, Any]:
        return _present(wanted, plan, folder, results, as_json)

    return perform(
        wanted.possible,
        folder,
        words=shipped.without(words, [metric for metric in spec.metrics if metric in wanted.missing]),
        data_root=data_root,
        as_json=as_json,
        present=present,
        notes=wanted.notes,
        **options,
    )


def _nothing(wanted: Reproduction, as_json: bool) -> int:
    """Print the paper's numbers alone, where nothing of what they need is here."""
    from ibgan_plugin.evaluation.paper.tables import document, table_of_scores
    from zoo.sweep.results import Results

    results = Results((), (), tuple(wanted.notes))
    table = table_of_scores(default_registry(), wanted, wanted.spec.metrics[0], results)
    if as_json:
        terminal.out_json(document(wanted, table, results))
    else:
        terminal.table(table.headers, table.body, title=wanted.title)
    for note in wanted.notes:
        terminal.note(f"error: {note}")
    return 1


def _present(wanted: Reproduction, plan: Plan, folder: SweepFolder, results: Results, as_json: bool) -> dict[str, Any]:
    from ibgan_plugin.evaluation.paper.tables import document
    from zoo.sweep.results import write_results

    table = _table(wanted, plan, folder, results)
    paths = _figures(wanted, plan, folder)
    found = document(wanted, table, results)
    write_results(folder, found, table.headers, table.body, found["notes"], wanted.title)
    if not as_json:
        terminal.table(table.headers, table.body, title=wanted.title)
        for note in table.notes:
            terminal.note(note)
        for path in (*paths, folder.path):
            terminal.out(str(path))
    return found


def _table(wanted: Reproduction, plan: Plan, folder: SweepFolder, results: Results) -> Table:
    from ibgan_plugin.evaluation.paper import tables

    registry = default_registry()
    if wanted.name == "fig3":
        return tables.table_over_beta(wanted, plan, folder, results)
    if wanted.name == "fig4":
        return tables.table_over_steps(registry, wanted, plan, folder, results)
    return tables.table_of_scores(registry, wanted, wanted.spec.metrics[0], results)


def _figures(wanted: Reproduction, plan: Plan, folder: SweepFolder) -> list[Path]:
    """Write the figures that the finished runs give."""
    from ibgan_plugin.evaluation.curves import plot_run
    from ibgan_plugin.evaluation.paper.drawing import draw_over_beta, save_figure
    from ibgan_plugin.evaluation.paper.tables import over_beta

    if wanted.name == "fig3":
        figure = draw_over_beta(over_beta(plan, folder))
        return save_figure(figure, folder.path / "fig3") if figure is not None else []
    paths = []
    if wanted.name == "fig4":
        for run in plan.runs:
            if folder.run(run).records("metrics.jsonl"):
                paths += save_figure(plot_run(folder.run(run).path), folder.path / f"fig4-{run.name}")
    return paths
