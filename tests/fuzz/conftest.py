"""One worker process for all tests here, and a data root of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fuzz.fuzzer import Fuzzer

# Its asserts tell as much as those of the tests that share it.
pytest.register_assert_rewrite("tests.fuzz.hostile")


@pytest.fixture(scope="session")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzer]:
    """What inputs are given to; those that fail are left in a temporary folder."""
    with Fuzzer(tmp_path_factory.mktemp("failed")) as opened:
        yield opened
