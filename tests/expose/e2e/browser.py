"""A real browser: Chromium without a window, driven over its DevTools protocol; profiles share nothing."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from websockets.sync.client import connect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--mute-audio",
    "--ignore-certificate-errors", "--test-third-party-cookie-phaseout", "--site-per-process",
    "--remote-debugging-port=0", "about:blank",
)  # fmt: skip
PATIENCE = 60.0


class Browser:
    """One Chromium; `profile` makes a place with cookies of its own, as another person's browser."""

    def __init__(self, folder: Path):
        # its own log goes nowhere: it complains about a missing D-Bus and the like all the time
        self._process = subprocess.Popen(
            [CHROMIUM or "chromium", *FLAGS[:-1], f"--user-data-dir={folder}", FLAGS[-1]],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, "HOME": str(folder)},
        )  # fmt: skip
        said = folder / "DevToolsActivePort"
        until = time.monotonic() + 3 * PATIENCE
        while not (said.exists() and len(said.read_text().split()) == 2):
            assert self._process.poll() is None, "Chromium ended"
            assert time.monotonic() < until, "Chromium does not open its port"
            time.sleep(0.05)
        port, path = said.read_text().split()
        self._open = contextlib.ExitStack()
        self._line = self._open.enter_context(
            connect(f"ws://127.0.0.1:{port}{path}", max_size=None, proxy=None, open_timeout=PATIENCE)
        )
        self._numbers = itertools.count(1)

    def call(self, method, session=None, **params):
        """Ask for something and return the answer; events in between are left out."""
        number = next(self._numbers)
        request = {"id": number, "method": method, "params": params}
        self._line.send(json.dumps(request if session is None else {**request, "sessionId": session}))
        until = time.monotonic() + PATIENCE
        while True:
            said = json.loads(self._line.recv(timeout=max(0.01, until - time.monotonic())))
            if said.get("id") == number:
                if "error" in said:
                    raise DevToolsError(f"{method}: {said['error']['message']}")
                return said["result"]

    def profile(self):
        """Make a new profile."""
        return Profile(self, self.call("Target.createBrowserContext")["browserContextId"])

    def close(self):
        """End the browser with all its processes."""
        with contextlib.suppress(Exception):
            self.call("Browser.close")
        with contextlib.suppress(Exception):
            self._open.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, 9)
        self._process.wait()


class DevToolsError(Exception):
    """The browser refused what it was asked for."""


class Profile:
    """Cookies of their own; `open` opens a page."""

    def __init__(self, browser, context):
        self.browser, self.context = browser, context

    def open(self, url):
        """Open a page in a new tab and wait until it is loaded."""
        target = self.browser.call("Target.createTarget", url="about:blank", browserContextId=self.context)["targetId"]
        session = self.browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self.browser, session, target)
        page.go(url)
        return page

    def cookies(self):
        """Return all cookies by name, those of frames in other sites included."""
        found = self.browser.call("Storage.getCookies", browserContextId=self.context)["cookies"]
        return {cookie["name"]: cookie for cookie in found}

    def close(self):
        """Forget everything."""
        self.browser.call("Target.disposeBrowserContext", browserContextId=self.context)


class Page:
    """One tab."""

    def __init__(self, browser, session, target):
        self.browser, self.session, self.target = browser, session, target

    def call(self, method, **params):
        """Ask this tab for something."""
        return self.browser.call(method, self.session, **params)

    def go(self, url):
        """Go to an address and wait until the page is loaded; "" or why that failed."""
        why = self.call("Page.navigate", url=url).get("errorText", "")
        if not why:
            self.loaded()
        return why

    def reload(self):
        """Load the page again."""
        self.does("window.old = true")
        self.call("Page.reload")
        self.until("!window.old && document.readyState === 'complete'")

    def loaded(self):
        """Wait until the page and all it needs is there."""
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def does(self, script, *, gesture=True):
        """Run a script in the page, wait for what it promises, and return its value."""
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=gesture
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise DevToolsError((details.get("exception") or {}).get("description") or details["text"])
        return answer["result"].get("value")

    def until(self, script, seconds=PATIENCE):
        """Wait until a script says yes and return what it says; the page may change meanwhile."""
        until, value = time.monotonic() + seconds, None
        while time.monotonic() < until:
            with contextlib.suppress(DevToolsError):  # a page that is just being left
                value = self.does(script)
                if value:
                    return value
            time.sleep(0.05)
        raise AssertionError(f"never: {script} (at {self.url}: {self.text!r})")

    def shows(self, text, seconds=PATIENCE):
        """Wait until the page has this text in it."""
        self.until(f"document.body && document.body.innerText.includes({json.dumps(text)})", seconds)

    def frame(self):
        """Return the page in this page's frame, one of another site, which has a process of its own."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            for each in self.browser.call("Target.getTargets")["targetInfos"]:
                if each["type"] == "iframe" and each.get("parentId", self.target) == self.target:
                    there = self.browser.call("Target.attachToTarget", targetId=each["targetId"], flatten=True)
                    return Page(self.browser, there["sessionId"], each["targetId"])
            time.sleep(0.05)
        raise AssertionError(f"there is no frame of another site at {self.url}")

    def click(self, selector):
        """Click on something that leads to another page, and wait for that."""
        self.does(f"window.old = true; document.querySelector({json.dumps(selector)}).click()")
        self.until("!window.old && document.readyState === 'complete'")

    def type(self, selector, text):
        """Write into a field."""
        self.does(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    @property
    def url(self):
        """What the address bar has."""
        return self.does("location.href")

    @property
    def text(self):
        """What the page says."""
        return self.does("document.body ? document.body.innerText : ''")
