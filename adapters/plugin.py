"""What this room adds to the zoo: datasets, and converters of datasets and checkpoints. Imports nothing heavy."""

from __future__ import annotations

from zoo import hookimpl
from zoo.specs import ConverterSpec, DatasetSpec

_HERE = "ibgan_plugin.adapters"


def _dataset(name: str, summary: str, *, has_factors: bool = True) -> DatasetSpec:
    """A dataset of the module of its name, in which a function of its name, `info` and `prepare` stand."""
    where = f"{_HERE}.{name}"
    return DatasetSpec(
        name, f"{where}:{name}", summary, info=f"{where}:info", prepare=f"{where}:prepare", has_factors=has_factors
    )


@hookimpl
def zoo_datasets() -> list[DatasetSpec]:
    """The datasets of the IB-GAN paper and of the studies it is compared with."""
    return [
        _dataset("dsprites", "737,280 binary sprites, 64x64, five factors; drawn here, no download"),
        _dataset("color_dsprites", "dSprites in 512 colours, six factors; no download"),
        _dataset("color_dsprites_dlib", "disentanglement_lib's: a random colour an image, as noise"),
        _dataset("noisy_dsprites", "disentanglement_lib's: white sprites on uniform noise"),
        _dataset(
            "chairs3d",
            "86,366 renderings of 1,393 chairs, gray, 64x64; from the publisher's files",
            has_factors=False,
        ),
        _dataset("celeba", "202,599 aligned faces, cropped, 64x64; from the publisher's files", has_factors=False),
        _dataset("image_folder", "any tree or archive of images", has_factors=False),
    ]


@hookimpl
def zoo_converters() -> list[ConverterSpec]:
    """The foreign formats, by name."""
    return [
        ConverterSpec(
            "disentanglement_lib",
            f"{_HERE}.disentanglement_lib:DisentanglementLib",
            "datasets as its loaders open them; runs as its results, with a PyTorch representor",
        ),
        ConverterSpec(
            "ibgan_authors", f"{_HERE}.ibgan_authors:IBGANAuthors", "the checkpoints that IB-GAN's authors' code writes"
        ),
        ConverterSpec("weights", f"{_HERE}.weights:Weights", "a run's model in one small file, to pass on"),
    ]
