"""One simulated machine: a privileged container in which systemd runs as process 1, with an SSH server and a tailnet.

What a test does to a machine is here: commands on it, files, its end and return, its tailnet, its disk. What is
deployed to it is none of this file's business.
"""

import asyncio
import io
import shlex
import socket
import tarfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import free_ports
from docker.models.containers import Container
from waiting import until

UP_SECONDS = 90.0
COMMAND_SECONDS = 600.0
STOP_SECONDS = 30
FILES = (
    "find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /var/log"
    " -o -path /root/.ansible -o -name __pycache__ -o -path /var/lib/systemd -o -path /var/tmp \\) -prune"
    " -o -not -type d -printf '%p %m %U %s %T@\\n'"
)
STATUSES = """
import sys, urllib.error, urllib.request
for credential in sys.argv[2:]:
    asked = urllib.request.Request(sys.argv[1], headers={"Authorization": credential})
    try:
        print(urllib.request.urlopen(asked, timeout=30).status)
    except urllib.error.HTTPError as error:
        print(error.code)
"""


class CommandFailed(Exception):
    """A command on a machine ended with another status than 0, or did not end; the words hold its output."""


@dataclass(frozen=True)
class File:
    """What stands at a path of a machine."""

    content: bytes
    mode: int = 0o644
    owner: int = 0


@dataclass
class Machine:
    """A machine that exists from `start` on. `user` is who logs in: root, or `deployer`, who may use sudo."""

    name: str
    release: str
    lan_address: str
    tailnet_address: str
    container: Container
    ssh: Sequence[str] = field(repr=False)
    """The command that logs in, but for the command to run there."""
    user: str = "root"

    async def run(self, command: str, *, text: str | None = None, seconds: float = COMMAND_SECONDS) -> str:
        """Output of a shell command, as root, with `text` on its standard input. Raises CommandFailed."""
        status, output = await self.tried(command, text=text, seconds=seconds)
        if status:
            raise CommandFailed(f"{self.name}: {command!r} ended with {status}:\n{output}")
        return output

    async def tried(
        self, command: str, *, text: str | None = None, seconds: float = COMMAND_SECONDS
    ) -> tuple[int, str]:
        """Exit status and output of a shell command. Raises CommandFailed where it does not end in time."""
        assert self.container.id
        process = await asyncio.create_subprocess_exec(
            *("docker", "exec", "--interactive", self.container.id, "sh", "-c", command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(seconds):
                output, _ = await process.communicate((text or "").encode())
        except TimeoutError:
            raise CommandFailed(f"{self.name}: {command!r} did not end within {seconds:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        return process.returncode, output.decode("utf-8", "replace")

    async def python(self, program: str, *arguments: str) -> str:
        """Output of a Python program with the machine's own interpreter. Raises CommandFailed."""
        return await self.run(shlex.join(("python3", "-", *arguments)), text=program)

    async def files(self) -> set[str]:
        """Path, mode, owner, size and time of every file but those that a running machine writes by itself."""
        return set((await self.run(FILES)).splitlines())

    async def statuses(self, url: str, *credentials: str) -> list[int]:
        """Of the answers that the machine gets at this URL with each of these in its Authorization header."""
        return [int(status) for status in (await self.python(STATUSES, url, *credentials)).split()]

    async def lay(self, files: Mapping[str, File]) -> None:
        """Write files; folders that are not there are made."""
        await asyncio.to_thread(self.container.put_archive, "/", archive(files))

    async def start(self) -> None:
        """Switch it on, and wait for it."""
        await asyncio.to_thread(self.container.start)
        await self.up()

    async def up(self) -> None:
        """Wait until it takes logins, and systemd has begun all that it wanted to."""
        async with asyncio.timeout(UP_SECONDS):
            await until(self._is_up, seconds=UP_SECONDS)

    async def reboot(self) -> None:
        """Down in order and up again."""
        await asyncio.to_thread(self.container.restart, timeout=STOP_SECONDS)
        await self.up()

    async def power_off(self) -> None:
        """Gone at once, as without current; `start` brings it back."""
        await asyncio.to_thread(self.container.kill)

    async def _is_up(self) -> bool:
        _, state = await self.tried("systemctl is-system-running", seconds=UP_SECONDS)
        return state.strip() in ("running", "degraded") and await self._takes_logins()

    async def _takes_logins(self) -> bool:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection(self.lan_address, 22)
            banner = await reader.readline()
            writer.close()
            return banner.startswith(b"SSH-")
        return False

    async def tailnet_down(self) -> None:
        """Take it from the tailnet, reboots included, until `tailnet_up`."""
        await self.run("systemctl disable --quiet --now tailnet.service")

    async def tailnet_up(self) -> None:
        """Bring it back to the tailnet."""
        await self.run("systemctl enable --quiet --now tailnet.service")

    async def small_disk(self, path: str, megabytes: int) -> None:
        """Have a disk of its own at a folder, over what is there; it is empty again after a reboot."""
        await self.run(f"mkdir -p {path} && mount -t tmpfs -o size={megabytes}M,mode=755 tmpfs {path}")

    @asynccontextmanager
    async def full_disk(self, path: str) -> AsyncIterator[None]:
        """Nothing more goes onto the disk at this folder while the block lasts: the folder of a small disk."""
        await self.run(f"fallocate --length $(df --output=avail --block-size=1 {path} | tail -n 1) {path}/.full")
        try:
            yield
        finally:
            await self.run(f"rm --force {path}/.full")

    async def logs_in(self, command: str) -> str:
        """Output of a command by SSH, as Ansible would run it. Raises CommandFailed."""
        process = await asyncio.create_subprocess_exec(
            *self.ssh, command, stdin=asyncio.subprocess.DEVNULL, stdout=-1, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await process.communicate()
        if process.returncode:
            raise CommandFailed(f"{self.name}: {command!r} by SSH ended with {process.returncode}: {output.decode()}")
        return output.decode()

    @asynccontextmanager
    async def forwarded(self, port: int, address: str = "127.0.0.1") -> AsyncIterator[int]:
        """A loopback port of this host that leads to a port of the machine, by SSH, while the block lasts."""
        ours = free_ports.port("127.0.0.1")
        process = await asyncio.create_subprocess_exec(
            *(*self.ssh[:-1], "-N", "-o", "ExitOnForwardFailure=yes", "-L", f"127.0.0.1:{ours}:{address}:{port}"),
            self.ssh[-1],
            stdin=asyncio.subprocess.DEVNULL,
        )
        try:
            await until(lambda: _answers("127.0.0.1", ours), seconds=UP_SECONDS)
            yield ours
        finally:
            process.terminate()
            await process.wait()

    def last_words(self, lines: int = 40) -> str:
        """The end of its journal, for a person who wonders why a test failed."""
        command = f"systemctl --failed --no-legend; docker ps --all 2>/dev/null; journalctl --no-pager --lines {lines}"
        _, output = self.container.exec_run(["sh", "-c", command])
        assert isinstance(output, bytes)
        return output.decode("utf-8", "replace")


def archive(files: Mapping[str, File]) -> bytes:
    """A tar archive of files by their absolute paths."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, file in files.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode, entry.uid, entry.gid = len(file.content), file.mode, file.owner, file.owner
            tar.addfile(entry, io.BytesIO(file.content))
    return packed.getvalue()


def _answers(host: str, port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex((host, port)) == 0
