"""A site: machines on a LAN of their own and in one tailnet, and an inventory of them for Ansible.

By hand, until Ctrl-C:
PYTHONPATH=tests .venv/bin/python -m ansible.keep --machines tower:13 nas:13 laptop:12 --dir FOLDER
"""

import asyncio
import ipaddress
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import docker
from containers.engine import LABELS, SESSION
from docker.errors import APIError, DockerException, NotFound
from docker.models.networks import Network

from . import inventory, mesh, trust
from .machine import File, Machine, archive
from .play import PLAY_SECONDS, Play, Point, play

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".tools/ansible/bin"
BASES = {"12": "debian:bookworm-slim", "13": "debian:trixie-slim", "24.04": "ubuntu:noble"}
"""What the image of a machine is built on, by release."""
DEPLOYER = 1500
"""The number of the user that the image has for those who do not log in as root."""
LEGACY_CGROUPS = ("systemd.unified_cgroup_hierarchy=0", "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1")
"""For systemd where the engine's host has the first generation of cgroups; systemd 256 asks to be forced."""


class Site:
    """Bare machines, running when it is entered and gone when it is left; all its files are under `folder`.

    `machines` is name to release of Debian or Ubuntu ("13"). `coordinators` and `peers` are the inventory's groups: the
    first machine and all others, where they are not given. `users` is who Ansible logs in as, where it is not root.
    `has_engine` is for tests that are not about bare machines: those of Debian 13 come with an engine.
    """

    def __init__(
        self,
        folder: Path,
        machines: Mapping[str, str],
        *,
        coordinators: Sequence[str] | None = None,
        peers: Sequence[str] | None = None,
        users: Mapping[str, str] | None = None,
        has_engine: bool = False,
    ) -> None:
        names = list(machines)
        self.folder = folder
        self.inventory = folder / "inventory"
        self.machines: dict[str, Machine] = {}
        self.lan_gateway = ""
        """This host's own address on the LAN: what listens there, machines reach."""
        self._releases = dict(machines)
        self._has_engine = has_engine
        self._coordinators = names[:1] if coordinators is None else list(coordinators)
        self._peers = (names[1:] or names) if peers is None else list(peers)
        self._users = dict(users or {})
        self._nodes: dict[str, mesh.Node] = {}
        self._plays = 0

    def __getitem__(self, name: str) -> Machine:
        return self.machines[name]

    async def __aenter__(self) -> Self:
        self._client = docker.from_env(timeout=120)
        self._name = f"switchboard-machines-{SESSION}-{id(self):x}"
        self._sockets = Path(tempfile.mkdtemp(prefix="ssh-"))  # pytest's own folders are too deep for a socket's path
        try:
            await asyncio.to_thread(self._make)
            async with asyncio.TaskGroup() as tasks:
                for machine in self.machines.values():
                    tasks.create_task(self._start(machine))
        except BaseException as error:
            with suppress(DockerException):  # the words are a help, the clean-up is a duty
                error.add_note("\n".join(f"== {name}\n{words}" for name, words in self.last_words().items()))
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.shield(asyncio.to_thread(self._remove))

    def describe(self, name: str, **variables: Any) -> None:
        """Write variables of a machine or a group (`all`, `peers`, …) into the inventory, in place of earlier ones."""
        inventory.describe(self.inventory, "host_vars" if name in self.machines else "group_vars", name, variables)

    async def playbook(
        self, playbook: str, *arguments: str, killed_at: Point | None = None, seconds: float = PLAY_SECONDS
    ) -> Play:
        """Run a playbook of `ansible/`, and send it SIGKILL where `killed_at` is reached."""
        self._plays += 1
        log = self.folder / f"{self._plays:02}-{Path(playbook).stem}.log"
        command = [str(TOOLS / "ansible-playbook"), "--inventory", str(self.inventory), playbook, *arguments]
        env = self.environment()
        return await play(command, folder=ROOT / "ansible", env=env, log=log, killed_at=killed_at, seconds=seconds)

    def environment(self) -> dict[str, str]:
        """The environment in which Ansible works with this site, and leaves nothing elsewhere."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON"))}
        env |= {
            "ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"),
            "ANSIBLE_HOME": str(self.folder / "ansible-home"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self._sockets),
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",
            "PATH": f"{TOOLS}:{env.get('PATH', os.defpath)}",
        }
        password = self.inventory / ".vault-password"
        return env | ({"ANSIBLE_VAULT_PASSWORD_FILE": str(password)} if password.exists() else {})

    async def readdress(self, name: str, tailnet_address: str) -> None:
        """Give a machine another address on the tailnet, as the tailnet's administrator can; all others learn it."""
        old = self._nodes[name]
        self._nodes[name] = mesh.Node(old.lan_address, tailnet_address, old.private_key, old.public_key)
        self.machines[name].tailnet_address = tailnet_address
        for machine in self.machines.values():
            await machine.lay(self._mesh_files(machine.name))
            syncing = f"wg syncconf {mesh.INTERFACE} /etc/wireguard/{mesh.INTERFACE}.conf"
            await machine.run("systemctl restart tailnet.service" if machine.name == name else syncing)

    def last_words(self) -> dict[str, str]:
        """Per machine the end of its journal."""
        return {name: machine.last_words() for name, machine in self.machines.items()}

    def _make(self) -> None:
        """Images, network, keys, and machines that are not switched on yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        known = self.folder / "known_hosts"
        known.unlink(missing_ok=True)
        for release in set(self._releases.values()):
            _build(release, self._stage(release))
        network = self._lay_network()
        subnet, self.lan_gateway = (network.attrs["IPAM"]["Config"][0][name] for name in ("Subnet", "Gateway"))
        self._lay_keys(subnet)
        for name, release in self._releases.items():
            self._make_machine(name, release)
        groups = {"coordinators": self._coordinators, "peers": self._peers}
        inventory.write(self.inventory, groups, self.machines.values(), key=self.key, known=known)

    def _lay_network(self) -> Network:
        """A network with addresses to choose, which takes a given subnet: the engine is asked for one first."""
        for tries_left in reversed(range(5)):
            proposed = self._client.networks.create(self._name, labels=LABELS)
            proposed.reload()
            pool = docker.types.IPAMPool(subnet=proposed.attrs["IPAM"]["Config"][0]["Subnet"])
            proposed.remove()
            ipam = docker.types.IPAMConfig(pool_configs=[pool])
            try:
                network = self._client.networks.create(self._name, labels=LABELS, ipam=ipam)
                break
            except APIError:  # another run was given it meanwhile
                if not tries_left:
                    raise
        network.reload()
        if "Gateway" not in network.attrs["IPAM"]["Config"][0]:
            network.attrs["IPAM"]["Config"][0]["Gateway"] = str(_host(pool["Subnet"], 1))
        return network

    def _lay_keys(self, subnet: str) -> None:
        """The operator's SSH key, each machine's host key, and the keys of the mesh, which an image with `wg` makes."""
        self.key = self.folder / "id_ed25519"
        _new_key(self.key, "operator")
        program = "for name; do private=$(wg genkey); echo $private $(echo $private | wg pubkey); done"
        pairs = self._client.containers.run(
            self._image(next(iter(self._releases.values()))),
            ["sh", "-c", program, "sh", *self._releases],
            network_mode="none",
            remove=True,
            labels=LABELS,
        )
        for number, (name, pair) in enumerate(zip(self._releases, pairs.decode().splitlines(), strict=True), start=1):
            self._nodes[name] = mesh.Node(_host(subnet, number + 1), mesh.address(number), *pair.split())

    def _make_machine(self, name: str, release: str) -> None:
        """A container that is as a machine before it is switched on for the first time."""
        node, user = self._nodes[name], self._users.get(name, "root")
        cgroups = LEGACY_CGROUPS if self._client.info()["CgroupVersion"] == "1" else ()
        container = self._client.containers.create(
            self._image(release),
            ["/sbin/init", *cgroups],
            name=f"{self._name}-{name}",
            hostname=name,
            privileged=True,
            cgroupns="private",
            tmpfs={"/run": "exec,mode=755", "/run/lock": ""},
            # The engine overlays directories there, and the container's own disk is an overlay already.
            volumes=["/var/lib/docker", "/var/lib/containerd"],
            network=self._name,
            networking_config={self._name: self._client.api.create_endpoint_config(ipv4_address=node.lan_address)},
            labels=LABELS,
        )
        login = self._login(user, node)
        self.machines[name] = Machine(name, release, node.lan_address, node.tailnet_address, container, login, user)
        host_key = self.folder / f"{name}_host_key"
        _new_key(host_key, name)
        public = File(self.key.with_suffix(".pub").read_bytes(), 0o600)
        files = {
            "/etc/ssh/ssh_host_ed25519_key": File(host_key.read_bytes(), 0o600),
            "/etc/ssh/ssh_host_ed25519_key.pub": File(host_key.with_suffix(".pub").read_bytes()),
            # The tailnet is for what is deployed.
            "/etc/ssh/sshd_config.d/lan-alone.conf": File(f"ListenAddress {node.lan_address}\n".encode()),
            "/root/.ssh/authorized_keys": public,
            "/home/deployer/.ssh/authorized_keys": File(public.content, 0o600, DEPLOYER),
        }
        with (self.folder / "known_hosts").open("a") as known:
            known.write(f"{node.lan_address} {host_key.with_suffix('.pub').read_text()}")
        container.put_archive("/", archive(files | self._mesh_files(name) | trust.files()))

    def _stage(self, release: str) -> str:
        return "engine" if self._has_engine and release == "13" else "bare"

    def _image(self, release: str) -> str:
        return _tag(release, self._stage(release))

    def _mesh_files(self, name: str) -> dict[str, File]:
        told = mesh.configuration(name, self._nodes)
        return {
            f"/etc/wireguard/{mesh.INTERFACE}.conf": File(told.encode(), 0o600),
            f"/etc/wireguard/{mesh.INTERFACE}.address": File(self._nodes[name].tailnet_address.encode()),
        }

    def _login(self, user: str, node: mesh.Node) -> tuple[str, ...]:
        options = inventory.ssh_options(self.folder / "known_hosts")
        return ("ssh", *options, "-i", str(self.key), f"{user}@{node.lan_address}")

    async def _start(self, machine: Machine) -> None:
        await machine.start()
        await machine.run("update-ca-certificates >/dev/null 2>&1")

    def _remove(self) -> None:
        """Whatever of it exists."""
        for machine in self.machines.values():
            with suppress(NotFound):
                machine.container.remove(force=True, v=True)
        for network in self._client.networks.list(names=[self._name]):
            network.remove()
        shutil.rmtree(self._sockets, ignore_errors=True)
        self._client.close()


def _build(release: str, stage: str) -> None:
    """The image of a machine; quick where it was built before."""
    subprocess.run([ROOT / "scripts/base", BASES[release]], check=True, timeout=600)
    arguments = ["--build-arg", f"BASE={BASES[release]}", "--target", stage, "--tag", _tag(release, stage)]
    command = ["docker", "build", "--quiet", *arguments, str(Path(__file__).parent / "machines")]
    subprocess.run(command, check=True, timeout=600, stdout=subprocess.DEVNULL)


def _tag(release: str, stage: str) -> str:
    return f"switchboard-machine:{release}-{stage}"


def _new_key(file: Path, comment: str) -> None:
    file.unlink(missing_ok=True)
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(file)]
    subprocess.run(command, check=True, timeout=60)


def _host(subnet: str, number: int) -> str:
    return str(ipaddress.ip_network(subnet)[number])
