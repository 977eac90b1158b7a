"""What a person types: words, the environment's variables, command lines."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

from tests.fuzz.readers.runs import build_run


def build_words(folder: Path) -> None:
    (folder / "words.json").write_text(json.dumps({"model": "ibgan", "dataset": "dsprites", "words": ["seed=3"]}))


def read_words(folder: Path) -> None:
    """`--set` and names, as the command line hands them on."""
    from zoo.config import resolve_config
    from zoo.errors import ZooError
    from zoo.registry import default_registry

    asked = json.loads((folder / "words.json").read_text())
    try:
        config = resolve_config(
            default_registry(), asked["model"], asked["dataset"], preset=asked.get("preset"), words=asked["words"]
        )
    except ZooError as error:
        raise ZooError(f"{folder}: {error}") from error
    assert config.rows()


def build_environment(folder: Path) -> None:
    (folder / "environment.json").write_text(json.dumps({"ZOO_DISABLE_PLUGINS": "ibgan"}))


def read_environment(folder: Path) -> None:
    """The variables that plugins are switched off with; every name is still listed or told as unknown."""
    from zoo.errors import UnknownNameError
    from zoo.plugins import PluginManager
    from zoo.registry import Registry
    from zoo.specs import KINDS, ModelSpec

    variables = json.loads((folder / "environment.json").read_text())
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        registry = Registry(PluginManager.from_environment())
        for kind in KINDS:
            registry.names(kind)
        try:
            registry.spec(ModelSpec, "ibgan")
        except UnknownNameError:
            assert {"ibgan", "*"} & {name.strip() for name in os.environ["ZOO_DISABLE_PLUGINS"].split(",")}
    finally:
        os.environ.clear()
        os.environ.update(before)


def build_command(folder: Path) -> None:
    build_run(folder)
    (folder / "command.json").write_text(json.dumps(["list", "models"]))


def read_command(folder: Path) -> None:
    """`zoo WORDS` in this process, in a folder of its own. Raises AssertionError for an ending that may not be."""
    import contextlib
    import sys

    import zoo.cli
    from zoo.registry import use_registry

    words = json.loads((folder / "command.json").read_text())
    out, err = io.StringIO(), io.StringIO()
    before, place = Path.cwd(), folder / "place"
    place.mkdir(exist_ok=True)
    os.chdir(place)
    commands = dict(zoo.cli.cli.commands)
    use_registry(None)
    zoo.cli.cli._asked_plugins = False  # type: ignore[attr-defined]  # each command line begins afresh
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = zoo.cli.run([os.fsdecode(os.fsencode(word)) for word in words])
    finally:
        os.chdir(before)
        zoo.cli.cli.commands.clear()
        zoo.cli.cli.commands.update(commands)
    told = err.getvalue()
    sys.stderr.write(told)
    errors = [line for line in told.splitlines() if line.startswith("error: ")]
    assert code in (0, 1, 2, 130), (code, told)
    assert "Traceback" not in told
    assert "(ZOO_DEBUG=1 shows where)" not in told, told
    assert (code == 0 and not errors) or errors or not words or "Usage:" in told, (code, told)
    assert all(line.isprintable() for line in told.splitlines()), told
    assert all(len(line.replace(str(folder), "")) < 2100 for line in told.splitlines()), told
