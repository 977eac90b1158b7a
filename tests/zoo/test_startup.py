"""Listing, helping and completing import nothing heavy, so that they answer at once."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

HEAVY = {"torch", "torchvision", "numpy", "scipy", "sklearn", "pandas", "h5py", "PIL", "matplotlib", "safetensors"}
HEAVY |= {"submitit", "filelock"}


def imported_by(*words: str, code: int = 0) -> set[str]:
    program = (
        "import io, contextlib, sys\n"
        "from zoo.cli import run\n"
        "with contextlib.redirect_stdout(io.StringIO()): code = run(sys.argv[1:])\n"
        f"assert code == {code}\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    command = [sys.executable, "-c", program, *words]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize(
    ("words", "light"),
    [
        (["--help"], ["pydantic", "rich"]),
        (["train", "--help"], ["pydantic", "rich"]),
        (["eval", "--help"], ["pydantic", "rich"]),
        (["sample", "--help"], ["pydantic", "rich"]),
        (["list"], ["pydantic"]),
        (["list", "--json"], ["pydantic", "rich"]),
        (["list", "metrics"], ["pydantic"]),
        (["plugins"], ["pydantic"]),
        (["plugins", "--json"], ["pydantic", "rich"]),
        (["--version"], ["pydantic", "rich"]),
        (["sweep", "--help"], ["pydantic", "rich"]),
        (["reproduce", "--help"], ["pydantic", "rich"]),
    ],
    ids=" ".join,
)
def test_what_lists_and_helps_imports_nothing_heavy(words: list[str], light: list[str]) -> None:
    assert imported_by(*words) & (HEAVY | set(light)) == set()


@pytest.mark.parametrize(
    "words",
    [
        ("train", "ibgn", "--dataset", "dsprites"),
        ("train", "ibgan", "--dataset", "dsprits"),
        ("eval", "ibgn", "run", "--metrics", "mig"),
        ("eval", "ibgan", "run", "--metrics", "mgi"),
    ],
    ids=" ".join,
)
def test_a_misspelt_name_is_told_before_anything_heavy_is_imported(words: tuple[str, ...]) -> None:
    assert "torch" not in imported_by(*words, code=2)


def test_help_is_there_at_once() -> None:
    """In time of the processor, of which a busy machine takes as much."""
    script = Path(sysconfig.get_path("scripts")) / "zoo"
    nowhere = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    times = []
    for _ in range(7):
        pid = os.posix_spawn(script, [script, "--help"], os.environ, file_actions=nowhere)
        _, status, used = os.wait4(pid, 0)
        assert status == 0
        times.append(used.ru_utime + used.ru_stime)
        if min(times) < 0.4:
            break
    assert min(times) < 0.4
