"""The ports that a pod declares, as the provider's interface tells them."""

from __future__ import annotations

import json

import pytest

from orchestrator.hosts.declared import declared_ports, declared_request, with_declared
from orchestrator.hosts.detection import find_platform
from orchestrator.hosts.way import way_out
from orchestrator.hosts.web import Response

from .machines import RUNPOD, VAST, machine

LISTENING = "  sl  local_address\n   0: 00000000:22B8 00000000:0000 0A 0\n"  # 8888


def answering(answer):
    asked = []

    async def http(request):
        asked.append(request)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    http.asked = asked
    return http


async def test_http_ports_are_read_as_documented():
    signs = machine(RUNPOD)
    http = answering(Response(200, json.dumps({"id": "x", "ports": ["8888/http", "22/tcp", "7860/http"]})))
    assert await declared_ports(find_platform(signs), signs, http) == (8888, 7860)
    assert [(each.method, each.url) for each in http.asked] == [("GET", "https://rest.runpod.io/v1/pods/abc123xyz")]
    assert "rpa_pod-key" not in repr(http.asked)


@pytest.mark.parametrize(
    "answer",
    [
        Response(403, '{"ports": ["1/http"]}'),
        Response(200, "no json"),
        Response(200, "[]"),
        Response(200, '{"ports": null}'),
        OSError("refused"),
        TimeoutError(),
    ],
)
async def test_what_cannot_be_known_is_none(answer):
    signs = machine(RUNPOD)
    assert await declared_ports(find_platform(signs), signs, answering(answer)) is None


async def test_nobody_is_asked_without_a_key_or_elsewhere():
    for environ in ({"RUNPOD_POD_ID": "abc"}, VAST, {"RUNPOD_POD_ID": "a", "RUNPOD_API_KEY": "a b"}):
        signs = machine(environ)
        assert declared_request(find_platform(signs), signs) is None
        assert await declared_ports(find_platform(signs), signs, answering(AssertionError())) is None


def test_a_way_with_declared_ports_is_sure():
    signs = machine(RUNPOD, {"/proc/net/tcp": LISTENING})
    way = way_out(find_platform(signs), signs)
    sure = with_declared(way, (8888, 7860), signs)
    assert (sure.sure, sure.ports, sure.busy, sure.free, sure.one_port) == (True, (8888, 7860), (8888,), (7860,), False)
    assert with_declared(way, (7860,), signs).one_port
    assert with_declared(way, None, signs) is way
    none = with_declared(way, (), signs)
    assert (none.kind, none.note.startswith("no port is declared as HTTP")) == ("none", True)
    settled = way_out(find_platform(signs), signs, 9000)
    assert with_declared(settled, (8888,), signs).note.startswith("declared are 8888")
