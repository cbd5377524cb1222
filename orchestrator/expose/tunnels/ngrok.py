"""ngrok's agent (v3), with the user's token.

pyngrok reads its log. It does not fetch or start the agent here: it would fetch without a checksum, and write the token
into a file or the process list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pyngrok.log import NgrokLog

from orchestrator.expose.tunnels.provider import Here, Needs, Possible, Start, Told, environment

# Codes that do not go away by trying again: no or a wrong token (105, 107, 4018, 4040), an account that is suspended,
# blocked or without what was asked for, an agent too old.
_FINAL: Final = frozenset(
    {
        "103",
        "104",
        "105",
        "106",
        "107",
        "109",
        "120",
        "121",
        "302",
        "314",
        "315",
        "4018",
        "4040",
        "8012",
        "8013",
        "8014",
    }
)
_CODE: Final = re.compile(r"ERR_NGROK_(\d+)")
_CONFIG: Final = (
    # Version 2 is what every agent of v3 reads; words that it does not know would end it. The web interface shows
    # requests with their tokens to whoever is on this machine, so it stays off.
    'version: "2"\n'
    "web_addr: false\ninspect_db_size: -1\nconsole_ui: false\nupdate_check: false\nremote_management: false\n"
)

_NEEDS: Final = Needs(settings=(("NGROK_AUTHTOKEN",),), programs=("ngrok",))


@dataclass(frozen=True, slots=True)
class Ngrok:
    """Run `ngrok http`; the token goes by environment, which only we and the agent can read."""

    name: str = "ngrok"
    needs: Needs = _NEEDS
    patience: int = 3

    def possible(self, here: Here) -> Possible:
        """Tell whether there is a token."""
        if not here.environ.get("NGROK_AUTHTOKEN"):
            return Possible(
                ok=False,
                why="`NGROK_AUTHTOKEN` is not set",
                hint="Take the token from https://dashboard.ngrok.com/get-started/your-authtoken and set "
                "`NGROK_AUTHTOKEN` to it",
            )
        return Possible(
            ok=True,
            why="`NGROK_AUTHTOKEN` is set",
            rank=10,
            caveat="A free account shows browsers a warning page first, limits traffic, and allows one agent at a time",
        )

    def command(self, port: int, here: Here, program: str) -> Start:
        """Build `ngrok http`, with the user's domain (NGROK_DOMAIN) where there is one."""
        token = here.environ.get("NGROK_AUTHTOKEN", "")
        domain = here.environ.get("NGROK_DOMAIN", "")
        config = here.folder / "ngrok.yml"
        options = ("--log", "stdout", "--log-format", "logfmt", "--log-level", "info", "--config", str(config))
        where = ("--url", f"https://{domain}") if domain else ()
        return Start(
            port=port,
            argv=(program, "http", f"127.0.0.1:{port}", *options, *where),
            env=environment(here, NGROK_AUTHTOKEN=token),
            files=((config, _CONFIG),),
            secrets=(token,),
        )

    def read(self, line: str, stream: str, start: Start) -> Told | None:  # noqa: ARG002  # both streams speak alike
        """Read the agent's log (logfmt), and what it prints before it ends."""
        if line.startswith("ERROR:"):
            said = line.removeprefix("ERROR:").strip()
            return _problem(said) if said else None
        log = NgrokLog(line)
        url = str(getattr(log, "url", ""))
        if log.msg == "started tunnel" and url.startswith("http"):
            return Told(url=url)
        if log.lvl in {"ERROR", "CRITICAL"} and log.err not in {None, "", "nil", "<nil>"}:
            return _problem(str(log.err))
        return None


def _problem(said: str) -> Told:
    code = _CODE.search(said)
    final = code is not None and code[1] in _FINAL
    text = said.replace("\\r", "").replace("\\n", "\n").strip().splitlines()[0]
    if code is not None and code[0] not in text:
        text = f"{text} ({code[0]})"
    hint = f"See https://ngrok.com/docs/errors/{code[0].lower()}" if code is not None else ""
    if code is not None and code[1] in {"105", "107", "4018"}:
        hint = "Set `NGROK_AUTHTOKEN` to the token of https://dashboard.ngrok.com/get-started/your-authtoken"
    return Told(problem=text, final=final, hint=hint)
