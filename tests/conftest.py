"""What all tests share: no data of the user's, dSprites drawn once (377 MB, beside pytest's cache), other processes."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import hypothesis
import pytest

from ibgan_plugin.adapters.dsprites import prepare
from tests.processes import ZOO

# With it Python keeps nothing back, and what becomes of the rest when a terminal closes would go untested.
os.environ.pop("PYTHONUNBUFFERED", None)
# What starts the tests in the background has them ignore these, and so would every process that a test starts.
for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _handler)

# The same examples every time, however long the machine takes for one.
hypothesis.settings.register_profile("fixed", derandomize=True, deadline=None)
hypothesis.settings.load_profile("fixed")

SMALL_WORDS = ("--set", "model.ngf=4", "--set", "model.ndf=4", "--set", "batch_size=8", "--device", "cpu")


@pytest.fixture(scope="session")
def data_root(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root that stays from one session to the next; a store of another renderer's version is made anew."""
    cache = getattr(pytestconfig, "cache", None)  # absent with -p no:cacheprovider
    return Path(cache.mkdir("zoo-data")) if cache else tmp_path_factory.mktemp("zoo-data")


@pytest.fixture(scope="session")
def drawn(data_root: Path) -> Path:
    """A data root in which dSprites is drawn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DISENTANGLEMENT_LIB_DATA", raising=False)
        prepare(data_root)
    return data_root


@pytest.fixture(autouse=True)
def no_data_of_the_user(monkeypatch: pytest.MonkeyPatch, data_root: Path) -> None:
    """No test finds the user's own data or settings, and none writes into the user's cache."""
    monkeypatch.setenv("ZOO_DATA", str(data_root))
    for variable in ("DISENTANGLEMENT_LIB_DATA", "ZOO_DEBUG", "ZOO_DISABLE_PLUGINS", "ZOO_STRICT_PLUGINS"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command line in another process; `path` are folders of distributions, `env` more variables."""
    started = []

    def call(*words: object, path: Sequence[Path] = (), env: Mapping[str, str] = {}) -> subprocess.Popen[str]:
        search = os.pathsep.join([*map(str, path), *filter(None, [os.environ.get("PYTHONPATH")])])
        variables = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": search} | dict(env)
        command = [*ZOO, *map(str, words)]
        process = subprocess.Popen(
            command, cwd=tmp_path, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def small_words() -> tuple[str, ...]:
    """The same, typed."""
    return SMALL_WORDS


@pytest.fixture(scope="session")
def one_thread() -> None:
    """The same number of threads as in other processes, and so the same sums to the last bit."""
    import torch

    torch.set_num_threads(1)
