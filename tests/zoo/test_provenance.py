"""The commit of a source file, asked of real checkouts."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo.device import Backend
from zoo.provenance import commit, differences, provenance, starts, with_start


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    return subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of one file, with a tag, which must not take the commit's place."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "source.py").write_text("1\n")
    git(folder, "init", "-q")
    git(folder, "add", "source.py")
    git(folder, "commit", "-q", "-m", "one")
    git(folder, "tag", "v1")
    return folder


def test_the_commit_of_a_file(checkout: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    assert commit(checkout / "source.py") == head
    (checkout / "source.py").write_text("2\n")
    assert commit(checkout / "source.py") == f"{head}-dirty"


def test_a_file_that_git_does_not_know(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout / "site-packages").mkdir()
    (checkout / "site-packages" / "installed.py").touch()
    assert commit(checkout / "site-packages" / "installed.py") is None
    assert commit(tmp_path / "nowhere" / "file.py") is None
    monkeypatch.setenv("PATH", "")
    assert commit(checkout / "source.py") is None


def test_a_start_that_was_gone_back_before_is_forgotten() -> None:
    """Resumed at 3 and 5, then again at 3: what began at 5 made nothing of what is there now."""
    backend = Backend.choose("cpu", "fp32")
    made_by: dict[str, Any] = {}
    for step in (1, 3, 5, 3):
        made_by = with_start(made_by, step, backend)
    assert list(made_by) == ["from step 1", "from step 3"]
    again = with_start({"from step 1": {}, "from step 5": {}, "a note": "of somebody"}, 3, backend)
    assert list(again) == ["from step 1", "a note", "from step 3"]


def test_of_very_many_starts_the_first_and_the_latest_are_kept() -> None:
    backend, made_by = Backend.choose("cpu", "fp32"), {}
    for step in range(1, 131):
        made_by = with_start(made_by, step, backend)
    assert list(made_by) == ["from step 1", *(f"from step {step}" for step in range(32, 131))]
    assert {"versions", "commit", "command", "machine", "threads", "backend", "started"} == made_by[
        "from step 130"
    ].keys()


def test_what_keeps_a_resumed_run_from_being_the_same_bits() -> None:
    backend = Backend.choose("cpu", "fp32")
    made_by = with_start({}, 1, backend)
    assert differences({}, backend) == []
    assert differences(made_by, backend) == []
    before = provenance(backend)
    threads, torch_version = before["threads"], before["versions"]["torch"]
    before["versions"] |= {"torch": "2.0.0"}
    changed = made_by | {"from step 9": before | {"threads": threads + 1, "backend": "cuda, bf16"}}
    assert differences(changed, backend) == [
        f"torch '2.0.0' before and '{torch_version}' now",
        f"threads {threads + 1} before and {threads} now",
        "device 'cuda, bf16' before and 'cpu, fp32' now",
    ]
    assert differences({"from step 1": "a stranger's"}, backend) == []


class Images:
    """Random images, read from a file of that name."""

    def __init__(self, source: str, seed: int, num: int = 1_000) -> None:
        self.source = source
        self.pixels = np.random.default_rng(seed).integers(0, 256, (num, 4, 4, 1), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self.pixels)

    def images(self, indices: np.ndarray) -> np.ndarray:
        return self.pixels[indices]


def test_other_images_are_told_wherever_they_lie() -> None:
    backend = Backend.choose("cpu", "fp32")
    made_by = with_start({}, 1, backend, Images("here.npz", 0))
    assert made_by["from step 1"]["data"] == "1,000 images, here.npz"
    assert differences(made_by, backend, Images("there.npz", 0)) == []
    for other in (Images("here.npz", 1), Images("here.npz", 0, num=999)):
        (told,) = differences(made_by, backend, other)
        assert told.startswith("images '1,000 with hash ")
        assert f"before and '{len(other):,} with hash " in told
    del made_by["from step 1"]["images"]  # as runs were once written
    assert differences(made_by, backend, Images("here.npz", 1)) == []


def test_the_versions_of_plugins_are_recorded() -> None:
    versions = with_start({}, 1, Backend.choose("cpu", "fp32"), plugins={"zoo-squares": "0.3"})["from step 1"][
        "versions"
    ]
    assert versions["zoo-squares"] == "0.3"
    assert versions.keys() > {"ibgan-plugin", "torch", "numpy", "scikit-learn", "python"}


def test_what_is_no_start_is_left_out() -> None:
    good = {"machine": "here"}
    strange = {"from step 1": "x", "from step x": {}, "from step ": {}, "imported at step 4": {}, "from step ²": {}}
    assert starts({**strange, "from step 5": good, "from step 20": {}}) == {5: good, 20: {}}


def test_images_that_differ_in_the_middle_are_told_too() -> None:
    """What is hashed is spread over all: of 1,000 images, some in every 100, and whole."""
    backend, images = Backend.choose("cpu", "fp32"), Images("here.npz", 0)
    made_by = with_start({}, 1, backend, images)
    for start in range(100, 900, 100):
        other = Images("here.npz", 0)
        other.pixels[start : start + 100, 2, 2] ^= 1
        assert len(differences(made_by, backend, other)) == 1, start
