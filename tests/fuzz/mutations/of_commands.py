"""The command line: real commands and options, any values; what would take long is kept short by what is typed last."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import strategies as st

from tests.fuzz.mutations.change import Change
from tests.fuzz.mutations.of_words import NAMES, set_words, typed

_COMMANDS: dict[str, tuple[list[str], int, list[str]]] = {
    # words, how many more arguments, and what ends the line
    "list": (["list"], 1, []),
    "plugins": (["plugins"], 0, []),
    "train": (["train"], 1, ["--dry-run"]),
    "eval": (["eval"], 2, ["--metrics", "mi_bounds", "--set", "mi_bounds.num=20"]),
    "sample": (["sample"], 2, ["--num", "2"]),
    "traverse": (["traverse"], 2, ["--steps", "2"]),
    "plot": (["plot"], 1, []),
    "info": (["data", "info"], 1, []),
    "prepare": (["data", "prepare"], 0, ["image_folder"]),
    "convert dataset": (["convert", "dataset"], 0, ["celeba"]),
    "convert checkpoint": (["convert", "checkpoint"], 1, []),
    "sweep": (["sweep"], 1, ["--dry-run"]),
    "none": ([], 0, []),
}
_OPTIONS = [
    "--dataset",
    "--out",
    "--preset",
    "--config",
    "--steps",
    "--seed",
    "--set",
    "--eval-every",
    "--save-every",
    "--device",
    "--precision",
    "--resume",
    "--data-root",
    "--dry-run",
    "--json",
    "--metrics",
    "--num",
    "--images",
    "--bases",
    "--span",
    "--per-factor",
    "--to",
    "--from",
    "--help",
    "-h",
    "--version",
    "--no-plugins",
    "--keep",
    "--",
    "-",
    "--nonsense",
]
_FLAGS = ("--resume", "--dry-run", "--json", "--help", "-h", "--version", "--no-plugins", "--", "-")
_FOLDER = "@@"  # of the run
_PATHS = [
    _FOLDER,
    f"{_FOLDER}/checkpoints/step-00000002",
    f"{_FOLDER}/config.json",
    f"{_FOLDER}/none",
    "out",
    "out.png",
    "out.gif",
    "out.pdf",
    "a/../b.png",
    "",
    ".",
    "x" * 300,
    "pretrained:x",
    "/dev/null",
    "/proc/self/none",
    "bad\udcff.png",
]


@st.composite
def command(draw: st.DrawFn) -> Change:
    """A command line."""
    value = st.one_of(st.sampled_from(_PATHS), st.sampled_from(NAMES), typed, set_words)
    begin, count, end = _COMMANDS[draw(st.sampled_from(sorted(_COMMANDS)))]
    line = list(begin)
    likely = [st.sampled_from(["ibgan", "vae", "models"]), st.just(_FOLDER)]
    for position in range(count + draw(st.sampled_from([0, 0, 0, 1, -1]))):
        line.append(draw(value | likely[min(position, 1)] | likely[min(position, 1)]))
    for _ in range(draw(st.integers(0, 4))):
        option = draw(st.sampled_from(_OPTIONS))
        line += [option] if option in _FLAGS else [option, draw(value)]
    if begin == ["train"] and draw(st.booleans()):
        line += ["--dataset", draw(st.sampled_from(["dsprites", "celeba"]))]
    line += end
    # A process's words hold no NUL, and are bytes to the system.
    line = [
        word.replace("\0", "")
        .encode("utf-8", "surrogateescape" if "\udcff" in word else "replace")
        .decode("utf-8", "surrogateescape")
        for word in line
        if not _too_wild(word)
    ]

    def write(folder: Path) -> None:
        (folder / "command.json").write_text(json.dumps([word.replace(_FOLDER, str(folder)) for word in line]))

    return write


def _too_wild(word: str) -> bool:
    """What has side effects that are a person's own wish, such as importing a module that acts."""
    return ":" in word and not word.startswith(("pretrained:", "os:system", "sys:exit", "cuda:"))
