"""Tables in Markdown, as wide as what stands in them. Pure."""

from collections.abc import Sequence


def markdown(head: Sequence[str], *rows: Sequence[str]) -> str:
    """The first column is text and stands left, all others are figures and stand right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    ruler = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [
        [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        for row in (head, *rows)
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], ruler, *lines[1:]])
