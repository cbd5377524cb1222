"""The environment of one engine: the pure assembly fed from files that are read again only when they changed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.engine.environment import dotenv
from orchestrator.engine.environment.assemble import (
    ToolFacts,
    apply_step,
    base_layer,
    resolved,
    template_environment,
)
from orchestrator.engine.environment.files import can_link, make_folders, read_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from orchestrator.engine.home import Home

Stamp = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class _Layers:
    stamps: tuple[Stamp, Stamp]
    facts: ToolFacts
    base: dict[str, str]
    template: dict[str, str]
    folders: dict[str, str]


class Environment:
    """Give shells and templates their variables (spec 8.5, 9.4, 9.5).

    `process` is the environment that the engine was started with, `facts` is asked at every use and has to be quick.
    While no file changed, a call costs a few `stat`s.
    """

    def __init__(self, home: Home, process: Mapping[str, str], facts: Callable[[], ToolFacts] = ToolFacts) -> None:
        self.home = home
        self.process = dict(process)
        self._facts = facts
        self._system_file = str(home.environment)
        self._layers: dict[Path | None, _Layers] = {}
        self._apps: dict[str, Path | None] = {}
        self._linkable: dict[tuple[str, Path], bool] = {}

    def template(self, script: str | os.PathLike[str] | None) -> dict[str, str]:
        """Return what templates of a script see as `env` (9.5); a new dict that the caller may change."""
        return dict(self._read(script).template)

    def shell(
        self,
        script: str | os.PathLike[str] | None,
        step: Mapping[str, Any] | None = None,
        remove: Iterable[str] = (),
        *,
        conda_base: bool = True,
        warn: Callable[[str], None] | None = None,
    ) -> dict[str, str]:
        """Return all variables of a shell (8.5), after creating the folders that ENVIRONMENT files name (9.4).

        `script` is the path of the script, or anything else below its app; the app's file counts only below HOME/api.
        `step` and `remove` are the step's `env` and `-env`. Folders that cannot be made go to `warn`.
        """
        layers = self._read(script)
        for warning in make_folders(layers.folders):
            if warn is not None:
                warn(warning)
        base = layers.base
        app = self._app(script)
        cache = base.get("UV_CACHE_DIR")
        if app is not None and cache and "UV_LINK_MODE" not in base and not self._can_link(cache, app):
            base = {**base, "UV_LINK_MODE": "copy"}
        return apply_step(base, self.home, layers.facts, step, remove, conda_base=conda_base)

    def _can_link(self, cache: str, app: Path) -> bool:
        key = (cache, app)
        if key not in self._linkable:
            self._linkable[key] = can_link(Path(cache), app)
        return self._linkable[key]

    def _app(self, script: str | os.PathLike[str] | None) -> Path | None:
        if script is None:
            return None
        path = os.fspath(script)
        if path not in self._apps:
            self._apps[path] = self.home.app_of(path)
        return self._apps[path]

    def _read(self, script: str | os.PathLike[str] | None) -> _Layers:
        app = self._app(script)
        app_file = _app_file(str(app)) if app else ""
        stamps = (_stamp(self._system_file), _stamp(app_file) if app_file else None)
        facts = self._facts()
        known = self._layers.get(app)
        if known is not None and known.stamps == stamps and known.facts == facts:
            return known
        home = self.home
        system = resolved(dotenv.parse(read_text(home.environment) or ""), str(home.root))
        own = resolved(dotenv.parse(read_text(app_file) or ""), str(app)) if app_file else {}
        layers = _Layers(
            stamps,
            facts,
            base=base_layer(home, self.process, [system, own], facts),
            template=template_environment(home, self.process, system, own, facts),
            folders={name: value for name, value in {**system, **own}.items() if value.startswith("/")},
        )
        self._layers[app] = layers
        return layers


def _app_file(app: str) -> str:
    """Return where an app's ENVIRONMENT is, as `Home.app_root` has it but without its detours."""
    inner = f"{app}/pinokio"
    return f"{inner}/ENVIRONMENT" if os.path.isdir(inner) else f"{app}/ENVIRONMENT"  # noqa: PTH112  # hot path


def _stamp(path: str) -> Stamp:
    try:
        status = os.stat(path)  # noqa: PTH116  # hot path
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
