"""The `pinoctl` command: a table of commands, each loaded only when it is called."""

from __future__ import annotations

import importlib
import re
import sys
from typing import TYPE_CHECKING, Any

import click

from orchestrator import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.engine.errors import PinoctlError

# name → (module, attribute, one-line help); the help is here so that `pinoctl --help` loads none of the modules
COMMANDS: dict[str, tuple[str, str, str]] = {
    "up": ("orchestrator.commands.up", "up", "Install an app if needed, start it and print its URL"),
    "down": ("orchestrator.commands.down", "down", "Stop an app and everything it started"),
    "restart": ("orchestrator.commands.down", "restart", "Stop an app and start it again"),
    "status": ("orchestrator.commands.status", "status", "Show apps, their state, URL and use of the machine"),
    "ps": ("orchestrator.commands.status", "ps", "The same as `status`"),
    "logs": ("orchestrator.commands.logs", "logs", "Show what an app printed"),
    "open": ("orchestrator.commands.open", "open_", "Print the URL of a running app"),
    "expose": ("orchestrator.commands.expose", "expose", "Give an app an address beyond this machine"),
    "hide": ("orchestrator.commands.expose", "hide", "Take an app's address beyond this machine away"),
    "share": ("orchestrator.commands.share", "share", "Make a link that lets others use an app"),
    "shares": ("orchestrator.commands.share", "shares", "List the links that were made"),
    "revoke": ("orchestrator.commands.share", "revoke", "Take a link back, or everything that opens an app"),
    "people": ("orchestrator.commands.people", "people", "Let people enter with a name and a password"),
    "gate": ("orchestrator.commands.gate", "gate", "Show what is exposed, and who came"),
    "run": ("orchestrator.commands.run", "run", "Run one script of an app under its agent"),
    "menu": ("orchestrator.commands.menu", "menu", "Show what an app's launcher offers"),
    "search": ("orchestrator.commands.search", "search", "Find apps in the catalogues"),
    "info": ("orchestrator.commands.info", "info", "Show what is known of an app"),
    "list": (
        "orchestrator.commands.search",
        "list_",
        "List the apps of the catalogues, or those that fit this machine",
    ),
    "catalog": ("orchestrator.commands.catalog", "catalog", "Add catalogues and apps of your own"),
    "plan": ("orchestrator.commands.plan", "plan", "Show what an app would do here, without executing any of it"),
    "build": ("orchestrator.commands.build", "build", "Build an app's image, with a lock of what is in it"),
    "image": ("orchestrator.commands.image", "image", "Build, list, remove and push images"),
    "export": ("orchestrator.commands.export", "export", "Write a Compose project or a Dockerfile for apps"),
    "rollback": ("orchestrator.commands.update", "rollback", "Go back to the image from before the last update"),
    "update": ("orchestrator.commands.update", "update", "Update an app; a failed update changes nothing"),
    "reset": ("orchestrator.commands.reset", "reset", "Run an app's own reset script"),
    "rm": ("orchestrator.commands.rm", "rm", "Remove an app"),
    "shell": ("orchestrator.commands.shell", "shell", "Open a shell inside an app's environment"),
    "doctor": ("orchestrator.commands.doctor", "doctor", "Check what this machine has for running apps"),
    "host": ("orchestrator.commands.host", "host", "Show which cloud or machine this is, and what follows from it"),
    "env": ("orchestrator.commands.env", "env", "Show or set an app's variables"),
    "script": ("orchestrator.commands.script", "script", "Run a single script, for programs and tests"),
}


# what the exit status of every command means; `shell APP -- COMMAND` has the command's own
EXIT_STATUS: dict[int, str] = {
    0: "done",
    1: "failed: a script, an app or this machine; the message says what to do",
    2: "bad input: a name, an option or a file that was given",
    129: "ended by SIGHUP, like 143",
    130: "interrupted with Ctrl-C",
    141: "whoever read the output went away",
    143: "ended by SIGTERM",
}


class LazyGroup(click.Group):
    """Load a command's module when the command is used, so that start-up stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        """Return the names of all commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002  # as above
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, and say what is near when there is none of that name."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib  # noqa: PLC0415  # only needed on a mistake

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            if near:
                text = f"{error.message} Did you mean `{near[0]}`?"
                raise click.UsageError(text, ctx) from error
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; settle a reader of its output that went away before click sees it, which exits with 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            from orchestrator.commands.output import gone  # noqa: PLC0415  # rarely needed

            gone()
            return 141

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  # as above
        """List the commands without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", prog_name="pinoctl")
def pinoctl() -> None:
    """Run Pinokio AI apps headless: from a launcher to a URL with one command.

    Everything lives in PINOCTL_HOME (default: `~/pinokio`). Exit status:
    0 done, 1 failed, 2 bad input, 130 interrupted.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    sys.exit(invoke(arguments))


def invoke(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status (EXIT_STATUS)."""
    from orchestrator.commands.output import report  # noqa: PLC0415  # after click has decided that something runs
    from orchestrator.engine.errors import PinoctlError  # noqa: PLC0415

    try:
        result: Any = pinoctl.main(
            list(arguments) if arguments is not None else None, prog_name="pinoctl", standalone_mode=False
        )
    except (click.exceptions.Abort, KeyboardInterrupt):
        report("interrupted")
        return 130
    except (PinoctlError, click.ClickException, OSError) as caught:
        error = worded(caught)
        report(error)
        return error.exit_status
    return result if isinstance(result, int) else 0


def worded(error: PinoctlError | click.ClickException | OSError) -> PinoctlError:
    """Word errors of click and of the operating system as ours are."""
    from orchestrator.commands.output import unusable  # noqa: PLC0415  # only on a mistake

    if isinstance(error, click.ClickException):
        return usage_error(error)
    return unusable(error) if isinstance(error, OSError) else error


def usage_error(error: click.ClickException) -> PinoctlError:
    """Word an error of click's as ours are."""
    from orchestrator.engine.errors import BadInputError  # noqa: PLC0415  # only on a mistake

    text = error.format_message().rstrip(".")
    context = getattr(error, "ctx", None)
    return BadInputError(
        re.sub(r"'([^'\n]*)'", r"`\1`", text[:1].lower() + text[1:]),
        hint=f"`{context.command_path if context else 'pinoctl'} --help` shows what there is",
    )


if __name__ == "__main__":
    main()
