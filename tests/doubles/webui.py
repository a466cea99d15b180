"""A stand-in for hermes-webui: refuses what comes from other origins as it does, and answers with paths of its own.

hermes-webui (commit df65251d) holds what changes something to its own Host: by Origin, else by Referer, else by
Sec-Fetch-Site; requests with none of them pass, as those of programs.
"""

import asyncio
from urllib.parse import urlsplit

from doubles.recording_upstream import Asked, answer

REFUSED = answer(403, body=b'{"error":"Cross-origin mismatch - check reverse proxy headers"}')


async def webui(asked: Asked, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The script of a recording upstream."""
    host = asked.all("host")[0]
    method, target, _version = asked.line.split(" ")
    if method != "GET" and not _is_from_here(asked, host):
        writer.write(REFUSED)
    elif target == "/":
        cookie = "Set-Cookie: hermes_session=1; Path=/; HttpOnly; SameSite=Lax"
        writer.write(answer(302, "Location: /login?next=/", cookie))
    elif target == "/elsewhere":
        writer.write(answer(302, f"Location: http://{host}/login"))
    else:
        writer.write(answer(200, "Content-Type: text/html", body=target.encode()))


def _is_from_here(asked: Asked, host: str) -> bool:
    site = "".join(asked.all("sec-fetch-site")).lower()
    told = [*asked.all("origin"), *asked.all("referer")]
    if site == "cross-site":
        return False
    if told:
        return urlsplit(told[0]).netloc == host
    return site in ("", "none", "same-origin")
