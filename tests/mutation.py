"""The mutation score: which deliberate faults the tests notice.

    python tests/mutation.py [SEED]

mutmut breaks the files of `[tool.mutmut]` one expression at a time and runs against each fault the
tests that call what is broken. Every fault in what signs, verifies, decodes and decides is tried, and
of all the others a random sample; SEED repeats one. Those tests leave out what takes servers: the faults
in stores that they did not notice are tried once more, on PostgreSQL and MariaDB. It prints the score of
each file and every fault that nobody noticed, and ends with 1 if the score of a whole file is under 85 %
or that of the sample under 92 %.

mutmut ends what takes too long by the id of its process, also when that has ended by itself: where ids are
few, another process may have the id by then. Run nothing else meanwhile, or raise kernel.pid_max.
"""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

WHOLE = {
    "aplus_adapters/payments/refund_states.py",
    "aplus_adapters/payments/states.py",
    "aplus_adapters/protocol/keys.py",
    "aplus_adapters/protocol/signed_messages.py",
    "aplus_adapters/protocol/signing.py",
    "aplus_adapters/protocol/wire.py",
}
SAMPLE = int(os.environ.get("APLUS_SAMPLE", "320"))
OF_A_FILE, OF_THE_SAMPLE = 85.0, 92.0  # per cent, at least
# Exit codes of the tests as mutmut records them. What is in neither table, such as a run that was
# interrupted, crashed or collected nothing, proves nothing: it counts as not noticed.
NOTICED = {
    1: "failed",
    3: "failed",
    24: "timed out",
    -24: "timed out",
    36: "timed out",
    152: "timed out",
    255: "timed out",
}
MISSED = {0: "survived", 5: "no test calls it", 33: "no test calls it"}
NOBODY = "no_such_fault"


def mutmut(*arguments):
    command = [sys.executable, "-m", "mutmut", *arguments]
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    ).stdout


def on_servers(fault):
    """Run the stores' tests on servers against a fault, none if it is empty; give pytest's exit code."""
    chosen = [
        "-m",
        "server and not process",
        "-k",
        "not hook_fails and not has_to_be_awaited",
        "tests/stores",
    ]
    options = [
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-n",
        "4",
        "--dist",
        "loadgroup",
        "--timeout=120",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *chosen],
        cwd="mutants", env={**os.environ, "MUTANT_UNDER_TEST": fault, "CI": "true"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if not fault and done.returncode:
        print(done.stdout[-4000:])
        sys.exit("the tests on servers fail without a fault")
    return done.returncode


def faults():
    """Give (file, name, exit code or None) of every fault that was made."""
    for path in sorted(Path("mutants").rglob("*.py.meta")):
        file = str(path.relative_to("mutants").with_suffix(""))
        for name, code in json.loads(path.read_text())["exit_code_by_key"].items():
            yield file, name, code


def tried_on_servers(faults):
    """Give the faults with the exit code on servers of those in stores that have survived."""
    again = [name for file, name, code in faults if code == 0 and "/stores/" in file]
    if again:
        on_servers("")
    codes = {}
    for number, name in enumerate(again, 1):
        codes[name] = on_servers(name)
        verdict = "survived" if codes[name] == 0 else "noticed"
        print(f"on servers, {number} of {len(again)}: {verdict}: {name}", flush=True)
    return [(file, name, codes.get(name, code)) for file, name, code in faults]


def warn_of_few_process_ids():
    """Say so where ids of processes come round within minutes."""
    most = Path("/proc/sys/kernel/pid_max")
    if most.exists() and int(most.read_text()) < 1_000_000:
        found = most.read_text().strip()
        print(
            f"kernel.pid_max is {found}: mutmut may end other processes; 4194304 is safe",
            flush=True,
        )


def main(seed):
    print(f"seed {seed}", flush=True)
    warn_of_few_process_ids()
    # Makes the faults and times the tests; then it ends, as there is none of this name.
    output = mutmut("run", NOBODY)
    made = list(faults())
    if not made or "Filtered for specific mutants" not in output:
        print(output[-4000:])
        sys.exit("no fault was made")
    others = [name for file, name, _ in made if file not in WHOLE]
    sample = random.Random(seed).sample(others, min(SAMPLE, len(others)))
    chosen = {name for file, name, _ in made if file in WHOLE} | set(sample)
    print(f"{len(chosen)} of {len(made)} faults, {len(sample)} of them by chance", flush=True)
    output = mutmut("run", "--max-children", str(os.cpu_count() or 1), *sorted(chosen))
    tested = [fault for fault in faults() if fault[1] in chosen]
    untried = [name for _, name, code in tested if code is None]
    if untried:
        print(output[-4000:])
        sys.exit(f"{untried[0]} was not tried")
    tried, noticed, ends, missed = Counter(), Counter(), Counter(), []
    for file, name, code in tried_on_servers(tested):
        group = file if file in WHOLE else "the sample"
        tried[group] += 1
        noticed[group] += code in NOTICED
        end = NOTICED.get(code) or MISSED.get(code) or f"ended with {code}, which says nothing"
        ends[end] += 1
        if code not in NOTICED:
            missed.append((name, end))
    for name, why in missed:
        print(f"{why}: python -m mutmut show {name}")
    print(", ".join(f"{number} {end}" for end, number in sorted(ends.items())))
    low = []
    for group in sorted(tried):
        score = 100 * noticed[group] / tried[group]
        print(f"{score:5.1f} %  {noticed[group]} of {tried[group]} faults  {group}")
        if score < (OF_A_FILE if group in WHOLE else OF_THE_SAMPLE):
            low.append(group)
    if low:
        sys.exit(f"too low: {', '.join(low)}; seed {seed}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else random.randrange(10**9))
