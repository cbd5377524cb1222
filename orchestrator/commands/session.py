"""A command's conversation with an app's agent: work asked for, progress shown, questions put to the person."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.agent.client import AgentGoneError, Client, Dropped, Event, Listener, Message, Output
from orchestrator.agent.protocol import AgentError
from orchestrator.commands import ask
from orchestrator.commands.overview import state_of
from orchestrator.commands.progress import Progress
from orchestrator.engine.errors import BadInputError, PinoctlError, advice
from orchestrator.places.choosing import HOST, place_of
from orchestrator.state.app_state import AppState, Phase

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from orchestrator.engine.home import Home
    from orchestrator.places.place import Place

Work = Callable[[Client, Listener], dict[str, Any]]
BAD_INPUT = frozenset({"BadInputError"})


@dataclass
class Session:
    """Talk to the agent of one app, started if there is none; use as a context manager.

    Questions that scripts ask are put to the person where there is one: over a connection of their own, so that the
    output which arrives meanwhile waits in the first.
    """

    home: Home
    app: str
    quiet: bool = False
    place: Place | None = None
    client: Client = field(init=False)
    progress: Progress = field(init=False)
    _asking: Client | None = field(init=False, default=None)

    def __enter__(self) -> Self:
        self.progress = Progress(self.app, quiet=self.quiet)
        if self.place is None:
            self.place = place_of(self.home, self.app, say=self.progress.line)
        self.client = self.place.spawn(self.app)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        if self._asking is not None:
            self._asking.close()

    @property
    def at(self) -> Place:
        """The place that the app lives in."""
        assert self.place is not None  # noqa: S101  # `__enter__` came first
        return self.place

    def state(self) -> AppState:
        """Return the app's state now."""
        return state_of(self.client.status()) or AppState()

    def ready(self) -> bool:
        """Tell whether the app is up at this moment."""
        return self.state().phase is Phase.READY

    def busy(self) -> bool:
        """Tell whether somebody else's command is installing or starting the app at this moment."""
        return self.state().phase in {Phase.INSTALLING, Phase.STARTING}

    def lent(self) -> dict[str, str] | None:
        """Return the user's variables that an agent has to be given, as it is not one of the user's processes."""
        from orchestrator.commands.building import brought  # noqa: PLC0415  # only for containers

        return brought() if self.at.name != HOST else None

    def do(self, work: Work) -> dict[str, Any]:
        """Ask for a piece of work and show what happens until it is done; raises PinoctlError."""
        try:
            self._attach()
            return self.at.seen(self.app, work(self.client, self._listen))
        except AgentError as error:
            hint = advice(error.hint, self.app)
            if error.kind in BAD_INPUT:
                raise BadInputError(str(error), hint=hint) from error
            raise PinoctlError(str(error), hint=hint) from error
        except AgentGoneError as error:
            raise PinoctlError(
                f"the agent of `{self.app}` ended before it was done",
                hint=f"`pinoctl up {self.app}` goes on from the last finished step, "
                f"`pinoctl logs {self.app}` shows what happened",
            ) from error
        finally:
            self.progress.fresh_line()

    def _attach(self) -> None:
        if self._asking is None and ask.can_ask():
            self._asking = self.at.find(self.app)
            for waiting in self._asking.attach() if self._asking is not None else ():
                self._ask(waiting)

    def _listen(self, message: Message) -> None:
        if isinstance(message, Output):
            self.progress.take({"output": message.text})
        elif isinstance(message, Dropped):
            self.progress.take({"dropped": message.messages})
        elif isinstance(message, Event):
            if message.kind == "question" and self._asking is not None:
                self._ask(message.data)
            else:
                self.progress.take({"event": message.kind, "data": message.data})

    def _ask(self, waiting: Mapping[str, Any]) -> None:
        self.progress.fresh_line()
        form = waiting.get("form")
        answers = ask.ask_person(form if isinstance(form, Mapping) else {})
        if self._asking is None:
            return
        with contextlib.suppress(AgentError):  # somebody else was quicker, or the script was stopped meanwhile
            self._asking.answer(str(waiting.get("id")), answers or {})
