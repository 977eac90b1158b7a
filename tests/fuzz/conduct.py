"""Many inputs to one reader, made by hypothesis."""

from __future__ import annotations

from functools import partial

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.fuzzer import Defect, Fuzzer
from tests.fuzz.mutations import Change, changes
from tests.fuzz.readers import READERS


def fuzz(fuzzer: Fuzzer, name: str, examples: int, number: int | None = None) -> None:
    """Give a reader some inputs: always the same ones, or those of a seed. Raises Defect at the first bad one.

    Failing inputs are kept as they are rather than made smaller: one that hangs would be tried again and again.
    """
    reader = READERS[name]

    found: list[Defect] = []

    def check(change: Change) -> None:
        if not found:
            try:
                fuzzer.check(name, change)
            except Defect as defect:  # raised when hypothesis is done, which would try it again
                found.append(defect)

    test = given(changes(reader, partial(fuzzer.content, name)))(check)
    test = settings(
        max_examples=examples,
        derandomize=number is None,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )(test)
    (test if number is None else seed(number)(test))()
    if found:
        raise found[0]
