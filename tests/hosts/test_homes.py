from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.engine.errors import BadInputError
from orchestrator.hosts.homes import default_home

CASES = {
    "given": ({"PINOCTL_HOME": "/data/p", "RUNPOD_POD_ID": "x"}, "/data/p"),
    "given in the user's folder": ({"PINOCTL_HOME": "~/p"}, "/root/p"),
    "a plain machine": ({}, "/root/pinokio"),
    "runpod": ({"RUNPOD_POD_ID": "x"}, "/workspace/pinokio"),
    "vast with its own folder": ({"VAST_CONTAINERLABEL": "C.1", "WORKSPACE": "/data"}, "/data/pinokio"),
    "vast whose folder is missing": ({"VAST_TCP_PORT_22": "1", "WORKSPACE": "/gone"}, "/workspace/pinokio"),
    "lightning": ({"LIGHTNING_CLOUD_SPACE_ID": "x"}, "/teamspace/studios/this_studio/pinokio"),
    "paperspace": ({"PAPERSPACE_FQDN": "x"}, "/storage/pinokio"),
    "kaggle": ({"KAGGLE_KERNEL_RUN_TYPE": "Interactive"}, "/kaggle/working/pinokio"),
    "kaggle on colab's image": ({"COLAB_RELEASE_TAG": "r", "KAGGLE_URL_BASE": "u"}, "/kaggle/working/pinokio"),
    "colab": ({"COLAB_RELEASE_TAG": "r"}, "/content/pinokio"),
}


@pytest.mark.parametrize(("environ", "expected"), CASES.values(), ids=CASES.keys())
def test_where_the_home_is(environ, expected):
    assert default_home({"HOME": "/root", **environ}, lambda path: path != "/gone") == Path(expected)


def test_a_platform_without_its_folder_falls_back():
    assert default_home({"HOME": "/home/u", "RUNPOD_POD_ID": "x"}, lambda _: False) == Path("/home/u/pinokio")


@pytest.mark.parametrize("environ", [{}, {"HOME": "", "RUNPOD_POD_ID": "x"}, {"HOME": "/r", "PINOCTL_HOME": "rel"}])
def test_what_cannot_be_known_is_an_error(environ):
    with pytest.raises(BadInputError, match="PINOCTL_HOME"):
        default_home(environ, lambda _: False)
