"""Preparing images: interruption, several processes, memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ibgan_plugin.adapters import preparation
from ibgan_plugin.adapters.celeba import celeba
from tests.adapters.photographs_published import (
    PUTS,
    Put,
    celeba_files,
    picture,
    put_folder,
    put_tar,
    put_zip,
    stores,
)
from tests.processes import PEAK

PREPARE = "import sys; from pathlib import Path; from ibgan_plugin.adapters.celeba import prepare; "


@PUTS
def test_an_interrupted_preparation_goes_on(tmp_path: Path, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    files = celeba_files(300)
    put(tmp_path / "whole" / "celeba", files)
    put(tmp_path / "broken" / "celeba", files)
    expected = celeba(tmp_path / "whole").images(np.arange(300))

    applied = 0
    alone = threading.Lock()
    apply = preparation.Recipe.apply

    def counting(self: Any, *arguments: Any) -> Any:
        nonlocal applied
        with alone:
            applied += 1
            last = applied == 150
        if last:
            raise KeyboardInterrupt
        return apply(self, *arguments)

    monkeypatch.setattr(preparation.Recipe, "apply", counting)
    with pytest.raises(KeyboardInterrupt):
        celeba(tmp_path / "broken")
    before, applied = applied, 1000  # never 150 again
    data = celeba(tmp_path / "broken")
    assert before < 300
    assert applied - 1000 == 300 - 128  # two blocks of 64 were complete
    np.testing.assert_array_equal(data.images(np.arange(300)), expected)
    assert all(not name.startswith(".") for name in stores(tmp_path / "broken"))


def test_a_killed_preparation_goes_on_from_its_last_note(tmp_path: Path) -> None:
    put_folder(tmp_path / "celeba", celeba_files(1200))
    program = "from ibgan_plugin.adapters import preparation; preparation.SAVE_EVERY = 64; " + PREPARE
    program += "prepare(Path(sys.argv[1]))"
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stderr=subprocess.PIPE)
    note = tmp_path / "prepared" / "celeba" / ".64-148-rgb.partial" / "progress.json"
    deadline = time.monotonic() + 60
    while not note.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = json.loads(note.read_text())["done"]
    assert 0 < done < 1200
    finished = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, timeout=120
    )
    assert f"after {done:,} images" in finished.stderr
    put_zip(tmp_path / "other" / "celeba", celeba_files(1200))
    np.testing.assert_array_equal(
        celeba(tmp_path).images(np.arange(1200)), celeba(tmp_path / "other").images(np.arange(1200))
    )


def test_a_partial_of_another_source_is_not_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_folder(tmp_path / "celeba", celeba_files(200))

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(preparation.bisect, "bisect_left", lambda names, name: interrupted() if "150" in name else 0)
        with pytest.raises(KeyboardInterrupt):
            celeba(tmp_path)
    put_folder(tmp_path / "celeba", {"img_align_celeba/000001.jpg": picture(77, 178, 218, "JPEG")})
    put_zip(
        tmp_path / "other" / "celeba",
        celeba_files(200) | {"img_align_celeba/000001.jpg": picture(77, 178, 218, "JPEG")},
    )
    np.testing.assert_array_equal(
        celeba(tmp_path).images(np.arange(200)), celeba(tmp_path / "other").images(np.arange(200))
    )


def test_processes_that_start_at_once_share_one_preparation(tmp_path: Path) -> None:
    put_zip(tmp_path / "celeba", celeba_files(200))
    program = PREPARE + "print(prepare(Path(sys.argv[1])))"
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    printed = {process.communicate(timeout=120)[0].strip() for process in running}
    assert all(process.returncode == 0 for process in running)
    assert printed == {str(tmp_path / "prepared" / "celeba" / "64-148-rgb")}
    assert stores(tmp_path) == [f"celeba/64-148-rgb/{name}" for name in ("files.txt", "images.npy", "record.json")]


@pytest.mark.parametrize("put", [put_folder, put_tar], ids=["folder", "tar"])
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path, put: Put) -> None:
    program = f"{PREPARE}prepare(Path(sys.argv[1])); print({PEAK})"
    peaks = []
    for faces in (200, 1600):  # 17 MB of prepared images more
        put(tmp_path / str(faces) / "celeba", celeba_files(faces))
        command = [sys.executable, "-c", program, str(tmp_path / str(faces))]
        environment = os.environ | {"MALLOC_ARENA_MAX": "1"}
        finished = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=120)
        peaks.append(int(finished.stdout))
    assert peaks[1] - peaks[0] < 8_000  # KB
