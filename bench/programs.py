"""Where the programs of others are: installed, or unpacked by `bench/packages` from the distribution's packages."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

UNPACKED = Path(__file__).parents[1] / ".cache" / "bench-tools"


class Missing(Exception):
    """A program is not there; the words say what to do."""


def program(name: str) -> str:
    """The path of a program; raises Missing."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", str(UNPACKED / "usr/sbin"), str(UNPACKED / "usr/bin")])
    found = shutil.which(name, path=path)
    if found is None:
        raise Missing(f"{name} is not here: install it, or run bench/packages where apt-get knows it")
    return found


def library_path() -> str:
    """LD_LIBRARY_PATH for an unpacked program; harmless for an installed one."""
    return os.pathsep.join(str(folder) for folder in UNPACKED.glob("usr/lib/*-linux-gnu*"))


def told_version(*command: str, env: Mapping[str, str] | None = None) -> str:
    """The first thing in a program's answer that looks like a version, else nothing."""
    told = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    found = re.search(r"\d+(\.\d+)+", told.stdout + told.stderr)
    return found.group() if found else ""
