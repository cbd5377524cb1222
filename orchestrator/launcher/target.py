"""What a user means by the APP of `up APP`: a name, a git URL with a ref, or a folder."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote, urlsplit

from orchestrator.engine.errors import BadInputError
from orchestrator.launcher.names import ADVICE, same_name, valid_name

if TYPE_CHECKING:
    from collections.abc import Collection

SCHEMES = frozenset({"https", "http", "ssh", "git", "file", "git+ssh", "ssh+git"})
DEFAULT_PORTS = {"https": 443, "http": 80, "ssh": 22, "git": 9418, "git+ssh": 22, "ssh+git": 22}
CASELESS_HOSTS = frozenset({"github.com", "gitlab.com", "bitbucket.org", "huggingface.co"})
WEB_VIEW = re.compile(r"^(?P<repo>/[^/]+/[^/]+)/(?:-/)?tree/(?P<ref>.+)$")
SCP_URL = re.compile(r"(?P<user>[A-Za-z0-9_][A-Za-z0-9._-]*)@(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*):(?P<path>[^-].*)")
BAD_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|^[-/.]|[/.]$|\.lock$|/\.")


@dataclass(frozen=True, slots=True)
class Target:
    """Hold what the user named.

    `name` is the app's name as far as the text tells it (a catalogue name may be `author/name`), "" where the folder or
    URL ends in something no app may be called. `url` is what git clones, without the ref; `path` an absolute folder.
    """

    kind: Literal["name", "url", "folder"]
    text: str
    name: str
    url: str | None = None
    ref: str | None = None
    path: Path | None = None


def parse_target(text: str, *, cwd: str | os.PathLike[str], known: Collection[str] = ()) -> Target:
    """Read what the user typed; `known` are the installed apps, which win over a folder that has the same bare name.

    The only effect is to look whether a path exists. Raises BadInputError.
    """
    if not text or text != text.strip() or any(ord(letter) < ord(" ") or ord(letter) == 0x7F for letter in text):  # noqa: PLR2004  # DEL
        raise BadInputError(
            f"{text!r} is not an app, because it is empty or has blanks or control characters at its ends",
            hint="give a name, a git URL or a folder",
        )
    if text.startswith("-"):
        raise BadInputError(
            f"`{text}` is not an app, because it begins with `-`", hint="write `./-name` for such a folder"
        )
    if "://" in text:
        return _from_url(text)
    if text in {".", ".."} or text.startswith(("./", "../", "/", "~")):
        return _from_folder(text, cwd)
    if any(same_name(text, name) for name in known):
        return Target("name", text, text)
    if text.startswith(".") or Path(cwd, text).is_dir():
        return _from_folder(text, cwd)
    if (scp := SCP_URL.fullmatch(text)) is not None:
        path, ref = _split_ref(scp["path"])
        return Target("url", text, name_of_url(path), f"{scp['user']}@{scp['host']}:{path}", ref)
    return _from_name(text, cwd)


def _from_name(text: str, cwd: str | os.PathLike[str]) -> Target:
    name, _, ref = text.partition("@")
    parts = name.split("/")
    if len(parts) <= 2 and all(valid_name(part) for part in parts) and ("@" not in text or ref):  # noqa: PLR2004  # author/name
        return Target("name", text, name, ref=check_ref(ref) if ref else None)
    if "." in parts[0] and len(parts) > 2:  # noqa: PLR2004  # host/owner/repository
        raise BadInputError(
            f"`{text}` is neither a name nor an existing folder", hint=f"write `https://{text}` for a git URL"
        )
    if "/" in text:
        raise BadInputError(
            f"`{text}` is no app: there is no such folder below `{os.fspath(cwd)}`",
            hint="give an existing folder, a git URL such as `https://github.com/owner/name`, or a name",
        )
    if Path(cwd, text).exists():
        raise BadInputError(f"`{text}` is a file; an app is a folder", hint="give the folder that holds the launcher")
    raise BadInputError(f"`{text}` cannot be the name of an app", hint=ADVICE)


def _from_folder(text: str, cwd: str | os.PathLike[str]) -> Target:
    expanded = os.path.expanduser(text)  # noqa: PTH111  # Path.expanduser raises where there is no such user
    path = Path(os.path.abspath(os.path.join(cwd, expanded)))  # noqa: PTH100, PTH118  # resolve() would follow links
    if not path.is_dir():
        what = "is a file; an app is a folder" if path.exists() else "does not exist"
        raise BadInputError(f"`{path}` {what}", hint="give the folder that holds the launcher (`pinokio.js`)")
    return Target("folder", text, path.name if valid_name(path.name) else "", path=path)


def _from_url(text: str) -> Target:
    scheme, _, rest = text.partition("://")
    if scheme.lower() not in SCHEMES:
        raise BadInputError(
            f"`{hide_secrets(text)}` cannot be cloned: `{scheme}` is not a protocol that is allowed here",
            hint="use https, ssh, git or file",
        )
    authority, slash, path = rest.partition("/")
    path = slash + path
    if scheme.lower() == "file":
        path, ref = (path, None) if Path(unquote(path)).exists() else _split_ref(path)
    else:
        path, ref = _split_ref(path.split("?", 1)[0].split("#", 1)[0])
        host = authority.rpartition("@")[2]
        if not host or host.startswith("-") or authority.startswith("-"):
            raise BadInputError(f"`{hide_secrets(text)}` has no host", hint="write `https://host/owner/name`")
        if host.lower() in CASELESS_HOSTS and (view := WEB_VIEW.match(path)) is not None:
            path, ref = view["repo"], ref or check_ref(view["ref"])
    path = path.rstrip("/")
    if not path:
        raise BadInputError(f"`{hide_secrets(text)}` names no repository", hint="write `https://host/owner/name`")
    try:
        urlsplit(f"{scheme}://{authority}{path}").port  # noqa: B018  # reading the port checks it
    except ValueError as error:
        raise BadInputError(
            f"`{hide_secrets(text)}` is not a URL: {error}", hint="write `https://host/owner/name`"
        ) from None
    return Target("url", text, name_of_url(path), f"{scheme.lower()}://{authority}{path}", ref)


def _split_ref(path: str) -> tuple[str, str | None]:
    """Cut `@ref` off a URL's path; an `@` that begins a part (`/@scope/name`) belongs to the path."""
    found = re.search(r"(?<=\.git)@", path) or re.search(r"(?<=[^/])@", path)
    if found is None:
        return path, None
    return path[: found.start()], check_ref(path[found.end() :])


def check_ref(ref: str) -> str:
    """Return a branch, tag or commit, or raise BadInputError when git knows none by such a name."""
    if not ref or BAD_REF.search(ref) or ref == "@":
        raise BadInputError(
            f"{ref!r} cannot be a branch, tag or commit", hint="write `URL@ref`, for example `URL@main`"
        )
    return ref


def name_of_url(url: str) -> str:
    """Return the name that a repository's URL or path gives an app, or "" if no app may have it."""
    last = re.split(r"[/:]", url.rstrip("/"))[-1]
    last = unquote(last).removesuffix(".git")
    return last if valid_name(last) else ""


def hide_secrets(url: str) -> str:
    """Return a URL that may be shown and stored: without password or token."""
    return re.sub(r"(?<=://)[^/]*@", lambda found: "git@" if found[0] == "git@" else "", url)


def same_remote(one: str | None, other: str | None) -> bool:
    """Tell whether two URLs mean one repository, however they are written."""
    return one is not None and other is not None and normalise_remote(one) == normalise_remote(other)


def normalise_remote(url: str) -> str:
    """Return what is the same for all spellings of a repository's URL: `host[:port]/path`.

    Protocol, user, default port, `.git`, slashes at the end and the host's case do not count; on hosts that ignore it,
    nor does the path's case. Local repositories become their real path.
    """
    url = url.strip()
    scheme = url.partition("://")[0].lower() if "://" in url else ""
    if scheme == "file" or (not scheme and url.startswith(("/", ".", "~"))):
        path = unquote(url.partition("://")[2]) if scheme else os.path.expanduser(url)  # noqa: PTH111  # see _from_folder
        real = os.path.realpath("/" + path.partition("/")[2] if scheme else path)
        return real.removesuffix("/.git").removesuffix(".git")
    if scheme:
        authority, _, path = url.partition("://")[2].partition("/")
        host = authority.rpartition("@")[2].lower().removesuffix(f":{DEFAULT_PORTS.get(scheme, 0)}")
    else:
        authority, _, path = url.partition(":")
        host = authority.rpartition("@")[2].lower()
    path = path.strip("/").removesuffix(".git").rstrip("/")
    return f"{host}/{path.casefold() if host in CASELESS_HOSTS else path}"
