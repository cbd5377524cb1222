"""Which steps an image has behind it, and which image a build can go on from; pure (design, decision 4).

A chain lists the steps that were done or skipped: the script, the index, and the hash of the step's text with
functions as their source. What a step captured lies in the image itself. So a checkpoint serves exactly when it begins
with the same root and every step of its chain still stands where it stood, unchanged: then a build that began anew
would do the same steps with the same results.

An update brings an app to where no step leads. So a root also says which update an app has behind it: what was saved
before that serves no build any more, and what the update left serves like a checkpoint of the same steps.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Link = tuple[str, int, str]
Chain = tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class Saved:
    """Describe an image that a build could go on from: its id, its root, its chain, and when it was made."""

    id: str
    root: str
    chain: Chain
    created: str = ""


def root_key(
    *,
    base: str,
    files: str,
    hardware: Mapping[str, Any],
    install: str | None,
    answers: Mapping[str, Any],
    environment: Mapping[str, str],
    mode: str = "image",
    pins: str = "",
    update: str = "",
) -> str:
    """Return the hash of everything that steps start from, but for the steps themselves, and the update before them.

    `base` is the base image's id, `files` the hash of the launcher's files that are no scripts, `answers` and
    `environment` those that are not secret, `pins` the hash of a lock that the build keeps to, `update` what
    `update_of` returns.
    """
    parts = {
        "version": 1,
        "base": base,
        "files": files,
        "hardware": dict(hardware),
        "install": install,
        "mode": mode,
        "answers": dict(answers),
        "environment": dict(environment),
        "pins": pins,
    }
    return after_update(hashlib.sha256(json.dumps(parts, sort_keys=True, default=repr).encode()).hexdigest(), update)


def after_update(root: str, update: str) -> str:
    """Return the root of the same beginning after an update, "" for none; `update` has no space in it."""
    return f"{root.partition(' ')[0]} {update}".rstrip()


def update_of(root: str | None) -> str:
    """Return which update a root comes after, "" for none."""
    return (root or "").partition(" ")[2]


class Texts:
    """Know the hash of every step of a launcher's scripts: path below HOME/api → hashes, the first of what it requires.

    A script that the launcher does not have (made or fetched by a step) is what the steps before it made it.
    """

    def __init__(self, hashes: Mapping[str, Sequence[str]]) -> None:
        self._hashes = hashes

    @classmethod
    def of_scripts(cls, texts: Mapping[str, Sequence[str]], *, home: str) -> Texts:
        """Take the hashes of texts, in which the home's own folder (`home`) does not count."""
        return cls(
            {
                script: [hashlib.sha256(text.replace(home, "/pinokio").encode()).hexdigest()[:16] for text in listed]
                for script, listed in texts.items()
            }
        )

    @classmethod
    def from_label(cls, label: str | None) -> Texts | None:
        """Read the hashes back, None when the label is none of ours."""
        try:
            found = json.loads(label or "")
        except ValueError:
            return None
        if not isinstance(found, dict) or not all(
            isinstance(listed, list) and all(isinstance(each, str) for each in listed) for listed in found.values()
        ):
            return None
        return cls(found)

    def to_label(self) -> str:
        """Return the hashes as a label holds them."""
        return json.dumps(self._hashes, separators=(",", ":"))

    def of(self, script: str, index: int) -> str:
        """Return a step's hash, `?` where the launcher has no such script, "" where the script has no such step."""
        found = self._hashes.get(script)
        if found is None:
            return "?"
        own = found[index + 1] if 0 <= index < len(found) - 1 else ""
        return f"{found[0]}{own}" if own else ""

    def count(self, script: str) -> int:
        """Return how many steps a script has, 0 for one that is not there."""
        return max(0, len(self._hashes.get(script, ())) - 1)

    def chain(self, steps: Iterable[Sequence[Any]]) -> Chain:
        """Return the chain of steps that a build did; what is no step is left out."""
        return tuple(
            (str(step[0]), step[1], self.of(str(step[0]), step[1]))
            for step in steps
            if len(step) == 2 and isinstance(step[1], int)  # noqa: PLR2004  # script and index
        )

    def stands(self, chain: Chain) -> bool:
        """Tell whether every step of a chain is still what it was."""
        return all(digest != "" and self.of(script, index) == digest for script, index, digest in chain)


def longest(saved: Iterable[Saved], *, root: str, texts: Texts) -> Saved | None:
    """Return the image with most steps behind it that a build can go on from; of equals the newest."""
    fitting = [each for each in saved if each.root == root and texts.stands(each.chain)]
    return max(fitting, key=lambda each: (len(each.chain), each.created), default=None)


def chain_key(root: str, chain: Chain) -> str:
    """Return what names a checkpoint: the hash of where it began and what was done."""
    return hashlib.sha256(f"{root}\0{write(chain)}".encode()).hexdigest()


def write(chain: Chain) -> str:
    """Return a chain as a label holds it."""
    scripts = list(dict.fromkeys(script for script, _, _ in chain))
    steps = [[scripts.index(script), index, digest] for script, index, digest in chain]
    return json.dumps({"scripts": scripts, "steps": steps}, separators=(",", ":"))


def read(label: str | None) -> Chain | None:
    """Read a chain from a label, None when it is none."""
    try:
        found = json.loads(label or "")
        steps = tuple((found["scripts"][at], index, digest) for at, index, digest in found["steps"])
    except (ValueError, KeyError, TypeError, IndexError):
        return None
    kinds = (str, int, str)
    sound = all(type(part) is kind for step in steps for part, kind in zip(step, kinds, strict=True))
    return steps if sound else None
