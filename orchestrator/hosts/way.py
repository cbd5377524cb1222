"""A platform's own way to a public URL: which ports it reaches, how the URL is made, what it does to requests."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from orchestrator.engine.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Collection

    from orchestrator.hosts.platform import Platform
    from orchestrator.hosts.signs import Signs

EVERYBODY, HERE = "0.0.0.0", "127.0.0.1"  # noqa: S104  # behind the gate, which lets nobody in without a token
LOOPBACK: Final = ("127.0.0.0/8", "::1/128")
PRIVATE: Final = ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
SSH_PORT, JUPYTER_PORT, PORTAL_PORT, TENSORBOARD_PORT = 22, 8080, 1111, 6006
CERTIFICATE: Final = ("/etc/instance.crt", "/etc/instance.key")
LAST_PORT: Final = 65535


@dataclass(frozen=True, slots=True)
class Way:
    """Describe a way from a browser to a port of this machine.

    `kind` is `url`, `frame` (only inside a notebook) or `none`. `template` makes a URL with `{port}`, the port of the
    gate inside; `mapped` has the URL of each port where the outer port differs. `ports` are those that can be reached,
    None for any; `busy` those of them that something listens on already. `one_port`: all apps share one. `proxies` are
    networks whose X-Forwarded-* headers count. `shared`: other people's servers are at other ports of the address, and
    browsers send them the same cookies. `certificate` names the files for TLS that the gate has to speak itself.
    `timeout_seconds` is how long a request may go without an answer. `sure` is False where the port must have been
    declared outside, which cannot be seen from here. `note` is what to know of it, `hint` what to do where it does not
    lead here.
    """

    kind: Literal["url", "frame", "none"]
    name: str
    template: str = ""
    mapped: tuple[tuple[int, str], ...] = ()
    bind: str = HERE
    ports: tuple[int, ...] | None = None
    busy: tuple[int, ...] = ()
    one_port: bool = False
    https: bool = True
    shared: bool = False
    certificate: tuple[str, str] | None = None
    proxies: tuple[str, ...] = ()
    timeout_seconds: int | None = None
    sure: bool = True
    note: str = ""
    hint: str = ""

    @property
    def free(self) -> tuple[int, ...] | None:
        """The ports that can be reached and that nothing listens on yet, None for any."""
        return None if self.ports is None else tuple(port for port in self.ports if port not in self.busy)

    def url(self, port: int) -> str:
        """Return the public URL of a port, without a path unless the platform adds one; "" where there is none."""
        return dict(self.mapped).get(port) or self.template.replace("{port}", str(port))

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {**asdict(self), "mapped": {str(port): url for port, url in self.mapped}, "free": self.free}


def way_out(platform: Platform, signs: Signs, port: int | None = None) -> Way:
    """Return the best way out of a machine, of kind `none` where it has none of its own.

    `port` is the one that the gate has to use, if that is settled; PINOCTL_GATE_PORT settles it, too, and
    PINOCTL_PUBLIC_URL replaces what was found, PINOCTL_TRUSTED_PROXY whose word about visitors counts. Raises
    BadInputError for values of these that make no sense.
    """
    return ways_out(platform, signs, port)[0]


def ways_out(platform: Platform, signs: Signs, port: int | None = None) -> tuple[Way, ...]:
    """Return every way out of a machine, the best first, at least one."""
    named = trusted_proxies(signs)
    return tuple(replace(way, proxies=named or way.proxies) for way in _ways(platform, signs, port))


def _ways(platform: Platform, signs: Signs, port: int | None) -> tuple[Way, ...]:
    port = port if port is not None else gate_port(signs)
    given = signs.environ.get("PINOCTL_PUBLIC_URL", "").strip()
    if given:
        return (_given(given, platform, port),)
    found = [way for way in _WAYS.get(platform.name, _nothing)(signs) if port is None or _reaches(way, port)]
    if port is not None:
        found = [_narrowed(way, port) for way in found]
    if found:
        return tuple(found)
    return (Way("none", platform.name, note=_why_none(platform, signs, port)),)


def gate_port(signs: Signs) -> int | None:
    """Return the port that PINOCTL_GATE_PORT settles, None when it is not set."""
    text = signs.environ.get("PINOCTL_GATE_PORT", "").strip()
    if not text:
        return None
    if not text.isdecimal() or not 0 < int(text) <= LAST_PORT:
        raise BadInputError(
            f"`PINOCTL_GATE_PORT` must be a port from 1 to {LAST_PORT}, got `{text}`", hint="for example 8888"
        )
    return int(text)


def trusted_proxies(signs: Signs) -> tuple[str, ...]:
    """Return the networks that PINOCTL_TRUSTED_PROXY names; raises BadInputError for what is no address."""
    found = []
    for word in signs.environ.get("PINOCTL_TRUSTED_PROXY", "").replace(",", " ").split():
        try:
            found.append(str(ipaddress.ip_network(word, strict=False)))
        except ValueError as error:  # noqa: PERF203  # there are a few at most
            raise BadInputError(
                f"`PINOCTL_TRUSTED_PROXY` must list addresses or networks, got `{word}`",
                hint="for example `127.0.0.1` or `172.17.0.0/16`",
            ) from error
    return tuple(found)


def listening(signs: Signs) -> frozenset[int]:
    """Return the TCP ports that something on this machine listens on."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in (signs.read(table) or "").splitlines()[1:]:
            columns = line.split()
            if len(columns) > _STATE and columns[_STATE] == "0A":
                found.add(int(columns[1].rpartition(":")[2], 16))
    return frozenset(found)


_STATE: Final = 3  # column of /proc/net/tcp


def _given(url: str, platform: Platform, port: int | None) -> Way:
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", url):
        raise BadInputError(
            f"`PINOCTL_PUBLIC_URL` must be an address that begins with http:// or https://, got `{url}`",
            hint="for example `https://gpu.example.org`, or `https://{port}.gpu.example.org` for one per port",
        )
    inside = platform.name not in {"local", "lambda"}
    return Way(
        "url",
        "PINOCTL_PUBLIC_URL",
        template=url.rstrip("/"),
        bind=EVERYBODY if inside else HERE,
        ports=None if port is None else (port,),
        one_port="{port}" not in url or port is not None,
        https=url.startswith("https"),
        proxies=(*LOOPBACK, *PRIVATE) if inside else LOOPBACK,
        note="as PINOCTL_PUBLIC_URL says",
    )


def _reaches(way: Way, port: int) -> bool:
    return way.ports is None or port in way.ports


def _narrowed(way: Way, port: int) -> Way:
    return replace(way, ports=(port,), busy=(), one_port=True)


def _nothing(signs: Signs) -> list[Way]:  # noqa: ARG001  # the signature of the others
    return []


def _runpod(signs: Signs) -> list[Way]:
    pod, address, mapped = signs.get("RUNPOD_POD_ID"), signs.get("RUNPOD_PUBLIC_IP"), signs.ports("RUNPOD_TCP_PORT_")
    ways = []
    if re.fullmatch(r"[a-z0-9]+", pod):
        ways.append(
            Way(
                "url",
                "RunPod proxy",
                template=f"https://{pod}-{{port}}.proxy.runpod.net",
                bind=EVERYBODY,
                proxies=(*LOOPBACK, *PRIVATE),
                timeout_seconds=100,
                sure=False,
                note="a request without an answer for 100 seconds is ended",
                hint="declare the gate's port as HTTP (Edit Pod > Expose HTTP Ports), which resets the pod",
            )
        )
    outer = {port if port <= LAST_PORT else other: other for port, other in mapped.items() if port != SSH_PORT}
    if address and outer:
        ways.append(_mapped("RunPod TCP port", address, outer, signs, "without encryption; the port changes at resets"))
    return ways


def _vast(signs: Signs) -> list[Way]:
    address, mapped = signs.get("PUBLIC_IPADDR"), signs.ports("VAST_TCP_PORT_")
    taken = {SSH_PORT, _number(signs.get("JUPYTER_PORT")) or JUPYTER_PORT, *portal_ports(signs)}
    # from 70000 on, a variable's number is only a request: inside and outside the port is its value
    outer = {port if port <= LAST_PORT else other: other for port, other in mapped.items() if port not in taken}
    if not address or not outer:
        return []
    way = _mapped("Vast.ai port", address, outer, signs, "the address may change")
    return [way]


def _mapped(name: str, address: str, ports: dict[int, int], signs: Signs, note: str) -> Way:
    """Build the way over ports that a provider mapped, with the machine's own certificate where it offers one."""
    secure = all(signs.exists(path) for path in CERTIFICATE) and name.startswith("Vast")
    scheme, host = "https" if secure else "http", f"[{address}]" if ":" in address else address
    inside = listening(signs)
    return Way(
        "url",
        name,
        mapped=tuple((port, f"{scheme}://{host}:{outer}") for port, outer in ports.items()),
        bind=EVERYBODY,
        ports=tuple(ports),
        busy=tuple(port for port in ports if port in inside),
        one_port=len(ports) == 1,
        https=secure,
        shared=True,
        certificate=CERTIFICATE if secure else None,
        note="; ".join([note, _SHARED, *([_CERTIFICATE] if secure else [])]),
    )


_SHARED: Final = "strangers have servers at other ports of the address, and get the cookies of browsers that go there"
_CERTIFICATE: Final = "browsers trust the certificate only after Vast.ai's own was installed"


def portal_ports(signs: Signs) -> set[int]:
    """Return the ports that Vast.ai's portal keeps: those of PORTAL_CONFIG, like `localhost:1111:11111:/:Name|...`."""
    config = signs.get("PORTAL_CONFIG")
    if not config:
        return {PORTAL_PORT}
    found = set()
    for entry in config.strip("\"'").split("|"):
        parts = entry.split(":")
        found |= {port for part in parts[1:3] if (port := _number(part))}
    return found


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and 0 < int(text) <= LAST_PORT else None


def _lightning(signs: Signs) -> list[Way]:
    host = signs.get("LIGHTNING_CLOUDSPACE_HOST")
    if not re.fullmatch(r"[A-Za-z0-9.-]+", host):
        return []
    return [
        Way(
            "url",
            "Lightning",
            template=f"https://{{port}}-{host}",
            bind=EVERYBODY,
            proxies=(*LOOPBACK, *PRIVATE),
            sure=False,
            note="as older studios make it; whether this one does is found out by asking",
        )
    ]


def _paperspace(signs: Signs) -> list[Way]:
    host = signs.get("PAPERSPACE_FQDN")
    if not re.fullmatch(r"[A-Za-z0-9.-]+", host):
        return []
    busy = (TENSORBOARD_PORT,) if TENSORBOARD_PORT in listening(signs) else ()
    return [
        Way(
            "url",
            "Paperspace",
            template=f"https://tensorboard-{host}",
            bind=EVERYBODY,
            ports=(TENSORBOARD_PORT,),
            busy=busy,
            one_port=True,
            proxies=(*LOOPBACK, *PRIVATE),
            sure=False,
            note="the address meant for TensorBoard, which reaches port 6006 only; not documented by Paperspace",
        )
    ]


def _colab(signs: Signs) -> list[Way]:  # noqa: ARG001
    return [
        Way(
            "frame",
            "Colab frame",
            one_port=False,
            proxies=LOOPBACK,
            note='`from orchestrator.notebook import up` and `up("APP")` in a cell show an app in the notebook, '
            "for its user only, while it is open",
        )
    ]


_WAYS: Final = {
    "runpod": _runpod,
    "vast": _vast,
    "lightning": _lightning,
    "paperspace": _paperspace,
    "colab": _colab,
}


def _why_none(platform: Platform, signs: Signs, port: int | None) -> str:
    """Say why there is no way of the platform's own, and what helps."""
    mapped: Collection[int] = signs.ports("VAST_TCP_PORT_") if platform.name == "vast" else ()
    if platform.name == "vast":
        if not signs.get("PUBLIC_IPADDR"):
            return "PUBLIC_IPADDR is not set in this session; a tunnel works without it"
        if port is not None and mapped:
            return f"port {port} was not opened when the instance was made; open are {', '.join(map(str, mapped))}"
        return "no port is free: open one with `-p 7860:7860` when you make the instance, or use a tunnel"
    if platform.name == "paperspace" and port not in {None, TENSORBOARD_PORT}:
        return f"only port {TENSORBOARD_PORT} can be reached"
    if platform.name == "studiolab":
        return "its proxy for Jupyter puts a prefix before every path, which most apps do not bear; use a tunnel"
    return "none that can be seen from inside; use a tunnel, or name a proxy of your own with PINOCTL_PUBLIC_URL"
