"""The texts of the tools' configuration files in the home: gitconfig, pipconfig, condarc (spec 9.6).

The desktop's files hide the user's own settings. Ours take them in, because on a rented machine those hold the mirror,
the proxy or the credentials without which nothing can be installed.
"""

from __future__ import annotations

import configparser
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orchestrator.engine.home import Home

MARK: Final = "# Written by pinoctl at every start; remove this line to keep your own changes\n"
BASE_PYTHON: Final = "3.10.20"


def gitconfig_text(include: Sequence[str], *, lfs: bool) -> str:
    """Return HOME/gitconfig: the desktop's settings first, then the user's own, which win.

    `include` names the user's files (they may not exist), `lfs` says whether git-lfs is there: its filters without it
    would break every clone that has one large file.
    """
    filters = (
        '[filter "lfs"]\n'
        "\tclean = git-lfs clean -- %f\n"
        "\tsmudge = git-lfs smudge -- %f\n"
        "\tprocess = git-lfs filter-process\n"
        "\trequired = true\n"
    )
    own = (
        "[core]\n\tlongpaths = true\n"
        "[http]\n\tpostBuffer = 524288000\n"
        "[safe]\n\tdirectory = *\n"
        "[user]\n\tname = pinokio\n\temail = pinokio@localhost\n"
        "[init]\n\tdefaultBranch = main\n"
    )
    includes = "".join(f"[include]\n\tpath = {_git_quote(path)}\n" for path in include)
    return MARK + own + (filters if lfs else "") + includes


def _git_quote(path: str) -> str:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def pipconfig_text(user_files: Iterable[str]) -> str:
    """Return HOME/pipconfig: `timeout = 1000`, and the settings of the user's files, which win.

    `user_files` are the texts of the files that pip no longer reads once PIP_CONFIG_FILE is set, weakest first. Texts
    that pip could not read either are left out.
    """
    merged = configparser.RawConfigParser()
    merged.read_dict({"global": {"timeout": "1000"}})
    for text in user_files:
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(text)
        except configparser.Error:
            continue
        merged.read_dict({name: dict(parser.items(name)) for name in parser.sections()})
    out = io.StringIO()
    merged.write(out)
    return MARK + out.getvalue().rstrip("\n") + "\n"


def condarc_text(home: Home) -> str:
    """Return HOME/condarc (spec 9.6)."""
    return (
        MARK + "channels:\n  - conda-forge\nchannel_priority: flexible\n"
        f"create_default_packages:\n  - python={BASE_PYTHON}\n"
        f"envs_dirs:\n  - {home.miniforge}/envs\npkgs_dirs:\n  - {home.miniforge}/pkgs\nreport_errors: false\n"
        "auto_update_conda: false\nnotify_outdated_conda: false\n"
    )


def user_git_files(environ: Mapping[str, str], home: Home) -> list[str]:
    """Return the user's git configuration files, weakest first, as git would look for them itself."""
    given = environ.get("GIT_CONFIG_GLOBAL")
    if given and Path(given) != home.root / "gitconfig":
        return [given]
    folder = environ.get("HOME")
    if not folder:
        return []
    return [str(Path(user_config(environ, folder), "git", "config")), str(Path(folder, ".gitconfig"))]


def user_pip_files(environ: Mapping[str, str], home: Home) -> list[str]:
    """Return the user's pip configuration files, weakest first, as pip would look for them itself.

    pip reads the machine's files (`/etc/pip.conf`) in any case; a PIP_CONFIG_FILE of the user's replaces his others.
    """
    given = environ.get("PIP_CONFIG_FILE")
    if given and Path(given) != home.root / "pipconfig":
        return [] if given == os.devnull else [given]
    folder = environ.get("HOME")
    if not folder:
        return []
    return [str(Path(folder, ".pip", "pip.conf")), str(Path(user_config(environ, folder), "pip", "pip.conf"))]


def user_config(environ: Mapping[str, str], folder: str) -> str:
    """Return the user's XDG configuration folder; `folder` is the user's home."""
    return environ.get("XDG_CONFIG_HOME") or str(Path(folder, ".config"))


def linked_configs(environ: Mapping[str, str], home: Home) -> dict[str, str]:
    """Return what to link into the home so that tools find the user's settings: place in the home → the user's own.

    uv looks below XDG_CONFIG_HOME, which spec 9.1 redirects (UV_CONFIG_FILE would switch off the settings in projects),
    gh below GH_CONFIG_DIR (9.2).
    """
    folder = environ.get("HOME")
    if not folder:
        return {}
    config = user_config(environ, folder)
    links = {
        str(home.cache / "XDG_CONFIG_HOME" / "uv"): str(Path(config, "uv")),
        str(home.root / "config" / "gh"): environ.get("GH_CONFIG_DIR") or str(Path(config, "gh")),
    }
    return {place: target for place, target in links.items() if place != target}
