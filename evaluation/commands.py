"""`zoo sample`, `zoo traverse`, `zoo plot` and `zoo report`. Heavy imports stand inside, so that help stays fast."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo import terminal
from zoo.cli.argument_types import UserPath
from zoo.cli.options import (
    checkpoint_argument,
    data_root_option,
    dataset_places,
    device_option,
    model_argument,
    run_dataset_option,
    seed_option,
    set_option,
)
from zoo.errors import UsageError
from zoo.registry import default_registry
from zoo.untrusted import exists

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

    from ibgan_plugin.evaluation.images import ImageShape
    from zoo.interfaces import Dataset
    from zoo.loading import Loaded

_PICTURES = (".png", ".jpg", ".jpeg", ".webp")
_DOCUMENTS = (".pdf", ".svg")
_CHUNK = 256  # images generated at a time


@click.command("sample", short_help="Generate images, as one grid or as PNG files.")
@model_argument
@checkpoint_argument
@click.option("--num", type=click.IntRange(1, 1_000_000), default=64, show_default=True, help="How many images.")
@seed_option
@click.option("--out", required=True, type=UserPath(), help="A picture, .pdf or .svg (a grid), or a folder of PNGs.")
@device_option
def sample(model: str, checkpoint: str, num: int, seed: int, out: Path, device: str) -> None:
    """Generate images: a grid in one picture, or a folder of PNG files.

    More than 256 images for a folder are generated 256 at a time, each time from a seed that follows from SEED.
    """
    from ibgan_plugin.evaluation import figures
    from zoo.loading import load_checkpoint

    ending = out.suffix.lower()
    if exists(out) and out.is_dir():
        ending = ""
    if ending not in ("", *_PICTURES, *_DOCUMENTS):
        endings = ", ".join((*_PICTURES, *_DOCUMENTS))
        raise UsageError(f"{out} has an ending that is no picture's; use {endings}, or a folder without one")
    if not ending and out.exists() and not (out.is_dir() and next(out.iterdir(), None) is None):
        raise UsageError(f"{out} is there already, and is no empty folder; choose another --out")
    loaded = load_checkpoint(default_registry(), model, checkpoint, device=device)
    image_shape = loaded.config.image_shape
    if ending in _DOCUMENTS:
        _save_figure(figures.plot_samples(loaded.model, num, seed, image_shape=image_shape), out)
    elif ending:
        figures.save_picture(figures.image_grid(figures.generated(loaded.model, num, seed, image_shape)), out)
    else:
        _write_images(loaded.model, num, seed, image_shape, out)
    terminal.out(str(out))


def _write_images(model: Any, num: int, seed: int, image_shape: ImageShape | None, out: Path) -> None:
    """Write PNG files, all of them or none, holding one chunk in memory."""
    from PIL import Image

    from ibgan_plugin.evaluation.figures import generated
    from zoo.files import writing_folder
    from zoo.randomness import derived_seed

    with writing_folder(out) as folder, terminal.progress("generating images", num) as progress:
        for start in range(0, num, _CHUNK):
            chunk_seed = derived_seed(seed, "sample", start) if start else seed
            images = generated(model, min(_CHUNK, num - start), chunk_seed, image_shape)
            for index, image in enumerate(images, start):
                Image.fromarray(image).save(folder / f"{index:06d}.png")
            progress.advance(len(images))


@click.command("traverse", short_help="Draw a latent traversal, a row per r_i.")
@model_argument
@checkpoint_argument
@click.option("--out", required=True, type=UserPath(), help="A picture, .pdf or .svg, or a .gif that moves.")
@click.option("--bases", type=click.IntRange(1, 16), help="How many base codes, of generated images.  [default: 1]")
@click.option("--images", metavar="I,J,..", help="Take the base codes from these images of the run's dataset instead.")
@click.option(
    "--per-factor", metavar="FACTOR", help="One image per value of this factor (shape), the others at their middle."
)
@click.option("--span", type=float, default=3.0, show_default=True, help="Move each r_i from -SPAN to SPAN.")
@click.option("--steps", type=click.IntRange(2, 100), default=11, show_default=True, help="In how many values.")
@set_option("dataset.source=PATH: where the images of --images are now.")
@seed_option
@device_option
@run_dataset_option
@data_root_option
def traverse(
    model: str,
    checkpoint: str,
    out: Path,
    bases: int | None,
    images: str | None,
    per_factor: str | None,
    span: float,
    steps: int,
    words: tuple[str, ...],
    seed: int,
    device: str,
    dataset: str | None,
    data_root: Path | None,
) -> None:
    """Draw a latent traversal: a row per r_i, ordered by its KL, each moved over its range."""
    from ibgan_plugin.evaluation import figures
    from zoo.loading import load_checkpoint

    ending = out.suffix.lower()
    if ending not in (".gif", *_PICTURES, *_DOCUMENTS):
        raise UsageError(f"{out}: a traversal is written as .gif, or as {', '.join((*_PICTURES, *_DOCUMENTS))}")
    if sum(given is not None for given in (bases, images, per_factor)) > 1:
        raise UsageError("--bases, --images and --per-factor each choose the base codes; give one of them")
    places = dataset_places(words, "a traversal")
    loaded = load_checkpoint(default_registry(), model, checkpoint, device=device)

    def open_dataset() -> Dataset:
        return loaded.open_dataset(default_registry(), data_root, dataset, **places)

    codes, titles = _base_codes(loaded, bases or 1, images, per_factor, seed, open_dataset)
    kl = figures.kl_of_loaded(loaded, codes.shape[1], seed)
    traversal = figures.traverse(
        loaded.model, codes, span=span, steps=steps, kl=kl, image_shape=loaded.config.image_shape
    )
    if ending == ".gif":
        figures.animate_traversal(traversal, out)
    elif ending in _DOCUMENTS:
        _save_figure(figures.plot_traversal(traversal, titles), out)
    else:
        figures.save_picture(figures.draw_traversal(traversal), out)
    terminal.out(str(out))


@click.command("plot", short_help="Plot the bounds, KLs and scores of a run.")
@click.argument("run", type=UserPath())
@click.option("--out", type=UserPath(), help="The folder to write to.  [default: the run's figures/]")
def plot(run: Path, out: Path | None) -> None:
    """Plot a RUN's MI bounds, the KL of each r_i and the scores over the steps, as PNG and PDF."""
    from ibgan_plugin.evaluation.curves import plot_run
    from zoo.run import RunDirectory

    figure = plot_run(run)
    folder = out or RunDirectory(run).figures_path
    for ending in ("png", "pdf"):
        path = folder / f"curves.{ending}"
        _save_figure(figure, path)
        terminal.out(str(path))


@click.command("report", short_help="Make one page of one run or several.")
@click.argument("runs", type=UserPath(), nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--out",
    type=UserPath(),
    help="The page to write.  [default: the run's figures/report.html; of several runs, report.html here]",
)
@click.option("--images", type=click.IntRange(1, 400), default=64, show_default=True, help="Samples and real images.")
@click.option("--steps", type=click.IntRange(2, 61), default=21, show_default=True, help="Positions of each slider.")
@set_option("dataset.source=PATH: where the images of the runs' dataset are now.")
@seed_option
@device_option
@run_dataset_option
@data_root_option
def report(
    runs: tuple[Path, ...],
    out: Path | None,
    images: int,
    steps: int,
    words: tuple[str, ...],
    seed: int,
    device: str,
    dataset: str | None,
    data_root: Path | None,
) -> None:
    """Make one page of a RUN, or of several side by side: scores, traversals with sliders, curves, settings.

    RUN is a run directory, or one checkpoint in it. The page is a single file that needs no network: send it to anyone.
    """
    from ibgan_plugin.evaluation.report import write_report

    path = write_report(
        runs,
        out,
        seed=seed,
        images=images,
        steps=steps,
        device=device,
        dataset=dataset,
        data_root=data_root,
        places=dataset_places(words, "a report"),
    )
    terminal.note(f"{path.stat().st_size / 1e6:.1f} MB; opens in any browser, without a network")
    terminal.out(str(path))


def _base_codes(
    loaded: Loaded,
    bases: int,
    images: str | None,
    per_factor: str | None,
    seed: int,
    open_dataset: Callable[[], Dataset],
) -> tuple[Tensor, list[str]]:
    """The codes that a traversal starts from, and what each is called."""
    from ibgan_plugin.evaluation.bases import encoded, named_images, one_per_value
    from ibgan_plugin.evaluation.figures import base_codes

    if images is None and per_factor is None:
        return base_codes(loaded.model, bases, seed), [f"generated, seed {seed}, {i}" for i in range(bases)]
    dataset = open_dataset()
    if per_factor is not None:
        indices = one_per_value(dataset, per_factor)
        return encoded(loaded.model, dataset, indices), [f"{per_factor} {value}" for value in range(len(indices))]
    indices = named_images(dataset, images or "")
    return encoded(loaded.model, dataset, indices), [f"image {index:,}" for index in indices]


def _save_figure(figure: Figure, path: Path) -> None:
    from zoo.files import writing

    with writing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # a name that the font cannot draw
        figure.savefig(temporary, format=path.suffix.removeprefix("."), dpi=150)
