"""The host as a place: folders of the home, and agents as detached processes."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from orchestrator.engine.errors import BadInputError, PinoctlError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

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

    def app_folder(self, app: str) -> Path:
        """Return the app's folder below `HOME/api` (a link for folders of the user)."""
        return self.home.app(app)

    def log_file(self, app: str) -> Path:
        """Return the file that takes what an agent itself prints, for when it fails to start."""
        return self.home.logs / "agents" / f"{app}.log"

    def start_agent(self, app: str, command: Sequence[str], env: Mapping[str, str]) -> int:
        """Start an app's agent in a session of its own, its output going to `log_file`, and return its process id."""
        log = self.log_file(app)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            try:
                process = subprocess.Popen(
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=self.home.root,
                    env=dict(env),
                    start_new_session=True,
                )
            except OSError as error:
                raise PinoctlError(
                    f"the agent of `{app}` cannot be started: {os.fsdecode(command[0])}: {error.strerror}",
                    hint=f"see `{log}`",
                ) from error
        process.returncode = 0  # it outlives us on purpose, so Popen must not warn that nobody waited for it
        return process.pid
