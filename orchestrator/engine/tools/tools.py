"""The tools of one home and its host: setting up the base environment, and what shells have to know about it."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import TYPE_CHECKING

from orchestrator.engine.environment.assemble import ToolFacts, login_path
from orchestrator.engine.errors import PinoctlError
from orchestrator.engine.tools import base, host, pythons
from orchestrator.engine.tools.conda import Miniforge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from orchestrator.engine.home import Home
    from orchestrator.engine.tools.base import BaseReport
    from orchestrator.engine.tools.conda import Conda
    from orchestrator.engine.tools.host import Missing
    from orchestrator.engine.tools.pythons import Python

    Fetch = Callable[[Path, Home, Mapping[str, str]], tuple[Python | None, str]]


class Tools:
    """Give shells their tools (spec 12).

    `process` is the environment that the engine was started with, `visible_devices` the GPUs it was given (the value of
    CUDA_VISIBLE_DEVICES, None for all), `conda` how the base conda comes (Miniforge), `fetch` how a managed Python
    does.
    """

    def __init__(
        self,
        home: Home,
        process: Mapping[str, str] | None = None,
        *,
        visible_devices: str | None = None,
        conda: Conda | None = None,
        fetch: Fetch = pythons.fetch_managed,
    ) -> None:
        self.home = home
        self.process = dict(os.environ if process is None else process)
        self.conda: Conda = conda or Miniforge(home, self.process)
        self._fetch = fetch
        path = login_path(self.process)
        self._gxx = shutil.which("g++", path=path)
        self._cuda = host.find_cuda({**self.process, "PATH": path})
        self._certificates = host.has_certificates(self.process)
        self._visible = visible_devices
        self._token = str(home.cache / "HF_AUTH" / "token")
        self._record = str(home.base / base.RECORD)
        self._stamp: int | None = None
        self._managed = True

    async def ensure_base(self, *, rebuild: bool = False) -> BaseReport:
        """Build the base environment if it is not there (see `base.build`); under a millisecond when it is.

        `rebuild` builds it in any case, so that a Python that could not be fetched once is tried again.
        Raises PinoctlError when no Python is fit or the home cannot be written to.
        """
        record = None if rebuild else base.read_record(self.home)
        if record is not None:
            return base.report(record)
        return await asyncio.to_thread(base.build, self.home, self._choose, rebuild=rebuild)

    def _choose(self, uv: Path) -> tuple[Python, str]:
        python, reason = self._fetch(uv, self.home, self.process)
        if python is not None:
            return python, ""
        found = pythons.find_on_host(self.process)
        if found is None:
            raise PinoctlError(
                f"no Python for the base environment: {pythons.WANTED} could not be fetched ({reason}), "
                "and the host has none with `venv` and `ensurepip`",
                hint=pythons.remedy(),
            )
        return found, reason

    def facts(self) -> ToolFacts:
        """Return what the variables of shells depend on; costs a few `stat`s, so it can be asked for every step."""
        conda = self.conda.present()
        cuda = None if conda and os.path.exists(f"{self.conda.root}/bin/nvcc") else self._cuda  # noqa: PTH110  # hot
        return ToolFacts(
            conda=conda,
            gxx=self._gxx,
            cuda_home=cuda,
            managed_python=self._is_managed(),
            system_certs=self._certificates,
            logged_in=os.path.exists(self._token),  # noqa: PTH110  # hot
            visible_devices=self._visible,
        )

    def _is_managed(self) -> bool:
        try:
            stamp = os.stat(self._record).st_mtime_ns  # noqa: PTH116  # hot
        except OSError:
            return True
        if stamp != self._stamp:
            record = base.read_record(self.home)
            self._managed = record is None or bool(record["managed"])
            self._stamp = stamp
        return self._managed

    def missing_commands(self, *, gpu: str | None = None) -> list[Missing]:
        """List what the host lacks of the commands of spec 12.3, with remedies; `gpu` as in a hardware profile."""
        conda = f"{self.conda.root}/bin:" if self.conda.present() else ""
        return host.missing(f"{conda}{self.home.base / 'bin'}:{login_path(self.process)}", gpu=gpu)
