"""Sweeps: their specification, and what they read of runs."""

from __future__ import annotations

from pathlib import Path


def build_sweep(folder: Path) -> None:
    (folder / "sweep.toml").write_text(
        'models = ["ibgan", "vae"]\ndatasets = ["dsprites"]\nseeds = [0, 1]\nsteps = 20\nmetrics = ["sap"]\n'
        '[settings]\nbatch_size = 8\n[grid]\n"model.ngf" = [4, 8]\n[[overrides]]\nmodels = ["vae"]\n'
        "settings = {batch_size = 4}\n[slurm]\n"
    )


def read_sweep(folder: Path) -> None:
    """`zoo sweep FILE`, up to the runs it asks for."""
    from zoo.registry import default_registry
    from zoo.sweep.spec import SweepSpec

    SweepSpec.read(default_registry(), folder / "sweep.toml")


def read_progress(folder: Path) -> None:
    """What `zoo sweep` reads of a run."""
    from zoo.run import RunDirectory
    from zoo.sweep.progress import Asked, evaluations, finished, logged

    run = RunDirectory(folder)
    logged(run)
    asked = Asked(("sap", "mig"), {}, 0)
    evaluations(run, 2, asked)
    finished(run, 2, asked)


def read_cost(folder: Path) -> None:
    """What `zoo sweep --dry-run` reads of any run that it finds: nothing in one ends it."""
    from zoo.run import RunDirectory
    from zoo.sweep.cost import read

    read(RunDirectory(folder))
