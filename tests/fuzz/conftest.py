"""One worker process for all tests here, and a data root of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fuzz.fuzzer import Fuzzer


@pytest.fixture(scope="session")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzer]:
    """What inputs are given to; those that fail are left in a temporary folder."""
    with Fuzzer(tmp_path_factory.mktemp("failed")) as opened:
        yield opened
