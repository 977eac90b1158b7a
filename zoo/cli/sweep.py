"""`zoo sweep`: a TOML file of models, datasets, settings and seeds -> runs, and a table of their scores."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from zoo import terminal
from zoo.cli.argument_types import UserPath
from zoo.cli.options import data_root_option, json_option, set_option
from zoo.errors import UsageError
from zoo.registry import default_registry

if TYPE_CHECKING:
    from zoo.sweep.conduct import Conductor
    from zoo.sweep.cost import Cost
    from zoo.sweep.executors import ExecutorName
    from zoo.sweep.plan import Plan, SweepFolder
    from zoo.sweep.results import Results
    from zoo.sweep.spec import SweepSpec

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--dry-run", is_flag=True, help="List the runs and what they will cost, as measured; train nothing."),
    click.option("--measure", is_flag=True, help="With --dry-run: train a few steps of what was never measured."),
    click.option(
        "--jobs", type=click.IntRange(1, 4096), help="Runs at a time.  [default: 1; on Slurm: as many as it allows]"
    ),
    click.option(
        "--executor",
        type=click.Choice(["local", "slurm", "debug"]),
        default="local",
        show_default=True,
        help="Where: processes here, Slurm's jobs, or one by one in this process.",
    ),
    set_option("Change a setting of all runs, such as batch_size=32, or of a metric, such as factorvae.votes=100."),
    click.option("--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps.  [default: auto]"),
    data_root_option,
    json_option,
)


def sweep_options(command: F) -> F:
    """The options of every command that conducts a sweep."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command("sweep", short_help="Train and score many runs, as a TOML file says.")
@click.argument("spec", type=UserPath())
@click.option("--out", type=UserPath(), help="The sweep's folder.  [default: runs/NAME of the file]")
@sweep_options
def sweep(spec: Path, out: Path | None, **options: Any) -> int:
    """Train and score models x datasets x settings x seeds, as the TOML file SPEC says.

    Started again, a sweep goes on where it was: finished runs are left alone, the others resume.
    """
    from zoo.sweep.spec import SweepSpec

    registry = default_registry()
    folder = out or Path("runs") / re.sub(r"[^\w.-]+", "_", spec.stem)
    return perform(SweepSpec.read(registry, spec), folder, **options)


def perform(
    spec: SweepSpec,
    out: Path,
    *,
    dry_run: bool,
    measure: bool,
    jobs: int | None,
    executor: ExecutorName,
    words: Sequence[str],
    device: str | None,
    data_root: Path | None,
    as_json: bool,
    present: Callable[[Plan, SweepFolder, Results, bool], dict[str, Any]] | None = None,
    notes: Sequence[str] = (),
) -> int:
    """Conduct a sweep, or list it; return the exit code.

    `present` writes what came of it, prints it unless its last argument (`--json`) is true, and returns the document
    for `--json`; without one it is a table of means.
    """
    from zoo.sweep.images import trained_on_others
    from zoo.sweep.plan import Plan, SweepFolder

    if measure and not dry_run:
        raise UsageError("--measure belongs to --dry-run: it trains a few steps to tell what the sweep will cost")
    registry = default_registry()
    spec = spec.with_words([*words, *([f"device={device}"] if device else [])])
    plan, folder = Plan.of(registry, spec), SweepFolder(out)
    folder.check(plan)
    at_a_time = jobs or (len(plan.runs) if executor == "slurm" else 1)
    for line in (*plan.left_out, *notes):
        terminal.note(line)
    other_images = trained_on_others(registry, plan, folder, data_root)
    for line in other_images:
        terminal.warn(line)
    if dry_run:
        return _list(plan, folder, measure, executor, at_a_time, data_root, as_json)

    from zoo.sweep.conduct import Conductor
    from zoo.sweep.results import collect

    conductor = Conductor(registry, plan, folder, executor=executor, jobs=at_a_time, data_root=data_root)
    with folder.locked():
        folder.write_plan(plan)
        conductor.run()
        results = collect(registry, plan, folder, notes=(*notes, *other_images, *_failures(conductor)))
        document = (present or _present)(plan, folder, results, as_json)
    if as_json:
        terminal.out_json(document)
    return _code(conductor, folder)


def _code(conductor: Conductor, folder: SweepFolder) -> int:
    for failure in _failures(conductor):
        terminal.note(f"error: {failure}")
    if conductor.stopped_by:
        name = signal.Signals(conductor.stopped_by).name
        terminal.note(f"stopped by {name}; {conductor.summary()}; the same command goes on ({folder.path})")
        return 128 + conductor.stopped_by
    return 1 if conductor.failed else 0


def _failures(conductor: Conductor) -> list[str]:
    return [f"{row.run.name}: {row.error}" for row in conductor.failed]


def _present(plan: Plan, folder: SweepFolder, results: Results, as_json: bool) -> dict[str, Any]:
    """The means of every model, dataset and point of the grid."""
    from zoo.sweep.results import rows, write_results

    below = [*_departures(plan, results), *results.caveats]
    results = replace(results, notes=(*below, *results.notes))
    headers, body = rows(results)
    document = results.document()
    write_results(folder, document, headers, body, results.notes)
    if not as_json:
        if body:
            terminal.table(headers, body)
        for line in below:
            terminal.note(line)
        terminal.out(str(folder.path))
    return document


def _departures(plan: Plan, results: Results) -> list[str]:
    """A line about what the file sets, if anything: scores of other settings are other scores."""
    departures = plan.spec.departures()
    if not departures:
        return []
    papers = any(group.paper is not None for group in results.groups)
    told = f"in the place of the presets' settings and the metrics' own: {', '.join(departures)}"
    return [told + ("; the paper's scores are of its own" if papers else "")]


def _list(
    plan: Plan,
    folder: SweepFolder,
    measure: bool,
    executor: ExecutorName,
    jobs: int,
    data_root: Path | None,
    as_json: bool,
) -> int:
    """Print what a sweep will do and cost; the exit code is 1 where a measurement failed."""
    from zoo.sweep import conduct, cost, here
    from zoo.sweep.progress import folders_with_runs

    def found() -> list[Cost]:
        runs = folders_with_runs(*cost.default_places(folder.path))
        return cost.costs(plan, folder, runs, threads=here.threads_each(jobs), cluster=executor == "slurm")

    costs, code = found(), 0
    unknown = cost.to_measure(plan, costs)
    if measure and unknown:
        with folder.locked():
            done = conduct.measure(
                default_registry(), plan, unknown, folder, executor=executor, jobs=jobs, data_root=data_root
            )
        code, costs = _code(done, folder), found()
        if done.stopped_by:
            return code
    if as_json:
        terminal.out_json({"runs": [one.document() for one in costs], "seconds": cost.total_seconds(costs, jobs)})
        return code
    terminal.table(["run", "steps left", "training", "scores", "rate measured by"], [one.cells() for one in costs])
    terminal.out(cost.total(costs, jobs))
    if any(one.training_seconds is None for one in costs) and not measure:
        terminal.note(
            "unknown: no run of that kind was measured on this machine beyond the first line of its log, which has the "
            "start in it; --measure trains a few steps of each"
        )
    return code
