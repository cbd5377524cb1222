"""Variables for all apps in containers: what the machine's HOME/ENVIRONMENT says is written into the shared volume's.

It stands there between two lines of its own, behind everything else, so that it counts, and goes when it goes here.
Folders that every home names stay the volume's own: those of the machine are not there in containers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from orchestrator.engine.environment import dotenv
from orchestrator.engine.environment.defaults import system_file_text
from orchestrator.engine.environment.files import read_text, write_atomically
from orchestrator.places.container import files, names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.engine.home import Home
    from orchestrator.places.container.docker import Docker

DATA: Final = "/data"
FILE: Final = f"{DATA}/ENVIRONMENT"
USUAL: Final = dotenv.parse(system_file_text())


def bring(docker: Docker, home: Home, container: str) -> None:
    """Have the machine's variables for all apps in the file that containers read; raises PinoctlError.

    The container only shows the volume: it may run or not. The machine gets its file where it has none, to be edited.
    """
    text = read_text(home.environment)
    if text is None:
        text = system_file_text()
        write_atomically(home.environment, text)
    chosen, note = chosen_in(text), home.root / "places" / ".variables"
    if not chosen and not note.exists():
        return  # nothing was ever brought, which needs no look into the volume
    note.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    note.touch()
    found = files.read(docker, container, FILE)
    before = dotenv.decode(found) if found is not None else None
    after = merged(before, chosen, names.home_key(home))
    if after is not None and after != before:
        files.write(docker, container, FILE, after.encode(), below=DATA, mode=0o600)
    if not chosen:
        note.unlink(missing_ok=True)


def chosen_in(text: str) -> dict[str, str]:
    """Return the variables of a HOME/ENVIRONMENT that somebody set, without the folders that every home names."""
    return {
        name: value
        for name, value in dotenv.parse(text).items()
        if value != USUAL.get(name) and not USUAL.get(name, "").startswith("./")
    }


def merged(text: str | None, chosen: Mapping[str, str], home: str) -> str | None:
    """Return the volume's file with what was chosen on the machine, in place of what was chosen there before.

    `text` is None while there is no file: then it stays so where nothing was chosen, for the agent to make it. `home`
    is the home's key; other homes may share the volume.
    """
    first, last = f"# From the ENVIRONMENT of the home {home}, where it is changed", f"# So far that of {home}"
    lines = "".join(f"{name}={dotenv.quote(value)}\n" for name, value in chosen.items())
    if text is None:
        return f"{system_file_text()}\n{first}\n{lines}{last}\n" if chosen else None
    rest = re.sub(rf"\n*^{first}\n.*?^{last}\n?", "\n", text, flags=re.DOTALL | re.MULTILINE)
    return f"{rest.rstrip()}\n\n{first}\n{lines}{last}\n" if chosen else rest
