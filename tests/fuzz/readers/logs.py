"""A run's logs, and what reads them: resuming, plots, the report, converting."""

from __future__ import annotations

import io
import json
from pathlib import Path

from tests.fuzz.readers.configurations import build_config

LOGS = ("metrics.jsonl", "evaluations.jsonl")


def build_logs(folder: Path) -> None:
    records = [
        {"step": step, "mi_upper": 3.0 + step, "mi_lower": 1.5, "kl": [0.1, 0.2 * step, 1.0], "steps_per_second": 9.5}
        for step in (1, 2, 3, 4)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    results = {"sap": {"score": 0.25, "protocol": {"num_train": 10}}, "mig": {"score": 0.5, "protocol": {}}}
    evaluations = [{"step": step, "seed": 0, "metrics": results, "errors": {}} for step in (2, 4)]
    (folder / "evaluations.jsonl").write_text("".join(json.dumps(record) + "\n" for record in evaluations))
    if not (folder / "config.json").exists():
        build_config(folder)


def read_logs(folder: Path) -> None:
    """What resuming and keeping the best read."""
    from zoo.run import RunDirectory

    run = RunDirectory(folder)
    for file in LOGS:
        run.records(file)
    run.best_step("sap")
    run.evaluated(2)
    with run.locked():
        run.forget_after(3)
        assert all(record["step"] <= 3 for file in LOGS for record in run.records(file))
    run.append("metrics.jsonl", {"step": 5})


def read_plot(folder: Path) -> None:
    """`zoo plot`."""
    from ibgan_plugin.evaluation.curves import plot_run

    plot_run(folder).savefig(io.BytesIO(), format="png", dpi=40)


def read_report(folder: Path) -> None:
    """`zoo report`, what it reads of a run beside the model."""
    from ibgan_plugin.evaluation.report import reading

    for run in reading.open_runs([folder]):
        reading.run_scores(run)
        run.remarks()


def read_converted(folder: Path) -> None:
    """`zoo convert checkpoint --to disentanglement_lib`."""
    from ibgan_plugin.adapters.disentanglement_lib_checkpoint import write_checkpoint

    out = write_checkpoint(folder, folder / "out" / "in" / "converted")
    outside = [path for path in out.rglob("*") if not path.resolve().is_relative_to(out.resolve())]
    assert not outside, outside
