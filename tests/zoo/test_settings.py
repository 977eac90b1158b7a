"""Settings are read from signatures, converted and checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from pydantic import Field, PositiveInt

from zoo.errors import SettingError
from zoo.settings import defaults_of, departures, flat, listed, settings_of, validated

if TYPE_CHECKING:
    from nowhere import Nothing  # what a plugin imports for type checkers only


def target(
    model: Nothing,
    data: Any,
    seed: int = 0,
    *,
    count: PositiveInt = 3,
    rate: Annotated[float, Field(gt=0, le=1)] = 0.5,
    kind: Literal["none", "some"] = "some",
    flag: bool = False,
    limit: int | None = None,
    widths: tuple[int, ...] = (8, 16),
    name: str = "x",
    where: Path | None = None,
    needed: int,
    anything=None,  # what a plugin without annotations does
) -> Nothing: ...


class Target:
    def __init__(self, model: Nothing, *, seed: int, backend: Nothing, width: PositiveInt = 8) -> None: ...


class Plain: ...


def test_they_are_the_keyword_only_parameters() -> None:
    assert list(settings_of(target)) == [
        "count", "rate", "kind", "flag", "limit", "widths", "name", "where", "needed", "anything",
    ]  # fmt: skip
    assert list(settings_of(Target)) == ["width"]  # seed and backend come from the host
    assert settings_of(Plain) == {}
    assert defaults_of(target) == {
        "count": 3, "rate": 0.5, "kind": "some", "flag": False, "limit": None, "widths": (8, 16), "name": "x",
        "where": None, "anything": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("count", "12", 12),
        ("count", 12, 12),
        ("rate", "1e-4", 1e-4),
        ("widths", "[4, 2]", (4, 2)),
        ("widths", [4, 2], (4, 2)),
        ("name", "[4, 2]", "[4, 2]"),
        ("rate", "1", 1.0),
        ("flag", "true", True),
        ("flag", "0", False),
        ("limit", "none", None),
        ("limit", "None", None),
        ("limit", "null", None),
        ("limit", "7", 7),
        ("limit", None, None),
        ("kind", "none", "none"),
        ("name", "none", "none"),
        ("where", "a/b", Path("a/b")),
        ("where", "none", None),
        ("anything", "1", "1"),
    ],
)
def test_words_become_values(name: str, value: Any, expected: Any) -> None:
    found = validated(target, {name: value}, "part")
    assert found == {name: expected}
    assert type(found[name]) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("count", "0", "part.count=0: input should be greater than 0"),
        ("count", "-1", "part.count=-1: input should be greater than 0"),
        ("count", "1.5", "part.count=1.5: input should be a valid integer, unable to parse string as an integer"),
        ("count", "many", "part.count=many: input should be a valid integer, unable to parse string as an integer"),
        ("count", "none", "part.count=none: input should be a valid integer, unable to parse string as an integer"),
        ("count", None, "part.count=None: input should be a valid integer"),
        ("limit", "x", "part.limit=x: input should be a valid integer, unable to parse string as an integer; or none"),
        ("rate", "1.1", "part.rate=1.1: input should be less than or equal to 1"),
        ("rate", "nan", "part.rate=nan: input should be a finite number"),
        ("rate", "inf", "part.rate=inf: input should be a finite number"),
        ("rate", "", "part.rate=: input should be a valid number, unable to parse string as a number"),
        ("kind", "other", "part.kind=other: input should be 'none' or 'some'"),
        ("flag", "maybe", "part.flag=maybe: input should be a valid boolean, unable to interpret input"),
        ("cuont", "1", "unknown setting 'part.cuont'; did you mean 'part.count'"),
        ("seed", "1", "unknown setting 'part.seed'; did you mean 'part."),
        ("model", "1", "unknown setting 'part.model'; did you mean 'part."),
    ],
)
def test_a_value_that_does_not_fit_is_one_line(name: str, value: Any, told: str) -> None:
    with pytest.raises(SettingError) as raised:
        validated(target, {name: value}, "part")
    assert str(raised.value).startswith(told)
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    ("nested", "dotted"),
    [
        ({"loss": {"beta": 0.1, "gamma": 1}, "steps": 3}, {"loss.beta": 0.1, "loss.gamma": 1, "steps": 3}),
        ({"my.metrics:score": {"num": 5}}, {"my.metrics:score.num": 5}),
        ({"loss.weights": {"real": 2.0}}, {"loss.weights": {"real": 2.0}}),
        ({"loss": {"weights": {"real": 2.0}}}, {"loss.weights": {"real": 2.0}}),
        ({"my.metrics:score.weights": {"real": 2.0}}, {"my.metrics:score.weights": {"real": 2.0}}),
    ],
)
def test_parts_become_dots_and_the_values_of_settings_stay(nested: dict[str, Any], dotted: dict[str, Any]) -> None:
    assert flat(nested) == dotted


def test_names_between_commas() -> None:
    assert listed(" mig,dci,, mig ,") == ["mig", "dci"]
    assert listed("") == listed(" , ") == []


def test_departures_are_what_is_not_the_default() -> None:
    asked = {"count": "3", "rate": "0.25", "widths": [8, 16], "limit": "none", "needed": "1"}
    assert departures(target, asked) == {"rate": 0.25, "needed": 1}


def test_a_part_without_settings_says_so() -> None:
    with pytest.raises(SettingError, match=r"^unknown setting 'loss\.beta'; loss has no settings$"):
        validated(Plain, {"beta": "1"}, "loss")
