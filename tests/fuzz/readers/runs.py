"""Run directories: their checkpoints, what loads and resumes them, and the note of who writes them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tests.fuzz.readers.configurations import configuration
from tests.fuzz.readers.logs import build_logs

CHECKPOINT = "checkpoints/step-00000002"
STATE, MODEL, TRAINER = (f"{CHECKPOINT}/{file}" for file in ("state.json", "model.safetensors", "trainer.safetensors"))


def build_run(folder: Path) -> None:
    """A trained run of two steps, without a dataset."""
    import torch

    from zoo.building import build_loss, build_model, build_trainer
    from zoo.config import RunConfig
    from zoo.device import Backend
    from zoo.registry import default_registry
    from zoo.run import RunDirectory

    registry, backend = default_registry(), Backend.choose("cpu", "fp32")
    config = RunConfig.model_validate(configuration())
    model = build_model(registry, config, backend)
    trainer = build_trainer(registry, config, model, build_loss(registry, config, backend), backend)
    run = RunDirectory(folder)
    run.write_config(config)
    for step in (1, 2):
        trainer.step(torch.rand(4, 1, 64, 64, generator=torch.Generator().manual_seed(step)))
    run.save(2, model.state_dict(), *trainer.state())
    build_logs(folder)


def reseal(folder: Path) -> None:
    """Make a checkpoint agree with itself again after a change, where it still can: what an attacker would do."""
    from zoo.checkpoint import sha256_of

    try:
        state = json.loads((folder / STATE).read_text())
        for file in (MODEL, TRAINER):
            content = (folder / file).read_bytes()
            entry = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            state["files"][Path(file).name] = entry
        state["sha256"] = sha256_of(state)
    except (ValueError, TypeError, KeyError, RecursionError):
        return
    (folder / STATE).write_text(json.dumps(state))


def reseal_state(folder: Path) -> None:
    """The same after a change of state.json itself, where that still is an object."""
    from zoo.checkpoint import sha256_of

    try:
        state = json.loads((folder / STATE).read_text())
        state["sha256"] = sha256_of(state)
    except (ValueError, TypeError, RecursionError):
        return
    (folder / STATE).write_text(json.dumps(state))


def read_checkpoint(folder: Path) -> None:
    from zoo.checkpoint import Checkpoint
    from zoo.run import find_checkpoint

    checkpoint = Checkpoint.open(folder / CHECKPOINT)
    checkpoint.verify()
    for file in ("model.safetensors", "trainer.safetensors"):
        checkpoint.tensors(file)
    find_checkpoint(folder)


def read_model(folder: Path) -> None:
    """`zoo sample`, all but the writing."""
    from zoo.loading import load_checkpoint
    from zoo.registry import default_registry

    load_checkpoint(default_registry(), "ibgan", folder, device="cpu").model.generate(2)


def read_trainer(folder: Path) -> None:
    """`zoo train --resume`, up to the first step."""
    import torch

    from zoo.building import build_loss, build_model, build_trainer, load_trainer, load_weights
    from zoo.checkpoint import Checkpoint
    from zoo.config import RunConfig, resumed_config
    from zoo.device import Backend
    from zoo.registry import default_registry

    registry, backend = default_registry(), Backend.choose("cpu", "fp32")
    stored = RunConfig.from_file(folder / "config.json")
    config = resumed_config(registry, stored, "ibgan", "dsprites").model_copy(
        update={"image_shape": stored.image_shape}
    )
    checkpoint = Checkpoint.open(folder / CHECKPOINT)
    model = build_model(registry, config, backend, checkpoint=checkpoint)
    trainer = build_trainer(registry, config, model, build_loss(registry, config, backend), backend)
    load_weights(model, checkpoint)
    load_trainer(trainer, checkpoint)
    trainer.step(torch.full((4, 1, 64, 64), 0.5))


def build_owner(folder: Path) -> None:
    (folder / "owner.json").write_text(json.dumps({"host": "here", "pid": 17}))


def read_owner(folder: Path) -> None:
    """The message of a second process that wants the run."""
    from filelock import FileLock

    from zoo.errors import ZooError
    from zoo.run import RunDirectory

    with FileLock(folder / "run.lock"):
        try:
            with RunDirectory(folder).locked():
                pass
        except ZooError as error:
            message = str(error)
    assert "is being written by" in message or "is a link" in message
    assert message.isprintable()
    assert len(message) < 400 + len(str(folder))
