"""An app for tests: `server.py PORT NAME`; every answer that is the app's own has the word `treasure` in it.

It waits to listen while a file `hold` is in its folder, and ends at once where there is a file `die`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import time
from pathlib import Path

from aiohttp import web

PAGE = """<!doctype html><title>{name}</title><h1>treasure of {name}</h1><p id=at>{at}</p><a href="/next">next</a>
<script src="/static/app.js"></script>"""


async def page(request):
    return web.Response(text=PAGE.format(name=NAME, at=request.path_qs), content_type="text/html")


async def static(_request):
    return web.Response(text="window.treasure = 'from the app'", content_type="text/javascript")


async def data(request):
    return web.json_response({"treasure": NAME, "headers": dict(request.headers), "method": request.method})


async def echo(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(f"treasure {message.data}")
    return socket


async def events(request):
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await answer.prepare(request)
    for number in range(3):
        await answer.write(f"data: treasure {number}\n\n".encode())
        await asyncio.sleep(0.02)
    await asyncio.sleep(3600)
    return answer


async def upload(request):
    digest = hashlib.sha256()
    async for piece in request.content.iter_any():
        digest.update(piece)
    return web.json_response({"treasure": digest.hexdigest()})


async def away(_request):
    raise web.HTTPFound("/landed?treasure=1")


async def cookie(request):
    answer = web.Response(text=f"treasure {json.dumps(dict(request.cookies))}")
    answer.set_cookie("own", "app's")
    return answer


async def act(_request):
    Path("acted").touch()  # noqa: ASYNC240  # it takes no time
    return web.Response(text="treasure: done")


async def anything(request):
    return web.Response(text=f"treasure by {request.method} {request.path_qs}")


def main():
    while Path("hold").exists():  # nothing else happens here
        time.sleep(0.05)
    if Path("die").exists():
        print("the model file is corrupt", flush=True)
        sys.exit(3)
    app = web.Application(client_max_size=1 << 30)
    for path, handler in (
        ("/", page), ("/next", page), ("/landed", page), ("/ui", page), ("/static/app.js", static), ("/api", data),
        ("/echo", echo), ("/events", events), ("/redirect", away), ("/cookie", cookie),
    ):  # fmt: skip
        app.router.add_get(path, handler)
    app.router.add_post("/upload", upload)
    app.router.add_post("/act", act)
    app.router.add_route("*", "/{rest:.*}", anything)
    port = int(sys.argv[1])
    web.run_app(app, host="127.0.0.1", port=port,
                print=lambda *_: print(f"serving on http://127.0.0.1:{port}{sys.argv[3]}", flush=True))  # fmt: skip


NAME = sys.argv[2] if len(sys.argv) > 2 else ""

if __name__ == "__main__":
    main()
