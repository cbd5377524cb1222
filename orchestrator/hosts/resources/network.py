"""Which of the services that apps are installed from this machine reaches."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

SERVICES: Final[Mapping[str, str]] = {
    "PyPI": "https://pypi.org/simple/pip/",
    "npm": "https://registry.npmjs.org/-/ping",
    "GitHub": "https://github.com/robots.txt",
    "Hugging Face": "https://huggingface.co/robots.txt",
    "PyTorch wheels": "https://download.pytorch.org/whl/torch/",
    "conda-forge": "https://conda.anaconda.org/conda-forge/noarch/repodata_shards.msgpack.zst",
}
SECONDS: Final = 5.0

Ask = Callable[[str, float], "str | None"]  # address, seconds → None when it answered, else why it did not


@dataclass(frozen=True, slots=True)
class Reach:
    """Say whether one service answers; `problem` is "" when it does."""

    name: str
    url: str
    problem: str = ""


def look_round(
    ask: Ask | None = None, services: Mapping[str, str] = SERVICES, *, seconds: float = SECONDS
) -> list[Reach]:
    """Ask every service at the same time; any answer counts, also one that refuses."""
    ask = ask or head
    with concurrent.futures.ThreadPoolExecutor(len(services) or 1) as pool:
        answers = list(pool.map(lambda url: ask(url, seconds), services.values()))
    return [Reach(name, url, answer or "") for (name, url), answer in zip(services.items(), answers, strict=True)]


def head(url: str, seconds: float) -> str | None:
    """Ask a server for the head of a page; return None when it answered, else why not in a few words."""
    import requests  # noqa: PLC0415  # takes longer to load than most commands run

    try:
        requests.head(url, timeout=seconds, allow_redirects=False)
    except requests.Timeout:
        return f"no answer within {seconds:g} s"
    except requests.exceptions.SSLError as error:
        return f"its certificate is refused: {_short(error)}"
    except requests.RequestException as error:
        return _short(error)
    return None


def _short(error: Exception) -> str:
    text = str(error)
    return next((said for known, said in _KNOWN.items() if known in text), type(error).__name__)


_KNOWN: Final = {
    "Name or service not known": "its name cannot be resolved",
    "Temporary failure in name resolution": "its name cannot be resolved",
    "NameResolutionError": "its name cannot be resolved",
    "Connection refused": "it refuses the connection",
    "Network is unreachable": "the network cannot be reached",
    "ProxyError": "the proxy refuses it",
}
