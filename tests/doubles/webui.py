"""A stand-in for hermes-webui: refuses what comes from other origins as it does, and answers with paths of its own.

hermes-webui (commit df65251d) checks Origin, else Referer, of what changes something against its own Host; requests
with neither pass, as those of programs.
"""

import asyncio
from urllib.parse import urlsplit

from doubles.recording_upstream import Asked, answer


async def webui(asked: Asked, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The script of a recording upstream."""
    host = asked.all("host")[0]
    method, target, _version = asked.line.split(" ")
    for told in [*asked.all("origin"), *asked.all("referer")]:
        if method != "GET" and urlsplit(told).netloc != host:
            writer.write(answer(403, body=b'{"error":"cross-origin request refused"}'))
            return
    if target == "/":
        cookie = "Set-Cookie: hermes_session=1; Path=/; HttpOnly; SameSite=Lax"
        writer.write(answer(302, "Location: /login?next=/", cookie))
    elif target == "/elsewhere":
        writer.write(answer(302, f"Location: http://{host}/login"))
    else:
        writer.write(answer(200, "Content-Type: text/html", body=target.encode()))
