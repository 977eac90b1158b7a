"""Shell completion, asked as bash asks it: in a process of its own, which imports nothing heavy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = """
import atexit, sys
atexit.register(lambda: print(sorted({"torch", "numpy", "scipy"} & set(sys.modules))))
import zoo.cli
zoo.cli.run()
print("no completion")
"""


def offered(line: str, **environment: str) -> list[str]:
    """What bash is told when Tab is pressed at the end of `line`: kind,word each."""
    words = {"_ZOO_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=os.environ | words | environment, capture_output=True, text=True
    )
    assert ended.stderr == ""
    *answers, heavy = ended.stdout.splitlines()
    assert heavy == "[]"
    return [answer for answer in answers if answer]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("zoo train ib", ["plain,ibgan"]),
        ("zoo train ibgan --dataset color_dsprites_", ["plain,color_dsprites_dlib"]),
        ("zoo eval ibgan run --metrics modu", ["plain,modularity"]),
        ("zoo eval ibgan run --metrics mig,fid,mi", ["plain,mig,fid,mi_bounds"]),  # mig is there already
        ("zoo train ibgan --preset dsprites_", ["plain,dsprites_less_noise", "plain,dsprites_unshared"]),
        ("zoo train vae --preset dsprites_", []),
        ("zoo train zoo.no.such:Model --preset d", []),  # nothing is imported for a word half typed
        ("zoo eval ibgan pre", ["file,pre", "plain,pretrained:dsprites"]),
        ("zoo eval vae pre", ["file,pre"]),
        ("zoo plot ru", ["file,ru"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_tab_offers_what_fits(line: str, expected: list[str]) -> None:
    assert offered(line) == expected


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["zoo", "eval", "ibgan", "pre"], "pretrained:dsprites"),
        (["zoo", "eval", "ibgan", "run", "--metrics", "mig,sa"], "mig,sap"),
    ],
    ids=str,
)
def test_bash_itself_completes_it(words: list[str], completed: str) -> None:
    """With the function that `eval "$(_ZOO_COMPLETE=bash_source zoo)"` defines."""
    asked = f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; _zoo_completion zoo"
    script = f'eval "$(_ZOO_COMPLETE=bash_source zoo)"; {asked} 2>/dev/null; printf "%s\n" "${{COMPREPLY[@]}}"'
    path = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(["bash", "-c", script], env=os.environ | {"PATH": path}, capture_output=True, text=True)
    assert ended.stdout.split() == [completed], ended.stderr


def test_a_broken_plugin_is_silent_in_a_line_being_typed(
    distribution: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(distribution("brk", "import a_module_that_is_not_there")))
    assert offered("zoo train ib") == ["plain,ibgan"]  # and nothing on stderr


def test_tab_offers_nothing_of_a_plugin_that_is_off() -> None:
    assert offered("zoo train ib", ZOO_DISABLE_PLUGINS="ibgan") == []
