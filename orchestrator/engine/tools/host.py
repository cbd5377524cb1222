"""What the host itself has to bring: commands that are only looked up, the CUDA toolkit, the certificate store."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping


@dataclass(frozen=True, slots=True)
class Missing:
    """Name a command that shells should have and do not, what for, and how to get it."""

    name: str
    why_needed: str
    remedy: str


# command → (what for, Debian's package); spec 12.3
COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "bash": ("every shell of a script", "bash"),
    "git": ("fetching launchers and the apps' repositories", "git"),
    "git-lfs": ("large files in git repositories, of which otherwise only pointers arrive", "git-lfs"),
    "ffmpeg": ("reading and writing audio and video", "ffmpeg"),
    "7z": ("unpacking archives", "p7zip-full"),
    "gcc": ("packages that are compiled when installed", "build-essential"),
    "g++": ("packages that are compiled when installed", "build-essential"),
    "nvcc": ("CUDA packages that are compiled when installed", ""),
    "curl": ("downloads", "curl"),
    "wget": ("downloads", "wget"),
    "ls": ("many scripts", "coreutils"),
}
_STORES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_TOOLKITS: Final = ("/usr/local/cuda", "/opt/cuda", "/usr/lib/cuda")


# the beginning of a command in a shell's text, as far as it can be told without a shell
_BEGIN: Final = r"(?:^|[;&|(`\n]|\b(?:sudo|exec|then|do|else|time|env)[ \t])[ \t]*['\"]?"
_CALLS: Final = {
    name: re.compile(rf"{_BEGIN}{re.escape(name)}(?=['\"\s;&|)<>]|$)")
    for name in COMMANDS
    if name not in {"bash", "git-lfs"}
}
_CALLS["git-lfs"] = re.compile(rf"{_BEGIN}git[ -]lfs\b")
_GIT_ADDRESS: Final = re.compile(r"\bgit\+(?:https?|ssh)://")  # pip and uv call git themselves


def called(text: str) -> list[str]:
    """Return which commands that the host has to bring a shell's text calls."""
    names = [name for name, pattern in _CALLS.items() if pattern.search(text)]
    return ["git", *names] if "git" not in names and _GIT_ADDRESS.search(text) else names


def missing(
    path: str, names: Collection[str] = COMMANDS, *, gpu: str | None = None, root: bool | None = None
) -> list[Missing]:
    """List the commands of spec 12.3 that the host has to bring and that are not on a PATH; `names` leaves others out.

    `gpu` leaves out what only NVIDIA's cards need when it names another, `root` whether remedies can do without `sudo`
    (None: ask the system).
    """
    is_root = os.geteuid() == 0 if root is None else root
    found = []
    for name, (why, package) in COMMANDS.items():
        if (
            name in names
            and shutil.which(name, path=path) is None
            and not (name == "nvcc" and gpu not in {None, "nvidia"})
        ):
            found.append(Missing(name, why, _remedy(name, package, path, "" if is_root else "sudo ")))
    return found


def _remedy(name: str, package: str, path: str, sudo: str) -> str:
    if not package:
        return "use an image with the CUDA toolkit, for example `nvidia/cuda:12.8.1-devel-ubuntu22.04`"
    if shutil.which("apt-get", path=path):
        return f"{sudo}apt-get update && {sudo}apt-get install -y {package}"
    return f"install `{name}` with this system's package manager (Debian's package is `{package}`)"


def find_cuda(environ: Mapping[str, str], exists: Callable[[str], bool] = os.path.exists) -> str | None:
    """Return the folder of the host's CUDA toolkit: CUDA_HOME, that of `nvcc`, the usual places; None without one."""
    nvcc = shutil.which("nvcc", path=environ.get("PATH"))
    beside = [str(Path(os.path.realpath(nvcc)).parent.parent)] if nvcc else []
    for folder in (environ.get("CUDA_HOME", ""), environ.get("CUDA_PATH", ""), *beside, *_TOOLKITS):
        if folder and exists(f"{folder}/bin/nvcc") and exists(f"{folder}/include/cuda_runtime.h"):
            return folder
    return None


def has_certificates(environ: Mapping[str, str], exists: Callable[[str], bool] = os.path.exists) -> bool:
    """Tell whether uv can take certificates from the system; images without any need those that uv has built in."""
    return any(exists(path) for path in (environ.get("SSL_CERT_FILE", ""), *_STORES) if path)
