"""The stage of every part of the bench: two cores, a folder, and the systems that are started on it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

from bench import gateways, load, machine, systems
from bench.programs import Missing
from bench.running import NotRunning, Running, free_port

STOPPED = (Missing, NotRunning, load.WrongWork)


class CannotMeasure(Exception):
    """There is nothing to compare: no load generator, no second core, or our own side does not run."""


@dataclass(frozen=True)
class Subject:
    """One system, running."""

    name: str
    version: str
    door: load.Door
    running: Running

    @property
    def port(self) -> int:
        """Where it listens on loopback."""
        return self.running.port


@dataclass(frozen=True)
class Stage:
    """Where the systems of one part run."""

    folder: Path
    system_core: int
    load_core: int

    def start(self, name: str, system: systems.System, stack: ExitStack, *, core: int, upstream_port: int) -> Subject:
        """Start a system in a folder of its own; it ends with `stack`. Raises what is in STOPPED."""
        place = systems.Place(free_port(), upstream_port, Path(mkdtemp(prefix=f"{name}-", dir=self.folder)))
        launch = system(place)
        log = place.folder / "output.log"
        running = stack.enter_context(Running(launch.command, core=core, port=place.port, log=log, env=launch.env))
        return Subject(name, launch.version, launch.door(place.port), running)

    @contextmanager
    def skipping(self, name: str, skipped: list[tuple[str, str]]) -> Iterator[None]:
        """A block that may stop for a system of others; why is added to `skipped`."""
        try:
            yield
        except STOPPED as problem:
            if name in systems.OWN or name in gateways.OWN:
                raise
            skipped.append((name, str(problem)))


@contextmanager
def stage() -> Iterator[Stage]:
    """Two cores and a folder, for as long as the block; whatever stops the block as a whole is CannotMeasure."""
    with TemporaryDirectory(prefix="switchboard-bench-") as folder:
        try:
            system_core, load_core = machine.two_cores()
            yield Stage(Path(folder), system_core, load_core)
        except (ValueError, *STOPPED) as problem:
            raise CannotMeasure(str(problem)) from problem
