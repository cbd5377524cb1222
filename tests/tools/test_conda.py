"""Conda behind its contract, with a stand-in that makes, activates and fills real environments."""

from __future__ import annotations

import hashlib
import http.server
import subprocess
import threading

import pytest

from orchestrator.engine.environment import Environment, prepare_home
from orchestrator.engine.errors import PinoctlError
from orchestrator.engine.home import Home
from orchestrator.engine.tools import Miniforge, Tools, base
from orchestrator.engine.tools.conda import installer_url

INSTALLER = (
    """#!/bin/bash
# usage: installer -b -p PREFIX, as Miniforge's
set -e
[ "$1" = -b ] && [ "$2" = -p ] && [ ! -e "$3" ]
PYTHON -m venv --without-pip "$3"
cat > "$3/bin/conda" <<'END'
#!/bin/bash
root=$(dirname "$(dirname "$(readlink -f "$0")")")
case "$1" in
  shell.bash)
    cat <<HOOK
conda() {
  case "\\$1" in
    activate)
      prefix=\\$2; [ "\\$2" = base ] && prefix=$root
      export CONDA_PREFIX=\\$prefix PATH=\\$prefix/bin:\\$PATH CONDA_DEFAULT_ENV=\\$2 ;;
    deactivate) ;;
    *) command conda "\\$@" ;;
  esac
}
HOOK
    ;;
  create) shift; while [ "$1" != -p ]; do shift; done; PYTHON -m venv --without-pip "$2" ;;
  install) echo "$@" >> "$root/installed"; case "$*" in *refused*) echo "cannot solve" >&2; exit 1;; esac ;;
esac
END
chmod +x "$3/bin/conda"
exit 0
"""
    + "#" * 200_000
)  # the real one carries its packages behind the script


class Served:
    """A server of one installer that can break off in the middle."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.ranges: list[str | None] = []
        self.stop_after: int | None = None
        self.checksum = hashlib.sha256(data).hexdigest()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/Miniforge3-Linux.sh"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def answer(self, request) -> None:
        if request.path.endswith(".sha256"):
            body, start = f"{self.checksum}  Miniforge3-Linux.sh\n".encode(), 0
        else:
            asked = request.headers.get("Range")
            self.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            body = self.data[start:]
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[: self.stop_after])

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def served(base_home, based):
    python = base.read_record(base_home)["python"]
    server = Served(INSTALLER.replace("PYTHON", python).encode())
    yield server
    server.close()


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "home")
    prepare_home(home, {})
    return home


async def test_installing_makes_it_present_once(home, based, served):
    conda = Miniforge(home, based.process, url=served.url)
    assert not conda.present()
    assert await conda.install() == []
    assert conda.present()
    assert (home.bin / "miniconda" / "bin" / "conda").exists()
    assert (conda.root / "installed").read_text() == "install -y -n base python=3.10.20\n"
    await conda.install()
    assert served.ranges == [None]
    assert list((home.cache / "installers").iterdir()) == []


async def test_a_broken_download_goes_on_where_it_stopped(home, based, served):
    conda = Miniforge(home, based.process, url=served.url, sha256=served.checksum)
    served.stop_after = 100_000
    with pytest.raises(PinoctlError, match="cannot be fetched"):
        await conda.install()
    assert not conda.present()
    served.stop_after = None
    await conda.install()
    assert conda.present()
    assert served.ranges == [None, "bytes=65536-"]


async def test_a_damaged_download_is_not_run(home, based, served):
    served.checksum = "0" * 64
    conda = Miniforge(home, based.process, url=served.url)
    with pytest.raises(PinoctlError, match="arrived damaged"):
        await conda.install()
    assert not conda.root.exists()
    assert list((home.cache / "installers").iterdir()) == []


async def test_half_an_installation_is_replaced(home, based, served):
    conda = Miniforge(home, based.process, url=served.url)
    (conda.root / "bin").mkdir(parents=True)
    (conda.root / "bin" / "conda").write_text("half")
    assert conda.present()  # the desktop's own, for all we know
    (home.bin / ".miniforge-unfinished").touch()
    assert not conda.present()
    await conda.install()
    assert conda.present()
    assert "shell.bash" in (conda.root / "bin" / "conda").read_text()


async def test_a_refused_base_python_is_a_warning(home, based, served):
    conda = Miniforge(home, based.process, url=served.url, finish=[["install", "refused"]])
    warnings = await conda.install()
    assert len(warnings) == 1
    assert "cannot solve" in warnings[0]
    assert conda.present()


async def test_an_installer_that_fails_says_why(home, based, served):
    served.data = b"echo no space left >&2; exit 3\n"
    served.checksum = hashlib.sha256(served.data).hexdigest()
    conda = Miniforge(home, based.process, url=served.url)
    with pytest.raises(PinoctlError, match="no space left"):
        await conda.install()
    assert not conda.present()


async def test_a_host_that_cannot_be_reached_says_so(home, based, served):
    served.close()
    with pytest.raises(PinoctlError, match="which this script uses, cannot be fetched"):
        await Miniforge(home, based.process, url=served.url).install()
    served.close = lambda: None


@pytest.mark.slow
async def test_shells_use_it_from_then_on(home, based, served, tmp_path):
    tools = Tools(home, based.process, conda=Miniforge(home, based.process, url=served.url))
    environment = Environment(home, based.process, tools.facts)
    assert "CONDA_ENVS_PATH" not in environment.shell(None)
    await tools.conda.install()
    env = environment.shell(None)
    assert env["CONDA_ENVS_PATH"] == f"{home.miniforge}/envs"
    script = (
        'eval "$(conda shell.bash hook)" ; conda activate base ; which python ; '
        f"conda create -y -p {tmp_path}/env python=3.10 ; conda activate {tmp_path}/env ; "
        "python -c 'import sys; print(sys.prefix)'"
    )
    command = ["bash", "--noprofile", "--norc", "-c", script]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)  # noqa: ASYNC221  # nothing else runs
    assert done.stdout.split() == [f"{home.miniforge}/bin/python", f"{tmp_path}/env"], done.stderr


def test_the_real_installers_address():
    assert installer_url("aarch64").endswith("/26.3.2-3/Miniforge3-26.3.2-3-Linux-aarch64.sh")
