"""IB-GAN on dSprites a second time, by someone who had the paper's facts and had not seen this project's code.

It shares nothing with `ibgan_plugin` or `evaluation`: the networks of Table 4, Eq. 11, Algorithm 1, Table 7's settings
and the FactorVAE score, each as its author read it. `test_second_ibgan.py` holds one step of it against the plugin's.
As a program it trains, and prints lines of JSON: what it scores tells whether a low score is a mistake of the plugin's
(docs/results.md).

    python -m tests.ibgan_plugin.second_ibgan --seed 0 --steps 5000 > second.jsonl

Where the facts leave a choice: the instance noise is drawn once for an image, so Q sees noisy fakes; BatchNorm is
one-dimensional after linear layers, so over 4,096 features before G's maps; reals and fakes pass D in batches of their
own; running averages are those of training, and Q's head averages fakes alone; linear layers keep their bias before
BatchNorm, convolutions do not; real images come from a shuffled epoch.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

D_Z, D_R, NGF, NDF, BATCH = 16, 10, 16, 16, 64
GAMMA, BETA, LR_G, LR_D, NOISE_STEPS = 1.0, 0.141, 5e-5, 1e-6, 100_000
THRESHOLD, VOTES, IMAGES_A_VOTE, VARIANCE_IMAGES = 0.05, 800, 100, 10_000


def linear(width_in: int, width_out: int) -> list[nn.Module]:
    return [nn.Linear(width_in, width_out), nn.BatchNorm1d(width_out), nn.ReLU()]


def up(channels_in: int, channels_out: int, kernel: int, stride: int) -> list[nn.Module]:
    conv = nn.ConvTranspose2d(channels_in, channels_out, kernel, stride, padding=1, bias=False)
    return [conv, nn.BatchNorm2d(channels_out), nn.ReLU()]


def down(channels_in: int, channels_out: int, kernel: int, stride: int, padding: int) -> list[nn.Module]:
    conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding, bias=False)
    return [conv, nn.BatchNorm2d(channels_out), nn.LeakyReLU(0.2)]


def head(width_out: int) -> nn.Sequential:
    return nn.Sequential(
        *down(NDF * 4, NDF * 4, 3, 1, 1),
        *down(NDF * 4, NDF * 4, 3, 1, 1),
        *down(NDF * 4, NDF * 16, 8, 1, 0),
        nn.Flatten(),
        nn.Linear(NDF * 16, width_out),
    )


class Networks(nn.Module):
    """Table 4 with one channel."""

    def __init__(self) -> None:
        super().__init__()
        self.e = nn.Sequential(*linear(D_Z, 64), *linear(64, 64), *linear(64, 32), nn.Linear(32, 2 * D_R))
        self.g = nn.Sequential(
            *linear(D_R, NGF * 16),
            *linear(NGF * 16, 8 * 8 * NGF * 4),
            nn.Unflatten(1, (NGF * 4, 8, 8)),
            *up(NGF * 4, NGF * 4, 3, 1),
            *up(NGF * 4, NGF * 4, 3, 1),
            *up(NGF * 4, NGF * 2, 4, 2),
            *up(NGF * 2, NGF, 4, 2),
            nn.ConvTranspose2d(NGF, 1, 4, 2, 1),
            nn.Tanh(),
        )
        self.front = nn.Sequential(
            nn.Conv2d(1, NDF, 4, 2, 1),
            nn.LeakyReLU(0.2),
            *down(NDF, NDF * 2, 4, 2, 1),
            *down(NDF * 2, NDF * 4, 4, 2, 1),
        )
        self.d, self.q = head(1), head(D_Z)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                nn.init.normal_(module.weight, 0, 0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def of_discriminator(self) -> list[nn.Parameter]:
        return [*self.front.parameters(), *self.d.parameters()]

    def of_generator(self) -> list[nn.Parameter]:
        return [*self.g.parameters(), *self.e.parameters(), *self.q.parameters()]


@dataclass
class Losses:
    discriminator: Tensor
    generator: Tensor
    adversarial: Tensor
    lower: Tensor  # I^L
    kl: Tensor  # (D_r,), whose sum is I^U


def losses(networks: Networks, images: Tensor, z: Tensor, sigma: float, normal: Callable[[Tensor], Tensor]) -> Losses:
    """Eq. 11 on images (n, 1, 64, 64) in [-1, 1]; `normal` draws eps of r, the fakes' noise, the reals' noise."""

    def noisy(clean: Tensor) -> Tensor:
        return (clean + sigma * normal(clean)).clamp(-1, 1)

    mu, logvar = networks.e(z).float().chunk(2, 1)
    r = mu + torch.exp(0.5 * logvar) * normal(mu)
    features = networks.front(noisy(networks.g(r).float()))
    fake, z_hat = networks.d(features).float(), networks.q(features).float()
    real = networks.d(networks.front(noisy(images))).float()

    def bce(logits: Tensor, label: float) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))

    kl = 0.5 * (mu**2 + logvar.exp() - logvar - 1).mean(0)
    lower = 0.5 * (z**2 - (z - z_hat) ** 2).sum(1).mean()
    adversarial = bce(fake, 1.0)
    generator = GAMMA * adversarial - lower + BETA * kl.sum()
    return Losses(bce(real, 1.0) + bce(fake, 0.0), generator, adversarial, lower, kl)


class Training:
    """Algorithm 1: both gradients of one forward pass, then both steps of RMSProp (Table 7)."""

    def __init__(self, networks: Networks) -> None:
        self.networks = networks.train()
        self.sides = [
            (parameters, torch.optim.RMSprop(parameters, lr=lr, alpha=0.99, eps=1e-8, momentum=0.9))
            for parameters, lr in ((networks.of_discriminator(), LR_D), (networks.of_generator(), LR_G))
        ]

    def update(self, found: Losses) -> None:
        (of_d, _), (of_g, _) = self.sides
        gradients = [
            torch.autograd.grad(found.discriminator, of_d, retain_graph=True),
            torch.autograd.grad(found.generator, of_g),
        ]
        for (parameters, optimiser), side in zip(self.sides, gradients, strict=True):
            for parameter, gradient in zip(parameters, side, strict=True):
                parameter.grad = gradient
            optimiser.step()


def factorvae_score(networks: Networks, images: Callable[..., Tensor], sizes: list[int]) -> dict[str, Any]:
    """The FactorVAE score (Kim and Mnih, 2018) of r = mu_e(Q(x)); `images` gives those of some indices in [-1, 1]."""
    draws, bases = np.random.RandomState(0), np.append(np.cumprod(sizes[::-1])[-2::-1], 1)

    def factors(n: int) -> np.ndarray:
        return np.stack([draws.randint(size, size=n) for size in sizes], 1)

    @torch.no_grad()
    def represented(rows: np.ndarray) -> np.ndarray:
        networks.eval()
        parts = np.array_split(rows @ bases, max(1, len(rows) // 500))
        means = [networks.e(networks.q(networks.front(images(part))))[:, :D_R].numpy() for part in parts]
        networks.train()
        return np.concatenate(means)

    variances = represented(factors(VARIANCE_IMAGES)).var(0, ddof=1)
    active = np.flatnonzero(variances >= THRESHOLD)
    result: dict[str, Any] = {"active": {int(i): round(float(variances[i]), 4) for i in active}}
    if not len(active):
        return result | {"score": 0.0, "on_fresh_votes": 0.0}

    def votes() -> np.ndarray:
        table = np.zeros((D_R, len(sizes)), int)
        for _ in range(VOTES // 10):
            fixed, rows = [], []
            for _ in range(10):
                factor, drawn = draws.randint(len(sizes)), factors(IMAGES_A_VOTE)
                drawn[:, factor] = drawn[0, factor]
                fixed.append(factor)
                rows.append(drawn)
            codes = represented(np.concatenate(rows)).reshape(10, IMAGES_A_VOTE, D_R)
            for factor, code in zip(fixed, codes, strict=True):
                table[active[np.argmin(code.var(0, ddof=1)[active] / variances[active])], factor] += 1
        return table

    table, fresh = votes(), votes()
    right = fresh[np.arange(D_R), table.argmax(1)].sum()
    return result | {
        "score": table.max(1).sum() / VOTES,
        "on_fresh_votes": right / VOTES,
        "vote_table": table[active].tolist(),
    }


def reader(data: Any) -> Callable[[np.ndarray], Tensor]:
    """What gives images of a dataset of the zoo in [-1, 1]."""
    return lambda indices: torch.from_numpy(data.images(indices)).movedim(3, 1).float().div_(255).mul_(2).sub_(1)


def main() -> None:
    """Train on dSprites in bfloat16 and score on the way."""
    import zoo
    from zoo import terminal

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--score-every", type=int, default=2500)
    given = parser.parse_args()

    data: Any = zoo.load_dataset("dsprites")
    images = reader(data)

    def told(record: dict[str, Any]) -> None:
        terminal.out(json.dumps({"seed": given.seed} | record))

    torch.manual_seed(given.seed)
    order, epoch = np.random.RandomState(given.seed), np.arange(0)
    networks = Networks().to(memory_format=torch.channels_last)
    training = Training(networks)
    window, began = [], time.monotonic()
    for step in range(1, given.steps + 1):
        if len(epoch) < BATCH:
            epoch = order.permutation(len(data))
        reals, epoch = images(epoch[:BATCH]), epoch[BATCH:]
        sigma = max(0.0, 1 - (step - 1) / NOISE_STEPS)
        z = torch.randn(BATCH, D_Z)
        with torch.autocast("cpu", torch.bfloat16):
            found = losses(networks, reals, z, sigma, torch.randn_like)
        training.update(found)
        logged = [found.discriminator, found.adversarial, found.lower, found.kl.sum()]
        window.append(torch.cat([torch.stack(logged), found.kl]).detach())
        if step % 500 == 0 or step == given.steps:
            d, adversarial, lower, upper, *kl = torch.stack(window).mean(0).tolist()
            terms = {"discriminator": d, "adversarial": adversarial, "mi_lower": lower, "mi_upper": upper, "kl": kl}
            told({"step": step} | terms | {"steps_per_second": len(window) / (time.monotonic() - began)})
            window, began = [], time.monotonic()
        if step % given.score_every == 0:
            told({"step": step} | factorvae_score(networks, images, list(data.factor_sizes)))
            began = time.monotonic()


if __name__ == "__main__":
    main()
