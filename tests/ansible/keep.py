"""Machines to try things on, by hand: started, described, and kept until Ctrl-C."""

import argparse
import asyncio
import shlex
import signal
from pathlib import Path

from .site import Site


async def main() -> None:
    """Start what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m ansible.keep", description=__doc__)
    parser.add_argument("--machines", nargs="+", required=True, metavar="NAME:RELEASE", help="tower:13 nas:12")
    parser.add_argument("--dir", type=Path, required=True, help="where key and inventory are written")
    parser.add_argument("--coordinators", nargs="*", metavar="NAME", help="the first machine, where not given")
    parser.add_argument("--peers", nargs="*", metavar="NAME", help="all but the first, where not given")
    parser.add_argument("--engine", action="store_true", help="machines of Debian 13 come with an engine")
    parser.add_argument("--user", default="root", choices=("root", "deployer"), help="who Ansible logs in as")
    given = parser.parse_args()
    machines = dict(machine.split(":") for machine in given.machines)
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    users = dict.fromkeys(machines, given.user)
    folder = given.dir.resolve()
    async with Site(
        folder, machines, coordinators=given.coordinators, peers=given.peers, users=users, has_engine=given.engine
    ) as site:
        for machine in site.machines.values():
            print(f"# {machine.name}: Debian {machine.release}, {machine.lan_address}, {machine.tailnet_address}")
            print(f"{shlex.join(machine.ssh)}    # or: docker exec -it {machine.container.name} bash")
        print(f"export ANSIBLE_HOME={folder}/ansible-home")
        print(f"cd ansible && ../.tools/ansible/bin/ansible-playbook -i {site.inventory} site.yml", flush=True)
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(main())
