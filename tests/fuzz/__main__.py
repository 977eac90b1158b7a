"""Fuzz every reader for a while.

    python -m tests.fuzz [--minutes 6 | --inputs N] [--readers a,b] [--seed 0] [--keep FOLDER] [--json]

The time is shared among the readers by what an input costs and what is at stake; with --inputs each gets as many, and
those of a seed are always the same. Prints how many inputs each reader got, how many of them it refused, and the
failures, each with the folder that its input was kept in. Exits 1 if there are any.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.fuzz.conduct import fuzz
from tests.fuzz.fuzzer import Defect, Fuzzer
from tests.fuzz.readers import READERS
from zoo import terminal

# Shares of the time; 1 where nothing is said.
SHARES = {
    "dsprites hdf5": 4,
    "command line": 3,
    "images": 2,
    "convert to disentanglement_lib": 2,
    "plot": 2,
    "zip": 2,
    "checkpoint": 2,
    "model": 2,
    "trainer": 2,
    "environment": 0.3,
}
BATCH, SLOW_BATCH = 50, 5
SLOW = ("dsprites hdf5", "plot", "convert to disentanglement_lib")


def main() -> int:
    """Fuzz, tell, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=6.0)
    length.add_argument("--inputs", type=int, help="for each reader, however long they take")
    parser.add_argument("--readers", default=",".join(READERS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="where inputs that fail are left")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    names = options.readers.split(",")
    whole = sum(SHARES.get(name, 1) for name in names)
    failures: list[dict[str, str]] = []
    began = time.monotonic()
    with Fuzzer(options.keep) as fuzzer:
        for name in names:
            until = time.monotonic() + 60 * options.minutes * SHARES.get(name, 1) / whole
            number, batch = options.seed, SLOW_BATCH if name in SLOW else BATCH
            while fuzzer.inputs[name] < options.inputs if options.inputs else time.monotonic() < until:
                before = fuzzer.inputs[name]
                try:
                    fuzz(fuzzer, name, min(batch, options.inputs - before) if options.inputs else batch, number)
                except Defect as defect:
                    failures.append({"reader": name, "what": str(defect)})
                    terminal.note(str(defect)[-1500:])
                    if sum(failure["reader"] == name for failure in failures) >= 5:
                        break
                number += 1
                if fuzzer.inputs[name] == before:
                    break
            terminal.note(f"{name}: {fuzzer.inputs[name]:,} inputs, {fuzzer.refused[name]:,} refused")
        result = {
            "inputs": dict(fuzzer.inputs),
            "refused": dict(fuzzer.refused),
            "total": sum(fuzzer.inputs.values()),
            "seconds": round(time.monotonic() - began, 1),
            "failures": failures,
        }
    if options.json:
        terminal.out_json(result)
    else:
        rows = [[name, f"{fuzzer.inputs[name]:,}", f"{fuzzer.refused[name]:,}"] for name in names]
        terminal.table(["reader", "inputs", "refused"], [*rows, ["total", f"{result['total']:,}", ""]])
        terminal.out(f"{len(failures)} failures in {result['seconds']} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
