"""The host as a place: the folders of the home, an agent per app as a process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.engine.errors import BadInputError, PinoctlError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.agent.client import Client
    from orchestrator.engine.home import Home


class HostPlace:
    """Be the machine that pinoctl runs on."""

    name = "host"

    def __init__(self, home: Home) -> None:
        self.home = home

    def prepare(self) -> None:
        """Create the home and its folders; raise BadInputError when the home cannot be written."""
        home = self.home
        try:
            for folder in (home.api, home.bin, home.cache, home.drive, home.logs, home.run):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise BadInputError(
                f"the Pinokio home `{home.root}` cannot be used: `{error.filename}`: {why}",
                hint="set `PINOCTL_HOME` to a folder that you may write to",
            ) from error
        self.home.run.chmod(0o700)  # sockets and locks are nobody else's

    def spawn(self, app: str) -> Client:
        """Return a connection to the app's agent, a process that is started if need be."""
        from orchestrator.agent.spawn import spawn  # noqa: PLC0415  # not needed to look at a home

        return spawn(self.home, app)

    def leave(self, app: str) -> None:
        """Do nothing: an agent on the host that has nothing to do ends by itself."""

    def find(self, app: str, *, timeout: float = 10.0) -> Client | None:
        """Connect to the app's agent, None when it has none."""
        from orchestrator.agent.spawn import find  # noqa: PLC0415  # see above

        return find(self.home, app, timeout=timeout)

    def stop(self, app: str) -> bool:
        """Stop the app with its agent; False when it had none."""
        from orchestrator.agent.stopping import stop  # noqa: PLC0415  # see above

        return stop(self.home, app)

    def status(self, app: str, *, timeout: float = 1.0) -> dict[str, Any] | None:
        """Return what the app's agent says, None without one, `{}` when it does not answer in time."""
        try:
            client = self.find(app, timeout=timeout)
            if client is None:
                return None
            with client:
                return client.status()
        except (PinoctlError, OSError):
            return {}

    def mirror_logs(self, app: str) -> None:
        """Do nothing: agents on the host write where they are read."""

    def seen(self, app: str, answer: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer as it is."""
        del app
        return dict(answer)

    def reachable(self, app: str, text: str) -> str:
        """Return the text as it is."""
        del app
        return text
