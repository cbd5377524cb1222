"""Containers at work: made, started, talked to, stopped, removed; each call can be repeated."""

from __future__ import annotations

import contextlib
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from orchestrator.agent.client import AgentGoneError, Client
from orchestrator.agent.protocol import GarbledError
from orchestrator.places.container import code, names, streams
from orchestrator.places.container.docker import Docker, DockerError, RefusedError, told
from orchestrator.places.container.streams import ExecStream
from orchestrator.state.locks import LockedError, app_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from orchestrator.engine.errors import PinoctlError
    from orchestrator.engine.home import Home
    from orchestrator.places.container.containers import Spec

# One exec waits inside until the agent listens, instead of asking the daemon again and again.
TALK: Final = (
    'i=0; while [ ! -S "$0" ] && [ $i -lt 3000 ]; do sleep 0.01; i=$((i+1)); done; '
    'exec socat -b 262144 -t 86400 STDIO UNIX-CONNECT:"$0"'
)
TRIES: Final = (0.2, 1.0)  # pauses between the attempts to reach the agent of a container that runs
STOP_SECONDS: Final = 30
READER_SECONDS: Final = 900  # nobody reads a log for that long
HELPER_SECONDS: Final = 86400  # nor works in a home, of which only this is known, for that long
TAKEN: Final = ("port is already allocated", "address already in use")
SILENT_SECONDS: Final = 60  # what has not answered since then does not start any more


def find(docker: Docker, name: str) -> dict[str, Any] | None:
    """Return a container as the daemon describes it, None when there is none."""
    from docker.errors import NotFound  # noqa: PLC0415  # see docker.connect

    with told():
        try:
            found: dict[str, Any] = docker.api.inspect_container(name)
        except NotFound:
            return None
        return found


def runs(docker: Docker, name: str) -> bool:
    """Tell whether a container runs."""
    there = find(docker, name)
    return there is not None and bool(there["State"]["Running"])


def create(docker: Docker, spec: Spec) -> str:
    """Create a container and return its id; raises DockerError, also where another has its name."""
    with told(f"the container `{spec.name}` cannot be made"):
        made = docker.api.create_container_from_config(spec.labelled(), name=spec.name)
    container = str(made["Id"])
    if spec.code_volume and not code.is_complete(docker, container):
        code.volume(docker, str(spec.body["Image"]))  # another command removed it when no container had it yet
    return container


class PortTakenError(DockerError):
    """Report that a port which a container was made with has been taken by somebody else."""


def start(docker: Docker, container: str) -> None:
    """Start a container; nothing happens to one that runs. Raises DockerError, PortTakenError."""
    try:
        with told("the container cannot be started"):
            docker.api.start(container)
    except RefusedError as error:
        if any(sign in str(error) for sign in TAKEN):
            raise PortTakenError(str(error), hint="`pinoctl up` gives the app another one") from error
        raise


def unpause(docker: Docker, container: str) -> None:
    """Let a container go on that was paused."""
    with told("the container is paused and cannot go on"):
        docker.api.unpause(container)


def stop(docker: Docker, container: str, *, seconds: int = STOP_SECONDS) -> None:
    """Stop a container, gently first."""
    from docker.errors import NotFound  # noqa: PLC0415  # see docker.connect

    with told("the container cannot be stopped"):
        try:
            docker.api.stop(container, timeout=seconds)
        except NotFound:
            return


def remove(docker: Docker, container: str) -> None:
    """Remove a container with its own volumes, running or not; nothing happens when there is none."""
    from docker.errors import APIError, NotFound  # noqa: PLC0415  # see docker.connect

    with told("the container cannot be removed"):
        try:
            docker.api.remove_container(container, force=True, v=True)
        except NotFound:
            return
        except APIError as error:
            if "already in progress" not in str(error.explanation):
                raise


def remove_helpers(docker: Docker, home: Home, app: str, *, now: float | None = None) -> None:
    """Remove the helpers that killed commands left: containers that were never started.

    They are those of the app, whose lock the caller holds, those of other apps of the home whose lock nobody holds, and
    those that are too old for anybody to be at work there.
    """
    ours = names.home_key(home)
    with told():
        rows = docker.api.containers(all=True, filters={"label": [f"{names.KIND}=helper"], "status": ["created"]})
    for row in rows:
        labels = row.get("Labels") or {}
        age = (time.time() if now is None else now) - float(row["Created"])
        whose = labels.get(names.APP) if labels.get(names.HOME) == ours else None
        if names.READER in labels or whose is None:
            if age > (READER_SECONDS if names.READER in labels else HELPER_SECONDS):
                remove(docker, str(row["Id"]))
        elif whose == app:
            remove(docker, str(row["Id"]))
        else:
            with contextlib.suppress(LockedError), app_lock(home, whose, "cleaned up"):
                remove(docker, str(row["Id"]))


def wait(docker: Docker, container: str) -> int:
    """Wait until a container has ended, and return its exit status; -1 for one that is gone."""
    from docker.errors import NotFound  # noqa: PLC0415  # see docker.connect

    with told("the container does not end"):
        try:
            return int(docker.api.wait(container, timeout=120)["StatusCode"])
        except NotFound:
            return -1


def agent_of(
    docker: Docker,
    container: str,
    app: str,
    home: str,
    *,
    timeout: float = 30.0,
    started: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> Client:
    """Connect to the agent in a running container, which may only be starting; raises AgentGoneError, DockerError.

    `started` tells it that the caller started the container, so that it starts the app only when it is asked to.
    """
    for pause in (*TRIES, None):
        try:
            stream = ExecStream(docker, container, ["sh", "-c", TALK, f"{home}/run/{app}.sock"])
        except RefusedError as error:  # it has just ended, or ends again and again
            there = find(docker, container)
            if there is None or there["State"]["Status"] != "running" or _ends_again(there):
                raise ended(docker, container, app) from error
            raise
        try:
            stream.settimeout(timeout)
            return Client.over(stream, timeout=timeout, started=started)
        except TimeoutError as error:
            stream.close()
            raise AgentGoneError(
                f"the agent of `{app}` does not answer", hint="`docker logs` of its container may say why"
            ) from error
        except (AgentGoneError, GarbledError) as error:  # a daemon says in plain words that no command can be run there
            said = bytes(stream.errors) or str(error).encode()
            stream.close()
            why = ended(docker, container, app, said=said.decode("utf-8", "replace").strip())
            if pause is None or not isinstance(why, AgentGoneError):
                raise why from error
            sleep(pause)  # it runs, and a command in it can fail once where the machine has much to do
    raise AssertionError  # pragma: no cover  # the last round has no pause


def ended(docker: Docker, container: str, app: str, *, said: str = "") -> PinoctlError:
    """Return the error that tells why a container ended, with its last words; `said` is why one that runs is silent."""
    there = find(docker, container)
    if there is None:
        return DockerError(f"the container of `{app}` was removed while it was at work",
                           hint=f"`pinoctl up {app}` makes a new one")  # fmt: skip
    state = there["State"]
    words = why_of(state) or last_words(docker, container)
    if state.get("OOMKilled"):
        return DockerError(f"the container of `{app}` ran out of memory", hint="give it more with `--memory`")
    if state.get("Paused") or _ends_again(there):
        return DockerError(
            f"`{app}` cannot be reached: {trouble(there, silent=True)}" + (f"; it said last: {words}" if words else ""),
            hint=f"`pinoctl logs {app}` and `docker logs` of its container show more, `pinoctl down {app}` stops it",
        )
    if state.get("Running"):
        why = f": {said.splitlines()[-1]}" if said else ""
        return AgentGoneError(
            f"the agent of `{app}` does not answer{why}",
            hint=f"`pinoctl down {app}` and `pinoctl up {app}` start it anew",
        )
    why = f": {words}" if words else ""
    return DockerError(f"the container of `{app}` ended with status {state.get('ExitCode')}{why}",
                       hint=f"`pinoctl up {app}` starts it again and goes on where it stopped")  # fmt: skip


def why_of(state: Mapping[str, Any]) -> str:
    """Return what the daemon says of why a container could not run, "" where it says nothing."""
    lines = str(state.get("Error") or "").split("\n")
    return "".join(letter if letter.isprintable() else " " for letter in lines[0]).strip()


def trouble(there: Mapping[str, Any], *, silent: bool = False, now: datetime | None = None) -> str | None:
    """Return why the agent in a container that counts as running cannot answer, None when it may be about to.

    `silent` tells that it was asked in vain.
    """
    state, restarts = there["State"], int(there.get("RestartCount") or 0)
    if state.get("Paused"):
        return "its container is paused, `pinoctl up` lets it go on"
    if state.get("Restarting") or (silent and _ends_again(there, now=now)):
        status = state.get("ExitCode")  # 0 while the daemon starts it anew
        why = "out of memory" if state.get("OOMKilled") else f"with status {status}" if status else ""
        return f"its container ends again and again, restarted {restarts} times so far{why and f', {why}'}"
    return "its agent does not answer" if silent and _age(state, now) > SILENT_SECONDS else None


def _ends_again(there: Mapping[str, Any], *, now: datetime | None = None) -> bool:
    """Tell whether a container is being restarted, or was just now, for it had ended by itself."""
    state = there["State"]
    again = int(there.get("RestartCount") or 0) > 0 and _age(state, now) < SILENT_SECONDS
    return bool(state.get("Restarting")) or bool(state.get("Running") and again)


def _age(state: Mapping[str, Any], now: datetime | None) -> float:
    """Return how many seconds ago a container was started."""
    began = datetime.strptime(f"{str(state.get('StartedAt'))[:19]}+0000", "%Y-%m-%dT%H:%M:%S%z")
    return ((now or datetime.now(timezone.utc)) - began).total_seconds()


def last_words(docker: Docker, container: str) -> str:
    """Return the last error that a container printed, "" when it printed none."""
    with told():
        text = docker.api.logs(container, stdout=False, stderr=True, tail=20).decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next(
        (line.removeprefix("error: ") for line in reversed(lines) if line.startswith("error: ")),
        lines[-1] if lines else "",
    )


def ports_of(there: Mapping[str, Any]) -> dict[int, int]:
    """Return which port of this machine leads to which published port of a container."""
    published = (there.get("NetworkSettings") or {}).get("Ports") or {}
    found = {}
    for name, bindings in published.items():
        number = name.partition("/")[0]
        for binding in bindings or ():
            if number.isdigit() and str(binding.get("HostPort") or "").isdigit():
                found[int(number)] = int(binding["HostPort"])
    return found


def await_running(docker: Docker, container: str, *, sleep: Callable[[float], None] = time.sleep) -> Mapping[str, Any]:
    """Return a container once it runs with its ports; raises what it ended with."""
    for _ in range(100):
        there = find(docker, container)
        if there is not None and there["State"]["Status"] == "running" and ports_of(there):
            return there
        if there is None or there["State"]["Status"] in {"exited", "dead", "restarting"}:
            break
        sleep(0.05)
    raise ended(docker, container, str((there or {}).get("Name") or container).lstrip("/"))


def run_module(docker: Docker, container: str, module: str, words: Sequence[str]) -> str:
    """Run a module of pinoctl's in a container and return what it printed; raises DockerError when it fails."""
    command = ["/opt/pinoctl/venv/bin/python", "-m", module, *words]
    status, printed, errors = streams.run(docker, container, command, environment={"PYTHONPATH": code.PLACE})
    if status != 0:
        lines = errors.decode("utf-8", "replace").strip().splitlines()
        raise DockerError(f"`{module}` failed in the container: {lines[-1] if lines else status}")
    return printed.decode("utf-8", "replace")
