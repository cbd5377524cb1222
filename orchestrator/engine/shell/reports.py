"""What bash reports through its own terminal, and how that is taken out of the output again.

Bash is told, by a few lines that it reads once and never shows, to write a sequence before each prompt: with a secret
of this shell alone, the exit status, and the prompt that follows. Programs cannot forge one without the secret, which
is in no environment and on no command line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LONGEST = 4096  # bytes; what claims to be a report and is longer is output


@dataclass(frozen=True, slots=True)
class Report:
    """Be one report: `kind` is `prompt` (a command line is finished) or `more` (a line that goes on).

    `status` is the exit status of the last command, `prompt` what bash is about to show.
    """

    kind: str
    status: int = 0
    prompt: str = ""


def init_script(secret: str) -> str:
    """Return what bash sources before its first prompt; afterwards nothing of it is exported."""
    begin, end = f"\\033_{secret};", f";{secret}\\033"
    report = f'builtin printf "{begin}p;%d;%s{end}\\\\\\\\" "$?" "${{PS1@P}}"'
    more = f"\\[{begin}c;$((++__pinoctl_lines)){end}\\\\\\]"
    return (
        "exec 9<&-\n"
        "export -n PROMPT_COMMAND PS2\n"
        # through /dev/tty and with stderr away, so that `exec >file` and `set -x` see nothing of it
        f"PROMPT_COMMAND='{{ {report} >/dev/tty; }} 2>/dev/null'\n"
        "__pinoctl_lines=0\n"
        f"PS2='{more}'\"${{PS2:-> }}\"\n"
        'eval "$PROMPT_COMMAND"\n'
    )


class ReportParser:
    """Split a terminal's bytes into output and reports, also when a report is split over reads."""

    def __init__(self, secret: str) -> None:
        key = re.escape(secret.encode())
        self._begin = b"\x1b_" + secret.encode() + b";"
        self._pattern = re.compile(b"\x1b_" + key + b";(?:p;(\\d+);(.*?)|c;(\\d*).*?);" + key + b"\x1b\\\\", re.DOTALL)
        self._held = b""
        self._last_line = ""

    def feed(self, data: bytes) -> list[bytes | Report]:
        """Return what these bytes hold, in order; what may be the beginning of a report is kept for the next time."""
        if self._held:
            data, self._held = self._held + data, b""
        elif b"\x1b" not in data:
            return [data]
        found: list[bytes | Report] = []
        at = 0
        while (begin := data.find(self._begin, at)) >= 0:
            match = self._pattern.match(data, begin)
            if match is None:
                if len(data) - begin < LONGEST:
                    break
                begin += 1  # too long to be a report
                found.append(data[at:begin])
                at = begin
                continue
            if begin > at:
                found.append(data[at:begin])
            at = match.end()
            report = self._report(match)
            if report is not None:
                found.append(report)
        end = begin if begin >= 0 else self._partial(data, at)
        if end > at:
            found.append(data[at:end])
        self._held = data[end:]
        return found

    def flush(self) -> bytes:
        """Return what was kept back: nothing more will come."""
        held, self._held = self._held, b""
        return held

    def _report(self, match: re.Match[bytes]) -> Report | None:
        if match[1] is None:
            number = match[3].decode()
            if number and number == self._last_line:
                return None  # readline painted the same prompt once more
            self._last_line = number
            return Report("more")
        prompt = re.sub(b"\x01[^\x02]*\x02", b"", match[2]).decode("utf-8", "replace")
        return Report("prompt", int(match[1]), prompt)

    def _partial(self, data: bytes, start: int) -> int:
        """Return where a beginning of a report stands at the end of the data, else the data's length."""
        for length in range(min(len(self._begin) - 1, len(data) - start), 0, -1):
            if data.endswith(self._begin[:length]):
                return len(data) - length
        return len(data)
