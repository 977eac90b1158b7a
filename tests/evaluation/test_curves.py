"""The curves of a run, read back from the figure's own lines."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import pytest
from matplotlib.text import Text

from ibgan_plugin.evaluation.curves import plot_run
from zoo.errors import UsageError


def write_run(path, records, evaluations=()):
    (path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    if evaluations:
        (path / "evaluations.jsonl").write_text("".join(json.dumps(record) + "\n" for record in evaluations))


def test_the_bounds_each_kl_and_the_scores_are_drawn(tmp_path):
    records = [{"step": s, "mi_lower": s / 10, "mi_upper": s / 5, "kl": [s / 100, s / 50]} for s in (10, 20, 30)]
    evaluations = [
        {"step": s, "metrics": {"factorvae": {"score": score}, "sap": {"score": None}}}
        for s, score in ((10, 0.3), (20, 0.6), (30, 0.5))
    ]
    write_run(tmp_path, records, evaluations)

    bounds, each, scores = plot_run(tmp_path).axes

    lines = {
        line.get_label(): list(line.get_ydata())
        for axes in (bounds, each, scores)
        for line in axes.lines
        if not line.get_label().startswith("_")  # the line at the best step
    }
    assert lines == {
        "$I^U$": [2.0, 4.0, 6.0],
        "$I^L$": [1.0, 2.0, 3.0],
        "$r_{1}$": [0.2, 0.4, 0.6],  # the larger KL comes first
        "$r_{0}$": [0.1, 0.2, 0.3],
        "factorvae": [0.3, 0.6, 0.5],
    }
    assert list(each.lines[0].get_ydata()) == [0.2, 0.4, 0.6]
    assert [text.get_text() for text in scores.texts] == ["factorvae", "0.60 at 20"]
    assert [text.get_text() for text in each.texts] == ["$r_{1}$", "$r_{0}$"]


def test_the_step_of_the_first_metrics_best_score_goes_through_all_panels(tmp_path):
    records = [{"step": s, "mi_lower": s / 10, "kl": [s / 100]} for s in (10, 20, 30)]
    evaluations = [
        {"step": s, "metrics": {"mig": {"score": mig}, "sap": {"score": sap}}}
        for s, mig, sap in ((10, 0.3, 0.9), (20, 0.6, 0.1), (30, 0.6, 0.1))
    ]
    write_run(tmp_path, records, evaluations)

    for axes in plot_run(tmp_path).axes:
        (through,) = (line for line in axes.lines if line.get_label().startswith("_"))
        assert set(through.get_xdata()) == {20}


def test_scores_of_other_units_have_a_panel_each_that_says_which_way_is_better(tmp_path):
    evaluations = [
        {"step": s, "metrics": {"fid": {"score": fid}, "mig": {"score": 0.3}, "unsupervised": {"score": 0.5},
                                "a_plugins": {"score": fid / 10}, "mi_bounds": {"score": 0.9}}}
        for s, fid in ((10, 40.0), (20, 25.5), (30, 30.0))
    ]  # fmt: skip
    write_run(tmp_path, [{"step": s, "mi_lower": 1.0} for s in (10, 20, 30)], evaluations)

    figure = plot_run(tmp_path)
    figure.savefig(tmp_path / "curves.png")  # lays it out

    _, *panels = figure.axes
    assert {axes.get_ylabel(): axes.lines[0].get_label() for axes in panels} == {
        "score": "mig",
        "fid\nlower is better": "fid",
        "unsupervised, nats\nlower is better": "unsupervised",
        "a_plugins": "a_plugins",
        "mi_bounds, nats": "mi_bounds",
    }
    together, fid, *_ = panels
    assert [text.get_text() for text in fid.texts] == ["fid", "25.50 at 20"]
    assert [text.get_text() for text in together.texts] == ["mig", "0.30 at 10"]
    for axes in panels:  # the best score stands within the panel, and below its point where that is the lowest
        box = Text.get_window_extent(axes.texts[1])
        assert axes.bbox.y0 < box.y0 and box.y1 < axes.bbox.y1
        point = axes.transData.transform(axes.texts[1].xy)[1]
        assert (box.y1 < point) == ("lower" in axes.get_ylabel())
    assert {line.get_xdata()[0] for axes in figure.axes for line in axes.lines if line.get_label()[0] == "_"} == {20}


def test_more_panels_than_a_picture_holds_are_left_out_and_said(tmp_path, capsys):
    evaluations = [{"step": 1, "metrics": {f"metric {i}": {"score": 7.0} for i in range(20)}}]
    write_run(tmp_path, [{"step": 1, "a": 1.0}], evaluations)

    assert len(plot_run(tmp_path).axes) == 17
    assert "leave out metric 16, metric 17, metric 18, metric 19: no room" in capsys.readouterr().err


def test_a_single_point_is_seen(tmp_path):
    write_run(tmp_path, [{"step": 10, "a": 1.0, "b": 2.0}, {"step": 20, "b": 3.0}])

    (axes,) = plot_run(tmp_path).axes

    assert [(line.get_label(), line.get_marker()) for line in axes.lines] == [("a", "o"), ("b", "None")]


def test_steps_are_whole(tmp_path):
    write_run(tmp_path, [{"step": 10, "a": 1.0}])
    figure = plot_run(tmp_path)
    figure.savefig(tmp_path / "curves.png")

    low, high = figure.axes[0].get_xlim()
    assert [tick for tick in figure.axes[0].get_xticks() if low <= tick <= high] == [10]


def test_labels_do_not_cover_each_other_and_lines_differ_without_colour(tmp_path):
    records = [{"step": s, "mi_lower": 1.0, "kl": [s / 30, *[0.001 * i for i in range(9)]]} for s in (10, 20, 30)]
    write_run(tmp_path, records)
    figure = plot_run(tmp_path)
    figure.savefig(tmp_path / "curves.png")  # lays it out

    each = figure.axes[1]
    boxes = sorted((Text.get_window_extent(text) for text in each.texts), key=lambda box: box.y0)

    assert len(boxes) == 10
    # The boxes hold a little space above and below the letters.
    assert all(above.y0 - below.y0 > 0.7 * below.height for below, above in itertools.pairwise(boxes))
    looks = [(line.get_color(), line.get_linestyle(), line._unscaled_dash_pattern) for line in each.lines]
    assert len({str(look) for look in looks}) == 10
    assert all(a[2] != b[2] for a, b in itertools.pairwise(looks))


def test_a_name_is_not_read_as_mathematics(tmp_path):
    (tmp_path / "a$_{b").mkdir()
    write_run(tmp_path / "a$_{b", [{"step": 1, "mi_lower": 1.0}])

    plot_run(tmp_path / "a$_{b").savefig(tmp_path / "curves.png")


def test_nor_is_that_of_a_term_or_a_metric(tmp_path):
    write_run(tmp_path, [{"step": 1, r"$\nocommand$": 1.0}], [{"step": 1, "metrics": {"$_{$": {"score": 0.5}}}])

    figure = plot_run(tmp_path)
    figure.savefig(tmp_path / "curves.png")

    assert [text.get_text() for axes in figure.axes for text in axes.texts] == [r"$\nocommand$", "$_{$", "0.50 at 1"]


def test_a_model_without_bounds_shows_its_terms(tmp_path):
    write_run(tmp_path, [{"step": s, "reconstruction": 100.0 / s, "steps_per_second": 9.0} for s in (1, 2)])

    (axes,) = plot_run(tmp_path).axes

    assert [line.get_label() for line in axes.lines] == ["reconstruction"]


def test_a_half_written_line_is_left_out(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 2, "a": 1.0}\n{"step": 1, "a": 2.0}\n{"step": 3, "a"')

    (axes,) = plot_run(tmp_path).axes

    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines] == [([1, 2], [2.0, 1.0])]


def test_a_folder_without_a_log_is_refused_in_one_line(tmp_path):
    with pytest.raises(UsageError, match=r"has no metrics\.jsonl"):
        plot_run(tmp_path)


def test_drawing_curves_needs_no_torch():
    program = "import sys, ibgan_plugin.evaluation.curves; print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "False\n"
    )
