"""Walks to peers as a terminal shows them. Pure."""

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from switchboard_coordinator.doctor.findings import Walk


def doctor_table(walks: Sequence[Walk]) -> Group:
    """A line for each hop of each peer, then what mends the first one that fails on each way."""
    table = Table(box=None, pad_edge=False)
    for heading in ("peer", "hop", "", "ms", "found"):
        table.add_column(heading, no_wrap=True, justify="right" if heading == "ms" else "left")
    sentences: list[Text] = []
    for walk in walks:
        peer = walk.places.peer
        for number, step in enumerate(walk.steps):
            of = f"{step.profile}@{peer}" if step.profile else peer
            mark = Text("ok", "green") if step.is_ok else Text("fails", "bold red")
            found = (step.detail or "") if step.is_ok else ""
            named = Text(of if step.profile or not number else "")  # as Text: a name from the command line is no markup
            table.add_row(named, step.hop, mark, f"{step.ms:.0f}", Text(found))
            if not step.is_ok:
                sentences.append(Text.assemble((f"{of}: {step.hop}: ", "red"), step.detail or ""))
    return Group(table, *sentences)
