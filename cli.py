"""The `pinoctl` command: a table of commands, each loaded only when it is called."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

import click

from orchestrator import __version__

# name → (module, attribute, one-line help); the help is here so that `pinoctl --help` loads none of the modules
COMMANDS: dict[str, tuple[str, str, str]] = {
    "up": ("orchestrator.commands.up", "up", "Install an app if needed, start it and print its URL"),
    "down": ("orchestrator.commands.down", "down", "Stop an app and everything it started"),
    "restart": ("orchestrator.commands.down", "restart", "Stop an app and start it again"),
    "status": ("orchestrator.commands.status", "status", "Show apps, their state, URL and use of the machine"),
    "ps": ("orchestrator.commands.status", "ps", "The same as `status`"),
    "logs": ("orchestrator.commands.logs", "logs", "Show what an app printed"),
    "open": ("orchestrator.commands.open", "open_", "Print the URL of a running app"),
    "run": ("orchestrator.commands.run", "run", "Run one script of an app under its agent"),
    "menu": ("orchestrator.commands.menu", "menu", "Show what an app's launcher offers"),
    "update": ("orchestrator.commands.update", "update", "Update an app; a failed update changes nothing"),
    "reset": ("orchestrator.commands.reset", "reset", "Run an app's own reset script"),
    "rm": ("orchestrator.commands.rm", "rm", "Remove an app"),
    "shell": ("orchestrator.commands.shell", "shell", "Open a shell inside an app's environment"),
    "env": ("orchestrator.commands.env", "env", "Show or set an app's variables"),
    "script": ("orchestrator.commands.script", "script", "Run a single script, for programs and tests"),
}


class LazyGroup(click.Group):
    """Load a command's module when the command is used, so that start-up stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, and say what is near when there is none of that name."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib  # noqa: PLC0415  # only needed on a mistake
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            if near:
                error.message += f" Did you mean `{near[0]}`?"
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", prog_name="pinoctl")
def pinoctl() -> None:
    """Run Pinokio AI apps headless: from a launcher to a URL with one command.

    Everything lives in PINOCTL_HOME (default: `~/pinokio`). Exit status: 0 done, 1 failed, 2 bad input, 130 interrupted.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    sys.exit(invoke(arguments))


def invoke(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0 for success, 1 for a failure, 2 for bad input, 130 for an interrupt."""
    from orchestrator.commands.output import report  # noqa: PLC0415  # after click has decided that something runs
    from orchestrator.engine.errors import PinoctlError  # noqa: PLC0415
    try:
        result: Any = pinoctl.main(list(arguments) if arguments is not None else None, prog_name="pinoctl", standalone_mode=False)
    except PinoctlError as error:
        report(error)
        return error.exit_status
    except click.exceptions.Abort:
        report("interrupted")
        return 130
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except KeyboardInterrupt:
        report("interrupted")
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader has gone: nothing is left to say, and nobody to say it to
        return 1
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    main()
