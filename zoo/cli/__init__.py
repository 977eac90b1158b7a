"""The command line: words in, one call of the library, data or one clear line out.

`main` is the one place that maps exceptions to messages and exit codes: 0 done, 1 a failure, 2 wrong usage,
128 + N stopped by signal N. `ZOO_DEBUG=1` shows the traceback.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from zoo import terminal
from zoo.cli import convert, data, evaluate, listing, sweep, train
from zoo.errors import ZooError, unknown
from zoo.memory import keep_freed
from zoo.plugins import PluginManager
from zoo.registry import Registry, default_registry, use_registry


class ZooGroup(click.Group):
    """The top group: commands of plugins join it when it is first asked for commands."""

    _asked_plugins = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all command names, those of plugins included."""
        self._ask_plugins(ctx)
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return a command; an unknown name lists the near ones."""
        self._ask_plugins(ctx)
        found = super().get_command(ctx, name)
        if found is None and not ctx.resilient_parsing:
            raise click.UsageError(unknown("command", name, self.commands), ctx)
        return found

    def _ask_plugins(self, ctx: click.Context) -> None:
        if not self._asked_plugins:
            self._asked_plugins = True
            if ctx.params.get("no_plugins"):
                use_registry(Registry(PluginManager.from_environment(no_plugins=True)))
            default_registry().plugins.add_commands(self)


@click.group(cls=ZooGroup, context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
@click.version_option(package_name="ibgan-plugin", prog_name="zoo")
@click.option("--no-plugins", is_flag=True, is_eager=True, help="Load no plugin.")
def cli(no_plugins: bool) -> None:
    """Train, evaluate and look at generative models.

    Try: zoo list models; zoo train ibgan --dataset color_dsprites --preset demo --out runs/demo
    """


for command in (
    listing.list_names,
    listing.plugins,
    train.train,
    evaluate.evaluate,
    sweep.sweep,
    data.data,
    convert.convert,
):
    cli.add_command(command)
BUILT_IN = dict(cli.commands)  # those of plugins join them later


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit."""
    keep_freed()
    code = run(arguments)
    _leave_closed_streams()
    sys.exit(code)


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    try:
        result: Any = cli.main(args=arguments, prog_name="zoo", standalone_mode=False)
        return result if isinstance(result, int) and not isinstance(result, bool) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.UsageError as error:
        message = error.format_message()
        if error.ctx is not None and not message.endswith("?"):
            message = f"{message.removesuffix('.')}; see {error.ctx.command_path} --help"
        return _failed(error, error.exit_code, message)
    except click.ClickException as error:
        return _failed(error, error.exit_code, error.format_message())
    except ZooError as error:
        return _failed(error, error.exit_code, str(error))
    except (KeyboardInterrupt, click.Abort):
        terminal.note("interrupted")
        return 130
    except BrokenPipeError:  # the reader of our stdout went away, as `| head` does
        return 1
    except Exception as error:  # a bug here, or in a plugin: still one line, with the way to the traceback
        return _failed(error, 1, f"{type(error).__name__}: {error} (ZOO_DEBUG=1 shows where)")


def _leave_closed_streams() -> None:
    """Drop what is still to be written to a terminal or a pipe that is gone.

    Python tries once more when it ends, and would exit with 120 in the place of the code that says what happened.
    """
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            try:
                stream.flush()
            except OSError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _failed(error: Exception, code: int, message: str) -> int:
    terminal.trace(error)
    terminal.note("error: " + " ".join(message.split()))
    return code
