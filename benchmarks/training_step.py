"""The training step of IB-GAN and of the VAE against the straightforward one.

    python -m benchmarks.training_step [--turns N] [--json]

Plain is what a careful reader of the paper would write: float32, eager, images in (n, C, H, W) order in memory, torch's
own optimiser, all gradients from one forward pass and no pass that nothing needs. All take turns of a few steps in one
process, on the same images; the medians count. The process keeps its freed memory, as `zoo train` does, so the plain
step has that advantage too.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import zoo
from zoo import terminal
from zoo.building import build_loss, build_model, build_trainer
from zoo.config import RunConfig, resolve_config
from zoo.device import Backend
from zoo.memory import keep_freed
from zoo.randomness import numpy_stream
from zoo.registry import default_registry

STEPS_A_TURN = 4
CASES = (("ibgan", "dsprites"), ("ibgan", "color_dsprites"), ("vae", "dsprites"))


class PlainIBGAN:
    """Algorithm 1 in the order of the paper's text, with torch's RMSprop."""

    def __init__(self, model: Any, config: RunConfig) -> None:
        trainer, self.beta = config.settings["trainer"], config.settings["loss"]["beta"]
        self.model, self.sigma = model.train(), trainer["noise_start"]
        players = {player: [p for m in modules for p in m.parameters()] for player, modules in model.players().items()}
        self.d, self.g = players["discriminator"], players["generator"]
        common = {"alpha": trainer["alpha"], "eps": trainer["eps"], "momentum": trainer["momentum"]}
        self.d_optimiser = torch.optim.RMSprop(self.d, lr=trainer["lr_discriminator"], **common)
        self.g_optimiser = torch.optim.RMSprop(self.g, lr=trainer["lr_generator"], **common)

    def step(self, images: Tensor) -> None:
        """One update of everybody."""
        model, n = self.model, len(images)
        z = torch.randn(n, model.z_dim)
        mu, logvar = model.encoder(z)
        fakes = model.generator(mu + torch.exp(0.5 * logvar) * torch.randn_like(mu))
        real = (images * 2 - 1 + self.sigma * torch.randn_like(images)).clamp(-1, 1)
        fake = (fakes + self.sigma * torch.randn_like(fakes)).clamp(-1, 1)
        d_real = model.discriminator(model.front(real))
        features = model.front(fake)
        d_fake, z_hat = model.discriminator(features), model.reconstructor(features)

        ones, zeros = torch.ones_like(d_real), torch.zeros_like(d_fake)
        bce = F.binary_cross_entropy_with_logits
        d_loss = bce(d_real, ones) + bce(d_fake, zeros)
        lower = 0.5 * (z.square() - (z - z_hat).square()).sum(1).mean()
        upper = 0.5 * (mu.square() + logvar.exp() - logvar - 1).sum(1).mean()
        g_loss = bce(d_fake, ones) - lower + self.beta * upper

        d_gradients = torch.autograd.grad(d_loss, self.d, retain_graph=True)
        g_gradients = torch.autograd.grad(g_loss, self.g)
        for parameters, gradients in ((self.d, d_gradients), (self.g, g_gradients)):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient
        self.d_optimiser.step()
        self.g_optimiser.step()


class PlainVAE:
    """One update of the VAE with torch's Adam."""

    def __init__(self, model: Any, config: RunConfig) -> None:
        self.model = model.train()
        self.optimiser = torch.optim.Adam(model.parameters(), lr=config.settings["trainer"]["lr"])

    def step(self, images: Tensor) -> None:
        """One update."""
        mu, logvar = self.model.encoder(images)
        logits = self.model.decoder(mu + torch.exp(0.5 * logvar) * torch.randn_like(mu))
        rebuilt = F.binary_cross_entropy_with_logits(logits, images, reduction="none").sum((1, 2, 3)).mean()
        kl = 0.5 * (mu.square() + logvar.exp() - logvar - 1).sum(1).mean()
        self.optimiser.zero_grad()
        (rebuilt + kl).backward()
        self.optimiser.step()


def our_step(config: RunConfig, precision: str) -> Callable[[Tensor], Any]:
    """The step of a run with this configuration, on the CPU, with fresh weights."""
    registry, backend = default_registry(), Backend.choose("cpu", precision)
    model, loss = build_model(registry, config, backend), build_loss(registry, config, backend)
    step: Callable[[Tensor], Any] = build_trainer(registry, config, model, loss, backend).step
    return step


def measure(turns: int = 8) -> list[dict[str, Any]]:
    """Time each case; return milliseconds a step and ratios to plain."""
    return [_measure(model, dataset, turns) for model, dataset in CASES]


def _measure(model_name: str, dataset_name: str, turns: int) -> dict[str, Any]:
    registry, dataset = default_registry(), zoo.load_dataset(dataset_name)
    config = resolve_config(registry, model_name, dataset_name)
    config = config.model_copy(update={"image_shape": dataset.image_shape})
    fp32 = Backend.choose("cpu", "fp32")
    # A fresh float32 model in the plain memory layout.
    plain_model = build_model(registry, config, fp32).to(memory_format=torch.contiguous_format)
    plain = PlainVAE if model_name == "vae" else PlainIBGAN
    contestants = {
        "plain": plain(plain_model, config).step,
        "fp32": our_step(config, "fp32"),
        "auto": our_step(config, "auto"),
    }
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(1 + turns):
        pixels = dataset.images(numpy_stream(0, "data", turn).integers(0, len(dataset), config.batch_size))
        batch = fp32.images(pixels)
        for name, run in contestants.items():
            images = batch.contiguous() if name == "plain" else batch
            run(images)  # what the one before left in the caches is not this one's time
            for _ in range(STEPS_A_TURN):
                started = time.perf_counter()
                run(images)
                times[name].append(time.perf_counter() - started)
    milliseconds = {name: 1000 * statistics.median(found[STEPS_A_TURN:]) for name, found in times.items()}
    return {
        "model": model_name,
        "dataset": dataset_name,
        "batch_size": config.batch_size,
        "auto": Backend.choose("cpu", "auto").precision,
        "milliseconds": milliseconds,
        "times faster": {name: milliseconds["plain"] / value for name, value in milliseconds.items()},
    }


def table(results: list[dict[str, Any]]) -> None:
    """Print the results."""
    rows = [
        [
            f"{r['model']}, {r['dataset']}",
            f"{r['milliseconds']['plain']:.1f}",
            *(f"{r['milliseconds'][name]:.1f} ({r['times faster'][name]:.2f}x)" for name in ("fp32", "auto")),
        ]
        for r in results
    ]
    threads = torch.get_num_threads()
    auto = results[0]["auto"]
    terminal.table(["training step, ms", "plain", "fp32", f"auto ({auto})"], rows, title=f"batch 64, {threads} threads")


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=8, help=f"turns of {STEPS_A_TURN} steps, after one to warm up")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    keep_freed()
    results = measure(options.turns)
    terminal.out_json(results) if options.json else table(results)


if __name__ == "__main__":
    main()
