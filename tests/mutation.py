"""The mutation score: which deliberate faults in the core the tests notice.

    python tests/mutation.py [LEAST]

mutmut breaks the files of `[tool.mutmut]` one expression at a time and runs the tests against each;
this prints the score by file and every fault that nobody noticed, and ends with 1 if the score of
any group is under LEAST percent (85).
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

# Exit codes of the tests as mutmut records them.
SURVIVED, NO_TESTS = 0, 33
PLURAL = {False: "faults", True: "fault"}


def outcomes():
    """Give (file, name of the fault, whether it was noticed)."""
    for path in sorted(Path("mutants").rglob("*.py.meta")):
        recorded = json.loads(path.read_text())["exit_code_by_key"]
        for name, code in recorded.items():
            yield (
                str(path.relative_to("mutants").with_suffix("")),
                name,
                code not in (SURVIVED, NO_TESTS),
            )


def main(least):
    run = subprocess.run(
        [sys.executable, "-m", "mutmut", "run", "--max-children", str(os.cpu_count() or 1)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    made, noticed, missed = Counter(), Counter(), []
    for file, name, seen in outcomes():
        made[file] += 1
        noticed[file] += seen
        if not seen:
            missed.append(name)
    if not made:
        print(run.stdout[-4000:])
        sys.exit("no fault was tried")
    for name in missed:
        print(f"nobody noticed {name}: python -m mutmut show {name}")
    worst = 100.0
    for file in made:
        score = 100 * noticed[file] / made[file]
        worst = min(worst, score)
        print(f"{score:5.1f} %  {noticed[file]} of {made[file]} {PLURAL[made[file] == 1]}  {file}")
    print(
        f"{100 * noticed.total() / made.total():5.1f} %  {noticed.total()} of {made.total()} in all"
    )
    if worst < least:
        sys.exit(f"a file is under {least} %")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 85.0)
