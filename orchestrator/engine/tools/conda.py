"""The base conda: a contract, and Miniforge behind it (spec 12.1, 12.3; design, decision 10).

It is installed when a script really uses conda, never before. The real installer was not run where this was written,
since GitHub could not be reached there; the tests serve a stand-in that makes a real environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from orchestrator.engine.environment.config_files import BASE_PYTHON
from orchestrator.engine.errors import PinoctlError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orchestrator.engine.home import Home

VERSION: Final = "26.3.2-3"
RELEASES: Final = "https://github.com/conda-forge/miniforge/releases/download"
_CHUNK: Final = 1 << 16


class Conda(Protocol):
    """Be a base conda: `install` makes it usable, `present` says whether it is, `root` is its folder."""

    @property
    def root(self) -> Path:
        """Folder of the base environment; `root/bin/conda` is the command."""

    def present(self) -> bool:
        """Tell whether it is installed completely; costs a `stat` or two."""

    async def install(self) -> list[str]:
        """Install it unless it is there; returns warnings, raises PinoctlError."""


class Miniforge:
    """Install Miniforge into HOME/bin/miniforge, with the desktop's Python in base.

    `url` is the installer's, `sha256` its checksum (None: the file `<url>.sha256` beside it, as the project publishes
    it). `finish` are commands run in it afterwards, as arguments of `conda`.
    """

    def __init__(
        self,
        home: Home,
        process: Mapping[str, str],
        *,
        url: str | None = None,
        sha256: str | None = None,
        finish: Sequence[Sequence[str]] | None = None,
    ) -> None:
        self.home = home
        self.url = url or installer_url(platform.machine())
        self.sha256 = sha256
        self._process = process
        self._finish = [["install", "-y", "-n", "base", f"python={BASE_PYTHON}"]] if finish is None else finish
        self._command = str(home.miniforge / "bin" / "conda")
        self._unfinished = str(
            home.bin / ".miniforge-unfinished"
        )  # conda writes its place into its files, so no renaming

    @property
    def root(self) -> Path:
        """Folder of the base environment."""
        return self.home.miniforge

    def present(self) -> bool:
        """Tell whether conda is there, and not just half of it."""
        return os.path.exists(self._command) and not os.path.exists(self._unfinished)  # noqa: PTH110  # asked per step

    async def install(self) -> list[str]:
        """Fetch, check and run the installer unless conda is there; a half installation is removed first.

        Returns a warning for each command of `finish` that failed; conda can be used all the same.
        """
        return [] if self.present() else await asyncio.to_thread(self._install)

    def _install(self) -> list[str]:
        self.home.bin.mkdir(parents=True, exist_ok=True)
        with _locked(self.home.bin / ".miniforge.lock"):
            if self.present():
                return []
            installer = self.home.cache / "installers" / self.url.rsplit("/", 1)[-1]
            download(self.url, installer, self.sha256 or _published_checksum(self.url))
            Path(self._unfinished).touch()
            shutil.rmtree(self.root, ignore_errors=True)
            problem = self._run(["bash", str(installer), "-b", "-p", str(self.root)])
            if problem or not Path(self._command).exists():
                raise PinoctlError(
                    f"conda could not be installed: {problem or 'its installer left no `conda`'}",
                    hint=f"run it again, or install Miniforge into `{self.root}` yourself",
                )
            warnings = [problem for arguments in self._finish if (problem := self._run([self._command, *arguments]))]
            alias = self.home.bin / "miniconda"
            if not os.path.lexists(alias):
                alias.symlink_to("miniforge")  # what older launchers call it (spec 1.1)
            Path(self._unfinished).unlink()
            installer.unlink(missing_ok=True)
            return warnings

    def _run(self, command: Sequence[str]) -> str:
        """Run a command to its end; return what went wrong, "" if nothing did."""
        env = {name: value for name, value in self._process.items() if not name.startswith(("CONDA", "PYTHON", "_CE_"))}
        env |= {"CONDARC": str(self.home.root / "condarc"), "CONDA_AUTO_ACTIVATE_BASE": "false"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, errors="replace", check=False)
        lines = (done.stderr or done.stdout).strip().splitlines()
        return f"`{' '.join(command)}` failed: {lines[-1] if lines else 'it said nothing'}" if done.returncode else ""


def installer_url(machine: str) -> str:
    """Return where Miniforge's installer for a machine (`x86_64`, `aarch64`) is."""
    return f"{RELEASES}/{VERSION}/Miniforge3-{VERSION}-Linux-{machine}.sh"


def _published_checksum(url: str) -> str:
    import requests  # noqa: PLC0415  # takes 40 ms to import, and few scripts use conda

    try:
        answer = requests.get(f"{url}.sha256", timeout=30)
        answer.raise_for_status()
    except requests.RequestException as error:
        raise _unreachable(url, error) from error
    return answer.text.split()[0].lower() if answer.text.split() else ""


def download(url: str, target: Path, sha256: str) -> None:
    """Fetch a file, going on where an earlier attempt stopped, and check it; a file that fails the check is removed.

    Raises PinoctlError.
    """
    import requests  # noqa: PLC0415  # as above

    part = target.with_name(f"{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and _digest(target) == sha256:
        return
    have = part.stat().st_size if part.exists() else 0
    try:
        with requests.get(url, headers={"Range": f"bytes={have}-"} if have else {}, stream=True, timeout=30) as answer:
            if (
                answer.status_code != requests.codes.requested_range_not_satisfiable
            ):  # then the part is the whole already
                answer.raise_for_status()
                mode = "ab" if answer.status_code == requests.codes.partial_content else "wb"
                with part.open(mode) as file:
                    for chunk in answer.iter_content(_CHUNK):
                        file.write(chunk)
    except requests.RequestException as error:
        raise _unreachable(url, error) from error
    found = _digest(part)
    if found != sha256:
        part.unlink()
        raise PinoctlError(
            f"`{url}` arrived damaged: its checksum is {found}, not {sha256 or 'known'}", hint="run the command again"
        )
    part.replace(target)


def _unreachable(url: str, error: Exception) -> PinoctlError:
    return PinoctlError(
        f"conda, which this script uses, cannot be fetched from `{url}`: {error}",
        hint="check the network, or install Miniforge into HOME/bin/miniforge yourself",
    )


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        with contextlib.suppress(OSError):  # network file systems without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
