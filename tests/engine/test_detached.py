"""Programs that leave whoever starts them."""

from __future__ import annotations

import sys

from orchestrator.engine.detached import LONG_LOG, start


def test_a_log_that_became_long_is_put_aside_and_one_older_is_kept(tmp_path):
    log = tmp_path / "x.log"

    def run(text):
        code = f"import os, sys; print({text!r}); os.write(int(sys.argv[1]), b'ready 1\\n')"
        return start(lambda ready: [sys.executable, "-c", code, str(ready)], log, environ=None, patience=60)

    assert [run("one"), run("two")] == ["ready 1", "ready 1"]
    assert log.read_text() == "one\ntwo\n"
    for last in ("a", "b"):
        log.write_text(last * (LONG_LOG + 1))
        run("three")
        assert log.read_text() == "three\n"
        assert (tmp_path / "x.log.1").read_text()[0] == last
    assert len(list(tmp_path.iterdir())) == 2
