"""The two curl commands of the issue that this project grew from, word for word, as a shell runs them."""

import asyncio
import os
from dataclasses import dataclass

from real_agent.switchboard import Door

PASSWORD, PLACE, PROFILE = "<32-char-password>", "<peer-tailscale-ip>:9121", "<profile-default>"

MODELS = f"curl -u coordinator:{PASSWORD} http://{PLACE}/v1/models"
CHAT = rf"""curl -u coordinator:{PASSWORD} -X POST http://{PLACE}/v1/chat/completions \
  -H "Content-Type: application/json" \
  -d '{{"model":"{PROFILE}","messages":[{{"role":"user","content":"ping"}}],"stream":false}}'"""


@dataclass(frozen=True)
class Ran:
    """What a command did; times in seconds since its start."""

    status: int
    output: str
    errors: str
    first_output_seconds: float
    seconds: float


def placed(command: str, door: Door) -> str:
    """The command for this proxy, its password still a placeholder."""
    return command.replace(PLACE, f"{door.host}:{door.port}").replace(PROFILE, "default")


async def run(command: str, **env: str) -> Ran:
    """Run it in a shell that has nothing of this process's environment but PATH."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    shell = await asyncio.create_subprocess_shell(
        command,
        env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", **env},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert shell.stdout is not None
    assert shell.stderr is not None
    errors = asyncio.create_task(shell.stderr.read())
    first = await shell.stdout.read(1)
    first_output = loop.time() - began
    output = first + await shell.stdout.read()
    status = await shell.wait()
    return Ran(status, output.decode(), (await errors).decode(), first_output, loop.time() - began)


async def run_at(command: str, door: Door) -> Ran:
    """Run one of the seed's commands against this proxy."""
    return await run(placed(command, door).replace(PASSWORD, door.password))
