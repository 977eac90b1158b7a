"""Files that are no checkpoint of the authors: none runs code, none makes anything, each is told in one line."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import zoo.cli
from ibgan_plugin.adapters import ibgan_authors_format
from ibgan_plugin.adapters.ibgan_authors_format import Sizes
from tests.adapters.ibgan_authors_restated import Theirs, imported, set_in, written_by_old_torch
from tests.exploding import Exploding
from zoo.errors import CheckpointError


def weights(states: dict[str, Any]) -> dict[str, Any]:
    return states["model_states"]["G"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda states: states.pop("iter"), "iter is None, expected an integer from 0 to"),
        (set_in("iter", to=-1), "iter is -1, expected an integer from 0"),
        (set_in("iter", to=True), "iter is True, expected an integer"),
        (set_in("iter", to=10**30), "iter is 1000000"),
        (set_in("z_dim", to=torch.ones(2)), "z_dim is a tensor, expected an integer from 1 to 4,096"),
        (set_in("r_dim", to=0), "r_dim is 0, expected an integer from 1 to 4,096"),
        (lambda states: states.pop("model_states"), "model_states is missing"),
        (set_in("model_states", to=[1]), "model_states is no dict"),
        (set_in("model_states", "G", to=torch.ones(2)), "model_states.G is no dict"),
        (set_in("model_states", "DR", 7, to=torch.ones(2)), "model_states.DR has keys that are no names"),
        (
            set_in("model_states", "ngf", to=5),
            "claims networks larger than itself",
        ),
        (set_in("model_states", "ngf", to=1024), "claims networks larger than itself"),
        (set_in("model_states", "ndf", to=2), "model_states.ndf is 2, expected an integer from 4 to 1,024"),
        (lambda states: weights(states).pop("emb.0.weight"), "G.emb.0.weight is missing"),
        (lambda states: weights(states).pop("conv.1.num_batches_tracked"), "num_batches_tracked is missing"),
        (set_in("model_states", "G", "fe.9.weight", to=torch.ones(2)), "'G.fe.9.weight' is unknown"),
        (set_in("model_states", "G", "x" * 5000, to=torch.ones(2)), "'G.xxx"),
        (set_in("model_states", "G", "emb.0.weight", to=torch.ones(6, 32)), "emb.0.weight is (6, 32) torch.float32"),
        (set_in("model_states", "G", "emb.0.bias", to=torch.ones(32).half()), "emb.0.bias is (32,) torch.float16"),
        (set_in("model_states", "G", "emb.0.bias", to=torch.full((32,), torch.nan)), "numbers that are not finite"),
        (set_in("model_states", "G", "emb.0.bias", to=torch.ones(32).to_sparse()), "asks for torch."),
        (set_in("model_states", "G", "emb.0.bias", to="words"), "emb.0.bias is 'words', expected a tensor"),
    ],
)
def test_a_wrong_document_is_told_in_one_line(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], told: str
) -> None:
    states = Theirs().states()
    change(states)
    torch.save(states, tmp_path / "0")
    with pytest.raises(CheckpointError) as raised:
        imported(tmp_path / "0", tmp_path / "run")
    message = str(raised.value)
    assert told in message
    assert message.startswith(str(tmp_path / "0"))
    assert "\n" not in message
    assert len(message) < 300 + len(str(tmp_path))
    assert not (tmp_path / "run").exists()


def hostile(path: Path) -> None:
    torch.save(Theirs().states() | {"win": Exploding(path.parent / "executed")}, path)


def hostile_legacy(path: Path) -> None:
    states = Theirs().states() | {"win": Exploding(path.parent / "executed")}
    torch.save(states, path, _use_new_zipfile_serialization=False)


def hostile_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(Exploding(path.parent / "executed")))


def pickled_module(path: Path) -> None:
    torch.save(Theirs().G, path)


def compressed(path: Path) -> None:
    """The same file, deflated: a way to make much of little."""
    Theirs().saved(path)
    with zipfile.ZipFile(path) as plain:
        members = {info.filename: plain.read(info) for info in plain.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(name, content)


def truncated(path: Path) -> None:
    content = Theirs().saved(path).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def truncated_legacy(path: Path) -> None:
    content = written_by_old_torch(Theirs().trained(1), path).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flipped(path: Path) -> None:
    """One byte of the zip's directory is another."""
    content = bytearray(Theirs().saved(path).read_bytes())
    content[content.rindex(b"PK\x01\x02") + 20] ^= 0xFF
    path.write_bytes(content)


def greedy_legacy(path: Path) -> None:
    """A storage that claims 2^50 numbers."""
    states = {"iter": 0, "tensor": torch.zeros(0x012345)}
    buffer = io.BytesIO()
    torch.save(states, buffer, _use_new_zipfile_serialization=False)
    claim = b"J" + struct.pack("<i", 0x012345)
    assert claim in buffer.getvalue()
    path.write_bytes(buffer.getvalue().replace(claim, b"\x8a\x07" + (2**50).to_bytes(7, "little")))


def expanded(path: Path) -> None:
    """Every tensor is one number, seen as often as the shape says: a small file that claims much."""
    sizes = Sizes(16, 10, 1, 1024, 1024, False)
    states: dict[str, Any] = {"G": OrderedDict(), "DR": OrderedDict(), "nc": 1, "ngf": 1024, "ndf": 1024}
    for name, shape in ibgan_authors_format.shapes(sizes).items():
        net, _, own = name.partition(".")
        kind = torch.int64 if own.endswith("tracked") else torch.float32
        states[net][own] = torch.zeros((), dtype=kind).expand(shape)
    torch.save({"iter": 1, "z_dim": 16, "r_dim": 10, "model_states": states}, path)


def scripted(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "constants.pkl", "version", "code/__torch__.py"):
            archive.writestr(f"model/{name}", b"3\n")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: None, "cannot read "),
        (Path.mkdir, "it is a folder, expected a file"),
        (lambda path: path.write_bytes(b""), "is no file of torch.save"),
        (lambda path: path.write_text("iter: 3\n" * 100), "is no file of torch.save"),
        (lambda path: torch.save([1, 2], path), "is no checkpoint of the authors' code: the document is no dict"),
        (
            hostile,
            f"asks for {os.mkdir.__module__}.mkdir, which is neither a tensor nor a plain value; nothing of it was",
        ),
        (hostile_legacy, f"asks for {os.mkdir.__module__}.mkdir, which is neither a tensor nor a plain value"),
        (hostile_pickle, "is no file of torch.save|asks for"),
        (pickled_module, "asks for "),
        (compressed, "holds compressed data, which torch.save never writes"),
        (truncated, "is no file of torch.save|is a damaged file"),
        (truncated_legacy, "is no file of torch.save"),
        (flipped, "holds compressed data|is a damaged file|is no file of torch.save"),
        (greedy_legacy, "is no file of torch.save"),
        (expanded, "claims networks larger than itself"),
        (scripted, "is no file of torch.save"),
    ],
)
def test_a_damaged_or_hostile_file_is_refused(tmp_path: Path, make: Callable[[Path], Any], told: str) -> None:
    path = tmp_path / "checkpoint"
    make(path)
    with pytest.raises(CheckpointError) as raised:
        imported(path, tmp_path / "run")
    message = str(raised.value)
    assert any(part in message for part in told.split("|")), message
    assert "\n" not in message
    assert not (tmp_path / "executed").exists()
    assert not (tmp_path / "run").exists()
    assert not list(tmp_path.glob(".run*"))


def test_a_file_larger_than_any_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Theirs().saved(tmp_path / "0")
    monkeypatch.setattr(ibgan_authors_format, "LARGEST_FILE", path.stat().st_size - 1)
    with pytest.raises(CheckpointError, match="larger than any checkpoint of the authors' code"):
        imported(path, tmp_path / "run")


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hostile(tmp_path / "bad")
    words = ["convert", "checkpoint", str(tmp_path / "bad"), "--from", "ibgan_authors", "--out", str(tmp_path / "run")]
    assert zoo.cli.run(words) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"error: {tmp_path / 'bad'} asks for ")
    assert told.err.count("\n") == 1
    assert zoo.cli.run([*words, "--set", "seed=3"]) == 2
    assert zoo.cli.run(["convert", "checkpoint", "x", "--to", "ibgan_authors", "--out", "y"]) == 2
    assert "converter 'ibgan_authors' cannot write checkpoints" in capsys.readouterr().err
