"""What a sweep will cost: from rates that stand in logs, by hand-made ones; "unknown" where none does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from zoo.config import RunConfig, resolve_config
from zoo.device import Backend
from zoo.provenance import provenance, with_start
from zoo.registry import default_registry
from zoo.run import RunDirectory
from zoo.sweep.cost import Cost, costs, read, to_measure, total_seconds
from zoo.sweep.plan import Plan, SweepFolder

TINY = {"model.ngf": 4, "model.ndf": 4, "batch_size": 4, "device": "cpu"}
HERE = provenance(Backend.choose("cpu"))["machine"]


def made_by(first: int = 1, machine: str = HERE, threads: int = 1) -> dict[str, Any]:
    """As a run writes it."""
    written = with_start({}, first, Backend.choose("cpu"))
    written[f"from step {first}"] |= {"machine": machine, "threads": threads}
    return written


def cost_of(plan: Plan, tmp_path: Path, *runs: RunDirectory, cluster: bool = False, threads: int = 1) -> list[Cost]:
    return costs(plan, SweepFolder(tmp_path / "sweep"), runs, threads=threads, cluster=cluster)


def test_a_rate_is_the_median_without_the_first(
    plan: Callable[..., Plan], hand_made: Callable[..., RunDirectory], tmp_path: Path
) -> None:
    wanted = plan(steps=1_000, seeds=[0, 1])
    log = [(100, 1.0), (200, 20.0), (300, 25.0), (400, 50.0)]
    other = hand_made(tmp_path / "other", wanted.runs[0].config, log=log, made_by=made_by())
    for cost in cost_of(wanted, tmp_path, other):
        assert (cost.steps_left, cost.training_seconds, cost.evaluation_seconds) == (1_000, 40.0, 0.0)
        assert str(other.path) in cost.source
        assert "1 thread)" in cost.source


def test_the_first_line_alone_is_no_rate(
    plan: Callable[..., Plan], hand_made: Callable[..., RunDirectory], tmp_path: Path
) -> None:
    """It has the start in it: another run is asked, be it one with other threads."""
    wanted = plan(steps=100)
    config = wanted.runs[0].config
    begun = hand_made(tmp_path / "begun", config, log=[(5, 4.0)], made_by=made_by())
    assert [(c.training_seconds, c.source) for c in cost_of(wanted, tmp_path, begun)] == [(None, "")]
    resumed = hand_made(
        tmp_path / "resumed", config, log=[(5, 9.0), (10, 9.0), (15, 4.0)], made_by=made_by() | made_by(11)
    )
    assert cost_of(wanted, tmp_path, resumed)[0].training_seconds is None
    other = hand_made(tmp_path / "other", config, log=[(5, 1.0), (10, 2.0)], made_by=made_by(threads=2))
    (cost,) = cost_of(wanted, tmp_path, begun, other)
    assert (cost.training_seconds, str(other.path) in cost.source) == (50.0, True)


def test_what_is_done_costs_nothing(
    plan: Callable[..., Plan],
    hand_made: Callable[..., RunDirectory],
    evaluation: Callable[..., dict[str, Any]],
    tmp_path: Path,
) -> None:
    wanted = plan(steps=1_000, seeds=[0, 1, 2], metrics=["mig"])
    config = wanted.runs[0].config
    folder = SweepFolder(tmp_path / "sweep")
    done = evaluation(1_000, "mig", 0.5, seconds=12.5)
    one = hand_made(folder.run(wanted.runs[0]).path, config, step=1_000, evaluations=[done], made_by=made_by())
    half = hand_made(folder.run(wanted.runs[1]).path, config, step=600, log=[(300, 1.0), (600, 8.0)], made_by=made_by())
    found = cost_of(wanted, tmp_path, one, half)
    assert [(c.steps_left, c.training_seconds, c.evaluation_seconds) for c in found] == [
        (0, 0.0, 0.0),
        (400, 50.0, 12.5),
        (1_000, 125.0, 12.5),
    ]
    assert [cost.done for cost in found] == [True, False, False]


@pytest.mark.parametrize(
    ("change", "known"),
    [
        ({}, True),
        ({"seed": 9}, True),
        ({"loss.beta": 0.7}, True),  # a weight changes no speed
        ({"batch_size": 8}, False),
        ({"model.ngf": 8}, False),
        ({"loss": "infogan"}, False),
    ],
    ids=str,
)
def test_only_runs_that_compute_the_same_count(
    plan: Callable[..., Plan],
    hand_made: Callable[..., RunDirectory],
    tmp_path: Path,
    change: Mapping[str, Any],
    known: bool,
) -> None:
    wanted = plan(steps=100)
    config = resolve_config(
        default_registry(), "ibgan", "dsprites", typed={**wanted.runs[0].settings, "steps": 5, **change}
    )
    other = hand_made(tmp_path / "other", config, log=[(5, 1.0), (10, 4.0)], made_by=made_by())
    (cost,) = cost_of(wanted, tmp_path, other)
    assert cost.training_seconds == (25.0 if known else None)
    assert cost.seconds == (25.0 if known else None)


def test_another_model_or_dataset_is_another_matter(
    plan: Callable[..., Plan], hand_made: Callable[..., RunDirectory], tmp_path: Path
) -> None:
    wanted = plan(steps=100, models=["ibgan", "gan"], datasets=["dsprites", "color_dsprites"])
    other = hand_made(tmp_path / "other", wanted.runs[0].config, log=[(5, 1.0), (10, 4.0)], made_by=made_by())
    assert [cost.training_seconds for cost in cost_of(wanted, tmp_path, other)] == [25.0, None, None, None]
    assert [run.name for run in to_measure(wanted, cost_of(wanted, tmp_path, other))] == [
        "ibgan-color_dsprites-seed=0",
        "gan-dsprites-seed=0",
        "gan-color_dsprites-seed=0",
    ]


def test_a_measurement_serves_all_seeds(plan: Callable[..., Plan], tmp_path: Path) -> None:
    wanted = plan(seeds=[0, 1, 2], grid={"loss.beta": [0.1, 0.2]})
    assert [run.seed for run in to_measure(wanted, cost_of(wanted, tmp_path))] == [0]


def test_the_machine_counts_here_and_not_on_a_cluster(
    plan: Callable[..., Plan], hand_made: Callable[..., RunDirectory], tmp_path: Path
) -> None:
    wanted = plan(steps=100)
    elsewhere = hand_made(
        tmp_path / "other",
        wanted.runs[0].config,
        log=[(5, 1.0), (10, 4.0)],
        made_by=made_by(machine="node7, x86_64, 64 CPUs"),
    )
    assert cost_of(wanted, tmp_path, elsewhere)[0].training_seconds is None
    (there,) = cost_of(wanted, tmp_path, elsewhere, cluster=True)
    assert there.training_seconds == 25.0
    assert "node7, x86_64, 64 CPUs" in there.source
    unsaid = hand_made(tmp_path / "old", wanted.runs[0].config, log=[(5, 1.0), (10, 2.0)])
    assert read(unsaid) is not None
    assert cost_of(wanted, tmp_path, unsaid, cluster=True)[0].training_seconds == 50.0


@pytest.mark.parametrize(
    ("asked", "known"),
    [
        ({"device": "auto"}, True),
        ({"device": "cpu"}, True),
        ({"device": "cuda"}, False),
        ({"device": "cuda:1"}, False),
        ({"precision": "fp32"}, True),
        ({"precision": "bf16"}, False),
    ],
    ids=str,
)
def test_on_a_cluster_too_device_and_precision_count(
    plan: Callable[..., Plan],
    hand_made: Callable[..., RunDirectory],
    tmp_path: Path,
    asked: dict[str, str],
    known: bool,
) -> None:
    settings = {"model.ngf": 4, "model.ndf": 4, "batch_size": 4, "precision": "fp32"}
    measured = plan(steps=100, settings=settings).runs[0].config
    written = with_start({}, 1, Backend.choose("cpu", "fp32"))
    other = hand_made(tmp_path / "other", measured, log=[(5, 1.0), (10, 4.0)], made_by=written)
    wanted = plan(steps=100, settings={"model.ngf": 4, "model.ndf": 4, "batch_size": 4, **asked})
    (cost,) = costs(wanted, SweepFolder(tmp_path / "sweep"), [other], threads=1, cluster=True)
    assert cost.training_seconds == (25.0 if known else None)


def test_what_a_run_evaluates_on_the_way_costs_too(
    plan: Callable[..., Plan], hand_made: Callable[..., RunDirectory], tmp_path: Path
) -> None:
    wanted = plan(steps=1_000, seeds=[0, 1, 2], settings=TINY | {"eval_every": 400, "eval_metrics": ["mig"]})
    config = wanted.runs[0].config
    folder = SweepFolder(tmp_path / "sweep")
    own = {"step": 400, "seed": 0, "metrics": {"mig": {"score": 0.5, "protocol": {}}}, "errors": {}, "seconds": 7.0}
    log = [(300, 1.0), (600, 8.0)]
    assert [cost.evaluation_seconds for cost in cost_of(wanted, tmp_path)] == [None] * 3
    half = hand_made(folder.run(wanted.runs[0]).path, config, step=600, evaluations=[own], log=log, made_by=made_by())
    owes = hand_made(folder.run(wanted.runs[1]).path, config, step=800, log=log, made_by=made_by())
    found = cost_of(wanted, tmp_path, half, owes)
    # The first has one more to do, at 800; so has the second, which was killed between saving and evaluating there.
    assert [cost.evaluation_seconds for cost in found] == [7.0, 7.0, 14.0]
    other = plan(steps=1_000, settings=TINY | {"eval_every": 400, "eval_metrics": ["mig"], "mig.num_train": 50})
    assert cost_of(other, tmp_path, half)[0].evaluation_seconds is None


def test_evaluations_of_what_a_run_evaluated_before_do_not_count(
    plan: Callable[..., Plan], hand_made: Callable[..., RunDirectory], tmp_path: Path
) -> None:
    """A resumed run may evaluate something else, or in another way, from its last start on."""
    wanted = plan(steps=1_000, settings=TINY | {"eval_every": 400, "eval_metrics": ["mig"]})

    def own(step: int, metric: str, seconds: float) -> dict[str, Any]:
        result = {metric: {"score": 0.5, "protocol": {}}}
        return {"step": step, "seed": 0, "metrics": result, "errors": {}, "seconds": seconds}

    before = [own(200, "mig", 99.0), own(400, "mig", 99.0), own(500, "sap", 99.0)]
    run = hand_made(
        tmp_path / "other", wanted.runs[0].config, evaluations=[*before, own(600, "mig", 7.0)], made_by=made_by(401)
    )
    assert [cost.evaluation_seconds for cost in cost_of(wanted, tmp_path, run)] == [14.0]


def test_a_run_at_its_last_step_that_owes_a_score_is_not_finished(
    plan: Callable[..., Plan], hand_made: Callable[..., RunDirectory], tmp_path: Path
) -> None:
    wanted = plan(steps=800, settings=TINY | {"eval_every": 400, "eval_metrics": ["mig"]})
    folder = SweepFolder(tmp_path / "sweep")
    run = hand_made(folder.run(wanted.runs[0]).path, wanted.runs[0].config, step=800, made_by=made_by())
    (cost,) = cost_of(wanted, tmp_path, run)
    assert (cost.steps_left, cost.training_seconds, cost.done) == (0, 0.0, False)


@pytest.mark.parametrize(
    "strange",
    [{"from step 1": "x"}, {"from step x": {}}, {"from step 1": {"threads": "two", "machine": 3, "backend": []}}],
    ids=str,
)
def test_a_strange_run_does_not_end_it(
    plan: Callable[..., Plan], hand_made: Callable[..., RunDirectory], tmp_path: Path, strange: dict[str, Any]
) -> None:
    wanted = plan(steps=100)
    evaluation = {"step": 5, "checkpoint": "x", "metrics": {"mig": 1}, "seconds": 1.0, "settings": [1]}
    odd = hand_made(
        tmp_path / "odd", wanted.runs[0].config, log=[(5, 1.0), (10, 4.0)], evaluations=[evaluation], made_by=strange
    )
    assert len(cost_of(wanted, tmp_path, odd)) == 1


def test_as_many_threads_are_better_than_others(
    plan: Callable[..., Plan], hand_made: Callable[..., RunDirectory], tmp_path: Path
) -> None:
    wanted = plan(steps=100)
    runs = [
        hand_made(
            tmp_path / str(threads), wanted.runs[0].config, log=[(5, 1.0), (10, rate)], made_by=made_by(threads=threads)
        )
        for threads, rate in ((1, 4.0), (2, 10.0))
    ]
    assert cost_of(wanted, tmp_path, *runs, threads=1)[0].training_seconds == 25.0
    assert cost_of(wanted, tmp_path, *runs, threads=2)[0].training_seconds == 10.0
    other = cost_of(wanted, tmp_path, *runs, threads=3)[0]
    assert (other.training_seconds, "1 thread)" in other.source) == (25.0, True)


def test_only_the_last_start_counts(
    plan: Callable[..., Plan], hand_made: Callable[..., RunDirectory], tmp_path: Path
) -> None:
    wanted = plan(steps=100)
    machines = made_by(1, machine="fast, x86_64, 64 CPUs") | made_by(11)
    log = [(5, 100.0), (10, 100.0), (15, 1.0), (20, 4.0)]
    other = hand_made(tmp_path / "other", wanted.runs[0].config, log=log, made_by=machines)
    assert cost_of(wanted, tmp_path, other)[0].training_seconds == 25.0


@pytest.mark.parametrize("rate", [0.0, -1.0, True, "4"])
def test_a_rate_that_is_none_is_no_rate(
    plan: Callable[..., Plan], hand_made: Callable[..., RunDirectory], tmp_path: Path, rate: Any
) -> None:
    wanted = plan(steps=100)
    other = hand_made(tmp_path / "other", wanted.runs[0].config, log=[(5, 1.0), (10, rate)], made_by=made_by())
    assert cost_of(wanted, tmp_path, other)[0].training_seconds is None


def test_what_is_no_run_tells_nothing(tmp_path: Path) -> None:
    assert read(RunDirectory(tmp_path)) is None
    (tmp_path / "config.json").write_text("{}")
    assert read(RunDirectory(tmp_path)) is None


def test_evaluations_with_other_settings_tell_nothing(
    plan: Callable[..., Plan],
    hand_made: Callable[..., RunDirectory],
    evaluation: Callable[..., dict[str, Any]],
    tmp_path: Path,
) -> None:
    wanted = plan(steps=100, metrics=["mig"], metric_settings={"mig": {"num_train": 50}})
    records = [
        evaluation(5, "mig", 0.1, seconds=3.0),
        evaluation(5, "mig", 0.1, seconds=7.0, settings={"mig": {"num_train": 50}}),
        evaluation(5, "mig", None, seconds=1.0, settings={"mig": {"num_train": 50}}, metrics={}, errors={"mig": "no"}),
    ]
    other = hand_made(
        tmp_path / "other", wanted.runs[0].config, log=[(5, 1.0), (10, 4.0)], evaluations=records, made_by=made_by()
    )
    assert cost_of(wanted, tmp_path, other)[0].evaluation_seconds == 7.0
    unknown = plan(steps=100, metrics=["mig", "sap"], metric_settings={"mig": {"num_train": 50}})
    (cost,) = cost_of(unknown, tmp_path, other)
    assert (cost.training_seconds, cost.evaluation_seconds, cost.seconds) == (25.0, None, None)


def test_the_time_of_all(plan: Callable[..., Plan]) -> None:
    run = plan().runs[0]
    found = [Cost(run, 1, seconds, 0.0, "") for seconds in (10.0, 40.0, 10.0, 15.0)]
    assert total_seconds(found, 1) == 75.0
    assert total_seconds(found, 2) == 40.0  # 10 + 10 + 15 beside 40
    assert total_seconds(found, 9) == 40.0
    assert total_seconds([*found, Cost(run, 1, None, 0.0, "")], 2) is None


def test_the_configuration_of_a_plan_is_what_runs_have(plan: Callable[..., Plan]) -> None:
    config = plan().runs[0].config
    assert isinstance(config, RunConfig)
    assert (config.batch_size, config.device, config.settings["model"]["ngf"]) == (4, "cpu", 4)
