"""One results folder after the other, read as disentanglement_lib reads them."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ibgan_plugin.adapters.result_tree import Reference, Step, gin_value

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(), inside, max_size=3),
    max_leaves=5,
)


def gin_dict(text: str) -> dict[str, str]:
    """The bindings as their reader finds them: line by line, a name and a value on both sides of ` = `."""
    found = {}
    for line in text.split("\n"):
        if not line.startswith("#") and " = " in line:
            key, value = line.split(" = ", 2)  # a second one would end it here
            found[key] = value
    return found


@given(PLAIN)
def test_a_value_is_one_that_their_reader_finds_again(value: Any) -> None:
    text = gin_value(value)
    assert gin_dict(f"a.b = {text}\n") == {"a.b": text}
    assert len(text.splitlines()) == 1
    assert ast.literal_eval(text) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("tanh", "'tanh'"),
        ("it's", r"'it\'s'"),
        (r"back\slash", r"'back\\slash'"),
        ("a = b\n", r"'a \x3d b\n'"),
        (0.141, "0.141"),
        (1e-06, "1e-06"),
        (None, "None"),
        (True, "True"),
        (Reference("mig"), "@mig"),
    ],
)
def test_values_as_gin_writes_them(value: Any, text: str) -> None:
    assert gin_value(value) == text


def test_each_folder_holds_the_steps_before_it(tmp_path: Path) -> None:
    first = Step("train", {"dataset.name": "d", "encoder.num_latent": 10}, {"loss": 0.5}, "run")
    second = Step("evaluation", {"mig.num_train": 7}, {"discrete_mig": 0.25, "vector": [1, None]}, "run mig")
    first.write(tmp_path / "model" / "results")
    second.write(tmp_path / "metric" / "results", tmp_path / "model" / "results")
    results = tmp_path / "metric" / "results"
    files = {str(path.relative_to(results)) for path in results.rglob("*") if path.is_file()}
    assert files == {
        *("gin/train.gin", "json/train_config.json", "json/train_results.json", "aggregate/train.json"),
        *("gin/evaluation.gin", "json/evaluation_config.json", "json/evaluation_results.json"),
        "aggregate/evaluation.json",
    }
    assert gin_dict((results / "gin" / "train.gin").read_text()) == {
        "dataset.name": "'d'",
        "encoder.num_latent": "10",
    }
    for step in ("train", "evaluation"):
        gin = gin_dict((results / "gin" / f"{step}.gin").read_text())
        assert json.loads((results / "json" / f"{step}_config.json").read_text()) == gin
    found = json.loads((results / "aggregate" / "evaluation.json").read_text())
    uuids = {found.pop("train_results.uuid"), found.pop("evaluation_results.uuid")}
    assert len(uuids) == 2
    assert all(len(uuid) == 36 for uuid in uuids)
    assert found == {
        "train_config.dataset.name": "'d'",
        "train_config.encoder.num_latent": "10",
        "train_results.loss": 0.5,
        "evaluation_config.mig.num_train": "7",
        "evaluation_results.discrete_mig": 0.25,
        "evaluation_results.vector": [1, None],
    }
    assert (results / "json" / "train_results.json").read_text().startswith('{\n  "loss": 0.5,\n')


def test_the_same_step_has_the_same_uuid_and_no_other(tmp_path: Path) -> None:
    found = []
    for folder, name, identity in [("a", "train", "x"), ("b", "train", "x"), ("c", "train", "y"), ("d", "post", "x")]:
        Step(name, {}, {}, identity).write(tmp_path / folder)
        found.append(json.loads((tmp_path / folder / "json" / f"{name}_results.json").read_text())["uuid"])
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_a_number_that_json_lacks_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        Step("train", {}, {"loss": float("nan")}, "x").write(tmp_path)
