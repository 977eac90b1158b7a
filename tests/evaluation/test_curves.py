"""The curves of a run, read back from the figure's own lines."""

from __future__ import annotations

import json

import pytest

from ibgan_plugin.evaluation.curves import plot_run, read_log
from zoo.errors import UsageError


def write_run(path, records, evaluations=()):
    (path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    if evaluations:
        (path / "evaluations.jsonl").write_text("".join(json.dumps(record) + "\n" for record in evaluations))


def test_the_bounds_each_kl_and_the_scores_are_drawn(tmp_path):
    records = [{"step": s, "mi_lower": s / 10, "mi_upper": s / 5, "kl": [s / 100, s / 50]} for s in (10, 20, 30)]
    evaluations = [
        {"step": s, "metrics": {"factorvae": {"score": score}, "fid": {"score": 99.0}, "sap": {"score": None}}}
        for s, score in ((10, 0.3), (20, 0.6), (30, 0.5))
    ]
    write_run(tmp_path, records, evaluations)

    bounds, each, scores = plot_run(tmp_path).axes

    lines = {line.get_label(): list(line.get_ydata()) for axes in (bounds, each, scores) for line in axes.lines}
    assert lines == {
        "$I^U$": [2.0, 4.0, 6.0],
        "$I^L$": [1.0, 2.0, 3.0],
        "$r_{1}$": [0.2, 0.4, 0.6],  # the larger KL comes first in the legend
        "$r_{0}$": [0.1, 0.2, 0.3],
        "factorvae": [0.3, 0.6, 0.5],
    }
    assert list(each.lines[0].get_ydata()) == [0.2, 0.4, 0.6]
    assert [text.get_text() for text in scores.texts] == ["0.60 at 20"]


def test_a_model_without_bounds_shows_its_terms(tmp_path):
    write_run(tmp_path, [{"step": s, "reconstruction": 100.0 / s, "steps_per_second": 9.0} for s in (1, 2)])

    (axes,) = plot_run(tmp_path).axes

    assert [line.get_label() for line in axes.lines] == ["reconstruction"]


def test_a_half_written_line_is_left_out(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 2, "a": 1.0}\n{"step": 1, "a": 2.0}\n{"step": 3, "a"')

    assert [record["step"] for record in read_log(tmp_path / "metrics.jsonl")] == [1, 2]


def test_a_folder_without_a_log_is_refused_in_one_line(tmp_path):
    with pytest.raises(UsageError, match=r"has no metrics\.jsonl"):
        plot_run(tmp_path)
