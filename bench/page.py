"""`python -m bench.page`: write the tables of docs/performance.md anew from bench/results/.

Between `<!-- PART -->` and `<!-- end -->` stands what a part's JSON says; everything else is written by hand.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from bench import marks, tables
from bench.parts import PARTS
from bench.record import Record

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
RESULTS = Path(__file__).with_name("results")


def filled(page: str, records: Mapping[str, Record]) -> str:
    """The page with the block of every part filled."""
    names = "|".join(map(re.escape, PARTS))

    def block(found: re.Match[str]) -> str:
        return f"<!-- {found[1]} -->\n{_block(records.get(found[1]))}\n<!-- end -->"

    return re.sub(rf"<!-- ({names}) -->\n.*?<!-- end -->", block, page, flags=re.DOTALL)


def read_records(folder: Path = RESULTS) -> dict[str, Record]:
    """The last full result of every part that has one."""
    files = {part: folder / f"{part}.json" for part in PARTS}
    return {part: Record.from_json(json.loads(file.read_text())) for part, file in files.items() if file.exists()}


def _block(record: Record | None) -> str:
    if record is None:
        return "Not measured yet."
    judged = record.result.marks()
    notes = "\n".join(f"- {note}" for note in record.result.notes())
    head, *rows = marks.table(judged)
    texts = ["", record.result.table(), notes, tables.markdown(head, *rows), f"Measured on {record.measured_on()}.", ""]
    return "\n\n".join(text for text in texts if text).join(("\n", "\n"))


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(), read_records()))
