"""The Fréchet Inception Distance between a model's images and a dataset's, streamed: no image touches the disk.

Heusel et al., "GANs trained by a two time-scale update rule", 2017; in the IB-GAN paper Appendix C.2 and Table 2.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt

from ibgan_plugin.evaluation.fid_statistics import About, read_statistics, write_statistics
from ibgan_plugin.evaluation.frechet import Gaussian, RunningGaussian, frechet_distance
from ibgan_plugin.evaluation.images import Images, as_array, as_pixels, dataset_name, kind
from ibgan_plugin.evaluation.inception import RESIZE, InceptionFeatures, Precision, find_weights, read_weights
from ibgan_plugin.evaluation.results import metric_result
from ibgan_plugin.evaluation.sampling import dataset_size
from zoo import terminal
from zoo.data_root import data_root as resolved
from zoo.device import device_of, evaluation_mode
from zoo.errors import DataError, MetricError, ZooError, shown
from zoo.interfaces import Dataset, Generator
from zoo.randomness import derived_seed, numpy_stream
from zoo.untrusted import user_path

# Images that are generated, or read, at a time. Part of the protocol: a chunk's seed comes from its number, so that
# `batch_size`, which is about speed, changes no image.
CHUNK = 256

PUBLISHED_IMAGES = 50_000
FEWEST_FOR_FULL_RANK = 2048


class Features(Protocol):
    """What turns images into vectors: uint8 (n, H, W, C) -> float (n, dims)."""

    dims: int

    def __call__(self, images: Images) -> NDArray[Any]: ...


def fid(
    model: Generator,
    data: Dataset,
    seed: int = 0,
    *,
    num_images: Annotated[int, Field(ge=2)] = PUBLISHED_IMAGES,
    inception_weights: Path | None = None,
    allow_unverified_weights: bool = False,
    batch_size: PositiveInt | None = None,
    precision: Precision = "fp32",
    real_statistics: Path | None = None,
    real_seed: NonNegativeInt = 0,
    cache: bool = True,
    data_root: Path | None = None,
) -> dict[str, Any]:
    """Fréchet distance between the Inception features of generated and of real images; lower is better.

    The network, its weights and the resize are pytorch-fid's. Generated images are rounded to uint8 first, as saving
    them would; gray images are repeated to three channels. The network runs on the model's device.

    Args:
        model: anything with `generate(n, seed)` -> float32 (n, C, H, W) in [0, 1], C 1 or 3. A torch module does so in
            evaluation mode, and has its own mode back afterwards.
        data: the real images, of the generated ones' H, W and C: anything with `images(indices)` -> uint8
            (n, H, W, C), and a length or factors. A `caveat`, where there is one, is among those of the result.
        seed: of the generated images.
        num_images: how many images are generated, and how many real ones are drawn (all, where there are fewer).
        inception_weights: the weights file; None looks in the data root, then where torch.hub keeps its downloads.
        allow_unverified_weights: take a weights file whose SHA-256 is not the published one; the result says so.
        batch_size: images per pass of the network, for speed only; None is 16 on the CPU, 128 elsewhere.
        precision: "fp32", or "bf16", which is faster on some hardware and compares with no published score.
        real_statistics: an .npz file with `mu` and `sigma` (pytorch-fid's, or from our cache) in place of `data`.
        real_seed: of the draw of real images, without replacement. Apart from `seed`, so that all models and seeds are
            measured against the same real images.
        cache: keep the real side's statistics in the data root and use them the next time.
        data_root: where the weights and the cache are; None is `$ZOO_DATA`, else the user's cache folder.

    Returns:
        `score`; `num_images` and `num_real_images` (None: a file that does not say); `weights` (`sha256`, `verified`);
        `precision`; `real_side` ("computed", "cached", or the given file); `comparable_with_published`, and `caveats`,
        all that speaks against it; `protocol`.

    Raises:
        ZooError: no weights file, or a wrong one.
        DataError: `real_statistics` that are damaged or of another network.
        MetricError: images that are not finite, not in [0, 1] or of another shape than the dataset's, features that are
            not finite, or a dataset with neither a length nor factors.
    """
    root = resolved(data_root)
    weights = read_weights(find_weights(inception_weights, root), allow_unverified=allow_unverified_weights, root=root)
    features = InceptionFeatures(weights, device_of(model), precision, batch_size)
    network = {"resize": RESIZE, "weights_sha256": weights.sha256, "precision": precision}

    made = generated_images(model, num_images, seed)
    caveats: list[str] = []
    real: Gaussian | None
    if real_statistics is not None:  # the dataset is asked for nothing then: it need not be there
        real, real_side = _from_file(user_path(real_statistics), features.dims, network)
        draw, shown_real = "as in the given file", {}
    else:
        indices, draw = real_draw(dataset_size(data, "fid"), num_images, real_seed)
        about = describe_real(data, indices, draw) | network
        shown_real = {key: about[key] for key in ("dataset", "preparation")}
        store = _cache_file(root, about)
        real, real_side = (cached(store, features.dims, about) if cache else None), "cached"
        made = in_shape_of(data, indices, made, type(model).__name__)
        if caveat := getattr(data, "caveat", None):
            caveats = [f"dataset {dataset_name(data)!r} is not the published one: {caveat}"]

    # The model goes first: if its images are broken, that is known before the long way through the real ones.
    generated = gaussian_of(features, made, num_images, "generated images")
    if real is None:
        real, real_side = gaussian_of(features, real_images(data, indices), len(indices), "real images"), "computed"
        if cache:
            _keep(store, real, about)

    caveats += _caveats(num_images, real.count, weights.verified, precision)
    for caveat in caveats:
        terminal.warn(f"fid: {caveat}")
    return metric_result(
        frechet_distance(generated, real),
        {
            "source": "IB-GAN paper, Appendix C.2; the network and resize of pytorch-fid, features pool3",
            "num_images": num_images,
            "num_real_images": real.count,
            "real_images": draw,
            **shown_real,
            **network,
            "rounding": "generated images to uint8",
            "chunk": CHUNK,
            "seed": seed,
            "real_seed": real_seed,
        },
        num_images=num_images,
        num_real_images=real.count,
        weights={"sha256": weights.sha256, "verified": weights.verified},
        precision=precision,
        batch_size=features.batch_size,
        real_side=real_side,
        comparable_with_published=not caveats,
        caveats=caveats,
    )


def gaussian_of(features: Features, chunks: Iterable[Images], total: int, what: str) -> Gaussian:
    """Return the Gaussian of the features of all images in `chunks`; only one chunk is held at a time.

    Raises MetricError where features are not finite.
    """
    running = RunningGaussian(features.dims)
    with terminal.progress(f"fid: {what}", total) as bar:
        for images in chunks:
            found = features(images)
            finite = np.isfinite(found).all(axis=1)
            if not finite.all():
                raise MetricError(
                    f"the Inception features of {np.count_nonzero(~finite)} of {len(images)} {what} are NaN or "
                    "infinite, so there is no FID; check the weights file"
                )
            running.add(found)
            bar.advance(len(images))
    return running.gaussian()


def generated_images(model: Generator, num: int, seed: int) -> Iterator[Images]:
    """Yield `num` of the model's images as uint8 (n, H, W, C), chunk by chunk, each with a seed of its own.

    Raises MetricError where the model cannot generate, or what it generates is no images in [0, 1].
    """
    name = type(model).__name__
    if not callable(getattr(model, "generate", None)):
        raise MetricError(f"{name} has no generate method, so it has no images to measure")
    for number, start in enumerate(range(0, num, CHUNK)):
        n = min(CHUNK, num - start)
        try:
            with torch.no_grad(), evaluation_mode(model):
                images = model.generate(n, derived_seed(seed, "fid: generated images", number))
        except Exception as error:  # whatever foreign code raises becomes one line
            first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise MetricError(f"{name}.generate failed on {n} images: {first_line}") from error
        yield as_pixels(images, f"{name}.generate returned", n)


def real_draw(size: int, num: int, seed: int) -> tuple[NDArray[np.int64], str]:
    """Return the sorted indices of the real images, and in words how they were drawn.

    All `size` images where `num` is no fewer, else `num` of them, without replacement. Raises MetricError for a dataset
    of fewer than two.
    """
    if size < 2:
        raise MetricError(f"fid needs two real images at least, and the dataset has {size}; choose a larger one")
    if num >= size:
        return np.arange(size, dtype=np.int64), f"all {size} images"
    stream = numpy_stream(seed, "fid: real images")
    drawn = np.sort(stream.choice(size, num, replace=False, shuffle=False))
    return drawn.astype(np.int64), f"{num} of {size} images, at random without replacement, real_seed {seed}"


def real_images(data: Dataset, indices: NDArray[np.int64]) -> Iterator[Images]:
    """Yield the images at `indices` as uint8 (n, H, W, C), chunk by chunk. Raises MetricError for another kind."""
    for start in range(0, len(indices), CHUNK):
        chunk = indices[start : start + CHUNK]
        images = as_array(data.images(chunk))
        if (
            not isinstance(images, np.ndarray)
            or images.dtype != np.uint8
            or images.ndim != 4
            or len(images) != len(chunk)
            or images.shape[3] not in (1, 3)
        ):
            raise MetricError(
                f"images() of dataset {dataset_name(data)!r} returned {kind(images)} for {len(chunk)} images; "
                f"fid needs uint8 ({len(chunk)}, H, W, 1 or 3)"
            )
        yield images


def in_shape_of(data: Dataset, indices: NDArray[np.int64], made: Iterable[Images], name: str) -> Iterator[Images]:
    """Yield the generated images. Raises MetricError, naming the model, where the dataset's are of another shape."""
    real = next(real_images(data, indices[:1])).shape[1:]
    for images in made:
        if images.shape[1:] != real:
            here, there = ("x".join(map(str, shape)) for shape in (images.shape[1:], real))
            raise MetricError(
                f"{name}.generate returned images of {here}, and those of dataset {dataset_name(data)!r} are {there}; "
                "fid needs both of one shape, as those of the dataset that the model was trained on are"
            )
        yield images


def describe_real(data: Dataset, indices: NDArray[np.int64], draw: str) -> dict[str, str | int]:
    """Return what the real side's statistics depend on, the network apart.

    A hash over up to 256 of the drawn images, spread over the draw, tells apart datasets of one name that come from
    other files or were prepared in another way, whether or not they say so in `preparation` and `source`.
    """
    spread = indices[np.unique(np.linspace(0, len(indices) - 1, CHUNK).astype(np.int64))]
    digest = hashlib.sha256()
    for images in real_images(data, spread):
        digest.update(f"{images.shape[1:]}".encode() + np.ascontiguousarray(images).tobytes())
    return {
        "dataset": dataset_name(data),
        "dataset_size": dataset_size(data, "fid"),
        "preparation": str(getattr(data, "preparation", "")),
        "draw": draw,
        "pixels_sha256": digest.hexdigest(),
    }


def cached(path: Path, dims: int, about: About) -> Gaussian | None:
    """Return the statistics kept in `path` where they are whole and about exactly this, else None."""
    if not path.exists():
        return None
    try:
        gaussian, found = read_statistics(path, dims)
    except DataError as error:
        terminal.note(f"fid: computing the real side anew: {error}")
        return None
    return gaussian if found == dict(about) and gaussian.count is not None else None


def _from_file(path: Path, dims: int, network: About) -> tuple[Gaussian, str]:
    """Read given statistics. Raises DataError where they say that they come from another network."""
    gaussian, about = read_statistics(path, dims)
    for key, expected in network.items():
        if about.get(key, expected) != expected:
            raise DataError(
                f"{path} was computed with {key} {shown(about[key])}, and this run uses {expected}; use the same"
            )
    return gaussian, str(path)


def _cache_file(root: Path, about: About) -> Path:
    digest = hashlib.sha256(repr(sorted(about.items())).encode()).hexdigest()
    name = re.sub(r"[^\w-]", "_", str(about["dataset"]))  # a plugin's dataset may be called anything
    return root / "fid" / f"{name}-{digest[:16]}.npz"


def _keep(path: Path, gaussian: Gaussian, about: About) -> None:
    """Write the cache; a folder that cannot be written costs the next run time, and not this one its score."""
    try:
        write_statistics(path, gaussian, about)
    except ZooError as error:
        terminal.warn(f"fid: the real side's statistics are not kept: {error}")


def _caveats(num_images: int, num_real: int | None, verified: bool, precision: str) -> list[str]:
    """Say all that keeps the score from being compared with published ones."""
    fewest = min(num_images, num_real or num_images)
    caveats = []
    if fewest < FEWEST_FOR_FULL_RANK:
        caveats.append(
            f"{fewest} images are fewer than the {FEWEST_FOR_FULL_RANK} features, so the score is strongly biased "
            "upwards; compare it only with scores of as many images"
        )
    elif fewest < PUBLISHED_IMAGES:
        caveats.append(f"{fewest} images, where published scores use {PUBLISHED_IMAGES}; the score is biased upwards")
    most = max(num_images, num_real or 0)
    if most > PUBLISHED_IMAGES:
        caveats.append(f"{most} images, where published scores use {PUBLISHED_IMAGES}; the score is biased less")
    if not verified:
        caveats.append("the Inception weights are not the published ones")
    if precision != "fp32":
        caveats.append(f"features in {precision} differ from those in fp32, the precision of published scores")
    return caveats
