"""The errors that end a script, a request or a command with one clear message."""

from __future__ import annotations

import re


def advice(hint: str | None, app: str) -> str | None:
    """Return a hint with the app's name in the commands that it shows."""
    return re.sub(r"(`pinoctl \w+ )APP\b", lambda found: found[1] + app, hint) if hint else None


class PinoctlError(Exception):
    """Say what went wrong, why, and what to do next.

    `hint` is one sentence that tells the user what to do; it is shown on a line of its own.
    """

    exit_status = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class BadInputError(PinoctlError):
    """Report something wrong in what the user gave: a name, a path, an option, a file (exit status 2)."""

    exit_status = 2


class ScriptError(PinoctlError):
    """End a script: a step failed, or cannot be run at all (spec 5.6)."""


class LoadError(ScriptError):
    """Report a script or menu that cannot be loaded (spec 2.1).

    `no_steps` tells of a file that loads and is no script: it has nothing to run.
    """

    def __init__(self, message: str, *, hint: str | None = None, no_steps: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.no_steps = no_steps


class SidecarError(PinoctlError):
    """Report a JavaScript sidecar that died, hung, ran out of memory or was refused something."""


class JavaScriptError(PinoctlError):
    """Carry an exception thrown by JavaScript code.

    `name` is the constructor's name (`TypeError`), `stack` Node's text, `code` Node's error code (`ENOENT`) or None.
    """

    def __init__(self, message: str, *, name: str = "Error", stack: str = "", code: str | None = None) -> None:
        super().__init__(message)
        self.name = name
        self.stack = stack
        self.code = code


class MissingAnswersError(ScriptError):
    """List the answers that a script needs and nobody gave.

    `missing` maps each key to its title.
    """

    def __init__(self, missing: dict[str, str], *, where: str) -> None:
        listing = ", ".join(
            f"`{key}` ({title})" if title and title != key else f"`{key}`" for key, title in missing.items()
        )
        example = next(iter(missing), "key")
        super().__init__(
            f"{where} needs answers that were not given: {listing}",
            hint=f"give them with `--answer {example}=VALUE` or `--answers FILE`",
        )
        self.missing = missing
