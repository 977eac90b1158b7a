"""The weights that ship with the plugin, a file each, with its model card beside it.

`zoo.load("ibgan", pretrained="dsprites")` and `pretrained:dsprites` open them; `docs/results.md` has their scores.
"""

from __future__ import annotations

from pathlib import Path

DSPRITES = Path(__file__).with_name("dsprites.safetensors")
