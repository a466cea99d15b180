"""The real agent's own virtual environment: built once from its lock, kept in .cache/, shared by all runs."""

import fcntl
import os
import subprocess
from hashlib import sha256
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
UV = REPOSITORY / ".tools/uv/bin/uv"
LOCK = REPOSITORY / "requirements/hermes-agent.txt"
ENVIRONMENT = REPOSITORY / ".cache/hermes-agent-0.19.0"
PYTHONS = ">=3.11,<3.14"  # hermes-agent 0.19.0: Requires-Python


class CannotInstall(Exception):
    """The real agent could not be installed; the words say what to do."""


def install() -> Path:
    """The `bin` folder of an environment that holds what the lock says; 20 s and 150 MB the first time, else at once.

    Raises CannotInstall. Safe to call from several processes at once.
    """
    wanted = sha256(LOCK.read_bytes()).hexdigest()
    laid = ENVIRONMENT / "laid-from"
    ENVIRONMENT.parent.mkdir(exist_ok=True)
    with ENVIRONMENT.with_name(f"{ENVIRONMENT.name}.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not laid.exists() or laid.read_text() != wanted:
            _uv("venv", "--quiet", "--clear", "--python", PYTHONS, str(ENVIRONMENT))
            _uv("pip", "sync", "--quiet", "--require-hashes", str(LOCK))
            laid.write_text(wanted)
    return ENVIRONMENT / "bin"


def _uv(*arguments: str) -> None:
    if not UV.exists():
        raise CannotInstall(f"{UV.relative_to(REPOSITORY)} is missing: run make venv")
    env = os.environ | {"VIRTUAL_ENV": str(ENVIRONMENT), "UV_PYTHON_DOWNLOADS": "never", "UV_LINK_MODE": "copy"}
    done = subprocess.run([UV, *arguments], env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotInstall(f"uv {' '.join(arguments[:2])} failed (Python {PYTHONS} is needed): {done.stderr.strip()}")
