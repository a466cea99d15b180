"""`python -m bench [--quick]`: measure, print a table and the marks, write JSON into bench/results/.

Exit status 0 whether the marks are held or missed; 1 when nothing could be measured.
"""

import argparse
import json
import sys
from pathlib import Path

from bench import machine, one_hop, report

RESULTS = Path(__file__).with_name("results")
OURS = "switchboard"


def main() -> int:
    """Measure one hop; see the module."""
    parser = argparse.ArgumentParser(prog="bench", description="One proxy hop, side by side on one core.")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: at most 45 s in all")
    quick: bool = parser.parse_args().quick
    before = machine.description()
    try:
        systems = one_hop.measure(one_hop.QUICK if quick else one_hop.FULL)
    except one_hop.CannotMeasure as problem:
        print(f"the bench could not measure: {problem}", file=sys.stderr)
        return 1
    result = RESULTS / ("one-hop.quick.json" if quick else "one-hop.json")
    as_json = report.as_json(systems, one_hop.MARKS, before, quick=quick)
    result.write_text(json.dumps(as_json, indent=2, ensure_ascii=False) + "\n")

    print(", ".join(f"{name.replace('_', ' ')}: {value}" for name, value in before.items()), end="\n\n")
    print(report.table(systems, OURS), end="\n\n")
    for measured in systems:
        for reason in filter(None, [measured.skipped, *report.failures(measured)]):
            print(f"{measured.name}: {reason}")
    print(*report.mark_lines(one_hop.MARKS, systems), sep="\n")
    return 0 if all(report.figures(measured) for measured in systems if not measured.skipped) else 1


if __name__ == "__main__":
    sys.exit(main())
