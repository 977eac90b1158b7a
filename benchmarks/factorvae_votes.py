"""`factorvae` at full protocol against the plain loop that encodes vote by vote, with one and the same encoder.

    python -m benchmarks.factorvae_votes [--thin K] [--votes N] [--repeats N] [--json]

The plain loop does what the paper's words say, one step after the other: encode the entire dataset for the variances,
then, for each of 800 + 800 votes, draw 100 images, encode them, and take the least-varying dimension. `factorvae` keeps
the codes of the dataset and looks the votes up. Both must give the same votes; the benchmark fails where they don't.

`--thin K` takes every K-th orientation and position, for a look in seconds; the full protocol takes minutes. Runs are
interleaved in one process, and the least time of each counts.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import zoo
from zoo import terminal
from zoo.interfaces import Dataset

BATCH = 100  # images per call in the plain loop: those of a vote


class Encoder(nn.Module):
    """Q of the IB-GAN paper's Table 4 for one channel, ndf = 16, with random weights, its codes made to vary.

    In evaluation mode, as when a model is scored.
    """

    def __init__(self, ndf: int = 16, codes: int = 10) -> None:
        super().__init__()

        def block(c_in: int, c_out: int, kernel: int, stride: int, padding: int) -> list[nn.Module]:
            conv = nn.Conv2d(c_in, c_out, kernel, stride, padding, bias=False)
            return [conv, nn.BatchNorm2d(c_out), nn.LeakyReLU(0.2)]

        self.body = nn.Sequential(
            nn.Conv2d(1, ndf, 4, 2, 1),
            nn.LeakyReLU(0.2),
            *block(ndf, ndf * 2, 4, 2, 1),
            *block(ndf * 2, ndf * 4, 4, 2, 1),
            *block(ndf * 4, ndf * 4, 3, 1, 1),
            *block(ndf * 4, ndf * 4, 3, 1, 1),
            *block(ndf * 4, ndf * 16, 8, 1, 0),
            nn.Flatten(),
            nn.Linear(ndf * 16, codes),
        ).eval()
        self.register_buffer("scale", torch.ones(codes))

    def encode(self, images: Tensor) -> Tensor:
        """float32 (n, 1, 64, 64) in [0, 1] -> (n, 10)."""
        return self.scale * self.body(2 * images - 1)


class Thinned:
    """Every `step`-th value of the three finest factors of a dataset; 1 is the dataset itself."""

    def __init__(self, data: Dataset, step: int) -> None:
        sizes = data.factor_sizes or ()
        self.data, self.name = data, f"{data.name}, every {step}th"
        self.steps = np.array([step if size >= 32 else 1 for size in sizes])
        self.factor_sizes = tuple(-(-size // by) for size, by in zip(sizes, self.steps, strict=True))
        self.factor_names, self.image_shape = data.factor_names, data.image_shape

    def __len__(self) -> int:
        return int(np.prod(self.factor_sizes))

    def images(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return uint8 (n, H, W, C)."""
        return self.data.images(self.data.index_of(self.factors_of(indices) * self.steps))

    def index_of(self, factors: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return int64 (n,) from int (n, F)."""
        return np.ravel_multi_index(tuple(factors.T), self.factor_sizes).astype(np.int64)

    def factors_of(self, indices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return int64 (n, F) from int (n,)."""
        return np.stack(np.unravel_index(indices, self.factor_sizes), axis=1).astype(np.int64)


@torch.no_grad()
def scaled_encoder(data: Any) -> Encoder:
    """The encoder, its codes scaled to vary on these images: as they are, random weights make them hardly vary."""
    torch.manual_seed(0)
    encoder = Encoder()
    sample = torch.from_numpy(data.images(np.arange(0, len(data), max(len(data) // 500, 1)))).permute(0, 3, 1, 2) / 255
    encoder.scale /= encoder.encode(sample).std(dim=0)
    return encoder


@torch.no_grad()
def plain(encoder: Encoder, data: Any, votes: int, seed: int = 0) -> list[list[list[int]]]:
    """The paper's protocol, vote by vote; returns the tables of the training and of the fresh votes."""

    def encoded(indices: NDArray[np.int64]) -> NDArray[np.float64]:
        images = torch.from_numpy(data.images(indices)).permute(0, 3, 1, 2).float() / 255
        return encoder.encode(images).numpy().astype(np.float64)

    rng = np.random.RandomState(seed)
    parts = [encoded(np.arange(start, min(start + BATCH, len(data)))) for start in range(0, len(data), BATCH)]
    variances = np.concatenate(parts).var(axis=0)
    active = np.flatnonzero(variances >= 0.05)
    tables = []
    for _ in range(2):
        table = np.zeros((len(data.factor_sizes), len(variances)), int)
        for _ in range(votes):
            fixed = rng.randint(len(data.factor_sizes))
            factors = np.stack([rng.randint(size, size=BATCH) for size in data.factor_sizes], axis=1)
            factors[:, fixed] = factors[0, fixed]
            local = encoded(data.index_of(factors)).var(axis=0)
            table[fixed, active[np.argmin(local[active] / variances[active])]] += 1
        tables.append(table.tolist())
    return tables


def measure(thin: int = 1, votes: int = 800, repeats: int = 1) -> dict[str, Any]:
    """Time all three; return seconds, ratios and how many votes differ."""
    data: Any = zoo.load_dataset("dsprites")
    if thin > 1:
        data = Thinned(data, thin)
    encoder = scaled_encoder(data)
    score = zoo.load_metric("factorvae")
    contestants = {
        "plain loop": lambda: plain(encoder, data, votes),
        "factorvae": lambda: _tables(score(encoder, data, votes=votes)),
        "factorvae, bf16": lambda: _tables(score(encoder, data, votes=votes, precision="bf16")),
    }
    seconds = dict.fromkeys(contestants, float("inf"))
    tables: dict[str, Any] = {}
    for _ in range(repeats):
        for name, run in contestants.items():
            started = time.perf_counter()
            tables[name] = run()
            seconds[name] = min(seconds[name], time.perf_counter() - started)
    differ = {
        name: int(np.abs(np.array(table) - np.array(tables["plain loop"])).sum() // 2) for name, table in tables.items()
    }
    if differ["factorvae"]:
        raise SystemExit(f"factorvae and the plain loop differ in {differ['factorvae']} of {2 * votes} votes")
    return {
        "images": len(data),
        "votes": 2 * votes,
        "threads": torch.get_num_threads(),
        "seconds": seconds,
        "times faster": {name: seconds["plain loop"] / value for name, value in seconds.items()},
        "votes that differ": differ,
    }


def _tables(result: dict[str, Any]) -> list[list[list[int]]]:
    return [result["vote_table"], result["eval_vote_table"]]


def show(result: dict[str, Any]) -> None:
    """Print what was measured."""
    terminal.table(
        ["contestant", "seconds", "times faster", "votes that differ"],
        [
            [name, f"{seconds:.1f}", f"{result['times faster'][name]:.2f}", str(result["votes that differ"][name])]
            for name, seconds in result["seconds"].items()
        ],
        title=f"{result['images']:,} images, {result['votes']:,} votes of {BATCH}, {result['threads']} threads",
    )


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--thin", type=int, default=1, help="every K-th orientation and position (1: all images)")
    parser.add_argument("--votes", type=int, default=800, help="training votes, and as many fresh ones")
    parser.add_argument("--repeats", type=int, default=1, help="times each contestant runs; the least time counts")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    result = measure(options.thin, options.votes, options.repeats)
    if options.json:
        terminal.out_json(result)
    else:
        show(result)


if __name__ == "__main__":
    main()
