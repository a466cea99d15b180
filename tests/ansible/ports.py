"""Which TCP ports answer at an address, asked from this host or from a machine."""

import asyncio
import json
import sys

from .machine import Machine

ASK = """
import concurrent.futures, json, socket, sys

def answers(port):
    with socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET) as connection:
        connection.settimeout(5)
        # A socket that was given the very port it asks for meets itself.
        return connection.connect_ex((sys.argv[1], port)) == 0 and connection.getsockname() != connection.getpeername()

with concurrent.futures.ThreadPoolExecutor(32) as pool:
    print(json.dumps([port for port, open in enumerate(pool.map(answers, range(1, 65536)), start=1) if open]))
"""


async def answering(address: str, *, seen_from: Machine | None = None) -> list[int]:
    """All that take a connection; from this host, which is on the LAN, where no machine is named."""
    if seen_from is not None:
        told: str | bytes = await seen_from.python(ASK, address)
    else:
        asking = await asyncio.create_subprocess_exec(sys.executable, "-c", ASK, address, stdout=-1)
        told, _ = await asking.communicate()
    ports: list[int] = json.loads(told)
    return ports
