"""HTTP sessions that look like a browser's and take their proxies from a given environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
CONNECT_SECONDS = 30.0
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


def proxies_for(url: str, env: Mapping[str, str]) -> dict[str, str]:
    """Return the proxy of a URL as `requests` wants it, `{}` for a direct connection (curl's variables)."""
    import requests  # noqa: PLC0415  # start-up time

    scheme = urlsplit(url).scheme.lower()

    def variable(name: str) -> str:
        return env.get(name.lower()) or env.get(name.upper()) or ""

    proxy = variable(f"{scheme}_proxy") or variable("all_proxy")
    if not proxy or requests.utils.should_bypass_proxies(
        url, no_proxy=variable("no_proxy") or "localhost,127.0.0.1,::1"
    ):
        return {}
    return {scheme: proxy if "://" in proxy else f"http://{proxy}"}


def new_session(env: Mapping[str, str], *, connections: int = 4) -> requests.Session:
    """Make a session with a browser's User-Agent; close it when done.

    Nothing but `env` decides about proxies and certificates, also for redirects; no password files are read.
    """
    import requests  # noqa: PLC0415  # start-up time
    from requests.adapters import HTTPAdapter  # noqa: PLC0415  # start-up time

    class ProxyAdapter(HTTPAdapter):
        def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
            kwargs["proxies"] = proxies_for(request.url or "", env)
            return super().send(request, *args, **kwargs)

    session = requests.Session()
    session.trust_env = False
    session.verify = next((env[name] for name in _BUNDLES if env.get(name)), True)
    session.headers["User-Agent"] = USER_AGENT
    for scheme in ("http://", "https://"):
        session.mount(scheme, ProxyAdapter(pool_connections=connections, pool_maxsize=connections))
    return session
