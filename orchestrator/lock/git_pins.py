"""What makes git give the commits of a lock: hooks and a `git` in front of the real one, as texts of shell scripts.

The hooks (`core.hooksPath`, set by environment variables) see every clone, checkout and merge, whichever `git` ran it
and for whom: scripts, pip, a submodule. They put the work tree at the commit of the lock and keep its branch. The
wrapper does so after commands that run no hook or cannot fail by one (`reset`, `pull`), and in the fetches by
which uv reads a repository. What is not in the lock is left alone.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator.lock.checkouts import without_credentials

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BIN: Final = "bin"
HOOKS: Final = "hooks"
_PINS: Final = "pins.sh"


def git_configuration(inventory: Mapping[str, Any], *, folder: Path, home: Path = Path("/pinokio")) -> dict[str, str]:
    """Return the scripts that hold git at the commits of an inventory: name relative to `folder`, to text.

    All of them have to be executable. `folder` is where they will lie, `home` where the build has its home.
    """
    pins = "\n".join((
        _HEAD.format(bin=shlex.quote(str(folder / BIN)), api=shlex.quote(f"{home}/api/")),
        _cases("pinned_place", by_place(inventory, home)),
        _cases("pinned_package", by_package(inventory)),
        _cases("pinned_repository", by_origin(inventory)),
        _FUNCTIONS,
    ))  # fmt: skip
    source = f"#!/bin/sh\n. {shlex.quote(str(folder / _PINS))}\n"
    return {
        _PINS: pins,
        f"{BIN}/git": source + _WRAPPER,
        f"{HOOKS}/post-checkout": source + _HOOK.format(name="post-checkout", cloning='"$1"'),
        f"{HOOKS}/post-merge": source + _HOOK.format(name="post-merge", cloning="merge"),
        f"{HOOKS}/post-rewrite": source + _HOOK.format(name="post-rewrite", cloning="rewrite"),
    }


def git_variables(folder: Path) -> dict[str, str]:
    """Return the variables that make git use the hooks; uv asks git, and not GitHub, what a branch is at."""
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.hooksPath",
        "GIT_CONFIG_VALUE_0": str(folder / HOOKS),
        "UV_NO_GITHUB_FAST_PATH": "true",
    }


def by_place(inventory: Mapping[str, Any], home: Path) -> dict[str, str]:
    """Map the absolute path of every work tree to its commit."""
    return {
        str(home / entry["path"]): str(entry["commit"])
        for entry in inventory.get("repositories", [])
        if entry.get("commit")
    }


def by_package(inventory: Mapping[str, Any]) -> dict[str, str]:
    """Map `<URL> <branch or tag asked for>` of packages from git to their commit, where there is only one."""
    return _unambiguous(
        (f"{canonical(str(source['git']))} {source.get('revision', '')}", str(source["commit"]))
        for environment in inventory.get("environments", [])
        for package in environment.get("packages", [])
        if (source := package.get("source")) and source.get("git") and source.get("commit")
    )


def by_origin(inventory: Mapping[str, Any]) -> dict[str, str]:
    """Map the URL of repositories to their commit, for those that are cloned elsewhere and then moved."""
    return _unambiguous(
        (canonical(str(entry["origin"])), str(entry["commit"]))
        for entry in inventory.get("repositories", [])
        if entry.get("origin") and entry.get("commit")
    )


def canonical(url: str) -> str:
    """Return the form of a repository's URL under which the scripts look it up; they have the same rules."""
    return without_credentials(url.removeprefix("git+")).rstrip("/").removesuffix(".git")


def _unambiguous(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, set[str]] = {}
    for key, commit in pairs:
        found.setdefault(key, set()).add(commit)
    return {key: next(iter(commits)) for key, commits in sorted(found.items()) if len(commits) == 1}


def _cases(function: str, table: Mapping[str, str]) -> str:
    lines = "".join(f"    {shlex.quote(key)}) echo {shlex.quote(value)} ;;\n" for key, value in sorted(table.items()))
    return f'{function}() {{\n  case "$1" in\n{lines}    *) ;;\n  esac\n}}\n'


_HEAD: Final = """\
# Made from a lock by pinoctl: do not edit. What the hooks and the wrapper of git share.
pinned_bin={bin}
pinned_api={api}
"""

_FUNCTIONS: Final = r"""
pinned_git=
pinned_rest=$PATH:
while [ -n "$pinned_rest" ]; do
  pinned_part=${pinned_rest%%:*}
  pinned_rest=${pinned_rest#*:}
  if [ "$pinned_part" != "$pinned_bin" ] && [ -f "$pinned_part/git" ] && [ -x "$pinned_part/git" ]; then
    pinned_git=$pinned_part/git
    break
  fi
done
if [ -z "$pinned_git" ]; then
  echo "git: not found on PATH" >&2
  exit 127
fi

# no hooks of ours in the commands of ours, and nothing that git set for the repository of a hook
pinned_run() (
  unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_PREFIX GIT_COMMON_DIR GIT_OBJECT_DIRECTORY GIT_QUARANTINE_PATH
  exec "$pinned_git" -c core.hooksPath=/dev/null -c advice.detachedHead=false "$@"
)

pinned_canonical() {
  pinned_url=${1#git+}
  pinned_url=${pinned_url%%[?#]*}
  case $pinned_url in
    *://*@*)
      pinned_after=${pinned_url#*://}
      pinned_host=${pinned_after%%/*}
      pinned_keep=${pinned_host##*@}
      case $pinned_url in
        *ssh://*) pinned_user=${pinned_host%@*}; pinned_keep=${pinned_user%%:*}@$pinned_keep ;;
      esac
      pinned_url=${pinned_url%%://*}://$pinned_keep${pinned_after#"$pinned_host"}
      ;;
  esac
  while [ "${pinned_url%/}" != "$pinned_url" ]; do pinned_url=${pinned_url%/}; done
  printf '%s\n' "${pinned_url%.git}"
}

# pinned_has FOLDER COMMIT
pinned_has() { pinned_run -C "$1" cat-file -e "$2^{commit}" 2>/dev/null; }

# pinned_fetch FOLDER COMMIT FROM: have the commit there, with as little as the server allows
pinned_fetch() {
  pinned_has "$1" "$2" && return 0
  if [ "$(pinned_run -C "$1" rev-parse --is-shallow-repository 2>/dev/null)" = true ]; then
    pinned_run -C "$1" fetch -q --depth 1 "$3" "$2" >/dev/null 2>&1
  else
    pinned_run -C "$1" fetch -q "$3" "$2" >/dev/null 2>&1
  fi
  pinned_has "$1" "$2" && return 0
  pinned_run -C "$1" fetch -q --tags "$3" '+refs/heads/*:refs/pinned/*' >/dev/null 2>&1
  pinned_has "$1" "$2" && return 0
  pinned_run -C "$1" fetch -q --unshallow "$3" >/dev/null 2>&1
  pinned_has "$1" "$2"
}

# pinned_put FOLDER COMMIT HOW: put a work tree at the commit; HOW is --hard or --keep (keep files changed here)
pinned_put() {
  [ "$(pinned_run -C "$1" rev-parse -q --verify HEAD 2>/dev/null)" = "$2" ] && return 0
  pinned_from=$(pinned_run -C "$1" remote 2>/dev/null | sed -n '/^origin$/{p;q};1h;${x;p}')
  if ! pinned_fetch "$1" "$2" "${pinned_from:-origin}"; then
    echo "pinoctl: \`$1\` cannot be put at commit $2, which the lock names: its server does not give that commit;" \
      "build without the lock to make a new one" >&2
    return 1
  fi
  if ! pinned_run -C "$1" reset -q "$3" "$2"; then
    echo "pinoctl: \`$1\` cannot be put at commit $2, which the lock names: files in it were changed;" \
      "build without the lock to make a new one" >&2
    return 1
  fi
}

# pinned_commit FOLDER CLONED: which commit the lock has for a work tree, if any; CLONED is yes in a fresh clone
pinned_commit() {
  pinned_found=$(pinned_place "$1")
  if [ -z "$pinned_found" ]; then
    pinned_origin=$(pinned_run -C "$1" config --get remote.origin.url 2>/dev/null) || return 0
    pinned_origin=$(pinned_canonical "$pinned_origin")
    case $1/ in
      "$pinned_api"*) [ "$2" = yes ] && pinned_found=$(pinned_repository "$pinned_origin") ;;
    esac
    [ -z "$pinned_found" ] && [ "$2" = yes ] && pinned_found=$(pinned_package "$pinned_origin ")
    if [ -z "$pinned_found" ] && pinned_branch=$(pinned_run -C "$1" symbolic-ref -q --short HEAD); then
      pinned_found=$(pinned_package "$pinned_origin $pinned_branch")
    fi
  fi
  printf '%s\n' "$pinned_found"
}
"""

_HOOK: Final = r"""
pinned_top=$(pwd -P)
pinned_own=$("$pinned_git" rev-parse --git-common-dir 2>/dev/null)/hooks
pinned_local=$(pinned_run -C "$pinned_top" config --local --get core.hooksPath 2>/dev/null) && pinned_own=$pinned_local
case {cloning} in
  merge) pinned_cloned=no; pinned_how=--keep ;;
  rewrite) pinned_cloned=no; pinned_how=--keep ;;
  *[!0]*) pinned_cloned=no; pinned_how=--keep ;;
  *) pinned_cloned=yes; pinned_how=--hard ;;
esac
pinned_status=0
pinned_wanted=$(pinned_commit "$pinned_top" "$pinned_cloned")
# in the middle of a rebase HEAD belongs to it; post-rewrite and the wrapper see its end
pinned_state=$("$pinned_git" rev-parse --git-dir 2>/dev/null)
if [ -d "$pinned_state/rebase-merge" ] || [ -d "$pinned_state/rebase-apply" ]; then pinned_wanted=; fi
if [ -n "$pinned_wanted" ]; then
  pinned_put "$pinned_top" "$pinned_wanted" "$pinned_how" || pinned_status=1
fi
if [ -x "$pinned_own/{name}" ] && [ -f "$pinned_own/{name}" ]; then
  "$pinned_own/{name}" "$@" || pinned_status=$?
fi
exit "$pinned_status"
"""

_WRAPPER: Final = r"""
pinned_where=.
pinned_verb=
pinned_option=
for pinned_word in "$@"; do
  case $pinned_option in
    -C)
      case $pinned_word in
        /*) pinned_where=$pinned_word ;;
        *) pinned_where=$pinned_where/$pinned_word ;;
      esac
      pinned_option=
      continue
      ;;
    ?*) pinned_option=; continue ;;
  esac
  case $pinned_word in
    -C | -c | --git-dir | --work-tree | --namespace | --super-prefix | --config-env) pinned_option=$pinned_word ;;
    -*) ;;
    *) pinned_verb=$pinned_word; break ;;
  esac
done
case $pinned_verb in
  pull | merge | reset | rebase | checkout | switch | fetch) ;;
  *) exec "$pinned_git" "$@" ;;
esac
"$pinned_git" "$@" || exit
if [ "$pinned_verb" = fetch ]; then
  # uv: git fetch URL +refs/heads/main:refs/remotes/origin/main, then it reads that reference
  pinned_from=
  for pinned_word in "$@"; do
    case $pinned_word in
      *://* | /*) pinned_from=$pinned_word ;;
      +*:refs/remotes/*)
        [ -n "$pinned_from" ] || continue
        pinned_source=${pinned_word%%:*}
        pinned_source=${pinned_source#+}
        case $pinned_source in
          HEAD) pinned_source= ;;
          refs/heads/*) pinned_source=${pinned_source#refs/heads/} ;;
          refs/tags/*) pinned_source=${pinned_source#refs/tags/} ;;
        esac
        pinned_wanted=$(pinned_package "$(pinned_canonical "$pinned_from") $pinned_source")
        [ -n "$pinned_wanted" ] || continue
        if ! pinned_fetch "$pinned_where" "$pinned_wanted" "$pinned_from"; then
          echo "pinoctl: \`$(pinned_canonical "$pinned_from")\` does not give commit $pinned_wanted," \
            "which the lock names; build without the lock to make a new one" >&2
          exit 1
        fi
        pinned_run -C "$pinned_where" update-ref "${pinned_word#*:}" "$pinned_wanted" || exit
        ;;
    esac
  done
  exit 0
fi
pinned_top=$(cd "$pinned_where" && "$pinned_git" rev-parse --show-toplevel 2>/dev/null) || exit 0
pinned_top=$(cd "$pinned_top" && pwd -P) || exit 0
pinned_wanted=$(pinned_place "$pinned_top")
if [ -n "$pinned_wanted" ]; then
  pinned_put "$pinned_top" "$pinned_wanted" --keep || exit
fi
exit 0
"""
