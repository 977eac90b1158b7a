"""The metric with small features, and images for its real side."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ibgan_plugin.evaluation import fid as module
from ibgan_plugin.evaluation.fid import fid
from tests.evaluation.fid.stand_ins import Pictures, SmallFeatures


@pytest.fixture
def small(monkeypatch, tmp_path: Path):
    """Return `fid` with small features, its data root and its weights file in `tmp_path`."""
    monkeypatch.setattr(module, "InceptionFeatures", SmallFeatures)
    monkeypatch.setenv("ZOO_DATA", str(tmp_path / "data"))
    torch.save({"weight": torch.zeros(1)}, tmp_path / "weights.pth")

    def call(model, data, seed=0, **given):
        given = {"inception_weights": tmp_path / "weights.pth", "allow_unverified_weights": True} | given
        result = fid(model, data, seed, **given)
        json.dumps(result, allow_nan=False)
        return result

    return call


@pytest.fixture
def pictures() -> Pictures:
    return Pictures(np.random.default_rng(0).integers(0, 256, (700, 16, 16, 3), dtype=np.uint8))
