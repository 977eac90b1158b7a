"""What is made of a valid input: other bytes, other JSON, other arrays, archives and words.

Each strategy yields a change: a function that is given the folder with the valid input, and changes it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hypothesis import strategies as st

from tests.fuzz.mutations.change import Change
from tests.fuzz.mutations.of_archives import tar_of, zip_of
from tests.fuzz.mutations.of_arrays import hdf5_of, npz_of
from tests.fuzz.mutations.of_bytes import bytes_of
from tests.fuzz.mutations.of_commands import command
from tests.fuzz.mutations.of_json import json_of
from tests.fuzz.mutations.of_pickles import pickle_of
from tests.fuzz.mutations.of_words import environment, words
from tests.fuzz.readers import Reader
from tests.fuzz.readers.runs import STATE, reseal, reseal_state


def changes(reader: Reader, content: Callable[[str], bytes]) -> st.SearchStrategy[Change]:
    """Everything that is done to a reader's input."""
    name = reader.name
    if name == "words":
        return words()
    if name == "environment":
        return environment()
    if name == "command line":
        return command()
    plain = bytes_of(reader, content)
    made: list[st.SearchStrategy[Change]] = [plain, plain]
    if any(file.endswith((".json", ".jsonl", ".safetensors")) for file in reader.files):
        made = [plain, *[json_of(reader, content)] * 3]
    if name in ("checkpoint", "model", "trainer"):
        made += [s.map(lambda change: sealed(change, state=False)) for s in made]
        made += [json_of(_only(reader, STATE), content).map(lambda change: sealed(change, state=True))] * 2
    if name == "dsprites npz":
        made.append(npz_of("file.npz", content))
    elif name == "fid statistics":
        made += [npz_of("stats.npz", content)] * 2
    elif name == "dsprites hdf5":
        made.append(hdf5_of("file.hdf5"))
    elif name == "zip":
        made += [zip_of("set.zip")] * 2
    elif name.startswith("tar"):
        file = reader.files[0]
        made += [tar_of(file, {".tar": "w", ".gz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}[Path(file).suffix])] * 2
    elif name in ("inception weights", "authors' checkpoint"):
        made += [st.sampled_from(reader.files).flatmap(lambda file: pickle_of(file, content(file)))] * 2
    return st.one_of(made)


def sealed(change: Change, *, state: bool) -> Change:
    """A change after which the checkpoint agrees with itself again."""

    def both(folder: Path) -> None:
        change(folder)
        (reseal_state if state else reseal)(folder)

    return both


def _only(reader: Reader, *files: str) -> Reader:
    return Reader(reader.name, reader.build, reader.read, files)


__all__ = ["Change", "changes"]
