"""What is done when a guard says stop: the app is stopped, or the machine where its provider lets us."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from orchestrator.engine.errors import BadInputError, PinoctlError
from orchestrator.expose.guard.durations import rough

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from orchestrator.expose.guard.states import Verdict

What = Literal["app", "machine"]
CHOICES: Final[tuple[What, ...]] = ("app", "machine")


class NotAllowedError(PinoctlError):
    """The provider cannot be asked to stop the machine from here: it has no such call, or no token allows it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Say what was stopped, why, and what was not although it should have been (`problem`, "" if nothing)."""

    stopped: What
    reason: str
    problem: str = ""

    def __str__(self) -> str:
        # What went wrong comes first: whoever reads on a narrow terminal reads that.
        thing = "the machine" if self.stopped == "machine" else "the app"
        return (f"{self.problem}; " if self.problem else "") + f"{thing} was stopped: {self.reason}"


def choice(text: str) -> What:
    """Read what is to be stopped; raises BadInputError."""
    for known in CHOICES:
        if text == known:
            return known
    raise BadInputError(f"cannot stop `{text}`", hint="Say `app` or `machine`")


def warning(app: str, verdict: Verdict, what: What = "app") -> str:
    """Write the warning as one sentence, for the terminal, the journal, status and the gate's pages."""
    thing = f"`{app}`" if what == "app" else f"the machine that `{app}` runs on"
    if verdict.kind == "stop":
        return f"{thing} is being stopped: {verdict.reason}"
    keep = "" if verdict.reason.startswith("running ") else "; any use keeps it"
    return f"{thing} will be stopped in {rough(verdict.seconds_left)}: {verdict.reason}{keep}"


def failure(app: str, verdict: Verdict, why: str, what: What = "app") -> str:
    """Write as one sentence that a stop which was due failed, and what goes on for that."""
    thing = f"`{app}` still runs" if what == "app" else "the machine still runs and costs money"
    return f"{thing}, though it was to be stopped ({verdict.reason}): {why}; pinoctl tries again"


async def finish(
    what: What,
    verdict: Verdict,
    *,
    stop_apps: Callable[[], Awaitable[None]],
    stop_machine: Callable[[], Awaitable[None]] | None,
) -> Outcome:
    """Stop the app, and then the machine if that was asked for and its provider lets us.

    `stop_apps` stops the app, or all apps of a machine that is going to be stopped, so that they can save what they
    have; it may be asked again. `stop_machine` asks the provider, None: there is nobody to ask. It raises
    NotAllowedError when asking again is no use; then the app is all that is stopped. Anything else that these raise is
    raised here too, for another try.
    """
    failed: Exception | None = None
    try:
        await stop_apps()
    except Exception as error:
        # An app that does not stop is no reason to go on paying for the machine under it.
        if what == "app":
            raise
        failed = error
    if what == "app":
        return Outcome("app", verdict.reason)
    refused = NotAllowedError("nobody here can be asked to stop it")
    if stop_machine is not None:
        try:
            await stop_machine()
        except NotAllowedError as error:
            refused = error
        else:
            return Outcome(
                "machine", verdict.reason, f"not every app could be stopped before: {failed}" if failed else ""
            )
    if failed is not None:
        raise failed
    hint = f" ({refused.hint})" if refused.hint else ""
    return Outcome(
        "app", verdict.reason, f"the machine still runs and costs money: {refused}{hint}; stop it at its provider"
    )
