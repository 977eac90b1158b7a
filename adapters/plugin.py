"""What this room adds to the zoo: datasets, and converters of datasets. Imports nothing heavy."""

from __future__ import annotations

from zoo import hookimpl
from zoo.specs import DatasetSpec

_HERE = "ibgan_plugin.adapters"


def _dataset(name: str, module: str, summary: str) -> DatasetSpec:
    """A dataset whose module has a function of its name, and `info` and `prepare` beside it."""
    where = f"{_HERE}.{module}"
    return DatasetSpec(name, f"{where}:{name}", summary, info=f"{where}:info", prepare=f"{where}:prepare")


@hookimpl
def zoo_datasets() -> list[DatasetSpec]:
    """The datasets of the IB-GAN paper and of the studies it is compared with."""
    return [
        _dataset("dsprites", "dsprites", "737,280 binary sprites, 64x64, five factors; drawn here, no download"),
        _dataset("color_dsprites", "color_dsprites", "dSprites in 512 colours, six factors; no download"),
    ]
