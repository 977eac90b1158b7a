"""`fid` against pytorch-fid on the same images with the same random weights, and its Fréchet step against sqrtm.

    python -m benchmarks.fid [--rounds N] [--script N] [--json]

Three parts:

- the Fréchet step on covariances of 2048 dimensions, full rank and singular, against `scipy.linalg.sqrtm`, with one
  BLAS thread each and with as many as there are cores for sqrtm;
- images per second: pytorch-fid's `get_activations` (its batch of 50, its two reading processes, PNG files) and ours
  (arrays) take turns on blocks of 100 images, for `--rounds` rounds, so that a busy machine is as busy for both;
- with `--script N`: N generated and N real images, the whole metric and pytorch-fid's own script, each in a process of
  its own, on the same images, as PNG files and the weights file where it looks for a download there. Scores, seconds,
  and by how much the peak memory of `fid` grew between its first chunk of images and its last. 2048 images take a
  quarter of an hour or longer.

No weights file is needed: the weights are random, the same for both.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from ibgan_plugin.evaluation.fid import CHUNK, fid, generated_images
from ibgan_plugin.evaluation.frechet import Gaussian, frechet_distance, one_blas_thread
from ibgan_plugin.evaluation.inception import DIMS, FILE_NAME, InceptionFeatures, read_weights
from zoo import terminal

BLOCK = 100  # two of pytorch-fid's batches


def random_weights(file: Path) -> None:
    """Write a state dict for pytorch-fid's network: its patched blocks have the parameters of torchvision's."""
    torch.manual_seed(0)
    network = torchvision.models.inception_v3(num_classes=1008, aux_logits=False, init_weights=False)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr, operator]  # a buffer is a Tensor
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr, operator]
    torch.save(network.state_dict(), file)


class Painter:
    """A model without weights: smooth random pictures of 64x64 in colour, `sharpness` squares a side.

    `peaks` holds the process's peak memory, in MB, at each call: one a chunk.
    """

    def __init__(self, sharpness: int) -> None:
        self.sharpness = sharpness
        self.peaks: list[float] = []

    def generate(self, num: int, seed: int = 0) -> Tensor:
        """float32 (num, 3, 64, 64) in [0, 1]."""
        self.peaks.append(peak_memory())
        coarse = torch.rand((num, 3, self.sharpness, self.sharpness), generator=torch.Generator().manual_seed(seed))
        return F.interpolate(coarse, size=64, mode="bicubic").clamp_(0, 1)


class Real:
    """The real images: another painter's, drawn when asked for, so that holding them costs no memory either."""

    name = "painted"
    image_shape = (64, 64, 3)
    factor_names = factor_sizes = None

    def __init__(self, num: int) -> None:
        self.num, self.painter = num, Painter(sharpness=12)
        self.chunk: tuple[int, NDArray[np.uint8]] | None = None

    def __len__(self) -> int:
        return self.num

    def images(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """uint8 (n, 64, 64, 3)."""
        return np.stack([self._chunk(int(index) // CHUNK)[index % CHUNK] for index in indices])

    def _chunk(self, number: int) -> NDArray[np.uint8]:
        if self.chunk is None or self.chunk[0] != number:
            self.chunk = number, next(generated_images(self.painter, CHUNK, 1000 + number))
        return self.chunk[1]


def peak_memory() -> float:
    """The largest resident size of this process so far, in MB: of a measurement after a larger one it says nothing."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_frechet(dims: int = DIMS) -> list[dict[str, Any]]:
    """Time the step against sqrtm; one row per case."""
    rows = []
    for case, num in (("full rank", 3 * dims), ("singular", dims // 2)):
        first, second = (_gaussian(seed, num, dims) for seed in (0, 1))
        started = time.perf_counter()
        ours = frechet_distance(first, second)
        seconds = time.perf_counter() - started
        timed = {}
        with one_blas_thread():
            timed["one thread"] = _by_sqrtm(first, second)
        timed["all cores"] = _by_sqrtm(first, second)
        theirs, fastest = min(timed.values(), key=lambda found: found[1])
        rows.append(
            {
                "case": case,
                "seconds": seconds,
                "sqrtm, one thread": timed["one thread"][1],
                "sqrtm, all cores": timed["all cores"][1],
                "times faster": fastest / seconds,
                "relative difference": abs(ours / theirs - 1),
            }
        )
    return rows


def _gaussian(seed: int, num: int, dims: int) -> Gaussian:
    """Of `num` correlated vectors whose scales span two magnitudes, as those of features do."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(dims, dims)) / np.sqrt(dims) * np.geomspace(1, 0.01, dims)
    data = rng.normal(size=(num, dims)) @ mix
    return Gaussian(data.mean(axis=0), np.cov(data, rowvar=False), num)


def _by_sqrtm(first: Gaussian, second: Gaussian) -> tuple[float, float]:
    """The distance by the textbook formula, and the seconds it took."""
    started = time.perf_counter()
    shift = first.mean - second.mean
    root = scipy.linalg.sqrtm(first.covariance @ second.covariance)
    distance = shift @ shift + np.trace(first.covariance) + np.trace(second.covariance) - 2 * np.trace(root).real
    return float(distance), time.perf_counter() - started


def measure_rates(folder: Path, rounds: int) -> dict[str, float]:
    """Images per second of both, in turns on the same blocks; the sums of all rounds count."""
    from pytorch_fid.fid_score import get_activations
    from pytorch_fid.inception import InceptionV3

    files = save(Painter(sharpness=6), BLOCK, 0, folder / "block")
    arrays = np.stack([np.asarray(Image.open(file)) for file in files])
    theirs = InceptionV3([InceptionV3.BLOCK_INDEX_BY_DIM[DIMS]])
    weights = read_weights(folder / "hub" / "checkpoints" / FILE_NAME, allow_unverified=True, root=folder)
    ours, bf16 = InceptionFeatures(weights), InceptionFeatures(weights, precision="bf16")
    workers = min(len(os.sched_getaffinity(0)), 8)  # as its script chooses
    contestants = {
        "pytorch-fid": lambda: get_activations(files, theirs, batch_size=50, num_workers=workers),
        "fid": lambda: ours(arrays),
        "fid, bf16": lambda: bf16(arrays),
    }
    seconds = dict.fromkeys(contestants, 0.0)
    with terminal.progress("images per second", rounds * len(contestants) * BLOCK) as bar:
        for _ in range(rounds):
            for name, run in contestants.items():
                started = time.perf_counter()
                run()
                seconds[name] += time.perf_counter() - started
                bar.advance(BLOCK)
    return {name: rounds * BLOCK / spent for name, spent in seconds.items()}


def measure_script(folder: Path, num: int) -> dict[str, Any]:
    """Score `num` + `num` images with the whole metric and with pytorch-fid's script, each in a process of its own."""
    save(Painter(sharpness=6), num, 0, folder / "generated")
    real = Real(num)
    for start in range(0, num, CHUNK):
        indices = np.arange(start, min(start + CHUNK, num))
        save_arrays(real.images(indices), folder / "real", start)

    with multiprocessing.get_context("spawn").Pool(1) as pool:
        ours = pool.apply(_whole_metric, (folder, num))
    started = time.perf_counter()
    script = subprocess.run(
        [sys.executable, "-m", "pytorch_fid", str(folder / "generated"), str(folder / "real"), "--device", "cpu"],
        env={**os.environ, "TORCH_HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    if script.returncode:
        raise SystemExit(f"pytorch-fid's script failed:\n{script.stderr[-2000:]}")
    theirs = float(script.stdout.split("FID:")[1])
    return {
        "images": 2 * num,
        **ours,
        "pytorch-fid score": theirs,
        "pytorch-fid seconds": seconds,
        "relative difference": abs(ours["score"] / theirs - 1),
        "times faster": seconds / ours["seconds"],
    }


def _whole_metric(folder: Path, num: int) -> dict[str, float]:
    model = Painter(sharpness=6)
    file = folder / "hub" / "checkpoints" / FILE_NAME
    started = time.perf_counter()
    result = fid(
        model,
        Real(num),
        num_images=num,
        inception_weights=file,
        allow_unverified_weights=True,
        data_root=folder / "data",
    )
    seconds = time.perf_counter() - started
    growth = model.peaks[-1] - model.peaks[min(1, len(model.peaks) - 1)]  # from when the first chunk is through
    return {"score": result["score"], "seconds": seconds, "peak MB": peak_memory(), "growth MB": growth}


def save(painter: Painter, num: int, seed: int, folder: Path) -> list[Path]:
    """Write the painter's images, as `fid` sees them, as PNG files."""
    files: list[Path] = []
    for images in generated_images(painter, num, seed):
        files += save_arrays(images, folder, len(files))
    return files


def save_arrays(images: NDArray[np.uint8], folder: Path, start: int) -> list[Path]:
    """Write uint8 (n, H, W, 3) as PNG files numbered from `start`."""
    folder.mkdir(exist_ok=True)
    files = [folder / f"{start + i:06}.png" for i in range(len(images))]
    for file, image in zip(files, images, strict=True):
        Image.fromarray(image).save(file, compress_level=1)
    return files


def main() -> None:
    """Measure, and print tables or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help=f"rounds of {BLOCK} images for images per second")
    parser.add_argument("--script", type=int, default=0, help="images a side for pytorch-fid's whole script (0: not)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()

    result: dict[str, Any] = {"threads": torch.get_num_threads()}
    result["frechet"] = measure_frechet()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "hub" / "checkpoints").mkdir(parents=True)
        random_weights(folder / "hub" / "checkpoints" / FILE_NAME)
        os.environ["TORCH_HOME"] = name  # pytorch-fid takes its "download" from there
        if options.rounds:
            result["images per second"] = measure_rates(folder, options.rounds)
        if options.script:
            result["script"] = measure_script(folder, options.script)
    if options.json:
        terminal.out_json(result)
        return
    show(result)


def show(result: dict[str, Any]) -> None:
    """Print what was measured as tables."""
    rows = [
        [f"{value:.3g}" if isinstance(value, float) else value for value in row.values()] for row in result["frechet"]
    ]
    terminal.table(list(result["frechet"][0]), rows, title=f"Fréchet step, {DIMS} dimensions, seconds")
    if rates := result.get("images per second"):
        terminal.table(
            ["network", "images/s", "times faster"],
            [[name, f"{rate:.2f}", f"{rate / rates['pytorch-fid']:.2f}"] for name, rate in rates.items()],
            title=f"images per second, {result['threads']} threads",
        )
    if script := result.get("script"):
        terminal.table(["", ""], [[key, f"{value:.10g}"] for key, value in script.items()], title="whole runs")


if __name__ == "__main__":
    main()
