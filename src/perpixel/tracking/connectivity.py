"""Whether a server answers, told within a bound."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request


def silence(url: str, timeout_s: float) -> str | None:
    """Why a web server cannot be used, or None where it answers anything at all within ``timeout_s`` seconds.

    In a thread of its own, because looking up a name or a server that drips bytes takes as long as it pleases.
    """
    if not url.startswith(("http://", "https://")):
        return f"'{url}' is no web address"
    found: list[str | None] = []
    asking = threading.Thread(target=lambda: found.append(_ask(url, timeout_s)), daemon=True)
    asking.start()
    asking.join(timeout_s)
    return found[0] if found else f"no answer within {timeout_s:g} s"


def _ask(url: str, timeout_s: float) -> str | None:
    try:
        urllib.request.urlopen(url, timeout=timeout_s).close()
    except urllib.error.HTTPError:
        return None  # a refusal is an answer
    except (OSError, ValueError) as error:  # ValueError: what answers does not speak HTTP
        return str(getattr(error, "reason", error)) or type(error).__name__
    return None
