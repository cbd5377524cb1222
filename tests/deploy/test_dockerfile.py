"""Dockerfiles of apps, as text, and what a daemon without BuildKit makes of them."""

from __future__ import annotations

import io
import tarfile

import docker
import pytest
from docker.errors import APIError, BuildError

from orchestrator.deploy.dockerfile import dockerfile_text
from orchestrator.places.container import base_image

ROOTFS = "pinoctl-rootfs:bookworm"


def text_of(start="debian:12"):
    return dockerfile_text(base_image.files()["Dockerfile"][0].decode(), "app", start=start, steps=2)


def test_what_needs_buildkit_comes_first():
    lines = [line for line in text_of().splitlines() if line and not line.startswith("#")]
    assert lines[:2] == ["ARG BASE=debian:12", "FROM ${BASE}"]
    assert lines[2].startswith("RUN --mount=")


@pytest.mark.docker
def test_a_builder_of_before_buildkit_stops_there_and_says_why():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        text = text_of(ROOTFS).encode()
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    packed.seek(0)
    client = docker.from_env(timeout=240)
    with pytest.raises((BuildError, APIError), match="BuildKit"):
        client.images.build(fileobj=packed, custom_context=True, rm=True, forcerm=True)
    client.close()
