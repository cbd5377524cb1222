"""`gradio.predict` against a server that speaks Gradio's protocol."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from orchestrator.engine.errors import ScriptError
from tests.methods.fakes import Bench


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name it has elsewhere
        pass

    def _send(self, value: Any, kind: str = "application/json") -> None:
        data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.endswith("/config"):
            components = [
                {"id": 1, "type": "textbox", "props": {"value": ""}},
                {"id": 2, "type": "textbox", "props": {}},
            ]
            dependency = {
                "id": 0,
                "api_name": "greet",
                "inputs": [1],
                "outputs": [2, 2],
                "backend_fn": True,
                "queue": True,
                "types": {"generator": False, "cancel": False},
                "api_visibility": "public",
                "show_api": True,
                "zerogpu": False,
            }
            self._send(
                {
                    "version": "5.0.0",
                    "protocol": "sse_v3",
                    "api_prefix": "/gradio_api",
                    "components": components,
                    "dependencies": [dependency],
                    "space_id": None,
                }
            )
        elif path.endswith("/info"):
            argument = {
                "label": "name",
                "parameter_name": "name",
                "parameter_has_default": False,
                "parameter_default": None,
                "type": {"type": "string"},
                "python_type": {"type": "str", "description": ""},
                "component": "Textbox",
            }
            returned = {
                "label": "said",
                "type": {"type": "string"},
                "python_type": {"type": "str", "description": ""},
                "component": "Textbox",
            }
            self._send(
                {
                    "named_endpoints": {
                        "/greet": {"parameters": [argument], "returns": [returned, returned], "show_api": True}
                    },
                    "unnamed_endpoints": {},
                }
            )
        elif path.endswith("/queue/data"):
            name = self.server.asked["data"][0]
            done = {
                "msg": "process_completed",
                "event_id": "e1",
                "success": name != "fail",
                "output": {"error": "broken inside"}
                if name == "fail"
                else {"data": [f"hello {name}", 2], "duration": 0.1},
            }
            self._send(
                "".join(f"data: {json.dumps(message)}\n\n" for message in (done, {"msg": "close_stream"})),
                "text/event-stream",
            )
        else:
            self._send({})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or "{}")
        if self.path.endswith("/queue/join"):
            self.server.asked = body
        self._send({"event_id": "e1"})

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def app() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), App)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


async def test_predict_returns_all_outputs(bench: Bench, app: str) -> None:
    assert await bench("gradio.predict", {"uri": app, "path": "/greet", "params": ["you"]}) == {
        "data": ["hello you", 2]
    }
    assert await bench("gradio.predict", {"uri": app, "path": 0, "params": ["you"]}) == {"data": ["hello you", 2]}


async def test_a_failing_app_ends_the_script(bench: Bench, app: str) -> None:
    with pytest.raises(ScriptError, match="broken inside"):
        await bench("gradio.predict", {"uri": app, "path": "/greet", "params": ["fail"]})
