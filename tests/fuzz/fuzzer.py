"""Inputs to a reader, one after the other, in a worker process; what comes back is held against what was promised."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.fuzz.readers import READERS

SECONDS = 10.0
STARTING = 180.0  # for the first input of a reader, which imports what it needs and is read twice
MEMORY = 1 << 30
LONGEST = 500  # characters of a message, the paths of the folder apart

ROOT = Path(__file__).parents[2]


class Defect(AssertionError):
    """A reader did what it must not do."""


class Fuzzer:
    """Gives a worker process one input after the other, and starts it anew when it ends or has to be ended."""

    def __init__(
        self, keep: Path | None = None, readable: Path | None = None, worker: str = "tests.fuzz.worker"
    ) -> None:
        """`keep` is where the inputs that failed are left, `readable` a folder outside that may be read, `worker` the
        module that reads them.
        """
        self.inputs: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.keep = keep
        self._root = Path(tempfile.mkdtemp(prefix="fuzz-")).resolve()
        self._readable = readable
        self._module = worker
        self._worker: subprocess.Popen[bytes] | None = None
        self._warmed: set[str] = set()

    def __enter__(self) -> Fuzzer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()
        shutil.rmtree(self._root, ignore_errors=True)

    def template(self, name: str) -> Path:
        """A folder with a valid input of a reader, made once; not to be written to."""
        build = READERS[name].build
        first = next(reader.name for reader in READERS.values() if reader.build is build)  # some share one
        folder = self._root / "valid" / first
        if not folder.exists():
            folder.mkdir(parents=True)
            build(folder)
        return folder

    def content(self, name: str, file: str) -> bytes:
        """The bytes of a file of the valid input."""
        return (self.template(name) / file).read_bytes()

    def check(self, name: str, change: Callable[[Path], Any]) -> dict[str, Any]:
        """Copy the valid input, change the copy, and have it read. Raises Defect for all that may not be."""
        sandbox = self._root / "sandbox"
        case = sandbox / "case"
        shutil.rmtree(case, ignore_errors=True)
        shutil.copytree(self.template(name), case, symlinks=True)
        change(case)
        outcome = self._ask(name, case)
        self.inputs[name] += 1
        self.refused[name] += outcome["end"] == "refused"
        problem = _problem(name, outcome, case)
        if problem:
            raise Defect(f"{name}: {problem}{self._kept(name, case)}")
        return outcome

    def _ask(self, name: str, case: Path) -> dict[str, Any]:
        if self._worker is None or self._worker.poll() is not None:
            self._start()
        worker = self._worker
        assert worker is not None
        assert worker.stdin is not None
        assert worker.stdout is not None
        warm = self._root / "sandbox" / "warm" / name
        if name not in self._warmed:
            shutil.rmtree(warm, ignore_errors=True)
            shutil.copytree(self.template(name), warm, symlinks=True)
        wait = SECONDS if name in self._warmed else STARTING
        self._warmed.add(name)
        question = {"reader": name, "folder": str(case), "warm": str(warm)}
        worker.stdin.write(json.dumps(question).encode() + b"\n")
        worker.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(worker.stdout, selectors.EVENT_READ)
            if not selector.select(wait):
                self._stop()
                return {
                    "end": "defect",
                    "message": f"no end after {wait:.0f} s",
                    "seconds": wait,
                    "bytes": 0,
                    "seen": [],
                }
        line = worker.stdout.readline()
        if not line:
            code = worker.wait()
            output = (self._root / "sandbox" / "output").read_text("utf-8", errors="replace")[-2000:]
            self._stop()
            return {
                "end": "defect",
                "message": f"the process ended with {code}: {output}",
                "seconds": 0,
                "bytes": 0,
                "seen": [],
            }
        outcome: dict[str, Any] = json.loads(line)
        if outcome["bytes"] > MEMORY or outcome["end"] == "defect":
            self._stop()  # what it left behind is no later input's
        return outcome

    def _start(self) -> None:
        self._stop()
        sandbox = self._root / "sandbox"
        for name in ("home", "tmp", "case", "warm"):
            (sandbox / name).mkdir(parents=True, exist_ok=True)
        environment = os.environ | {
            "HOME": str(sandbox / "home"),
            "TMPDIR": str(sandbox / "tmp"),
            "MPLCONFIGDIR": str(sandbox / "home" / "matplotlib"),
            "ZOO_DATA": str(sandbox / "home" / "data"),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "ZOO_FUZZ_READABLE": str(self._readable or ""),
        }
        for name in ("ZOO_DEBUG", "ZOO_DISABLE_PLUGINS", "ZOO_STRICT_PLUGINS", "DISENTANGLEMENT_LIB_DATA"):
            environment.pop(name, None)
        command = [sys.executable, "-m", self._module, str(sandbox)]
        self._worker = subprocess.Popen(
            command, cwd=sandbox, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def _stop(self) -> None:
        self._warmed.clear()
        if self._worker is not None:
            self._worker.kill()
            self._worker.communicate()
            self._worker = None

    def _kept(self, name: str, case: Path) -> str:
        if self.keep is None:
            return ""
        kept = self.keep / f"{name}-{self.inputs[name]}"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(case, kept, symlinks=True, ignore_dangling_symlinks=True)
        return f" [the input is in {kept}]"


def _problem(name: str, outcome: dict[str, Any], case: Path) -> str:
    """What is wrong with how a read ended, or nothing."""
    if outcome["end"] == "defect":
        return f"{outcome['message']}\n{outcome.get('traceback', '')}"
    if outcome["seen"]:
        return f"it did what no reader may do: {outcome['seen']}"
    if outcome["seconds"] > SECONDS:
        return f"it took {outcome['seconds']:.1f} s"
    if outcome["bytes"] > MEMORY:
        return f"it took {outcome['bytes'] >> 20} MiB"
    if outcome["end"] == "refused":
        message = outcome["message"]
        reader = READERS[name]
        if not message.isprintable() or not message:
            return f"the message is not one line of text: {message!r}"
        if len(message.replace(str(case), "")) > (reader.longest or LONGEST):
            return f"the message has {len(message)} characters: {message}"
        if reader.names_file and str(case) not in message:
            return f"the message does not name the file: {message}"
    return ""
