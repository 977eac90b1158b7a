"""All benchmarks that take minutes, as one table of ratios and one JSON file.

    python -m benchmarks [--out FILE]
    python -m benchmarks --show FILE

Each is a ratio to a plain reference kept beside it, both in one process, in turns. Run it on a quiet machine. What
takes longer is asked of the modules themselves: `factorvae_votes` at full size, `fid` against pytorch-fid's own script,
`loop`, `growth`, `stores`, `checkpoints`.
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
from zoo.errors import UsageError
from zoo.files import write_json
from zoo.memory import keep_freed
from zoo.untrusted import read_json


def processor() -> str:
    """The processor's name, from the system where it tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def measure(*, briefly: bool = False) -> dict[str, Any]:
    """Run everything, or, `briefly`, a little of everything; the machine and the versions are part of the result."""
    keep_freed()
    return {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("torch", "numpy", "scipy", "scikit-learn", "ibgan-plugin")},
        "training step": training_step.measure(turns=1 if briefly else 8),
        "batches": batches.measure(5 if briefly else 2000),
        "factorvae": factorvae_votes.measure(
            thin=8 if briefly else 2, votes=10 if briefly else 100, repeats=1 if briefly else 3
        ),
        "frechet": fid.measure_frechet(64 if briefly else fid.DIMS),
    }


def rows(result: dict[str, Any]) -> list[list[str]]:
    """One line a benchmark: what, the plain way's time, ours, and how many times faster that is."""
    found = []
    for step in result["training step"]:
        plain = step["milliseconds"]["plain"]
        others = {"fp32": "fp32"} if step["auto"] != "fp32" else {}  # where auto is float32, it was measured twice
        for name, precision in ({"auto": step["auto"]} | others).items():
            ours, ratio = step["milliseconds"][name], step["times faster"][name]
            what = f"step of {step['model']} on {step['dataset']}, {precision}"
            found.append([what, f"{plain:.1f} ms", f"{ours:.1f} ms", f"{ratio:.2f}"])
    for data in result["batches"]:
        plain, ours = (1e3 / data["batches per second"][name] for name in ("plain", "ours"))
        what = f"64 {data['as']} of {data['dataset']}"
        found.append([what, f"{plain:.2f} ms", f"{ours:.2f} ms", f"{plain / ours:.1f}"])
    votes = result["factorvae"]
    plain = votes["seconds"]["plain loop"]
    for name in ("factorvae", "factorvae, bf16"):
        what = f"{name}: {votes['images']:,} images, {votes['votes']} votes"
        found.append([what, f"{plain:.1f} s", f"{votes['seconds'][name]:.1f} s", f"{votes['times faster'][name]:.2f}"])
    for case in result["frechet"]:
        plain, ours = case["seconds"] * case["times faster"], case["seconds"]
        what = f"Fréchet distance, 2048 dimensions, {case['case']}"
        found.append([what, f"{plain:.1f} s", f"{ours:.1f} s", f"{case['times faster']:.1f}"])
    return found


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    title = f"{result['processor']}, {result['threads']} threads, torch {result['versions']['torch'].partition('+')[0]}"
    terminal.table(["what", "plain", "ours", "times faster"], rows(result), title=title)


def main() -> None:
    """Measure everything, print the table, write the JSON file; or print a file's table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks.json"), help="the JSON file to write")
    parser.add_argument("--show", type=Path, metavar="FILE", help="print the table of a file; measure nothing")
    options = parser.parse_args()
    if options.show:
        show(read_json(options.show, UsageError))
        return
    result = measure()
    show(result)
    write_json(options.out, result)
    terminal.note(f"written to {options.out}")


if __name__ == "__main__":
    main()
