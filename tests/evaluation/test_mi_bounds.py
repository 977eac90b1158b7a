import json

import numpy as np
import pytest
import torch

from ibgan_plugin.evaluation.mi_bounds import mi_bounds
from zoo.errors import MetricError


class Bounded:
    def __init__(self, **bounds):
        self.bounds, self.asked = bounds, None

    def mi_bounds(self, num, seed):
        self.asked = (num, seed)
        return self.bounds


@pytest.mark.parametrize("kl", [torch.tensor([1.5, 0.25]), np.array([1.5, 0.25], np.float32), [1.5, 0.25]])
def test_both_bounds_and_each_kl(kl, data):
    model = Bounded(mi_lower=2.5, mi_upper=torch.tensor(1.75), kl=kl)
    result = mi_bounds(model, data, seed=3, num=500)
    assert model.asked == (500, 3)
    assert (result["score"], result["mi_lower"], result["mi_upper"]) == (2.5, 2.5, 1.75)
    assert result["kl"] == [1.5, 0.25]
    assert result["protocol"]["num"] == 500
    json.dumps(result, allow_nan=False)


def test_ten_thousand_draws_by_default(data):
    model = Bounded(mi_lower=0.0, mi_upper=None, kl=None)
    mi_bounds(model, data)
    assert model.asked == (10_000, 0)


def test_a_model_without_an_encoder_has_a_lower_bound_only(data):
    result = mi_bounds(Bounded(mi_lower=np.float32(1.5), mi_upper=None, kl=None), data)
    assert result["score"] == 1.5
    assert result["mi_upper"] is None
    assert "no upper bound" in result["reason"]


def test_a_module_is_asked_in_evaluation_mode_and_left_as_it_was(data):
    class Module(torch.nn.Module):
        def mi_bounds(self, num, seed):
            return {"mi_lower": float(self.training), "mi_upper": None, "kl": None}

    model = Module()
    assert mi_bounds(model, data)["score"] == 0.0
    assert model.training


def test_refusals(data, representation):
    with pytest.raises(MetricError, match="not defined for FactorEncoder"):
        mi_bounds(representation("identity"), data)
    with pytest.raises(MetricError, match="not finite"):
        mi_bounds(Bounded(mi_lower=1.0, mi_upper=2.0, kl=[0.0, float("nan")]), data)
    with pytest.raises(MetricError, match="expected a mapping of mi_lower"):
        mi_bounds(Bounded(lower=1.0), data)
