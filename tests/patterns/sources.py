"""Servers and launcher pieces that the patterns are made of."""

# launchers are data: a step per line reads best

from __future__ import annotations

# Serves its arguments and a few facts as JSON; the banner says where, in the form asked for.
SERVER_PY = r"""
import http.server, json, os, socket, sys, time

port = int(sys.argv[1])
banner = sys.argv[2] if len(sys.argv) > 2 else "plain"
host = "::1" if banner == "ipv6" else "127.0.0.1"

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"text": "hello", "path": self.path, "args": sys.argv[1:], "prefix": sys.prefix, "cwd": os.getcwd(),
                           "env": {key: value for key, value in os.environ.items() if key.startswith("DEMO_")}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if banner == "error-later":
            print("ERROR: a request was served, which is no error of the script", flush=True)

    def log_message(self, *_):
        pass

class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6 if banner == "ipv6" else socket.AF_INET

server = Server((host, port), Page)
port = server.server_address[1]
texts = {
    "plain": f"Serving on http://127.0.0.1:{port}",
    "colour": f"  \x1b[32m➜\x1b[39m  \x1b[1mLocal\x1b[22m:   \x1b[36mhttp://localhost:\x1b[1m{port}\x1b[22m/\x1b[39m",
    "any": f"INFO:     Uvicorn running on http://0.0.0.0:{port} (Press CTRL+C to quit)",
    "localhost": f"Local URL: http://localhost:{port}",
    "ipv6": f"Listening on http://[::1]:{port}/",
    "wrapped": "=" * 75 + f" the page is at http://127.0.0.1:{port}/long/path/that/goes/over/the/edge?q=1",
    "error-later": f"Running on http://127.0.0.1:{port}",
    "silent": "up and about",
    "quoted": f"Open 'http://127.0.0.1:{port}/ui'.",
    "port-only": f"Server listening on port {port}",
    "progress": "".join(f"\rloading {n}%" for n in range(0, 101, 5)) + f"\rRunning on http://127.0.0.1:{port}",
}
print(texts[banner], flush=True)
if banner == "error-later":
    print("error: this came after the URL", flush=True)
server.serve_forever()
"""

SERVER_JS = """
const http = require("http")
const server = http.createServer((request, response) => {
  response.setHeader("Content-Type", "text/html")
  response.end(JSON.stringify({text: "hello", from: "node", args: process.argv.slice(2)}))
})
server.listen(Number(process.argv[2] || 0), "127.0.0.1", () => console.log(`listening at http://127.0.0.1:${server.address().port}`))
"""

# The menu most launchers have: install, start, open.
MENU = """module.exports = {
  version: "4.0", title: "Demo", description: "a pattern",
  menu: async (kernel, info) => {
    let installed = info.exists("%(installed)s")
    let running = {install: info.running("install.js"), start: info.running("start.js"), update: info.running("update.js")}
    if (running.install) return [{default: true, icon: "fa-solid fa-plug", text: "Installing", href: "install.js"}]
    if (!installed) return [{default: true, icon: "fa-solid fa-plug", text: "Install", href: "install.js"}]
    if (running.start) {
      let local = info.local("start.js")
      if (local && local.url) return [
        {default: true, icon: "fa-solid fa-rocket", text: "Open Web UI", href: local.url},
        {icon: "fa-solid fa-terminal", text: "Terminal", href: "start.js"},
      ]
      return [{default: true, icon: "fa-solid fa-terminal", text: "Terminal", href: "start.js"}]
    }
    if (running.update) return [{default: true, icon: "fa-solid fa-terminal", text: "Updating", href: "update.js"}]
    return [
      {default: true, icon: "fa-solid fa-power-off", text: "Start", href: "start.js"},
      {icon: "fa-solid fa-plug", text: "Update", href: "update.js"},
      {icon: "fa-solid fa-plug", text: "Install", href: "install.js"},
      {icon: "fa-regular fa-circle-xmark", text: "Reset", href: "reset.js", confirm: "Are you sure?"},
    ]
  },
}"""

URL_EVENT = "/http:\\/\\/\\S+/"


def menu(installed):
    """Return a `pinokio.js` that takes the app for installed when this path exists."""
    return MENU % {"installed": installed}


def script(*steps, **attributes):
    """Return a script as JSON data."""
    return {**attributes, "run": list(steps)}


def step(method, params=None, **keys):
    """Return one step."""
    return {"method": method, **({} if params is None else {"params": params}), **keys}


def shell(message, **params):
    """Return a `shell.run` step."""
    return step("shell.run", {"message": message, **params})


def serve(message="python3 server.py {{port}}", event=URL_EVENT, **params):
    """Return a `shell.run` step that goes on when the server shows its URL."""
    return shell(message, on=[{"event": event, "done": True}], **params)


def set_url(value="{{input.event[0]}}"):
    """Return the step that publishes the URL."""
    return step("local.set", {"url": value})


def js(data):
    """Return a script as a JavaScript module."""
    import json  # noqa: PLC0415  # the only place

    return f"module.exports = {json.dumps(data, indent=2)}"


START = script(serve(), set_url(), daemon=True)
INSTALL = script(step("fs.write", {"path": "installed", "text": "yes"}))
