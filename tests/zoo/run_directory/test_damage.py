"""Damaged checkpoints are told apart from whole ones, passed over and told of."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from zoo.checkpoint import Checkpoint
from zoo.errors import CheckpointError
from zoo.run import RunDirectory, find_checkpoint


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def longer(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"\0")


def empty(file: Path) -> None:
    file.write_bytes(b"")


def flipped(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x10
    file.write_bytes(bytes(content))


def flipped_at_the_end(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))


def removed(file: Path) -> None:
    file.unlink()


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("file", ["model.safetensors", "trainer.safetensors", "state.json"])
@pytest.mark.parametrize("damage", [truncated, longer, empty, flipped, flipped_at_the_end, removed, a_folder])
def test_a_damaged_checkpoint_is_passed_over_and_told_of(
    run: RunDirectory, capsys: pytest.CaptureFixture[str], file: str, damage: Callable[[Path], None]
) -> None:
    path = run.checkpoints_path / "step-00000003"
    before = (path / "state.json").read_text()
    damage(path / file)
    harmless = (path / "state.json").is_file() and same_json(before, (path / "state.json").read_bytes())
    if file == "state.json" and harmless:  # the last newline is gone, or another sign without a meaning
        assert damage in (truncated, flipped_at_the_end)
        return
    newest = run.newest()
    assert newest is not None
    assert newest.step == 2
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.removeprefix("warning: passed over: ").removeprefix("cannot read ").startswith(str(path))
    with pytest.raises(CheckpointError) as raised:
        Checkpoint.open(path).verify()
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)


def same_json(before: str, after: bytes) -> bool:
    try:
        return bool(json.loads(after) == json.loads(before))
    except ValueError:
        return False


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"format": 2}, "has checkpoint format 2, this version reads 1"),
        ({"format": None}, "has checkpoint format None"),
        ({"step": "three"}, "is not the state of a checkpoint"),
        ({"step": 4}, "is damaged: its SHA-256 is not the one it holds"),
        ({"trainer": {"steps_done": 2, "rate": 0.1}}, "is damaged: its SHA-256 is not the one it holds"),
        ({"trainer": None}, "is not the state of a checkpoint"),
        ({"files": {}}, "is not the state of a checkpoint"),
        ({"files": []}, "is not the state of a checkpoint"),
        ({"sha256": None}, "is damaged"),
        ({"more": 1}, "is damaged"),
    ],
    ids=str,
)
def test_a_state_that_was_changed(run: RunDirectory, change: dict[str, object], told: str) -> None:
    path = run.checkpoints_path / "step-00000003"
    state = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps(state | change))
    with pytest.raises(CheckpointError, match=told):
        Checkpoint.open(path)


@pytest.mark.parametrize("content", [b"[]", b"3", b"null", b"{}", b"\xff", b"[" * 100_000, b"1" * 10_000, b" " * 2**25])
def test_a_state_that_is_none(run: RunDirectory, content: bytes) -> None:
    (run.checkpoints_path / "step-00000003" / "state.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"state\.json"):
        Checkpoint.open(run.checkpoints_path / "step-00000003")
    assert run.newest().step == 2  # type: ignore[union-attr]  # it is there


def test_a_flipped_bit_in_each_byte_of_a_state_is_noticed_or_means_nothing(run: RunDirectory) -> None:
    file = run.checkpoints_path / "step-00000003" / "state.json"
    content = file.read_bytes()
    state, noticed = json.loads(content), 0
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 7
        file.write_bytes(changed)
        try:
            assert Checkpoint.open(file.parent).state == state
        except CheckpointError:
            noticed += 1
    meaningful = sum(not chr(byte).isspace() for byte in content)
    assert noticed >= meaningful


def test_none_is_whole(run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    for step in (1, 2, 3):
        removed(run.checkpoints_path / f"step-{step:08d}" / "model.safetensors")
    assert run.newest() is None
    assert len(capsys.readouterr().err.splitlines()) == 3
    (run.path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="has no whole checkpoint yet; train on with --resume"):
        find_checkpoint(run.path)
