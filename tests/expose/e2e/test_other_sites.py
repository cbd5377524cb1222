"""Pages of other sites in the visitor's own browser: what they may not do with the visitor's cookie, and frames."""

from __future__ import annotations

import pytest

from tests.expose.e2e.lab import parts
from tests.expose.e2e.sites import certificate, https_proxy, site

pytestmark = pytest.mark.slow

ATTACK = """
(async (base) => {
  const tried = {};
  const read = async (name, how) => {
    try { const answer = await fetch(base + "/api", how); tried[name] = answer.type + " " + await answer.text(); }
    catch (error) { tried[name] = "refused"; }
  };
  await read("fetch", {credentials: "include"});
  await read("blind", {credentials: "include", mode: "no-cors"});
  try { await fetch(base + "/act", {method: "POST", credentials: "include", mode: "no-cors", body: "a=b",
    headers: {"content-type": "application/x-www-form-urlencoded"}}); } catch (error) { }
  tried.socket = await new Promise((done) => {
    const socket = new WebSocket(base.replace("http", "ws") + "/echo");
    socket.onopen = () => socket.send("hello");
    socket.onmessage = (event) => done(event.data);
    socket.onerror = () => done("refused");
  });
  tried.script = await new Promise((done) => {
    const script = document.createElement("script");
    script.src = base + "/static/app.js";
    script.onload = () => done(window.treasure || "empty"); script.onerror = () => done("refused");
    document.body.append(script);
  });
  tried.frame = await new Promise((done) => {
    const frame = document.createElement("iframe");
    frame.name = "there"; frame.src = base + "/"; frame.onload = () => done("loaded");
    document.body.append(frame);
  });
  const form = document.createElement("form");
  form.method = "post"; form.action = base + "/act"; form.target = "there";
  document.body.append(form);
  await new Promise((done) => { document.querySelector("iframe").onload = done; form.submit(); });
  return tried;
})
"""
EVIL = "<!doctype html><title>elsewhere</title><body>look at these kittens</body>"


def test_no_page_of_another_site_uses_a_visitors_cookie(lab, profile):
    link = lab.up("loved")
    base, _ = parts(link)
    acted = lab.folder / "loved" / "acted"
    own = profile.open(link)
    own.shows("treasure of loved")
    can = own.does(f"{ATTACK}({base!r})")
    assert "treasure" in can["fetch"]
    assert can["socket"] == "treasure hello"
    assert can["script"] == "from the app"
    assert acted.exists(), "the app's own pages may do all of it"
    acted.unlink()
    with site(EVIL) as port:
        for elsewhere in (f"http://localhost:{port}", f"http://127.0.0.1:{port}"):  # another site; another port of this
            evil = profile.open(elsewhere)
            tried = evil.does(f"{ATTACK}({base!r})")
            assert tried["fetch"] == "refused", elsewhere
            assert tried["blind"] == "opaque ", elsewhere
            assert tried["socket"] == "refused", elsewhere
            assert tried["script"] in {"refused", "empty"}, elsewhere
            assert not acted.exists(), elsewhere
            evil.does(f"""
                const form = document.createElement("form");
                form.method = "post"; form.action = {base!r} + "/act"; form.id = "top";
                document.body.append(form);
            """)
            evil.does("window.old = true; document.querySelector('#top').submit()")
            evil.until("!window.old && document.readyState === 'complete'")
            assert evil.url.startswith(base)
            assert "treasure" not in evil.text
            assert not acted.exists(), elsewhere
        evil = profile.open(f"http://localhost:{port}")
        evil.does(f"location.href = {base!r} + '/next'")
        evil.shows("treasure of loved")  # a link from anywhere is no attack
    log = lab.good("gate", "log", "--json").json
    assert any(row["event"] == "refused" and row.get("way") == "another origin" for row in log)


FRAME = """<!doctype html><title>outer</title><h1>somebody's site</h1><iframe src="{link}" width=600></iframe>"""


@pytest.mark.parametrize("framed", [True, False])
def test_an_app_in_a_frame_of_another_site_over_https(lab, profile, tmp_path, framed, monkeypatch):
    name = "framed" if framed else "unframed"
    monkeypatch.setitem(lab.env, "PINOCTL_TRUSTED_PROXY", "127.0.0.1")
    lab.up(name, "--no-tunnel")
    lab.good("expose", name, "--no-tunnel", "--framed" if framed else "--not-framed")
    shown = lab.shown(name)
    token = parts(shown["link"])[1]
    tls = certificate(tmp_path)
    with https_proxy(shown["port"], tls) as outside:
        base = f"https://127.0.0.1:{outside}"
        with site(FRAME.format(link=f"{base}/ui?token={token}"), tls) as port:
            page = profile.open(f"https://localhost:{port}")
            if not framed:
                frame = page.frame()
                frame.until("document.readyState === 'complete'")
                assert "treasure" not in frame.text, "its cookie is not for frames"
                return
            frame = page.frame()
            frame.shows("treasure of framed")
            assert frame.url == f"{base}/ui"
            frame.click("a")
            frame.shows("treasure of framed")
            assert frame.url == f"{base}/next", "the session lasts inside the frame"
            cookie = profile.cookies()["__Host-pinoctl_framed"]
            assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "None")
            assert cookie["partitionKey"]["topLevelSite"] == "https://localhost"
            alone = profile.open(f"{base}/ui")
            alone.shows("closed to strangers")  # the partition is that site's
