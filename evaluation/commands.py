"""`zoo sample`, `zoo traverse` and `zoo plot`. Heavy imports stand inside the commands, so that help stays fast."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo import terminal
from zoo.cli.options import checkpoint_argument, data_root_option, device_option, model_argument, seed_option
from zoo.errors import UsageError
from zoo.registry import default_registry

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.config import RunConfig

_PICTURES = (".png", ".jpg", ".jpeg", ".webp")


@click.command("sample")
@model_argument
@checkpoint_argument
@click.option("--num", type=click.IntRange(1, 1_000_000), default=64, show_default=True, help="How many images.")
@seed_option
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A picture (a grid), or a folder of PNGs.")
@device_option
def sample(model: str, checkpoint: str, num: int, seed: int, out: Path, device: str) -> None:
    """Generate images: a grid in one picture, or a folder of PNG files."""
    from PIL import Image

    from ibgan_plugin.evaluation.figures import image_grid, save_picture, to_pixels
    from zoo.loading import load_checkpoint

    loaded = load_checkpoint(default_registry(), model, checkpoint, device=device)
    pixels = to_pixels(loaded.model.generate(num, seed=seed))
    if out.suffix.lower() in _PICTURES:
        save_picture(image_grid(pixels), out)
    elif out.suffix:
        raise UsageError(
            f"{out} has an ending that is no picture's; use {', '.join(_PICTURES)}, or a folder without one"
        )
    else:
        with terminal.progress("writing images", num) as progress:
            for index, image in enumerate(pixels):
                save_picture(Image.fromarray(image), out / f"{index:06d}.png")
                progress.advance()
    terminal.out(str(out))


@click.command("traverse")
@model_argument
@checkpoint_argument
@click.option("--out", required=True, type=click.Path(path_type=Path), help="A .png, or a .gif that moves.")
@click.option("--bases", type=click.IntRange(1, 16), default=1, show_default=True, help="How many base codes.")
@click.option("--images", metavar="I,J,..", help="Take the base codes from these images of the run's dataset instead.")
@click.option("--span", type=float, default=3.0, show_default=True, help="Move each r_i from -SPAN to SPAN.")
@click.option("--steps", type=click.IntRange(2, 100), default=11, show_default=True, help="In how many values.")
@seed_option
@device_option
@data_root_option
def traverse(
    model: str,
    checkpoint: str,
    out: Path,
    bases: int,
    images: str | None,
    span: float,
    steps: int,
    seed: int,
    device: str,
    data_root: Path | None,
) -> None:
    """Draw a latent traversal: a row per r_i, ordered by its KL, each moved over its range."""
    from ibgan_plugin.evaluation import figures
    from zoo.loading import load_checkpoint

    ending = out.suffix.lower()
    if ending not in (".gif", *_PICTURES):
        raise UsageError(f"{out}: a traversal is written as .gif, or as {', '.join(_PICTURES)}")
    loaded = load_checkpoint(default_registry(), model, checkpoint, device=device)
    if images is None:
        codes = figures.base_codes(loaded.model, bases, seed)
    else:
        codes = loaded.model.encode(_images_of(loaded.config, images, data_root))
    traversal = figures.traverse(
        loaded.model, codes, span=span, steps=steps, kl=figures.kl_of_each_code(loaded.model, seed)
    )
    if ending == ".gif":
        figures.animate_traversal(traversal, out)
    else:
        figures.save_picture(figures.draw_traversal(traversal), out)
    terminal.out(str(out))


@click.command("plot")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The folder to write to.  [default: the run's figures/]")
def plot(run: Path, out: Path | None) -> None:
    """Plot a RUN's MI bounds, the KL of each r_i and the scores over the steps, as PNG and PDF."""
    from ibgan_plugin.evaluation.curves import plot_run
    from zoo.files import writing
    from zoo.run import RunDirectory

    figure = plot_run(run)
    folder = out or RunDirectory(run).figures_path
    for ending in ("png", "pdf"):
        path = folder / f"curves.{ending}"
        with writing(path) as temporary:
            figure.savefig(temporary, format=ending, dpi=150)
        terminal.out(str(path))


def _images_of(config: RunConfig, words: str, data_root: Path | None) -> Tensor:
    import numpy as np
    import torch

    from zoo.building import build_dataset

    dataset = build_dataset(
        default_registry(), config.dataset, data_root, config.settings.get("dataset", {}), typed=False
    )
    try:
        indices = np.array([int(word) for word in words.split(",")], dtype=np.int64)
    except ValueError:
        raise UsageError(f"--images {words!r}: expected image numbers separated by commas") from None
    if ((indices < 0) | (indices >= len(dataset))).any():
        raise UsageError(f"--images {words!r}: {config.dataset} has images 0 to {len(dataset) - 1:,}")
    return torch.from_numpy(dataset.images(indices)).permute(0, 3, 1, 2).float().div(255)
