"""`python -m bench [--quick | --rounds N] [PART…]`: measure, print tables and marks, write JSON into bench/results/.

Exit status 0 whether the marks are held or missed; 1 when something could not be measured.
"""

import argparse
import json
import sys
from pathlib import Path

from bench import machine
from bench.parts import PARTS
from bench.record import Record
from bench.subjects import CannotMeasure

RESULTS = Path(__file__).with_name("results")


def main() -> int:
    """Measure the parts that are asked for, all of them by default; see the module."""
    parser = argparse.ArgumentParser(prog="bench", description="Proxy and coordinator, side by side with others.")
    parser.add_argument("--quick", action="store_true", help="one short round of everything: at most 90 s in all")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="rounds of every system, 5 by default")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"no part is called {', '.join(unknown)}")
    rounds = 1 if arguments.quick else arguments.rounds
    before = machine.description()
    print(", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in before.items()), end="\n\n", flush=True)
    records = []
    for part in arguments.parts or PARTS:
        try:
            result = PARTS[part].measure(quick=arguments.quick, rounds=rounds)
        except CannotMeasure as problem:
            print(f"{part} could not be measured: {problem}", file=sys.stderr)
            return 1
        records.append(record := Record(part, arguments.quick, rounds, before, result))
        file = RESULTS / (f"{part}.quick.json" if arguments.quick else f"{part}.json")
        file.write_text(json.dumps(record.as_json(), indent=1, ensure_ascii=False) + "\n")
        print(result.table(), *result.notes(), sep="\n", end="\n\n", flush=True)
    for record in records:
        print(*record.result.marks(), sep="\n")
    return 0 if all(record.result.is_complete() for record in records) else 1


if __name__ == "__main__":
    sys.exit(main())
