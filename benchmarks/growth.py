"""How costs grow with the work: the step with the batch and the width, `factorvae` with votes, FID with images.

    python -m benchmarks.growth [--json]

Beside each time stands what limits it. For the step that is the rate of its multiplications (the arithmetic of the
convolutions and matrix products, as torch counts it) against the rate of one large matrix product in the same
precision, which is about the most that the machine gives.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

import zoo
from benchmarks.factorvae_votes import Thinned, scaled_encoder
from benchmarks.fid import Painter, Real, random_weights
from benchmarks.training_step import our_step
from ibgan_plugin.evaluation.fid import fid
from ibgan_plugin.evaluation.inception import FILE_NAME
from zoo import terminal
from zoo.config import resolve_config
from zoo.device import Backend
from zoo.memory import keep_freed
from zoo.randomness import numpy_stream
from zoo.registry import default_registry

BATCHES = (16, 64, 256, 1024)
WIDTHS = (16, 32, 64)
VOTES = (100, 400, 1600, 6400)
IMAGES = (32, 64, 128, 256)
ROOF = 4096  # the side of the matrices whose product is the roof


def roof(precision: str) -> float:
    """The rate of a large matrix product, in GFLOP/s; the best of five."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = torch.randn(ROOF, ROOF, dtype=dtype), torch.randn(ROOF, ROOF, dtype=dtype)
    return 2 * ROOF**3 / min(_seconds(lambda: a @ b) for _ in range(5)) / 1e9


def measure_step(settings: dict[str, Any], turns: int = 7) -> dict[str, Any]:
    """The median time of IB-GAN's step on dsprites with these settings, and the rate of its multiplications."""
    dataset = zoo.load_dataset("dsprites")
    config = resolve_config(default_registry(), "ibgan", "dsprites", typed=settings)
    config = config.model_copy(update={"image_shape": dataset.image_shape})
    step = our_step(config, "auto")
    indices = numpy_stream(0, "data", 1).integers(0, len(dataset), config.batch_size)
    images = Backend.choose("cpu", "auto").images(dataset.images(indices))
    with FlopCounterMode(display=False) as counter:
        step(images)
    seconds = statistics.median(_seconds(partial(step, images)) for _ in range(turns))
    return {
        "batch_size": config.batch_size,
        "ngf, ndf": settings.get("model.ngf", 16),
        "milliseconds": 1000 * seconds,
        "images per second": config.batch_size / seconds,
        "GFLOP": counter.get_total_flops() / 1e9,
        "GFLOP/s": counter.get_total_flops() / 1e9 / seconds,
    }


def measure_votes() -> list[dict[str, Any]]:
    """The time of `factorvae` against its votes, on every second orientation and position."""
    data, score = Thinned(zoo.load_dataset("dsprites"), 2), zoo.load_metric("factorvae")
    encoder = scaled_encoder(data)
    found = []
    for votes in VOTES:
        seconds = _seconds(partial(score, encoder, data, votes=votes))
        found.append({"votes": 2 * votes, "images": len(data), "seconds": seconds})
    return found


def measure_fid() -> list[dict[str, Any]]:
    """The time of `fid` against its images: as many generated as real ones, with random weights."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        weights = Path(name) / FILE_NAME
        random_weights(weights)
        for num in IMAGES:
            settings: dict[str, Any] = {
                "num_images": num,
                "inception_weights": weights,
                "allow_unverified_weights": True,
                "data_root": Path(name) / f"statistics-{num}",  # else the real images' half is remembered
            }
            seconds = _seconds(partial(fid, Painter(6), Real(num), **settings))
            found.append({"images": 2 * num, "seconds": seconds})
    return found


def measure() -> dict[str, Any]:
    """Everything."""
    precision = Backend.choose("cpu", "auto").precision
    return {
        "threads": torch.get_num_threads(),
        "precision": precision,
        "roof, GFLOP/s": roof(precision),
        "batch": [measure_step({"batch_size": size}) for size in BATCHES],
        "width": [measure_step({"model.ngf": width, "model.ndf": width}) for width in WIDTHS],
        "votes": measure_votes(),
        "fid": measure_fid(),
    }


def show(result: dict[str, Any]) -> None:
    """Print a table each."""
    top = result["roof, GFLOP/s"]
    machine = f"{result['threads']} threads, {result['precision']}, roof {top:.0f} GFLOP/s"
    for what in ("batch", "width"):
        terminal.table(
            ["batch", "ngf, ndf", "ms a step", "images/s", "GFLOP a step", "GFLOP/s", "of the roof"],
            [
                [
                    str(r["batch_size"]),
                    str(r["ngf, ndf"]),
                    f"{r['milliseconds']:.1f}",
                    f"{r['images per second']:,.0f}",
                    f"{r['GFLOP']:.1f}",
                    f"{r['GFLOP/s']:.0f}",
                    f"{r['GFLOP/s'] / top:.0%}",
                ]
                for r in result[what]
            ],
            title=f"IB-GAN's step on dsprites against the {what}; {machine}",
        )
    terminal.table(
        ["votes", "seconds"],
        [[f"{r['votes']:,}", f"{r['seconds']:.2f}"] for r in result["votes"]],
        title=f"factorvae against its votes, {result['votes'][0]['images']:,} images",
    )
    terminal.table(
        ["images", "seconds"],
        [[str(r["images"]), f"{r['seconds']:.1f}"] for r in result["fid"]],
        title="fid against its images, half of them generated",
    )


def _seconds(run: Callable[[], Any]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def main() -> None:
    """Measure, and print tables or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    keep_freed()
    result = measure()
    terminal.out_json(result) if options.json else show(result)


if __name__ == "__main__":
    main()
