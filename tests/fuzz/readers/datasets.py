"""Datasets: the official dSprites, a prepared store, CelebA's list of faces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SPACE = (("shape", "scale", "orientation", "posX", "posY"), (3, 2, 2, 2, 2))  # 48 sprites


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


def read_dsprites(file: Path) -> None:
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


def build_faces(folder: Path) -> None:
    (folder / "list_eval_partition.txt").write_text("000001.jpg 0\n000002.jpg 2\n")


def read_faces(folder: Path) -> None:
    from ibgan_plugin.adapters.celeba import missing_faces

    list(missing_faces(["img_align_celeba/000001.jpg"], folder / "img_align_celeba"))
