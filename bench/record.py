"""One part's result with the machine it was measured on, as JSON. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass

from pydantic import TypeAdapter

from bench.parts import PARTS, Result


@dataclass(frozen=True)
class Record:
    """What one file of bench/results/ holds."""

    part: str
    quick: bool
    rounds: int
    machine: Mapping[str, object]
    result: Result

    def as_json(self) -> dict[str, object]:
        """Everything that was measured; figures and marks, which follow from it, for whoever reads it without us."""
        return {
            "part": self.part,
            "quick": self.quick,
            "rounds": self.rounds,
            "machine": dict(self.machine),
            "figures": {name: _plain(figures) for name, figures in self.result.figures().items()},
            "marks": [asdict(mark) for mark in self.result.marks()],
            "result": _plain(self.result),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> "Record":
        """The record that `as_json` wrote: only what was measured is read, the rest follows from it."""
        part, rounds = str(values["part"]), TypeAdapter(int).validate_python(values["rounds"])
        machine = TypeAdapter(dict[str, object]).validate_python(values["machine"])
        return cls(part, bool(values["quick"]), rounds, machine, PARTS[part].read(values["result"]))

    def measured_on(self) -> str:
        """Rounds and machine in one line."""
        rounds = f"{self.rounds} round{'s' * (self.rounds != 1)}; "
        return rounds + ", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in self.machine.items())


def _plain(value: object) -> object:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
