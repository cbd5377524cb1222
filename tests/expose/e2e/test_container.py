"""An app in a container, exposed through the same gate as any other."""

from __future__ import annotations

import pytest

from tests.containers.conftest import base_image, base_tag, daemon, lab  # noqa: F401  # fixtures
from tests.expose.e2e.lab import Lab as Here
from tests.expose.e2e.lab import fetch, parts

pytestmark = [pytest.mark.slow, pytest.mark.docker]


def test_an_app_in_a_container_behind_the_gate(lab):  # noqa: F811  # the fixture
    lab.write()
    inside = lab.up()
    exposed = lab.run("expose", lab.app, "--no-tunnel", "--quiet")
    assert exposed.status == 0, exposed.said
    link = exposed.url
    base, token = parts(link)
    assert base != inside.rstrip("/")
    try:
        assert fetch(f"{base}/start.js").status == 401
        assert fetch(f"{base}/start.js", Authorization=f"Bearer {token}").text == (lab.source / "start.js").read_text()
        lab.container().kill()
        Here.until(lambda: fetch(f"{base}/", Authorization=f"Bearer {token}").status != 200)
        assert lab.run(*lab.up_words()).url == link
        Here.until(lambda: "start.js" in fetch(f"{base}/", Authorization=f"Bearer {token}").text)
        down = lab.run("down", lab.app)
        assert down.status == 0, down.said
        assert fetch(link).status == 0
    finally:
        lab.run("down", lab.app)
