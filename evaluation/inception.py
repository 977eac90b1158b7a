"""pytorch-fid's Inception network with weights from this machine: found, checked against their hash, never fetched.

The network is the one of the FID's authors, ported by https://github.com/mseitzer/pytorch-fid; its architecture and its
resize to 299x299 are used as that package has them. BatchNorm is folded into the convolutions and the memory layout is
channels_last: the same function, faster.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from zoo.device import Backend
from zoo.errors import ZooError
from zoo.untrusted import read_bytes, user_path
from zoo.untrusted_tensors import load_tensors

FILE_NAME = "pt_inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
SOURCE = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{FILE_NAME}"

LARGEST_FILE = 256 * 2**20  # bytes; the published file has 95.6 MB

DIMS = 2048  # the features of the last average pool, "pool3"
SIDE = 299
RESIZE = "bilinear to 299x299, align_corners=False, no antialias (pytorch-fid's)"

# Images per second hardly change from 4 to 32 images a batch on two cores, and fall above.
CPU_BATCH, GPU_BATCH = 16, 128
# Batches that are worked on side by side on a CPU, each with its share of torch's threads and 100 MB or so.
MOST_WORKERS = 8

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Weights:
    """A state dict, the SHA-256 of the file it came from, and that file."""

    state: Mapping[str, Tensor]
    sha256: str
    path: Path

    @property
    def verified(self) -> bool:
        """Whether these are the weights that published FIDs are computed with."""
        return self.sha256 == SHA256


def find_weights(explicit: Path | None, root: Path) -> Path:
    """Return where the weights file is: `explicit`, else in the data root, else where torch.hub keeps its downloads.

    Raises ZooError that says what to fetch, its hash, and where to put it.
    """
    if explicit is not None:
        path = user_path(explicit)
        if not path.is_file():
            raise ZooError(f"there is no Inception weights file {path}; {_what_to_do(root)}")
        return path
    for path in (root / FILE_NAME, Path(torch.hub.get_dir()) / "checkpoints" / FILE_NAME):
        if path.is_file():
            return path
    raise ZooError(f"the Inception weights are not on this machine; {_what_to_do(root)}")


def read_weights(path: Path, *, allow_unverified: bool = False, root: Path) -> Weights:
    """Read a weights file; the bytes that are hashed are the bytes that are loaded, as tensors only.

    Raises ZooError for a file with another hash, unless `allow_unverified`, and for one that holds no state dict.
    """
    content = read_bytes(path, LARGEST_FILE, ZooError)
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != SHA256 and not allow_unverified:
        raise ZooError(
            f"{path} is not the FID's Inception network: its SHA-256 is {sha256}; {_what_to_do(root)}; "
            "allow_unverified_weights=true takes this file all the same, for scores that compare with no published one"
        )
    state = load_tensors(path, io.BytesIO(content), ZooError)
    if not isinstance(state, Mapping) or not all(map(_is_weight, state.keys(), state.values())):
        raise ZooError(f"{path} holds {type(state).__name__}, not a state dict of tensors; {_what_to_do(root)}")
    return Weights(state, sha256, path)


def _is_weight(name: Any, value: Any) -> bool:
    """Whether this is a plain tensor of a kind that networks have, under a name."""
    plain = isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"
    return isinstance(name, str) and plain and value.dtype in (torch.float32, torch.int64)


def inception(weights: Weights) -> Any:
    """Return pytorch-fid's `InceptionV3` (an untyped `nn.Module`) up to pool3, in evaluation mode, with these weights.

    Raises ZooError where they are not of that architecture. Torch's random state is left as it was.
    """
    from pytorch_fid.inception import InceptionV3

    with torch.random.fork_rng(devices=[]), _handing_over(weights.state):
        try:
            network = InceptionV3([InceptionV3.BLOCK_INDEX_BY_DIM[DIMS]])
        except RuntimeError as error:  # load_state_dict's list of all that does not fit
            misfit = str(error).splitlines()[-1].strip()
            raise ZooError(f"{weights.path} does not fit pytorch-fid's Inception network: {misfit[:160]}") from error
    return network.eval()


class InceptionFeatures:
    """The pool3 features of images, in batches, on a device.

    `precision` "bf16" is several times faster where the hardware multiplies bfloat16, and gives other features: scores
    of it compare only with each other.
    """

    dims = DIMS

    def __init__(
        self,
        weights: Weights,
        device: torch.device | str = "cpu",
        precision: Precision = "fp32",
        batch_size: int | None = None,
    ) -> None:
        self.device = torch.device(device)
        self._backend = Backend(self.device, precision)
        self.batch_size = batch_size or (CPU_BATCH if self.device.type == "cpu" else GPU_BATCH)
        self._dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        network = inception(weights)
        network.resize_input = network.normalize_input = False  # done here, always in float32
        _fold_batch_norm(network)
        self._network = network.to(device=self.device, dtype=self._dtype, memory_format=torch.channels_last)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return float32 (n, 2048) for uint8 (n, H, W, C) images; gray ones (C = 1) are repeated to three channels."""
        threads = torch.get_num_threads()
        workers = min(threads, MOST_WORKERS) if self.device.type == "cpu" else 1
        size = min(self.batch_size, -(-len(images) // workers))
        batches = [images[start : start + size] for start in range(0, len(images), size)]
        if workers == 1:
            return np.concatenate([self._of_batch(batch) for batch in batches])
        # Each worker takes a batch of its own: threads that share a batch wait for each other in every layer, and on a
        # busy machine they wait long.
        try:
            with ThreadPoolExecutor(workers, "fid", torch.set_num_threads, (threads // workers,)) as pool:
                return np.concatenate(list(pool.map(self._of_batch, batches)))
        finally:
            torch.set_num_threads(threads)  # the workers' number is also that of threads that start later

    @torch.inference_mode()
    def _of_batch(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (n, H, W, C) -> float32 (n, 2048)."""
        with self._backend.exact():
            found: Tensor = self._network(self._prepared(torch.from_numpy(np.ascontiguousarray(batch))))[0]
        return found.flatten(1).float().cpu().numpy()

    def _prepared(self, batch: Tensor) -> Tensor:
        """uint8 (n, H, W, C) -> (n, 3, 299, 299) in [-1, 1]."""
        pixels = batch.to(self.device).permute(0, 3, 1, 2).float().div_(255).contiguous()
        resized = F.interpolate(pixels, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        colour = (2 * resized - 1).expand(-1, 3, -1, -1)
        return colour.to(dtype=self._dtype, memory_format=torch.channels_last)


def _fold_batch_norm(network: nn.Module) -> None:
    """Turn every convolution with BatchNorm behind it into one convolution, computed in float64."""
    for module in network.modules():
        conv, norm = getattr(module, "conv", None), getattr(module, "bn", None)
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            module.conv = fuse_conv_bn_eval(conv.double(), norm.double()).float()
            module.bn = nn.Identity()


_one_at_a_time = threading.Lock()


@contextmanager
def _handing_over(state: Mapping[str, Tensor]) -> Iterator[None]:
    """Answer with `state` when pytorch-fid's constructor asks for its weights, which it would fetch by itself.

    It has no parameter for them: the function that it fetches with is replaced while the network is built, so nothing
    reaches the network. Raises ZooError where a version of pytorch-fid never asks that function.
    """
    import pytorch_fid.inception as module

    asked = False

    def local(*_: Any, **__: Any) -> Mapping[str, Tensor]:
        nonlocal asked
        asked = True
        return state

    with _one_at_a_time:
        fetch = getattr(module, "load_state_dict_from_url", None)
        if fetch is None:
            raise ZooError(_other_version())
        module.load_state_dict_from_url = local
        try:
            yield
        finally:
            module.load_state_dict_from_url = fetch
    if not asked:
        raise ZooError(_other_version())


def _other_version() -> str:
    return (
        f"pytorch-fid {version('pytorch-fid')} builds its network in another way than 0.3.0; install pytorch-fid 0.3.0"
    )


def _what_to_do(root: Path) -> str:
    return (
        f"fetch {SOURCE} (SHA-256 {SHA256}) and put it at {root / FILE_NAME}, or name it with "
        "inception_weights=PATH (--set fid.inception_weights=PATH)"
    )
