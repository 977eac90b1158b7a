import json

import numpy as np

from ibgan_plugin.evaluation.results import metric_result


def test_numpy_becomes_plain_json():
    result = metric_result(np.float64(0.5), {"n": np.int64(3)}, table=np.array([[1, 2]]), on=np.bool_(True), none=None)
    assert result == {"score": 0.5, "table": [[1, 2]], "on": True, "none": None, "protocol": {"n": 3}}
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert type(result["on"]) is bool


def test_what_is_not_finite_becomes_none_with_a_reason():
    result = metric_result(np.nan, {}, row=np.array([1.0, np.inf]), fine=[1.0])
    assert result["score"] is None
    assert result["row"] == [1.0, None]
    assert result["reason"] == "not finite on these codes: score, row"


def test_a_given_reason_stands():
    assert metric_result(np.nan, {}, reason="because")["reason"] == "because"
    assert "reason" not in metric_result(1.0, {})
