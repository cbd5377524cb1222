"""A folder from which `docker build` makes an app's image without pinoctl: the base, the launcher, one RUN per step."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator.engine.errors import BadInputError
from orchestrator.lock import pinning
from orchestrator.places.container import base_image, code, launcher
from orchestrator.places.container.finish import NO_SUDO, SUDOERS
from orchestrator.places.container.reading import read_launcher

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.engine.hardware import HardwareProfile
    from orchestrator.engine.home import Home
    from orchestrator.lock.lock import Lock

PINS: Final = Path("/opt/pinoctl/pins")
MACHINE: Final = "hardware.json"  # among them; the installation looks for it there
MARK: Final = "# Written by `pinoctl export dockerfile`"
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CACHES: Final = "--mount=type=cache,target=/data/cache,uid=1000,gid=1000"


ONLY_BUILDKIT: Final = (
    "# Docker without BuildKit stops here and says so, not when all else is done: install its plugin buildx.\n"
    "RUN --mount=type=tmpfs,target=/tmp true\n"
)


def export_folder(
    home: Home,
    app: str,
    into: Path,
    *,
    held: Lock | None,
    start: str | None,
    profile: HardwareProfile,
    answers: Mapping[str, Any],
) -> None:
    """Write the folder: Dockerfile, base files, pinoctl's code, the launcher, what holds it to a machine and a lock.

    An older export is replaced; raises BadInputError for a folder with anything else in it.
    """
    if into.exists() and not _is_ours(into):
        raise BadInputError(f"`{into}` is there already, and is no export", hint="name another folder with `--output`")
    reading = read_launcher(home, app, profile)
    base = base_image.choose(profile, source_build=reading.source_build, torch_cuda=reading.cuda, start=start)
    shutil.rmtree(into, ignore_errors=True)
    for name, (content, mode) in base_image.files().items():
        if name != "Dockerfile":
            _write(into / name, content, mode)
    for name, content in code.files():
        _write(into / "code" / name, content, 0o644)
    with launcher.packed(home.app(app), reading.files, app) as archive:
        (into / "launcher.tar").write_bytes(archive.read())
    _write(into / "answers.json", json.dumps(dict(answers), indent=1, sort_keys=True).encode(), 0o644)
    # a build has no card, and scripts that ask for one have to go the way that they went here
    machine = json.dumps(profile.to_json(), indent=1, sort_keys=True).encode()
    _write(into / "pins" / MACHINE, machine, 0o644)
    if held is not None:
        for name, text in pinning.files(held, PINS).items():
            _write(into / "pins" / name, text.encode(), 0o755 if text.startswith("#!") else 0o644)
        variables = pinning.environment(held, PINS, path=PATH, uv=base_image.uv_version())
    else:
        variables = {}
    lines = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(variables.items()))
    _write(into / "pins" / "env.sh", lines.encode(), 0o644)
    install = reading.plan.roles.get("install")
    steps = reading.texts.count(f"{app}/{install}") if install else 0
    text = dockerfile_text(base_image.files()["Dockerfile"][0].decode(), app, start=base.start, steps=steps)
    _write(into / "Dockerfile", text.encode(), 0o644)


def dockerfile_text(base: str, app: str, *, start: str, steps: int) -> str:
    """Return the Dockerfile: that of the base image, then the app, one RUN for each step of its install script."""
    begun = base.replace("ARG BASE=debian:12.11-slim", f"ARG BASE={start}", 1)
    begun = begun.replace("\nFROM ${BASE}\n", f"\nFROM ${{BASE}}\n{ONLY_BUILDKIT}", 1)
    runs = [_run(f"--until {step}") for step in range(1, steps)] + [_run("")]
    return (
        f"{MARK}; `docker build .` makes the image of `{app}`.\n{begun}\n"
        "# The app: pinoctl's code, the launcher, and what holds the build to its lock.\n"
        f"ENV PINOCTL_APP={app}\n"
        "COPY --chown=1000:1000 code/ /opt/pinoctl/code/\n"
        "COPY --chown=1000:1000 pins/ /opt/pinoctl/pins/\n"
        "COPY --chown=1000:1000 answers.json /pinokio/installed/answers.json\n"
        "ADD --chown=1000:1000 launcher.tar /pinokio/api/\n"
        "\n# Each RUN goes on where the one before stopped.\n" + "\n".join(runs) + "\n"
        "\n# Only what installs an app may become root.\n"
        f"USER root\nRUN echo '{NO_SUDO.strip()}' > {SUDOERS}\nUSER pinokio\n"
    )


def _run(until: str) -> str:
    return (
        f"RUN {CACHES} . /opt/pinoctl/pins/env.sh && PYTHONPATH=/opt/pinoctl/code /opt/pinoctl/venv/bin/python"
        f" -m orchestrator.agent.container install {until} --answers /pinokio/installed/answers.json".rstrip()
    )


def _is_ours(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    file = folder / "Dockerfile"
    return not any(folder.iterdir()) or (file.is_file() and file.read_text("utf-8", "replace").startswith(MARK))


def _write(path: Path, content: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
