"""The program of the container that is the world outside: a package index, an npm registry, git, plain files.

It runs on the Python of a base image and serves the folder `/world`, to which the test writes. Git goes through git's
own server program, so that clones of one commit and fetches of old ones work as at public hosts.
"""

from __future__ import annotations

import base64
import email.utils
import hashlib
import http.server
import json
import os
import subprocess
import sys
import urllib.parse
from datetime import datetime, timezone
from pathlib import Path

WORLD = Path("/world")
JSON = "application/vnd.pypi.simple.v1+json"


def when(file: Path) -> str:
    return datetime.fromtimestamp(file.stat().st_mtime, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, text: str, *values: object) -> None:
        sys.stdout.write(text % values + "\n")
        sys.stdout.flush()

    def do_POST(self) -> None:
        self.do_GET()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        first, _, rest = urllib.parse.unquote(path).strip("/").partition("/")
        answer = {"simple": self.simple, "npm": self.npm, "git": self.git}.get(first)
        if answer is not None:
            answer(rest, query)
        else:
            self.file(WORLD / first / rest)

    def send(self, body: bytes, kind: str, status: int = 200, *more: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))), *more):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def file(self, file: Path) -> None:
        if not file.is_file():
            self.send(b"not found", "text/plain", 404)
            return
        modified = email.utils.formatdate(file.stat().st_mtime, usegmt=True)
        self.send(file.read_bytes(), "application/octet-stream", 200, ("Last-Modified", modified))

    def simple(self, name: str, _query: str) -> None:
        files = [each for each in sorted((WORLD / "wheels").iterdir()) if each.name.split("-")[0] == name]
        if not files:
            self.send(b"not found", "text/plain", 404)
        elif JSON in self.headers.get("Accept", ""):
            listed = [
                {
                    "filename": each.name,
                    "url": f"/wheels/{each.name}",
                    "hashes": {"sha256": hashlib.sha256(each.read_bytes()).hexdigest()},
                    "upload-time": when(each),
                    "size": each.stat().st_size,
                    "yanked": (WORLD / "yanked" / each.name).exists(),
                }
                for each in files
            ]
            versions = [each.name.split("-")[1] for each in files]
            about = {"meta": {"api-version": "1.1"}, "name": name, "versions": versions, "files": listed}
            self.send(json.dumps(about).encode(), JSON)
        else:
            links = "".join(f'<a href="/wheels/{each.name}">{each.name}</a>' for each in files)
            self.send(links.encode(), "text/html")

    def npm(self, name: str, _query: str) -> None:
        files = sorted((WORLD / "tarballs").glob(f"{name}-*.tgz"))
        found = {each.name[len(name) + 1 : -len(".tgz")]: each for each in files}
        if not found:
            self.send(b"{}", "application/json", 404)
            return
        host = self.headers["Host"]
        versions = {
            version: {
                "name": name,
                "version": version,
                "dist": {
                    "tarball": f"http://{host}/tarballs/{each.name}",
                    "integrity": "sha512-" + base64.b64encode(hashlib.sha512(each.read_bytes()).digest()).decode(),
                },
            }
            for version, each in found.items()
        }
        about = {
            "name": name,
            "dist-tags": {"latest": max(found)},
            "versions": versions,
            "time": {version: when(each) for version, each in found.items()},
        }
        self.send(json.dumps(about).encode(), "application/json")

    def git(self, path: str, query: str) -> None:
        length = self.headers.get("Content-Length")
        body = self.rfile.read(int(length)) if length else self.chunks()
        variables = {
            "GIT_PROJECT_ROOT": str(WORLD / "git"),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": f"/{path}",
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(
            ["git", "http-backend"], input=body, stdout=subprocess.PIPE, env={**os.environ, **variables}, check=False
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        status = int(headers.pop("Status", "200").split()[0])
        self.send(content, headers.pop("Content-Type", "text/plain"), status)

    def chunks(self) -> bytes:
        whole = b""
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                whole += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        return whole


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(("0.0.0.0", 8000), Handler).serve_forever()  # in a container
