"""What our proxy weighs: samples in, a table and marks out. Pure: knows no clock, no process and no file.

MB and KB are 10^6 and 10^3 bytes; a kernel's VmRSS counts in KiB.
"""

from dataclasses import dataclass
from statistics import median

from bench import tables
from bench.marks import Mark, Unit, at_most

IDLE_MB, STREAM_KB, GROWTH_PERCENT, READY_SECONDS, IMAGE_MB = 60, 24, 5, 1, 80
MB, KB, PERCENT, SECONDS = Unit(1, " MB"), Unit(1, " KB"), Unit(1, " %"), Unit(2, " s")


@dataclass(frozen=True)
class Weight:
    """Resident memory of the process after so many requests."""

    requests: int
    resident_bytes: int


@dataclass(frozen=True)
class Footprint:
    """Everything seen of our proxy. `image_skipped` says why there was no image to weigh."""

    version: str
    ready_seconds: tuple[float, ...]
    """From exec to the first 200 of /-/ready, once for every start."""
    idle_bytes: int
    streams: int
    streaming_bytes: int
    """With so many streams open, each of which has carried some frames."""
    early: Weight
    late: Weight
    image: str = ""
    image_bytes: int | None = None
    """What the image has over its base."""
    image_skipped: str = ""

    def stream_bytes(self) -> float:
        """What one open stream costs."""
        return (self.streaming_bytes - self.idle_bytes) / self.streams

    def growth_percent(self) -> float:
        """How far the level after many requests is above that after some."""
        return (self.late.resident_bytes / self.early.resident_bytes - 1) * 100

    def figures(self) -> dict[str, float | None]:
        """What the marks are judged by."""
        return {
            "ready_seconds": median(self.ready_seconds),
            "idle_mb": self.idle_bytes / 1e6,
            "stream_kb": self.stream_bytes() / 1e3,
            "growth_percent": self.growth_percent(),
            "image_mb": None if self.image_bytes is None else self.image_bytes / 1e6,
        }

    def is_complete(self) -> bool:
        """Everything here was measured, or the bench had stopped."""
        return True

    def table(self) -> str:
        """Resident memory, state by state."""
        return tables.markdown(
            ["state", "resident memory", ""],
            ["idle, just started", *_both(self.idle_bytes)],
            [f"{self.streams:,} open streams", *_both(self.streaming_bytes)],
            [f"after {self.early.requests:,} requests", *_both(self.early.resident_bytes)],
            [f"after {self.late.requests:,} requests", *_both(self.late.resident_bytes)],
        )

    def notes(self) -> list[str]:
        """Which image was weighed, or why none."""
        return [f"image: {self.image_skipped or self.image}"]

    def marks(self) -> list[Mark]:
        """The promises about memory, start and image."""
        seen = self.figures()
        return [
            at_most(f"memory: idle ≤ {IDLE_MB} MB", seen["idle_mb"], IDLE_MB, MB),
            at_most(
                f"memory: an open stream ≤ {STREAM_KB} KB, {self.streams:,} open", seen["stream_kb"], STREAM_KB, KB
            ),
            at_most(
                f"memory: after {self.late.requests:,} requests ≤ {GROWTH_PERCENT} % above {self.early.requests:,}",
                seen["growth_percent"],
                GROWTH_PERCENT,
                PERCENT,
            ),
            at_most(f"start to ready ≤ {READY_SECONDS} s", seen["ready_seconds"], READY_SECONDS, SECONDS),
            at_most(f"image over its base ≤ {IMAGE_MB} MB", seen["image_mb"], IMAGE_MB, MB, lacking=self.image_skipped),
        ]


def _both(size: int) -> tuple[str, str]:
    return f"{size / 1e6:.1f} MB", f"{size / 2**20:.1f} MiB"
