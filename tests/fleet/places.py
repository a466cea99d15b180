"""Where the programs of a fleet listen: an address each on Linux (all of 127.0.0.0/8 is loopback), else a port each."""

import sys

LOOPBACK = "127.0.0.1"


def addresses(count: int) -> list[str]:
    """A loopback address for each machine."""
    return [f"127.0.77.{number}" if sys.platform == "linux" else LOOPBACK for number in range(1, count + 1)]
