"""Run the commands of README's console blocks and put their real output under them; draw the pictures of its weights.

`python docs/refresh_readme.py` rewrites README.md and these pictures; the tests check what is quick to make.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
# A line of progress; of those that follow each other the last one is shown.
PROGRESS = re.compile(r".+: [\d,]+/[\d,]+ \(")
WIDTH = "112"

# The pictures in docs/images of the weights that ship, and the command that makes each, with --out.
PICTURES = {
    "traversal.png": "zoo traverse ibgan pretrained:dsprites --bases 2",
    "samples_dsprites.webp": "zoo sample ibgan pretrained:dsprites --num 49",
    "traversal_dsprites.webp": "zoo traverse ibgan pretrained:dsprites",
}


def blocks(text: str) -> list[list[str]]:
    """The commands of each console block, without their `$ `."""
    return [[line[2:] for line in block.splitlines() if line.startswith("$ ")] for block in BLOCK.findall(text)]


def run(command: str) -> str:
    """What a command shows where there is no terminal: stderr, then stdout."""
    program, *words = shlex.split(command)
    executable = Path(sys.executable).with_name(program)
    done = subprocess.run(
        [str(executable), *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=README.parent,
        env=os.environ | {"COLUMNS": WIDTH},
    )
    lines = [line.rstrip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    following = [*lines[1:], ""]
    kept = [a for a, b in zip(lines, following, strict=True) if not (PROGRESS.match(a) and PROGRESS.match(b))]
    return "\n".join(kept) + "\n"


def refreshed(text: str) -> str:
    """README's text with every console block run again."""

    def one(match: re.Match[str]) -> str:
        commands = [line for line in match[1].splitlines() if line.startswith("$ ")]
        return "```console\n" + "".join(f"{line}\n{run(line[2:])}" for line in commands) + "```"

    return BLOCK.sub(one, text)


if __name__ == "__main__":
    for picture, made_by in PICTURES.items():
        run(f"{made_by} --out docs/images/{picture}")
    README.write_text(refreshed(README.read_text(encoding="utf-8")), encoding="utf-8")
