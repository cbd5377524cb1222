"""Which addresses are found in what servers print."""

from __future__ import annotations

import pytest

from orchestrator.agent.urls import candidates, cut_url, find_addresses, is_web, with_hint

BANNERS = {
    "gradio": ("* Running on local URL:  http://127.0.0.1:7860", "http://127.0.0.1:7860"),
    "gradio 0.0.0.0": ("Running on local URL:  http://0.0.0.0:7860", "http://0.0.0.0:7860"),
    "streamlit": (
        "  You can now view your Streamlit app in your browser.\n\n  Local URL: http://localhost:8501",
        "http://localhost:8501",
    ),
    "uvicorn": (
        "\x1b[32mINFO\x1b[0m:     Uvicorn running on \x1b[1mhttp://127.0.0.1:8000\x1b[0m (Press CTRL+C to quit)",
        "http://127.0.0.1:8000",
    ),
    "fastapi": ("   FastAPI   Server started at http://127.0.0.1:8000", "http://127.0.0.1:8000"),
    "flask": (" * Running on http://127.0.0.1:5000\nPress CTRL+C to quit", "http://127.0.0.1:5000"),
    "werkzeug all": (
        " * Running on all addresses (0.0.0.0)\n * Running on http://127.0.0.1:5000",
        "http://127.0.0.1:5000",
    ),
    "comfyui": ("Starting server\n\nTo see the GUI go to: http://127.0.0.1:8188", "http://127.0.0.1:8188"),
    "jupyter": ("    http://localhost:8888/lab?token=0123abcd", "http://localhost:8888/lab?token=0123abcd"),
    "jupyter 2": (
        "[I ServerApp] Jupyter Server 2.14 is running at:\n[I ServerApp] http://localhost:8888/lab?token=ab",
        "http://localhost:8888/lab?token=ab",
    ),
    "tensorboard": ("TensorBoard 2.17.0 at http://localhost:6006/ (Press CTRL+C to quit)", "http://localhost:6006/"),
    "ollama": ('time=2024 level=INFO msg="Listening on 127.0.0.1:11434 (version 0.5.1)"', "http://127.0.0.1:11434"),
    "a1111": (
        "Running on local URL:  http://127.0.0.1:7861\n\nTo create a public link, set `share=True`",
        "http://127.0.0.1:7861",
    ),
    "invokeai": (
        "[InvokeAI]::INFO --> Invoke running on http://127.0.0.1:9090 (Press CTRL+C to quit)",
        "http://127.0.0.1:9090",
    ),
    "vite": (
        "  \x1b[32m➜\x1b[39m  \x1b[1mLocal\x1b[22m:   \x1b[36mhttp://localhost:\x1b[1m5173\x1b[22m/\x1b[39m",
        "http://localhost:5173/",
    ),
    "next": ("   ▲ Next.js 15.0.0\n   - Local:        http://localhost:3000", "http://localhost:3000"),
    "next old": ("ready - started server on 0.0.0.0:3000, url: http://localhost:3000", "http://localhost:3000"),
    "express": ("Server listening on port 3000", "http://127.0.0.1:3000"),
    "express 2": ("Example app listening at http://localhost:3000", "http://localhost:3000"),
    "express 3": ("Server is running on port: 8080", "http://127.0.0.1:8080"),
    "node http": ("listening on :4000", "http://127.0.0.1:4000"),
    "go": ("[GIN-debug] Listening and serving HTTP on :8080", "http://127.0.0.1:8080"),
    "hypercorn": ("[INFO] Running on http://127.0.0.1:8000 (CTRL + C to quit)", "http://127.0.0.1:8000"),
    "gunicorn": ("[INFO] Listening at: http://127.0.0.1:8000 (12)", "http://127.0.0.1:8000"),
    "http.server": ("Serving HTTP on 127.0.0.1 port 8000 (http://127.0.0.1:8000/) ...", "http://127.0.0.1:8000/"),
    "django": ("Starting development server at http://127.0.0.1:8000/", "http://127.0.0.1:8000/"),
    "sillytavern": ("SillyTavern is listening on IPv4: 127.0.0.1:8000", "http://127.0.0.1:8000"),
    "ipv6": ("Listening on http://[::]:8000/", "http://[::]:8000/"),
    "tls": ("Uvicorn running on https://0.0.0.0:8443 (Press CTRL+C to quit)", "https://0.0.0.0:8443"),
    "quoted": ("Open 'http://127.0.0.1:8080/ui?x=1#top'.", "http://127.0.0.1:8080/ui?x=1#top"),
    "markdown": ("Visit [the UI](http://127.0.0.1:9000/a_(b)).", "http://127.0.0.1:9000/a_(b)"),
}


@pytest.mark.parametrize("name", BANNERS)
def test_the_banner_of_a_framework_is_recognised(name):
    text, url = BANNERS[name]
    assert (
        find_addresses(with_hint(text)) == [one for one in find_addresses(text) if one.announced] or name == "jupyter 2"
    )
    found = find_addresses(text)
    assert url in [one.url for one in found if one.announced or name == "jupyter 2"]


@pytest.mark.parametrize(
    "text",
    [
        "see https://github.com/gradio-app/gradio/issues/1 and https://docs.python.org/3",
        "Running on public URL: https://0123abcd.gradio.live",
        "https://x-y.trycloudflare.com",
        "Downloading (https://huggingface.co/a/b/resolve/main/model.bin): 10%",
        "Collecting torch==2.1.0 from https://download.pytorch.org/whl/cu121",
        "error at file.py:8080",
        "12:34:56 started in 3000 ms",
        "Requirement already satisfied: x>=1.0 (port of y 2)",
        "http://",
        "https://:80",
        "http://127.0.0.1:99999/",
    ],
)
def test_what_is_no_server_of_the_app_is_not(text):
    assert find_addresses(text) == []


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("http://127.0.0.1:7860", "http://127.0.0.1:7860"),
        ("Running on http://127.0.0.1:7860/ now", "http://127.0.0.1:7860/"),
        ("\x1b[1mhttp://localhost:5173/\x1b[0m", "http://localhost:5173/"),
        ("{{input.event[0]}}", None),
        (None, None),
        (True, None),
        (7860, None),
        ("file:///etc", None),
        ("http://", None),
        ("http://127.0.0.1:1/a?b=c#d", "http://127.0.0.1:1/a?b=c#d"),
        ("http://[::1]:80/", "http://[::1]:80/"),
        ("http://[bad", None),
    ],
)
def test_the_url_is_cut_out_of_a_value(value, url):
    assert cut_url(value) == url


@pytest.mark.parametrize(
    ("url", "tried"),
    [
        ("http://0.0.0.0:80/x?y=1", ["http://127.0.0.1:80/x?y=1", "http://[::1]:80/x?y=1"]),
        ("http://localhost:80", ["http://127.0.0.1:80", "http://[::1]:80"]),
        ("http://[::]:80/", ["http://[::1]:80/", "http://127.0.0.1:80/"]),
        ("HTTP://127.0.0.2:80/", ["http://127.0.0.2:80/"]),
        ("http://[::1]:80/", ["http://[::1]:80/"]),
        ("http://192.168.1.7:80/", ["http://127.0.0.1:80/", "http://192.168.1.7:80/"]),
        ("http://api.example.com/", []),
        ("http://10.0.0.1:80/", []),
    ],
)
def test_only_this_machine_is_ever_asked(url, tried):
    assert candidates(url, is_here=lambda host: host == "192.168.1.7") == tried


def test_sharing_services_are_the_web():
    assert is_web("https://a.b.gradio.live/x")
    assert not is_web("http://mygradio.live.local:80/")
