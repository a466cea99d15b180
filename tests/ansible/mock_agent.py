"""A mock hermes-agent that runs on a machine as someone set it up before: a service of its own user, on loopback.

It comes out of the image of the simulation, whole, so that a machine needs nothing of what it is made of.
"""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any

import docker
from containers.engine import LABELS, MOCK_AGENT_IMAGE

from .machine import File, Machine
from .site import Site

HOME = "/home/hermes/.hermes"
PLACE = "/opt/mock-agent"
PORT = 8642
ANSWERING = f"timeout 30 bash -c 'until (exec 3<>/dev/tcp/127.0.0.1/{PORT}) 2>/dev/null; do sleep 0.1; done'"
"""A command that ends when it takes connections."""
UNIT = """[Unit]
Description=A mock hermes-agent

[Service]
RootDirectory={place}
MountAPIVFS=yes
BindReadOnlyPaths={home}:/run/agent
User={user}
Group={user}
Environment=SWITCHBOARD_MOCK_AGENT_NAME={name} SWITCHBOARD_MOCK_AGENT_PROFILES={profiles}
Environment=SWITCHBOARD_MOCK_AGENT_MULTIPLEX={multiplex} SWITCHBOARD_MOCK_AGENT_MAX_TURNS={max_turns}
ExecStart=/opt/switchboard/bin/switchboard-mock-agent
Restart=always

[Install]
WantedBy=multi-user.target
"""


async def install(machine: Machine, *, key: str, profiles: Sequence[str] = ("default",), max_turns: int = 10) -> None:
    """Put it on the machine and start it; its `HERMES_HOME/.env` holds the key. Several profiles share a gateway."""
    await machine.run(f"id hermes >/dev/null 2>&1 || useradd --create-home hermes; mkdir -p {PLACE}")
    user = int(await machine.run("id -u hermes"))
    unit = UNIT.format(
        place=PLACE,
        home=HOME,
        user=user,
        name=machine.name,
        profiles=",".join(profiles),
        multiplex="yes" if len(profiles) > 1 else "no",
        max_turns=max_turns,
    )
    settings = f"API_SERVER_ENABLED=true\nAPI_SERVER_KEY={key}\nAPI_SERVER_HOST=127.0.0.1\nAPI_SERVER_PORT={PORT}\n"
    await asyncio.to_thread(_carry, machine)
    await machine.lay(
        {
            f"{HOME}/.env": File(settings.encode(), 0o600, user),
            f"{HOME}/api_server_key": File(key.encode(), 0o600, user),
            "/etc/systemd/system/mock-agent.service": File(unit.encode()),
        }
    )
    await machine.run(f"chown -R hermes: {HOME} && systemctl daemon-reload && systemctl enable --quiet mock-agent")
    await machine.run("systemctl restart mock-agent")
    await machine.run(ANSWERING)


async def there_before(site: Site, *machines: str, **described: Any) -> None:
    """Put it on these machines, each with a key of its own, and have the inventory say that it is there, and more."""
    for name in machines:
        await install(site[name], key=f"key-of-an-agent-{secrets.token_hex(16)}")
        site.describe(name, agent_manage=False, agent_home=HOME, **described)


def _carry(machine: Machine) -> None:
    """The image's file system, as it is."""
    client = docker.from_env()
    try:
        image = client.containers.create(MOCK_AGENT_IMAGE, labels=LABELS)
        try:
            machine.container.put_archive(PLACE, image.export())
        finally:
            image.remove()
    finally:
        client.close()
