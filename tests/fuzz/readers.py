"""Every reader of the project: how to make it a small valid input, and how to have that read.

A reader is called with the folder its input lies in, and reads what is there as the project does. Heavy imports stand
inside, so that the worker process pays only for the readers it is asked for.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SPACE = (("shape", "scale", "orientation", "posX", "posY"), (3, 2, 2, 2, 2))  # 48 sprites
DIMS = 8
SMALL = {"model.ngf": 4, "model.ndf": 4}


@dataclass(frozen=True)
class Reader:
    """One reader. `files` are those of the valid input that may come from elsewhere."""

    name: str
    build: Callable[[Path], None]
    read: Callable[[Path], Any]
    files: tuple[str, ...]
    names_file: bool = True  # whether every message has to name the file
    longest: int | None = None  # characters of a message, where ten files may be named in one


# Run directories.


def configuration() -> dict[str, Any]:
    """A run's config.json."""
    from zoo.config import resolve_config
    from zoo.registry import default_registry

    words = ["model.ngf=4", "model.ndf=4", "batch_size=4", "device=cpu", "precision=fp32", "steps=9"]
    config = resolve_config(default_registry(), "ibgan", "dsprites", words=words)
    made_by = {"from step 1": {"command": ["zoo", "train"], "started": "2026-01-01T00:00:00+0000"}}
    return config.model_copy(update={"image_shape": (64, 64, 1), "made_by": made_by}).model_dump(mode="json")


def build_config(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(configuration()))


def read_config(folder: Path) -> None:
    from zoo.config import RunConfig, resolve_config
    from zoo.errors import ZooError
    from zoo.registry import default_registry

    config = RunConfig.from_file(folder / "config.json")
    registry = default_registry()
    try:  # what a sound file says may still be nothing that can be run; these messages name the setting
        resolve_config(registry, "ibgan", "dsprites", base=config).rows()
    except ZooError as error:
        raise ZooError(f"{folder}: {error}") from error


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


CHECKPOINT = "checkpoints/step-00000002"
STATE, MODEL, TRAINER = (f"{CHECKPOINT}/{file}" for file in ("state.json", "model.safetensors", "trainer.safetensors"))


def build_weights_file(folder: Path) -> None:
    """A model to pass on."""
    from zoo.building import build_model
    from zoo.config import RunConfig
    from zoo.device import Backend
    from zoo.registry import default_registry
    from zoo.weights import write_weights

    config = RunConfig.model_validate(configuration())
    model = build_model(default_registry(), config, Backend.choose("cpu", "fp32"))
    write_weights(folder / "file.safetensors", model, config, 2)


def read_weights_file(folder: Path) -> None:
    import torch

    import zoo

    model = zoo.load("ibgan", folder / "file.safetensors", device="cpu")
    model.encode(torch.zeros(2, 1, 64, 64))


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


def build_logs(folder: Path) -> None:
    records = [
        {"step": step, "mi_upper": 3.0 + step, "mi_lower": 1.5, "kl": [0.1, 0.2 * step, 1.0], "steps_per_second": 9.5}
        for step in (1, 2, 3, 4)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    results = {"sap": {"score": 0.25, "protocol": {"num_train": 10}}, "mig": {"score": 0.5, "protocol": {}}}
    evaluations = [{"step": step, "seed": 0, "metrics": results, "errors": {}} for step in (2, 4)]
    (folder / "evaluations.jsonl").write_text("".join(json.dumps(record) + "\n" for record in evaluations))
    if not (folder / "config.json").exists():
        build_config(folder)


LOGS = ("metrics.jsonl", "evaluations.jsonl")


def read_logs(folder: Path) -> None:
    """What resuming and keeping the best read."""
    from zoo.run import RunDirectory

    run = RunDirectory(folder)
    for file in LOGS:
        run.records(file)
    run.best_step("sap")
    run.evaluated(2)
    with run.locked():
        run.forget_after(3)
        assert all(record["step"] <= 3 for file in LOGS for record in run.records(file))
    run.append("metrics.jsonl", {"step": 5})


def read_plot(folder: Path) -> None:
    """`zoo plot`."""
    from ibgan_plugin.evaluation.curves import plot_run

    plot_run(folder).savefig(io.BytesIO(), format="png", dpi=40)


def read_report(folder: Path) -> None:
    """`zoo report`, what it reads of a run beside the model."""
    from ibgan_plugin.evaluation.report import reading

    for run in reading.open_runs([folder]):
        reading.run_scores(run)
        run.remarks()


def read_progress(folder: Path) -> None:
    """What `zoo sweep` reads of a run."""
    from zoo.run import RunDirectory
    from zoo.sweep.progress import Asked, evaluations, finished, logged

    run = RunDirectory(folder)
    logged(run)
    asked = Asked(("sap", "mig"), {}, 0)
    evaluations(run, 2, asked)
    finished(run, 2, asked)


def read_cost(folder: Path) -> None:
    """What `zoo sweep --dry-run` reads of any run that it finds: nothing in one ends it."""
    from zoo.run import RunDirectory
    from zoo.sweep.cost import read

    read(RunDirectory(folder))


def read_converted(folder: Path) -> None:
    """`zoo convert checkpoint --to disentanglement_lib`."""
    from ibgan_plugin.adapters.disentanglement_lib_checkpoint import write_checkpoint

    out = write_checkpoint(folder, folder / "out" / "in" / "converted")
    outside = [path for path in out.rglob("*") if not path.resolve().is_relative_to(out.resolve())]
    assert not outside, outside


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


def build_sweep(folder: Path) -> None:
    (folder / "sweep.toml").write_text(
        'models = ["ibgan", "vae"]\ndatasets = ["dsprites"]\nseeds = [0, 1]\nsteps = 20\nmetrics = ["sap"]\n'
        '[settings]\nbatch_size = 8\n[grid]\n"model.ngf" = [4, 8]\n[[overrides]]\nmodels = ["vae"]\n'
        "settings = {batch_size = 4}\n[slurm]\n"
    )


def read_sweep(folder: Path) -> None:
    """`zoo sweep FILE`, up to the runs it asks for."""
    from zoo.registry import default_registry
    from zoo.sweep.spec import SweepSpec

    SweepSpec.read(default_registry(), folder / "sweep.toml")


# Datasets.


def sprites() -> dict[str, Any]:
    import numpy as np

    from ibgan_plugin.adapters.factors import FactorSpace

    space = FactorSpace(*SPACE)
    factors = space.factors_of(np.arange(len(space)))
    classes = np.concatenate([np.zeros((len(space), 1), np.int64), factors], axis=1)
    images = np.random.default_rng(0).integers(2, size=(len(space), 64, 64), dtype=np.uint8)
    return {"imgs": images, "latents_values": classes.astype(np.float64), "latents_classes": classes}


def build_dsprites_npz(folder: Path) -> None:
    import numpy as np

    metadata = np.array({"a": "pickle"}, dtype=object)
    np.savez_compressed(folder / "file.npz", metadata=metadata, **sprites())


def build_dsprites_hdf5(folder: Path) -> None:
    import h5py

    with h5py.File(folder / "file.hdf5", "w") as file:
        for key, array in sprites().items():
            packed = {"chunks": (24, *array.shape[1:]), "compression": "gzip", "shuffle": key == "imgs"}
            file.create_dataset(key.replace("latents_", "latents/"), data=array, **packed)


def _read_dsprites(file: Path) -> None:
    from ibgan_plugin.adapters import dsprites_official, hdf5
    from ibgan_plugin.adapters.factors import FactorSpace

    hdf5.STALL_SECONDS = 8.0  # of the 10 s that a reader has here
    made = dsprites_official.read(file, FactorSpace(*SPACE))
    assert sum(len(block) for block in made.blocks) == made.shape[0]


def build_store(folder: Path) -> None:
    import numpy as np

    from ibgan_plugin.adapters.dsprites import _DRAWING
    from ibgan_plugin.adapters.store import Made, write

    rows = np.random.default_rng(0).integers(256, size=(7, 64, 64, 3), dtype=np.uint8)
    write(folder / "store", _DRAWING, Made(rows.shape, [rows]))


def read_store(folder: Path) -> None:
    import numpy as np

    from ibgan_plugin.adapters.dsprites import _DRAWING
    from ibgan_plugin.adapters.store import open_made_from

    store = open_made_from(folder / "store", _DRAWING)
    store.read(np.array([0, len(store) - 1]))


def picture(kind: str = "PNG", size: tuple[int, int] = (24, 20), mode: str = "RGB") -> bytes:
    import numpy as np
    from PIL import Image

    pixels = np.random.default_rng(1).integers(256, size=(size[1], size[0], 3), dtype=np.uint8)
    stream = io.BytesIO()
    more = {"progressive": True} if kind == "JPEG" else {}
    Image.fromarray(pixels).convert(mode).save(stream, kind, **more)
    return stream.getvalue()


def members() -> dict[str, bytes]:
    return {f"set/{i}/{i:03d}.png": picture(size=(16 + i, 16)) for i in range(3)} | {"set/readme.txt": b"text"}


def build_zip(folder: Path) -> None:
    with zipfile.ZipFile(folder / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members().items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)


def _tar(ending: str, mode: str) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        with tarfile.open(folder / f"set{ending}", mode, format=tarfile.PAX_FORMAT) as archive:
            for name, content in members().items():
                member = tarfile.TarInfo(name)
                member.size, member.pax_headers = len(content), {"comment": "x" * 20}
                archive.addfile(member, io.BytesIO(content))

    return build


def _archive(ending: str) -> Callable[[Path], None]:
    """All the way: `zoo data prepare image_folder --set source=...`, and the images."""

    def read(folder: Path) -> None:
        import numpy as np

        from ibgan_plugin.adapters.image_folder import image_folder

        data = image_folder(folder / "data", source=str(folder / f"set{ending}"), size=8)
        assert data.images(np.arange(len(data))).shape == (len(data), 8, 8, 3)

    return read


def build_partial(folder: Path) -> None:
    """A preparation that was killed in the middle: what it left, and the archive."""
    import numpy as np

    from ibgan_plugin.adapters.preparation import PARTIAL_ARRAY, PROGRESS
    from ibgan_plugin.adapters.store import write_header

    build_zip(folder)
    archive = folder / "set.zip"
    os.utime(archive, ns=(10**18, 10**18))
    hidden = folder / "partial"
    hidden.mkdir()
    with (hidden / PARTIAL_ARRAY).open("wb") as file:
        write_header(file, (3, 8, 8, 3))
        file.write(np.zeros((3, 8, 8, 3), np.uint8).data)
    (hidden / PROGRESS).write_text(json.dumps({"key": {}, "done": 1, "problems": []}))


def read_partial(folder: Path) -> None:
    """Go on with a preparation whose note has the right key, whatever else it says."""
    from ibgan_plugin.adapters import image_folder as module
    from ibgan_plugin.adapters.preparation import PROGRESS
    from ibgan_plugin.adapters.recipe import Recipe
    from ibgan_plugin.adapters.sources import source
    from ibgan_plugin.adapters.store import PREPARED

    os.utime(folder / "set.zip", ns=(10**18, 10**18))
    recipe, archive = Recipe(8, "square"), source(folder / "set.zip")
    names = sorted(archive.names(module.LAYOUT.wanted))
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    key = {"made_from": archive.identity() | {"recipe": recipe.record()}, "names_sha256": digest}
    label = f"{recipe.label}-{hashlib.sha256(os.fsencode(folder / 'set.zip')).hexdigest()[:8]}"
    place = folder / "data" / PREPARED / "image_folder" / f".{label}.partial"
    place.parent.mkdir(parents=True)
    (folder / "partial").rename(place)
    note = (place / PROGRESS).read_bytes().replace(b'"key": {}', b'"key": ' + json.dumps(key).encode())
    (place / PROGRESS).write_bytes(note)
    _archive(".zip")(folder)


def build_images(folder: Path) -> None:
    for kind in ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM"):
        (folder / f"image.{kind.lower()}").write_bytes(picture(kind))


IMAGES = tuple(f"image.{kind}" for kind in ("png", "jpeg", "bmp", "gif", "webp", "tiff", "ppm"))


def read_images(folder: Path) -> None:
    from ibgan_plugin.adapters.recipe import BadImage, Recipe, quiet_pillow
    from zoo.errors import DataError

    with quiet_pillow():
        for file in sorted(folder.iterdir()):
            try:
                Recipe(8, "square").apply(file.read_bytes())
            except BadImage as error:
                raise DataError(f"{file} {error}") from error


def build_faces(folder: Path) -> None:
    (folder / "list_eval_partition.txt").write_text("000001.jpg 0\n000002.jpg 2\n")


def read_faces(folder: Path) -> None:
    from ibgan_plugin.adapters.celeba import missing_faces

    list(missing_faces(["img_align_celeba/000001.jpg"], folder / "img_align_celeba"))


# Metrics' files and foreign checkpoints.


def build_statistics(folder: Path) -> None:
    import numpy as np

    from ibgan_plugin.evaluation.fid_statistics import write_statistics
    from ibgan_plugin.evaluation.frechet import Gaussian

    write_statistics(folder / "stats.npz", Gaussian(np.zeros(DIMS), np.eye(DIMS), 10), {"dataset": "x", "seed": 3})


def read_statistics(folder: Path) -> None:
    from ibgan_plugin.evaluation.fid_statistics import read_statistics as read

    read(folder / "stats.npz", DIMS)


def build_weights(folder: Path) -> None:
    import torch

    state = {"Conv2d_1a_3x3.conv.weight": torch.zeros(4, 3, 3, 3), "fc.bias": torch.zeros(4)}
    torch.save(state, folder / "weights.pth")
    torch.save(state, folder / "old.pth", _use_new_zipfile_serialization=False)


def read_weights(folder: Path) -> None:
    from ibgan_plugin.evaluation.inception import read_weights as read

    for file in ("weights.pth", "old.pth"):
        read(folder / file, allow_unverified=True, root=folder)


def authors_states() -> dict[str, Any]:
    """What the authors' solver hands to torch.save, for the smallest networks; the optimisers' state left out."""
    import torch

    from ibgan_plugin.adapters.ibgan_authors_format import Sizes, shapes

    sizes = Sizes(2, 2, 1, 4, 4, shares_front=False)
    nets: dict[str, Any] = {"G": {}, "DR": {}}
    for name, shape in shapes(sizes).items():
        net, _, own = name.partition(".")
        nets[net][own] = torch.zeros(shape, dtype=torch.int64 if own.endswith("tracked") else torch.float32)
    rmsprop = {"lr": 1e-4, "alpha": 0.99, "eps": 1e-8, "momentum": 0.9, "centered": False, "weight_decay": 0}
    optimiser = {"state": {}, "param_groups": [rmsprop | {"params": [0, 1]}]}
    return {
        "iter": 3,
        "z_dim": 2,
        "r_dim": 2,
        "win": None,
        "stat_dict": {500: [1.25, 3.5]},
        "model_states": {"nc": 1, "ngf": 4, "ndf": 4, **nets},
        "optim_states": {"GR_optim": optimiser, "D_optim": optimiser},
    }


def build_authors(folder: Path) -> None:
    import torch

    torch.save(authors_states(), folder / "new")
    torch.save(authors_states(), folder / "old", _use_new_zipfile_serialization=False)


def read_authors(folder: Path) -> None:
    from ibgan_plugin.adapters.ibgan_authors_format import read

    for file in ("new", "old"):
        read(folder / file)


# What a person types.


def build_words(folder: Path) -> None:
    (folder / "words.json").write_text(json.dumps({"model": "ibgan", "dataset": "dsprites", "words": ["seed=3"]}))


def read_words(folder: Path) -> None:
    """`--set` and names, as the command line hands them on."""
    from zoo.config import resolve_config
    from zoo.errors import ZooError
    from zoo.registry import default_registry

    asked = json.loads((folder / "words.json").read_text())
    try:
        config = resolve_config(
            default_registry(), asked["model"], asked["dataset"], preset=asked.get("preset"), words=asked["words"]
        )
    except ZooError as error:
        raise ZooError(f"{folder}: {error}") from error
    assert config.rows()


def build_environment(folder: Path) -> None:
    (folder / "environment.json").write_text(json.dumps({"ZOO_DISABLE_PLUGINS": "ibgan"}))


def read_environment(folder: Path) -> None:
    """The variables that plugins are switched off with; every name is still listed or told as unknown."""
    from zoo.errors import UnknownNameError
    from zoo.plugins import PluginManager
    from zoo.registry import Registry
    from zoo.specs import KINDS, ModelSpec

    variables = json.loads((folder / "environment.json").read_text())
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        registry = Registry(PluginManager.from_environment())
        for kind in KINDS:
            registry.names(kind)
        try:
            registry.spec(ModelSpec, "ibgan")
        except UnknownNameError:
            assert {"ibgan", "*"} & {name.strip() for name in os.environ["ZOO_DISABLE_PLUGINS"].split(",")}
    finally:
        os.environ.clear()
        os.environ.update(before)


def build_command(folder: Path) -> None:
    build_run(folder)
    (folder / "command.json").write_text(json.dumps(["list", "models"]))


def read_command(folder: Path) -> None:
    """`zoo WORDS` in this process, in a folder of its own. Raises AssertionError for an ending that may not be."""
    import contextlib
    import sys

    import zoo.cli
    from zoo.registry import use_registry

    words = json.loads((folder / "command.json").read_text())
    out, err = io.StringIO(), io.StringIO()
    before, place = Path.cwd(), folder / "place"
    place.mkdir(exist_ok=True)
    os.chdir(place)
    commands = dict(zoo.cli.cli.commands)
    use_registry(None)
    zoo.cli.cli._asked_plugins = False  # type: ignore[attr-defined]  # each command line begins afresh
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = zoo.cli.run([os.fsdecode(os.fsencode(word)) for word in words])
    finally:
        os.chdir(before)
        zoo.cli.cli.commands.clear()
        zoo.cli.cli.commands.update(commands)
    told = err.getvalue()
    sys.stderr.write(told)
    errors = [line for line in told.splitlines() if line.startswith("error: ")]
    assert code in (0, 1, 2, 130), (code, told)
    assert "Traceback" not in told
    assert "(ZOO_DEBUG=1 shows where)" not in told, told
    assert (code == 0 and not errors) or errors or not words or "Usage:" in told, (code, told)
    assert all(line.isprintable() for line in told.splitlines()), told
    assert all(len(line.replace(str(folder), "")) < 2100 for line in told.splitlines()), told


def safetensors(header: Any, data: bytes) -> bytes:
    """A safetensors file of a header and the bytes after it."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


READERS = {
    reader.name: reader
    for reader in (
        Reader("config", build_config, read_config, ("config.json",)),
        Reader("checkpoint", build_run, read_checkpoint, (STATE, MODEL, TRAINER)),
        Reader("model", build_run, read_model, (STATE, MODEL, "config.json"), names_file=False),
        Reader("trainer", build_run, read_trainer, (STATE, TRAINER, "config.json"), names_file=False),
        Reader("weights file", build_weights_file, read_weights_file, ("file.safetensors",), names_file=False),
        Reader("logs", build_logs, read_logs, LOGS),
        Reader("plot", build_logs, read_plot, LOGS),
        Reader("report", build_logs, read_report, (*LOGS, "config.json")),
        Reader("sweep progress", build_run, read_progress, (*LOGS, STATE)),
        Reader("sweep cost", build_run, read_cost, (*LOGS, "config.json")),
        Reader("convert to disentanglement_lib", build_run, read_converted, LOGS, names_file=False),
        Reader("owner", build_owner, read_owner, ("owner.json",)),
        Reader("sweep", build_sweep, read_sweep, ("sweep.toml",), names_file=False),
        Reader("dsprites npz", build_dsprites_npz, lambda folder: _read_dsprites(folder / "file.npz"), ("file.npz",)),
        Reader(
            "dsprites hdf5", build_dsprites_hdf5, lambda folder: _read_dsprites(folder / "file.hdf5"), ("file.hdf5",)
        ),
        Reader("store", build_store, read_store, ("store/record.json", "store/images.npy")),
        Reader("zip", build_zip, _archive(".zip"), ("set.zip",), longest=2000),
        Reader("tar", _tar(".tar", "w"), _archive(".tar"), ("set.tar",), longest=2000),
        Reader("tar.gz", _tar(".tar.gz", "w:gz"), _archive(".tar.gz"), ("set.tar.gz",), longest=2000),
        Reader("tar.bz2", _tar(".tar.bz2", "w:bz2"), _archive(".tar.bz2"), ("set.tar.bz2",), longest=2000),
        Reader("tar.xz", _tar(".tar.xz", "w:xz"), _archive(".tar.xz"), ("set.tar.xz",), longest=2000),
        Reader(
            "preparation", build_partial, read_partial, ("partial/progress.json", "partial/images.npy"), longest=2000
        ),
        Reader("images", build_images, read_images, IMAGES),
        Reader("celeba list", build_faces, read_faces, ("list_eval_partition.txt",)),
        Reader("fid statistics", build_statistics, read_statistics, ("stats.npz",)),
        Reader("inception weights", build_weights, read_weights, ("weights.pth", "old.pth"), longest=1000),
        Reader("authors' checkpoint", build_authors, read_authors, ("new", "old")),
        Reader("words", build_words, read_words, ()),
        Reader("environment", build_environment, read_environment, ()),
        Reader("command line", build_command, read_command, (), names_file=False),
    )
}
