"""`pinoctl doctor`: what this machine has and lacks for running apps, each finding with its remedy."""

from __future__ import annotations

import os
import tempfile
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from orchestrator.commands import output
from orchestrator.commands.options import home_of, home_option, json_option

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from orchestrator.engine.confinement import Layer
    from orchestrator.engine.hardware import Card, HardwareProfile
    from orchestrator.engine.home import Home
    from orchestrator.engine.tools.host import Missing
    from orchestrator.hosts.resources.network import Reach
    from orchestrator.hosts.resources.resources import Resources

OK, WARNING, PROBLEM = "ok", "warning", "problem"
LITTLE_DISK = 10 << 30  # bytes below which most apps with torch cannot be installed
LITTLE_MEMORY = 4 << 30
NEEDED_SERVICES = frozenset({"PyPI", "GitHub"})
NEEDED_COMMANDS = frozenset({"bash", "git"})
STYLES = {OK: "green", WARNING: "yellow", PROBLEM: "red"}


@dataclass(frozen=True, slots=True)
class Check:
    """Say how one thing is: `level` is `ok`, `warning` or `problem`, `remedy` what to do, "" when there is nothing."""

    name: str
    level: str
    text: str
    remedy: str = ""


@click.command()
@click.option("--no-network", is_flag=True, help="Do not ask PyPI, GitHub and the others whether they answer.")
@home_option
@json_option
def doctor(*, no_network: bool, home: Path | None, as_json: bool) -> int:
    """Check what this machine has for running apps: GPU, disk, memory, commands, network, sandbox, Docker.

    Exit status: 0 when there is no problem (warnings do not count), else 1.
    """
    from orchestrator.commands.doctor_docker import look_at_docker  # noqa: PLC0415  # `--help` does without all of this
    from orchestrator.engine.confinement import layers  # noqa: PLC0415
    from orchestrator.engine.hardware import detect, find_cards  # noqa: PLC0415
    from orchestrator.engine.tools import Tools  # noqa: PLC0415
    from orchestrator.hosts.resources.network import look_round  # noqa: PLC0415
    from orchestrator.hosts.resources.resources import detect_resources  # noqa: PLC0415

    where, profile, cards = home_of(home), detect(), find_cards()
    resources = detect_resources(where.root)
    containers, docker = look_at_docker(profile, network=not no_network)
    checks = [
        *gpu_checks(profile, cards),
        *room_checks(resources, where),
        home_check(where),
        *command_checks(Tools(where, dict(os.environ)).missing_commands(gpu=profile.gpu)),
        node_check(),
        port_check(),
        *sandbox_checks(layers()),
        *containers,
        *([] if no_network else network_checks(look_round())),
    ]
    if as_json:
        output.as_json(
            {
                "checks": [asdict(check) for check in checks],
                "hardware": profile.to_json(),
                "gpus": [asdict(card) for card in cards],
                "resources": resources.to_json(),
                "docker": docker,
            }
        )
    else:
        _print(checks)
    return 1 if any(check.level == PROBLEM for check in checks) else 0


def _print(checks: Sequence[Check]) -> None:
    import sys  # noqa: PLC0415

    width = max(len(check.name) for check in checks)
    for check in checks:
        level = output.paint(f"{check.level:<8}", STYLES[check.level], sys.stdout)
        output.data(f"{level} {check.name:<{width}}  {output.clean(check.text)}")
        if check.remedy:
            output.data(f"{'':<8} {'':<{width}}  hint: {output.clean(check.remedy)}")


def gpu_checks(profile: HardwareProfile, cards: Sequence[Card] = ()) -> Iterator[Check]:
    """Judge the card that counts and its driver, say which CUDA builds of PyTorch they run, and name further cards."""
    from orchestrator.torch.matrix import capability_of, matrix, numbers  # noqa: PLC0415

    if profile.gpu == "none":
        yield Check("gpu", WARNING, "no GPU, or none with a driver", "most apps are slow or fail without one")
        return
    card = f"{profile.gpu_model}, {profile.vram} GB" + (f", {profile.gpu_target}" if profile.gpu_target else "")
    if profile.gpu != "nvidia":
        yield Check("gpu", WARNING, card, "most launchers are written for NVIDIA cards")
        return
    yield Check("gpu", OK, card)
    for other in cards[1:]:
        memory = f", {other.vram / 1024:.0f} GB" if other.vram else ""
        yield Check("gpu", OK, f"also {other.model.lower()}{memory}" + (f", {other.target}" if other.target else ""))
    table, driver = matrix(), profile.gpu_driver
    runs = [cuda for cuda in table.cuda if table.driver_runs(driver, cuda)]
    newest = max(runs, key=numbers, default=None)
    if driver is None or newest is None:
        text = f"driver {driver} runs no CUDA that PyTorch is built for" if driver else "no driver version can be read"
        yield Check("driver", PROBLEM, text, "update the driver, or rent a machine with a newer one")
        return
    best = table.best(table.newest, capability_of(profile.gpu_target), driver)
    text = f"{driver}, runs builds for CUDA up to {newest}"
    if best is None:
        yield Check("driver", WARNING, f"{text}; the newest PyTorch ({table.newest.torch}) has none for it",
                    "apps that name no index for it need `--torch-backend=auto`, or a newer driver")  # fmt: skip
    else:
        yield Check("driver", OK, text)


def room_checks(resources: Resources, home: Home) -> Iterator[Check]:
    """Judge disks and memory."""
    from orchestrator.hosts.resources.room import size  # noqa: PLC0415

    for number, disk in enumerate(resources.disks):
        what = f"{size(disk.free)} of {size(disk.total)} free on `{disk.path}`" + (
            f" ({disk.kind})" if disk.kind else ""
        )
        what += f", where `{home.root}` is" if number == 0 else ", where programs unpack"
        little = disk.free < LITTLE_DISK and number == 0
        remedy = "an app with PyTorch takes 7 GB and more: choose another home with `--home`" if little else ""
        yield Check("disk", WARNING if little else OK, what, remedy)
    limits = resources.limits
    text = f"{limits.memory / 2**30:.1f} GiB" + (
        f", limited by `{limits.memory_source}`" if limits.memory_source else ""
    )
    yield Check("memory", WARNING if limits.memory < LITTLE_MEMORY else OK, text,
                "many apps need 8 GB and more" if limits.memory < LITTLE_MEMORY else "")  # fmt: skip
    cpus = f"{limits.cpus:g}" + (f", limited by `{limits.cpus_source}`" if limits.cpus_source else "")
    yield Check("processors", OK, cpus)


def home_check(home: Home) -> Check:
    """Tell whether the home can be written to, or made, by a folder that is gone at once."""
    place = home.root
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".pinoctl-", dir=place))  # noqa: PTH106  # a name, not a Path
    except OSError as error:  # permissions alone do not tell: a file system may take no folders, or be full
        return Check("home", PROBLEM, f"`{home.root}` cannot be written to: {error.strerror or error}",
                     "choose another with `--home` or PINOCTL_HOME")  # fmt: skip
    return Check("home", OK, f"`{home.root}`" + ("" if home.root.exists() else " (not made yet)"))


def command_checks(missing: Sequence[Missing]) -> Iterator[Check]:
    """Judge which commands the host lacks."""
    for each in missing:
        level = PROBLEM if each.name in NEEDED_COMMANDS else WARNING
        yield Check("command", level, f"`{each.name}` is missing: {each.why_needed}", each.remedy)
    if not missing:
        yield Check("command", OK, "every command that launchers expect is there")


def node_check() -> Check:
    """Tell which Node runs the launchers."""
    from orchestrator.engine.errors import PinoctlError  # noqa: PLC0415
    from orchestrator.engine.javascript.process import node_path  # noqa: PLC0415

    try:
        return Check("node", OK, node_path())
    except PinoctlError as error:
        return Check("node", PROBLEM, str(error), error.hint or "")


def port_check() -> Check:
    """Tell whether a port for apps is free."""
    from orchestrator.engine.errors import PinoctlError  # noqa: PLC0415
    from orchestrator.engine.ports import next_free  # noqa: PLC0415

    try:
        return Check("ports", OK, f"free from {next_free()} on")
    except PinoctlError as error:
        return Check("ports", PROBLEM, str(error), error.hint or "")


def sandbox_checks(found: Sequence[Layer]) -> Iterator[Check]:
    """Say which layers confine launchers while they are planned."""
    active = [layer.name for layer in found if layer.active]
    yield Check("sandbox", OK, f"plans and menus are confined by {', '.join(active)}")
    for layer in found:
        if not layer.active:
            yield Check("sandbox", WARNING, f"without {layer.name}: {layer.why}",
                        "plan only launchers that you trust, or use a newer kernel")  # fmt: skip


def network_checks(found: Sequence[Reach]) -> Iterator[Check]:
    """Judge which services answer."""
    for each in found:
        level = OK if not each.problem else PROBLEM if each.name in NEEDED_SERVICES else WARNING
        text = (
            f"{each.name} answers" if not each.problem else f"{each.name} ({each.url}) does not answer: {each.problem}"
        )
        yield Check(
            "network", level, text, "check the network, a proxy (HTTPS_PROXY) or a firewall" if each.problem else ""
        )
