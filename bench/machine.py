"""The machine a figure was taken on, in words that mean something elsewhere: no host name, no user, no path."""

import os
import platform
from pathlib import Path


def description() -> dict[str, object]:
    """Processor, cores, memory, kernel, system, Python, and the load before anything was measured."""
    return {
        "processor": _value_of(Path("/proc/cpuinfo"), "model name") or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "kernel": platform.release(),
        "system": _system(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def two_cores() -> tuple[int, int]:
    """A core for the system and one for load and upstream; ValueError where there are not two."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise ValueError("a system alone on one core and the load on another needs two cores; this machine gives one")
    return cores[0], cores[-1]


def busy_seconds(core: int) -> float:
    """Processor time that all processes have taken on one core, interrupts left out, in the kernel's ticks of 10 ms."""
    lines = Path("/proc/stat").read_text().splitlines()
    user, nice, system = next(map(int, line.split()[1:4]) for line in lines if line.startswith(f"cpu{core} "))
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _value_of(file: Path, name: str) -> str:
    lines = file.read_text().splitlines() if file.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
