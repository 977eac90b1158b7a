"""What safety costs: the size of a checkpoint, the time to write and to read one, and the time to resume, per model.

    python -m benchmarks.checkpoints [--dataset dsprites] [--repeats N] [--folder DIR] [--json]

`write` is what a step that saves takes longer: a check that everything is finite, hashes, fsync and rename included.
`read` is every byte read and its hash checked, and the weights and the optimiser's state put in place. `resume` is a
whole process of its own: `zoo train ... --resume` for one more step, from the command to its end; `begin` the same for
the first step of a new run, so that what resuming itself costs is the difference. Medians; one thread.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import zoo
from zoo import terminal
from zoo.building import build_loss, build_model, build_trainer, load_weights
from zoo.device import Backend
from zoo.registry import default_registry
from zoo.run import RunDirectory
from zoo.training import save

MODELS = ("gan", "infogan", "ibgan", "vae", "beta_vae", "factor_vae", "beta_tcvae")
PROGRAM = "import sys; from zoo.cli import main; main()"


def measure(model: str, dataset: str, folder: Path, repeats: int = 5) -> dict[str, Any]:
    """Measure one model with the dataset's preset."""
    begin, resume = [], []
    for number in range(repeats):
        out = folder / f"{model}-{number}"
        begin.append(_timed(model, dataset, out, 1))
        resume.append(_timed(model, dataset, out, 2))
    run = RunDirectory(out)
    registry, config = default_registry(), run.config
    backend = Backend.choose("cpu", config.precision)
    network = build_model(registry, config, backend)
    trainer = build_trainer(registry, config, network, build_loss(registry, config, backend), backend)
    write, read = [], []
    for number in range(repeats):
        started = time.perf_counter()
        newest = run.newest()
        assert newest is not None
        load_weights(network, newest)
        trainer.load(newest.tensors("trainer.safetensors"), newest.state["trainer"])
        loaded = time.perf_counter()
        save(run, 10 + number, {}, network, trainer)
        read.append(loaded - started)
        write.append(time.perf_counter() - loaded)
    size = sum(file.stat().st_size for file in newest.path.iterdir())
    return {
        "model": model,
        "parameters": sum(p.numel() for p in network.parameters()),
        "size_mb": size / 1e6,
        "write_s": statistics.median(write),
        "read_s": statistics.median(read),
        "begin_s": statistics.median(begin),
        "resume_s": statistics.median(resume),
    }


def _timed(model: str, dataset: str, out: Path, steps: int) -> float:
    words = ["train", model, "--dataset", dataset, "--out", str(out), "--steps", str(steps), "--resume"]
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", PROGRAM, *words, "--device", "cpu"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - started


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="dsprites")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to write: the disk that is measured")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    zoo.load_dataset(options.dataset)  # made ready, if it is not yet
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        results = [measure(model, options.dataset, Path(folder), options.repeats) for model in MODELS]
    if options.json:
        terminal.out_json(results)
        return
    rows = [
        [
            found["model"],
            f"{found['parameters']:,}",
            f"{found['size_mb']:.1f}",
            *(f"{found[key]:.2f}" for key in ("write_s", "read_s", "begin_s", "resume_s")),
        ]
        for found in results
    ]
    terminal.table(["model", "parameters", "MB", "write, s", "read, s", "begin, s", "resume, s"], rows)


if __name__ == "__main__":
    main()
