"""All benchmarks that take minutes, one table each, and one JSON file: `python -m benchmarks [--out FILE]`.

Each is a ratio to a plain reference kept beside it, both in one process, in turns. Run it on a quiet machine. What
takes longer (`factorvae` at full size, FID against pytorch-fid's own script) is asked of the modules themselves.
"""

from __future__ import annotations

import argparse
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks import batches, factorvae_votes, fid, training_step
from zoo import terminal
from zoo.files import write_json
from zoo.memory import keep_freed


def processor() -> str:
    """The processor's name, from the system where it tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def main() -> None:
    """Measure everything, print a table each, write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks.json"), help="the JSON file to write")
    options = parser.parse_args()
    keep_freed()

    result: dict[str, Any] = {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("torch", "numpy", "scipy", "scikit-learn", "ibgan-plugin")},
    }
    result["training step"] = training_step.measure()
    training_step.table(result["training step"])
    result["batches"] = batches.measure()
    batches.table(result["batches"])
    result["factorvae"] = factorvae_votes.measure(thin=2, votes=100)
    factorvae_votes.show(result["factorvae"])
    result["frechet"] = fid.measure_frechet()
    fid.show(result)
    write_json(options.out, result)
    terminal.note(f"written to {options.out}")


if __name__ == "__main__":
    main()
