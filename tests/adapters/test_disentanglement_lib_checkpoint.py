"""run -> result tree -> pandas: the scores that `zoo eval` printed, found as disentanglement_lib finds its own."""

from __future__ import annotations

import glob
import json
import shutil
import sys
import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import zoo
import zoo.cli
from ibgan_plugin.adapters.disentanglement_lib import DisentanglementLib
from ibgan_plugin.adapters.disentanglement_lib_checkpoint import METRICS
from ibgan_plugin.pretrained import DSPRITES
from zoo.errors import CheckpointError, UnknownNameError, UsageError, ZooError
from zoo.run import RunDirectory
from zoo.weights import write_weights

POINTS = {
    "factorvae": {"votes": 20, "samples_per_vote": 10, "variance_images": 64, "variance_threshold": 1e-9},
    "factorvae_dlib": {
        "num_train": 20,
        "num_eval": 10,
        "num_variance_estimate": 64,
        "batch_size": 8,
        "prune_threshold": 1e-6,
    },
    "betavae": {"num_train": 20, "num_eval": 10, "batch_size": 4},
    "mig": {"num_train": 100},
    "modularity": {"num_train": 600, "num_eval": 300},
    "sap": {"num_train": 300, "num_eval": 100},
    "irs": {"num_train": 100},
    "unsupervised": {"num_train": 100},
    "mi_bounds": {"num": 50},
}
# For each of ours: the folder in their tree, the function, and the result that is their headline.
THEIRS = {
    "factorvae": ("factorvae", "@factorvae", "score"),
    "factorvae_dlib": ("factor_vae_metric", "@factor_vae_score", "eval_accuracy"),
    "betavae": ("beta_vae_sklearn", "@beta_vae_sklearn", "eval_accuracy"),
    "mig": ("mig", "@mig", "discrete_mig"),
    "modularity": ("modularity_explicitness", "@modularity_explicitness", "modularity_score"),
    "sap": ("sap_score", "@sap_score", "SAP_score"),
    "irs": ("irs", "@irs", "IRS"),
    "unsupervised": ("unsupervised", "@unsupervised_metrics", "gaussian_total_correlation"),
    "mi_bounds": ("mi_bounds", "@mi_bounds", "mi_lower"),
}


def aggregated(pattern: str) -> pd.DataFrame:
    """Their aggregation: a row for each file that matches, with a column that says which."""
    rows = []
    for path in glob.glob(pattern):  # noqa: PTH207  # a pattern of the whole path, as theirs takes it
        row = json.loads(Path(path).read_text())
        row["path"] = path
        rows.append(row)
    return pd.DataFrame(rows)


def evaluated(run: Path, metrics: Mapping[str, Mapping[str, Any]], data_root: Path, seed: int = 0) -> dict[str, Any]:
    """What `zoo eval --json` prints."""
    words = ["eval", "ibgan", str(run), "--metrics", ",".join(metrics), "--seed", str(seed), "--json"]
    words += ["--device", "cpu", "--data-root", str(data_root)]
    for name, settings in metrics.items():
        for key, value in settings.items():
            words += ["--set", f"{name}.{key}={value}"]
    with redirect_stdout(StringIO()) as printed:
        assert zoo.cli.run(words) == 0
    document: dict[str, Any] = json.loads(printed.getvalue())
    return document


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, drawn: Path) -> tuple[Path, dict[str, Any]]:
    """A run with checkpoints at steps 2 and 4, every quick metric of the latter, and what `zoo eval` printed of it."""
    run = tmp_path_factory.mktemp("trained") / "run"
    small = {"model.ngf": 4, "model.ndf": 4, "model.init": "orthogonal"}  # so that codes vary before they are trained
    small |= {"batch_size": 8, "save_every": 2, "log_every": 2}
    zoo.train("ibgan", "dsprites", out=run, steps=4, settings=small, device="cpu", precision="fp32", data_root=drawn)
    evaluated(run / "checkpoints" / "step-00000002", {"mig": {"num_train": 50}}, drawn)
    evaluated(run, {"mig": {"num_train": 60}, "irs": {"num_train": 60}}, drawn, seed=9)  # older ones of the same step
    return run, evaluated(run, POINTS, drawn)


@pytest.fixture(scope="module")
def written(trained: tuple[Path, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of that run, in a folder of results as a study has them."""
    out = tmp_path_factory.mktemp("study") / "0"
    assert DisentanglementLib().checkpoint_to(trained[0], out) == out
    return out


def test_their_aggregation_finds_the_scores_that_were_printed(
    trained: tuple[Path, dict[str, Any]], written: Path, tmp_path: Path
) -> None:
    printed = trained[1]["metrics"]
    assert printed.keys() == POINTS.keys() == THEIRS.keys()
    table = aggregated(f"{written.parent}/*/metrics/*/*/results/aggregate/evaluation.json")
    assert len(table) == len(printed) == table["evaluation_results.uuid"].nunique()
    table.to_json(tmp_path / "results.json")  # their file of a whole study, and how they read it back
    again = pd.read_json(tmp_path / "results.json", orient="columns")
    for frame, tolerance in ((table, 0), (again, 1e-9)):  # pandas writes ten digits
        rows = frame.set_index("evaluation_config.evaluation.name")
        for metric, (folder, function, headline) in THEIRS.items():
            row, result = rows.loc[f"'{folder}'"], printed[metric]
            assert row["path"] == f"{written}/metrics/mean/{folder}/results/aggregate/evaluation.json"
            assert row["evaluation_config.evaluation.evaluation_fn"] == function
            for column in ("evaluation_results.score", f"evaluation_results.{headline}"):
                if result["score"] is None:
                    assert pd.isna(row[column])
                else:
                    assert row[column] == pytest.approx(result["score"], rel=0, abs=tolerance)
    assert sum(result["score"] is not None and result["score"] > 0 for result in printed.values()) >= 6


def test_settings_stand_under_the_names_of_their_configurations(written: Path) -> None:
    rows = aggregated(f"{written}/metrics/*/*/results/aggregate/evaluation.json").set_index(
        "evaluation_config.evaluation.name"
    )
    expected = {
        "factor_vae_metric": {
            "factor_vae_score.num_train": "20",
            "factor_vae_score.num_eval": "10",
            "factor_vae_score.num_variance_estimate": "64",
            "factor_vae_score.batch_size": "8",
            "prune_dims.threshold": "1e-06",
        },
        "beta_vae_sklearn": {"beta_vae_sklearn.num_train": "20", "beta_vae_sklearn.num_eval": "10"},
        "mig": {
            "mig.num_train": "100",
            "discretizer.discretizer_fn": "@histogram_discretizer",
            "discretizer.num_bins": "20",
        },
        "modularity_explicitness": {
            "modularity_explicitness.num_train": "600",
            "modularity_explicitness.num_test": "300",
        },
        "sap_score": {"sap_score.num_test": "100", "sap_score.continuous_factors": "False"},
        "irs": {"irs.num_train": "100", "irs.batch_size": "16", "irs.diff_quantile": "0.99"},
        "unsupervised": {"unsupervised_metrics.num_train": "100"},
        "factorvae": {"zoo.factorvae.votes": "20", "zoo.metric": "'factorvae'"},
    }
    for name, bindings in expected.items():
        row = rows.loc[f"'{name}'"]
        assert row["evaluation_config.evaluation.random_seed"] == "0"
        assert row["evaluation_config.dataset.name"] == "'dsprites_full'"
        for key, value in bindings.items():
            assert row[f"evaluation_config.{key}"] == value


def test_the_number_of_active_dimensions_means_what_theirs_means(
    trained: tuple[Path, dict[str, Any]], written: Path
) -> None:
    """Theirs is that of all dimensions; the one after pruning has another name."""
    ours = trained[1]["metrics"]["factorvae_dlib"]
    found = json.loads((written / "metrics/mean/factor_vae_metric/results/json/evaluation_results.json").read_text())
    assert found["num_active_dims"] == ours["num_active_dims_dlib"] == 10
    assert found["num_active_dims_pruned"] == ours["num_active_dims"]
    assert "protocol" not in found


def test_later_steps_find_what_they_need_of_training(written: Path) -> None:
    for folder in ("model", "postprocessed/mean", "representation", "metrics/mean/mig"):
        lines = (written / folder / "results" / "gin" / "train.gin").read_text().splitlines()
        bindings = dict(line.split(" = ") for line in lines)
        # As their steps ask for them.
        assert bindings["dataset.name"].replace("'", "") == "dsprites_full"
        assert int(bindings["encoder.num_latent"]) == 10
        assert bindings["reconstruction_loss.activation"] == "'tanh'"
        assert bindings["model.training_steps"] == "4"
        assert bindings["zoo.loss.beta"] == "0.141"
    for folder in ("postprocessed/mean", "representation", "metrics/mean/mig"):
        text = (written / folder / "results" / "gin" / "postprocess.gin").read_text()
        assert "dataset.name = 'dsprites_full'\n" in text
        assert "postprocess.postprocess_fn = @mean_representation\n" in text
    assert {path.name for path in written.iterdir()} == {"model", "postprocessed", "metrics", "representation"}
    assert [path.name for path in (written / "postprocessed").iterdir()] == ["mean"]


def test_training_has_its_last_terms_and_its_time(trained: tuple[Path, dict[str, Any]], written: Path) -> None:
    found = json.loads((written / "model/results/json/train_results.json").read_text())
    log = [json.loads(line) for line in (trained[0] / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in log] == [2, 4]
    assert found["mi_upper"] == log[-1]["mi_upper"]
    assert found["elapsed_time"] == pytest.approx(sum(2 / record["steps_per_second"] for record in log), abs=1e-3)


def test_the_newest_evaluation_of_the_chosen_checkpoint_counts(
    trained: tuple[Path, dict[str, Any]], written: Path, tmp_path: Path
) -> None:
    """The one with seed 9 is older; that of step 2 belongs to another checkpoint."""
    mig = Path("metrics/mean/mig/results/gin/evaluation.gin")
    assert "mig.num_train = 100\n" in (written / mig).read_text()
    DisentanglementLib().checkpoint_to(trained[0] / "checkpoints" / "step-00000002", tmp_path / "out")
    assert "mig.num_train = 50\n" in (tmp_path / "out" / mig).read_text()
    assert "model.training_steps = 2\n" in (tmp_path / "out/model/results/gin/train.gin").read_text()
    assert [path.name for path in (tmp_path / "out/metrics/mean").iterdir()] == ["mig"]
    assert json.loads((tmp_path / "out/model/results/json/train_results.json").read_text())["step"] == 2


def test_every_metric_of_theirs_that_is_here_has_its_name(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """`dci` takes minutes; here it is a record as the metric leaves it."""
    assert METRICS.keys() == THEIRS.keys() - {"factorvae", "mi_bounds"} | {"dci"}
    copy = RunDirectory(shutil.copytree(trained[0], tmp_path / "run"))
    result = {"score": 0.25, "disentanglement": 0.25, "completeness": 0.5, "informativeness_train": 0.75}
    protocol = {"source": "s", "num_train": 10, "num_eval": 5, "batch_size": 16, "seed": 3}
    copy.append("evaluations.jsonl", {"step": 4, "seed": 3, "metrics": {"dci": result | {"protocol": protocol}}})
    DisentanglementLib().checkpoint_to(copy.path, tmp_path / "out")
    found = json.loads((tmp_path / "out/metrics/mean/dci/results/aggregate/evaluation.json").read_text())
    assert found["evaluation_results.disentanglement"] == found["evaluation_results.score"] == 0.25
    assert found["evaluation_config.dci.num_test"] == "5"
    assert found["evaluation_config.evaluation.random_seed"] == "3"


def test_the_representor_scores_as_the_model_does(
    trained: tuple[Path, dict[str, Any]], written: Path, drawn: Path
) -> None:
    """Scored through the file, as the challenge's kit reads it, the metric gives what `zoo eval` printed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        scripted = torch.jit.load(str(written / "representation" / "pytorch_model.pt"))

    class FromFile:
        def encode(self, images: torch.Tensor) -> torch.Tensor:
            codes: torch.Tensor = scripted(images)
            return codes

    data = zoo.load_dataset("dsprites", data_root=drawn)
    result = zoo.load_metric("mig")(FromFile(), data, seed=0, num_train=100)
    assert result["score"] == pytest.approx(trained[1]["metrics"]["mig"]["score"], abs=1e-3)
    images = data.images(np.arange(0, 700_000, 100_000))
    expected = zoo.load("ibgan", trained[0], device="cpu").encode(
        torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    )
    np.testing.assert_allclose(scripted(torch.from_numpy(np.moveaxis(images / 255, 3, 1))), expected, atol=1e-5)


def test_converting_twice_makes_no_second_run(
    trained: tuple[Path, dict[str, Any]], written: Path, tmp_path: Path
) -> None:
    DisentanglementLib().checkpoint_to(trained[0], tmp_path / "again")
    for path in (tmp_path / "again").rglob("*.json"):
        assert path.read_bytes() == (written / path.relative_to(tmp_path / "again")).read_bytes()


# Other models, other datasets, runs that lack something.


def test_a_vae_without_evaluations_on_a_dataset_that_they_lack(
    tmp_path: Path, drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"batch_size": 4, "model.networks": "ibgan", "model.ngf": 4}
    zoo.train("vae", "color_dsprites", out=tmp_path / "run", steps=1, settings=small, device="cpu", data_root=drawn)
    capsys.readouterr()
    words = ["convert", "checkpoint", str(tmp_path / "run"), "--to", "disentanglement_lib"]
    assert zoo.cli.run([*words, "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr()
    assert told.out == f"{tmp_path / 'out'}\n"
    assert "color_dsprites is no dataset of disentanglement_lib; there it is named 'zoo_color_dsprites'" in told.err
    assert "step 1 of vae; metrics: none yet; zoo eval computes them" in told.err
    train = (tmp_path / "out/model/results/gin/train.gin").read_text()
    assert "dataset.name = 'zoo_color_dsprites'\n" in train
    assert "reconstruction_loss.activation = 'logits'\n" in train
    assert not (tmp_path / "out" / "metrics").exists()
    assert (tmp_path / "out/representation/pytorch_model.pt").is_file()


def test_weights_that_are_passed_on_have_a_tree_without_metrics(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By their name and by their file they are the same, and not the same as other weights."""
    model: Any = zoo.load("ibgan", pretrained="dsprites", device="cpu")
    write_weights(tmp_path / "other.safetensors", model, model.config, 7)
    identities = []
    for number, given in enumerate(("pretrained:dsprites", str(DSPRITES), str(tmp_path / "other.safetensors"))):
        out = tmp_path / str(number)
        words = ["convert", "checkpoint", given, "--to", "disentanglement_lib", "--out", str(out)]
        assert zoo.cli.run(words) == 0
        assert "of ibgan; metrics: none, for only a run directory keeps evaluations" in capsys.readouterr().err
        assert {path.name for path in out.iterdir()} == {"model", "postprocessed", "representation"}
        identities.append(json.loads((out / "model/results/json/train_results.json").read_text())["uuid"])
    assert identities[0] == identities[1] != identities[2]
    assert "dataset.name = 'dsprites_full'\n" in (tmp_path / "0/model/results/gin/train.gin").read_text()
    images = torch.rand(3, 1, 64, 64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        encode = torch.jit.load(str(tmp_path / "0/representation/pytorch_model.pt"))
    np.testing.assert_allclose(encode(images), model.encode(images), atol=1e-5)


def test_what_is_in_the_way_is_left_alone(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")
    with pytest.raises(UsageError, match="exists already; choose another --out"):
        DisentanglementLib().checkpoint_to(trained[0], tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_nothing_is_left_of_a_conversion_that_fails(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(ZooError, match=r"cannot write .*out: No space left on device"):
        DisentanglementLib().checkpoint_to(trained[0], tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_what_is_no_checkpoint_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, told in [(tmp_path / "none", "does not exist"), (tmp_path / "empty", "is neither a run directory")]:
        with pytest.raises(CheckpointError, match=told):
            DisentanglementLib().checkpoint_to(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_names_no_code_to_import(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(trained[0], tmp_path / "run")
    (tmp_path / "evil_model.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w').close()\nModel = None\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = json.loads((run / "config.json").read_text()) | {"model": "evil_model:Model"}
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnknownNameError, match="a file may only name what a plugin registered"):
        DisentanglementLib().checkpoint_to(run, tmp_path / "out")
    assert not (tmp_path / "imported").exists()
    assert "evil_model" not in sys.modules
