"""A few inputs for each reader, always the same ones; `python -m tests.fuzz` makes more for as long as it is let."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.conduct import fuzz
from tests.fuzz.fuzzer import ROOT, Defect, Fuzzer
from tests.fuzz.readers import READERS

# Inputs in the fast run: as many as take about a second.
FEW = {
    "dsprites hdf5": 3,
    "convert to disentanglement_lib": 2,
    "plot": 3,
    "model": 6,
    "trainer": 6,
    "sweep progress": 8,
    "command line": 20,
    "environment": 8,
}


@pytest.mark.parametrize("name", READERS)
def test_any_input_is_read_or_refused_in_one_line(fuzzer: Fuzzer, name: str) -> None:
    before = fuzzer.inputs[name]
    fuzz(fuzzer, name, FEW.get(name, 15))
    assert fuzzer.inputs[name] > before


@pytest.mark.slow
def test_the_command_counts_inputs_and_failures(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--inputs", "20", "--seed", "7", "--keep", str(tmp_path), "--json"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    result = json.loads(ended.stdout)
    assert result["failures"] == []
    assert ended.returncode == 0
    assert result["inputs"] == dict.fromkeys(READERS, 20)
    assert result["total"] == 20 * len(READERS)


# What the suite itself has to notice.


def outcome(**more: object) -> dict[str, object]:
    return {"end": "refused", "message": "/case/x is bad", "seconds": 0.1, "bytes": 10, "seen": []} | more


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (outcome(), ""),
        (outcome(end="read", message=""), ""),
        (outcome(end="defect", message="KeyError: 'x'"), "KeyError"),
        (outcome(message="/case/x is\nbad"), "not one line"),
        (outcome(message="/case/x is \x1b[31m"), "not one line"),
        (outcome(message=""), "not one line"),
        (outcome(message="x is bad"), "does not name the file"),
        (outcome(message="/case/x " + "y" * 600), "characters"),
        (outcome(seconds=11.0), "took 11.0 s"),
        (outcome(bytes=2**30 + 1), "took 1024 MiB"),
        (outcome(seen=["open /etc/passwd"]), "open /etc/passwd"),
    ],
)
def test_what_counts_as_a_defect(found: dict[str, object], told: str) -> None:
    from tests.fuzz.fuzzer import _problem

    problem = _problem("config", found, Path("/case"))
    assert told in problem
    assert bool(problem) == bool(told)


def test_a_reader_that_leaves_its_folder_is_noticed(fuzzer: Fuzzer) -> None:
    """The check of the checks: a reader that is led to another file by a link that it follows."""
    (Path(fuzzer._root) / "secret").write_bytes(b"000001.jpg 0\n")

    def linked(folder: Path) -> None:
        file = folder / "list_eval_partition.txt"
        file.unlink()
        file.symlink_to(Path(fuzzer._root) / "secret")  # beside the sandbox

    with pytest.raises(Defect, match=r"it did what no reader may do.*secret"):
        fuzzer.check("celeba list", linked)


def test_a_reader_that_fills_the_memory_is_noticed() -> None:
    """However much it took before, for the valid input."""
    with Fuzzer(worker="tests.fuzz.filling_worker") as filled, pytest.raises(Defect, match=r"it took 15\d\d MiB"):
        filled.check("owner", lambda _: None)
