"""The host as a place."""

from __future__ import annotations

import pytest

from orchestrator.engine.errors import BadInputError
from orchestrator.engine.home import Home
from orchestrator.places.host import HostPlace


def test_the_folders_of_a_home(tmp_path):
    place = HostPlace(Home(tmp_path / "deep" / "home"))
    place.prepare()
    place.prepare()
    assert place.home.api.is_dir()
    assert place.home.run.stat().st_mode & 0o777 == 0o700


def test_a_home_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInputError, match="cannot be used") as caught:
        HostPlace(Home(tmp_path / "file")).prepare()
    assert "PINOCTL_HOME" in (caught.value.hint or "")
