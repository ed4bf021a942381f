"""Counts how files in many forms are read: python benchmarks/forms.py [--examples N] [--faults N]

Known candles are saved in N random compositions of the forms of tests/support/file_forms.py, and N times with each
fault of file_faults.py, and are read. Prints how often the outcome was which, and every file that was read wrongly in
silence. docs/data.md has the counts.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from tabulate import tabulate

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from file_faults import FAULTS
from file_outcomes import HELD, READ, REFUSED, SAID, SET_ASIDE, SILENT, outcome
from saved_files import Saved, saved_files

WORDS = (READ, SET_ASIDE, REFUSED, HELD, SAID, SILENT)


def count(fault: str, examples: int) -> tuple[Counter[str], dict[str, Counter[str]]]:
    """Return the outcomes of some files, in all and by form."""
    outcomes: Counter[str] = Counter()
    by_form: dict[str, Counter[str]] = {}

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(saved_files(fault))
    def read(saved: Saved) -> None:
        word, reason = outcome(saved)
        outcomes[word] += 1
        for form in saved.forms:
            by_form.setdefault(form, Counter())[word] += 1
        if word == SILENT:
            print(f"{fault or 'no fault'}, {saved.forms}: {reason}\n{saved.data[:300]!r}", file=sys.stderr)

    read()
    return outcomes, by_form


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=20_000, help="files without a fault")
    parser.add_argument("--faults", type=int, default=400, help="files of each fault")
    arguments = parser.parse_args()
    outcomes, by_form = count("", arguments.examples)
    rows = [[form, *(counts[word] for word in WORDS)] for form, counts in by_form.items()]
    rows.append(["all files without a fault", *(outcomes[word] for word in WORDS)])
    print(tabulate(rows, ["form", *WORDS], tablefmt="github"))
    faults = {fault: count(fault, arguments.faults)[0] for fault in FAULTS}
    rows = [[fault, *(counts[word] for word in WORDS)] for fault, counts in faults.items()]
    total = sum(faults.values(), Counter[str]())
    rows.append(["all files with a fault", *(total[word] for word in WORDS)])
    print(tabulate(rows, ["fault", *WORDS], tablefmt="github"))


if __name__ == "__main__":
    main()
