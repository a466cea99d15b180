"""Systems side by side: what every such comparison says of them, whatever was measured. Pure."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, Protocol, TypeVar

from bench import tables

FiguresT = TypeVar("FiguresT")
FiguresT_co = TypeVar("FiguresT_co", covariant=True)


class Seen(Protocol[FiguresT_co]):
    """Everything seen of one system."""

    @property
    def name(self) -> str:
        """What the table calls it."""

    @property
    def version(self) -> str:
        """Empty where it has none."""

    @property
    def skipped(self) -> str:
        """Why there was nothing to see; else empty."""

    def failures(self) -> list[str]:
        """What went wrong, each reason once."""

    def figures(self) -> FiguresT_co | None:
        """What it is judged by, or None where there is too little."""


class Comparison(ABC, Generic[FiguresT]):
    """What the reports of comparisons share; each is a frozen dataclass with its systems in the order of measuring."""

    HEAD: ClassVar[Sequence[str]]
    """The columns behind the first, which names the system."""

    @abstractmethod
    def seen(self) -> Sequence[Seen[FiguresT]]:
        """The systems."""

    @abstractmethod
    def cells(self, name: str, figures: FiguresT) -> list[str]:
        """One system's row, without its name."""

    def figures(self) -> dict[str, FiguresT | None]:
        """What each system is judged by, by its name."""
        return {system.name: system.figures() for system in self.seen()}

    def is_complete(self) -> bool:
        """Whether everything that ran has figures."""
        return all(system.figures() is not None for system in self.seen() if not system.skipped)

    def table(self) -> str:
        """A line per system."""
        return tables.markdown(["system", *self.HEAD], *map(self._row, self.seen()))

    def notes(self) -> list[str]:
        """What the table cannot say: why a system has no figure, and what failed."""
        return [f"{s.name}: {reason}" for s in self.seen() for reason in filter(None, [s.skipped, *s.failures()])]

    def _row(self, system: Seen[FiguresT]) -> list[str]:
        name, figures = f"{system.name} {system.version}".strip(), system.figures()
        if figures is None:
            return [name, "skipped" if system.skipped else "failed", *[""] * (len(self.HEAD) - 1)]
        return [name, *self.cells(system.name, figures)]
