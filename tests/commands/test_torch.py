"""`pinoctl up` says at the end of an install what is wrong with an environment's torch."""

from __future__ import annotations

import json

MAKE = r"""module.exports = {run: [
  {method: "shell.run", params: {message: [
    "python3 -m venv --without-pip env",
    "mkdir -p $(echo env/lib/python3*/site-packages)/torch",
    "echo \"__version__ = '2.4.0+cu121'\" > $(echo env/lib/python3*/site-packages)/torch/version.py",
    "echo \"cuda = '12.1'\" >> $(echo env/lib/python3*/site-packages)/torch/version.py",
  ]}},
  {method: "fs.write", params: {path: "installed.txt", text: "yes"}},
]}"""


def test_an_install_tells_of_its_torch(pinoctl, launcher):
    folder = launcher("torchapp", install_js=MAKE)
    ran = pinoctl("up", folder, "--json")
    assert ran.status == 0, ran.err
    events = [json.loads(line) for line in pinoctl("logs", "torchapp", "--events").out.splitlines()]
    (found,) = [event for event in events if event["kind"] == "torch"]
    assert "torch 2.4.0" in found["text"]
    assert found["environment"] == "env"
    assert found["text"] in ran.err
    assert pinoctl("down", "torchapp").status == 0
