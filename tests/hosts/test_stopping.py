"""Stopping a machine: against servers that answer as the providers document it."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace

import pytest
from aiohttp import web

from orchestrator.engine.errors import PinoctlError
from orchestrator.hosts.detection import find_platform
from orchestrator.hosts.stopping import Command, can_stop, stop_machine, stop_plan
from orchestrator.hosts.web import Request, Response, ask

from .machines import COLAB, RUNPOD, VAST, as_environ, machine, rented

KEYS = ("vast-key-0123", "rpa_pod-key")


class Provider:
    """A provider's interface on this machine; remembers what it was asked."""

    def __init__(self):
        self.asked = []
        self.answer = None

    async def handle(self, request):
        self.asked.append((request.method, request.path, await request.text()))
        if self.answer is not None:
            return self.answer
        known = {
            ("POST", "/v1/pods/abc123xyz/stop"): ("Bearer rpa_pod-key", {"id": "abc123xyz", "desiredStatus": "EXITED"}),
            ("PUT", "/api/v0/instances/31337/"): ("Bearer vast-key-0123", {"success": True}),
            ("POST", "/unassign"): (None, {}),
        }
        wanted = known.get((request.method, request.path))
        if wanted is None:
            return web.json_response({"error": "not found"}, status=404)
        if request.headers.get("Authorization") != wanted[0]:
            return web.json_response({"success": False}, status=401 if "pods" in request.path else 403)
        return web.json_response(wanted[1])


@pytest.fixture
async def provider():
    provider = Provider()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", provider.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    provider.address = f"127.0.0.1:{runner.addresses[0][1]}"

    async def http(request):
        path = "/" + request.url.split("/", 3)[3]
        return await ask(replace(request, url=f"http://{provider.address}{path}"), 60)

    provider.http = http
    yield provider
    await runner.cleanup()


def stop(signs, http, run=None):
    return stop_machine(find_platform(signs), signs, http, run)


async def test_runpod_is_stopped_as_documented(provider):
    done = await stop(rented(RUNPOD), provider.http)
    assert provider.asked == [("POST", "/v1/pods/abc123xyz/stop", "")]
    assert (done.platform, "volume disk" in done.note) == ("runpod", True)
    assert (
        stop_plan(find_platform(rented(RUNPOD)), rented(RUNPOD)).url == "https://rest.runpod.io/v1/pods/abc123xyz/stop"
    )


async def test_vast_is_stopped_as_documented_with_a_key_of_the_first_process(provider):
    signs = machine({}, {"/proc/1/environ": as_environ(VAST)})
    await stop(signs, provider.http)
    assert provider.asked == [("PUT", "/api/v0/instances/31337/", '{"state": "stopped"}')]
    assert stop_plan(find_platform(signs), signs).url == "https://console.vast.ai/api/v0/instances/31337/"


async def test_colab_is_given_back(provider):
    signs = machine(COLAB | {"TBE_RUNTIME_ADDR": provider.address}, {"/var/colab": None})
    await stop(signs, ask)
    assert provider.asked == [("POST", "/unassign", "")]


async def test_a_wrong_key_is_refused_without_being_shown(provider):
    for environ in (RUNPOD | {"RUNPOD_API_KEY": "wrong-key"}, VAST | {"CONTAINER_API_KEY": "wrong-key"}):
        with pytest.raises(PinoctlError, match=r"refuses to stop this machine \(status 40[13]\)") as caught:
            await stop(rented(environ), provider.http)
        assert "wrong-key" not in f"{caught.value!r} {caught.value.hint}"


@pytest.mark.parametrize(
    ("status", "text", "said"),
    [
        (500, "out of order", "status 500\\): out of order"),
        (200, '{"success": false, "msg": "no_such_instance"}', "no_such_instance"),
        (302, "", "status 302"),
        (404, "key Bearer vast-key-0123 and vast-key-0123", "key \\*\\*\\* and \\*\\*\\*"),
        (500, "x" * 5000, "x{200}$"),
    ],
)
async def test_answers_that_are_no_success_are_told(provider, status, text, said):
    provider.answer = web.Response(status=status, text=text, headers={"Location": "http://127.0.0.1:1/"})
    with pytest.raises(PinoctlError, match=said) as caught:
        await stop(rented(VAST), provider.http)
    assert len(provider.asked) == 1
    assert not any(key in str(caught.value) for key in KEYS)


async def test_a_provider_that_does_not_answer():
    async def late(request):
        raise TimeoutError

    async def nobody(request):
        return await ask(replace(request, url="http://127.0.0.1:1/"), 60)

    for http, said in ((late, "no answer in time"), (nobody, "could not be stopped: .*127.0.0.1:1")):
        with pytest.raises(PinoctlError, match=said) as caught:
            await stop(rented(RUNPOD), http)
        assert "runpodctl" in caught.value.hint
        assert "rpa_pod-key" not in str(caught.value)


SDK = """\
import os
class Studio:
    def __init__(self, create_ok=True):
        assert not create_ok, "it would make a studio"
        self.id = {id}
    def stop(self):
        {stop}
"""
STUDIO = {"LIGHTNING_CLOUD_SPACE_ID": "01h-studio", "LIGHTNING_CLOUD_PROJECT_ID": "p1"}
THIS_STUDIO = {"/teamspace/studios/this_studio": None}


def with_sdk(folder, stop="pass", studio="os.environ['LIGHTNING_CLOUD_SPACE_ID']"):
    """Make a Python that has a package like lightning-sdk, behind one that has not; returns PATH."""
    (folder / "site").mkdir()
    (folder / "site" / "lightning_sdk.py").write_text(SDK.format(stop=stop, id=studio))
    for name, path in (("bare", ""), ("full", folder / "site")):
        (folder / name).mkdir()
        (folder / name / "python3").write_text(f'#!/bin/sh\nPYTHONPATH="{path}" exec "{sys.executable}" "$@"\n')
        (folder / name / "python3").chmod(0o755)
    return f"{folder}/bare:{folder}/full:/usr/bin:/bin"


async def run_for_real(words):
    process = await asyncio.create_subprocess_exec(*words, env={}, stdout=-1, stderr=-2)
    said, _ = await process.communicate()
    return process.returncode, said.decode()


async def test_lightning_is_stopped_by_its_program(tmp_path):
    path = with_sdk(tmp_path, stop=f"print(os.environ, file=open('{tmp_path}/stopped', 'w'))")
    signs = machine(STUDIO | {"PATH": path}, THIS_STUDIO)
    plan = stop_plan(find_platform(signs), signs)
    assert isinstance(plan, Command)
    assert plan.words[0] == f"{tmp_path}/full/python3"
    await stop(signs, None, run_for_real)
    assert "'LIGHTNING_CLOUD_PROJECT_ID': 'p1'" in (tmp_path / "stopped").read_text()
    with pytest.raises(PinoctlError, match="by a program only"):
        await stop(signs, None)


async def test_another_studio_is_not_stopped_and_what_fails_is_told(tmp_path):
    path = with_sdk(tmp_path, stop="raise RuntimeError('no login')", studio="'another'")
    signs = machine(STUDIO | {"PATH": path}, THIS_STUDIO)
    with pytest.raises(PinoctlError, match="takes this machine for studio another, not 01h-studio"):
        await stop(signs, None, run_for_real)
    sdk = tmp_path / "site" / "lightning_sdk.py"
    sdk.write_text(sdk.read_text().replace("'another'", "'01h-studio'"))
    with pytest.raises(PinoctlError, match="could not be stopped: RuntimeError: no login"):
        await stop(signs, None, run_for_real)


@pytest.mark.parametrize(
    ("environ", "files", "said"),
    [
        ({}, THIS_STUDIO, ""),
        ({}, {"/etc/environment": "LIGHTNING_CLOUD_SPACE_ID=01h-studio\n"}, ""),
        ({}, {}, "nothing but a variable of this process says that this machine is studio `01h-studio`"),
        ({}, THIS_STUDIO | {"/proc/1/environ": as_environ({"LIGHTNING_CLOUD_SPACE_ID": "other"})}, "nothing but"),
        ({"PATH": "/usr/bin:/bin"}, THIS_STUDIO, "no Python on PATH has lightning-sdk"),
    ],
)
def test_a_studio_is_stopped_where_the_machine_is_one_and_has_the_program(tmp_path, environ, files, said):
    signs = machine({"PATH": with_sdk(tmp_path), **STUDIO, **environ}, files)
    why_not = can_stop(find_platform(signs), signs)
    assert said in why_not
    assert bool(why_not) == bool(said)


@pytest.mark.parametrize(
    ("files", "sure"),
    [
        ({}, False),
        ({"/opt/google/drive": None}, True),
        ({"/etc/environment": "TBE_RUNTIME_ADDR=172.28.0.1:8011\n"}, True),
    ],
)
def test_variables_of_a_runtime_do_not_make_one(files, sure):
    signs = machine(COLAB | {"TBE_RUNTIME_ADDR": "172.28.0.1:8011"}, files)
    why_not = can_stop(find_platform(signs), signs)
    assert why_not == "" if sure else "nothing but a variable" in why_not


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"RUNPOD_POD_ID": "abc"}, "RUNPOD_API_KEY is not set"),
        ({"RUNPOD_POD_ID": "../x", "RUNPOD_API_KEY": "k"}, "RUNPOD_POD_ID"),
        ({"RUNPOD_POD_ID": "abc", "RUNPOD_API_KEY": "a\r\nX: y"}, "RUNPOD_API_KEY"),
        ({"VAST_CONTAINERLABEL": "C.7"}, "CONTAINER_API_KEY"),
        ({"VAST_CONTAINERLABEL": "C.x", "CONTAINER_API_KEY": "k"}, "CONTAINER_ID"),
        (COLAB, "TBE_RUNTIME_ADDR"),
        ({"PINOCTL_PLATFORM": "lightning"}, "LIGHTNING_CLOUD_SPACE_ID is not set"),
        ({"PINOCTL_PLATFORM": "lambda"}, "cannot be stopped from inside"),
        ({"PINOCTL_PLATFORM": "local", **RUNPOD}, "cannot be stopped from inside"),
        ({"PAPERSPACE_FQDN": "x"}, "cannot be stopped from inside"),
    ],
)
async def test_what_cannot_be_stopped_says_why_and_asks_nobody(environ, said):
    signs = machine(environ)

    async def never(request):
        raise AssertionError(request)

    assert said in can_stop(find_platform(signs), signs)
    with pytest.raises(PinoctlError, match=said) as caught:
        await stop(signs, never)
    assert "stop" in caught.value.hint


def test_the_label_names_the_instance_where_its_number_is_not_set():
    signs = rented({"VAST_CONTAINERLABEL": "C.7", "CONTAINER_API_KEY": "k"})
    assert stop_plan(find_platform(signs), signs).url.endswith("/instances/7/")
    assert can_stop(find_platform(signs), signs) == ""


SYSTEMD = {"/proc/1/comm": "systemd\n", "/proc/1/environ": as_environ({"HOME": "/", "TERM": "linux"})}


@pytest.mark.parametrize(
    ("environ", "files", "sure"),
    [
        (RUNPOD, SYSTEMD, False),
        (RUNPOD, {}, False),
        (RUNPOD, {"/proc/1/environ": as_environ(RUNPOD | {"RUNPOD_POD_ID": "other"})}, False),
        (RUNPOD, {"/proc/sys/kernel/hostname": "laptop\n"}, False),
        (RUNPOD, {"/proc/sys/kernel/hostname": "abc123xyz-64411a2b\n"}, True),
        (RUNPOD, {"/etc/environment": "RUNPOD_POD_ID=abc123xyz\n"}, True),
        (RUNPOD, {"/proc/1/environ": as_environ(RUNPOD)}, True),
        (VAST, SYSTEMD, False),
        (VAST, {"/etc/environment": 'VAST_CONTAINERLABEL="C.31337"\n'}, True),
        (VAST, {"/proc/1/environ": as_environ({"CONTAINER_ID": "31337"})}, True),
    ],
)
async def test_a_machine_that_only_a_shell_says_to_be_this_one_is_not_stopped(provider, environ, files, sure):
    signs = machine(environ, files)
    if sure:
        await stop(signs, provider.http)
        assert len(provider.asked) == 1
        return
    with pytest.raises(PinoctlError, match="nothing but a variable of this process says") as caught:
        await stop(signs, provider.http)
    assert provider.asked == []
    assert "/etc/environment" in caught.value.hint


def test_requests_do_not_print_their_keys():
    assert "secret" not in repr(Request("GET", "http://x/", (("Authorization", "secret"),), b"secret"))


async def test_a_long_answer_is_cut(provider):
    provider.answer = web.Response(text="y" * 200_000)
    got = await provider.http(Request("GET", "http://x/y"))
    assert isinstance(got, Response)
    assert len(got.text) <= 64 << 10
