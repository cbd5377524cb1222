"""The host as a place: the folders of the home."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.engine.errors import BadInputError

if TYPE_CHECKING:
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
