"""What a simulated machine takes over from this one to reach the package registries: certificates, and pip's index."""

import subprocess
from pathlib import Path

from .machine import File

LOCAL = Path("/usr/local/share/ca-certificates")
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


def files() -> dict[str, File]:
    """The certificates that this machine trusts besides its distribution's, and a pip that trusts them too."""
    found = {f"{LOCAL}/{file.name}": File(file.read_bytes()) for file in sorted(LOCAL.glob("*.crt"))}
    lines = [f"cert = {BUNDLE}"] if found else []
    lines += [f"index-url = {address}" for address in _index()]
    if lines:
        found["/etc/pip.conf"] = File("\n".join(["[global]", *lines, ""]).encode())
    return found


def _index() -> list[str]:
    """The index of this machine's pip, where it is not the public one."""
    told = subprocess.run(
        ["python3", "-m", "pip", "config", "list"], capture_output=True, text=True, check=False, timeout=60
    )
    values = (line.partition("=") for line in told.stdout.splitlines())
    return [value.strip("'\"") for name, _, value in values if name.endswith(".index-url") and "://" in value]
