"""One seed a run; every stream derives from (seed, purpose, step).

So the order of draws, the number of workers and resuming change nothing, and no generator state is ever saved.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch


def derived_seed(seed: int, purpose: str, step: int = 0) -> int:
    """Return 63 bits that differ for every (seed, purpose, step)."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def numpy_stream(seed: int, purpose: str, step: int = 0) -> np.random.Generator:
    """A NumPy generator for this purpose at this step."""
    import numpy as np

    return np.random.Generator(np.random.PCG64(derived_seed(seed, purpose, step)))


def torch_stream(seed: int, purpose: str, step: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator on `device` for this purpose at this step.

    torch's generator on the CPU takes 32 bits of the seed, so among 100,000 steps one pair or so has the same draws.
    """
    import torch

    return torch.Generator(device=device).manual_seed(derived_seed(seed, purpose, step))
