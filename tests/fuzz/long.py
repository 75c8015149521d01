"""The long form: every target under a coverage-guided fuzzer, with its count of executions.

    python tests/fuzz/long.py EXECUTIONS_FOR_ALL

Each target runs in a process of its own (the fuzzer ends its process); what is slow by its nature
(signing, loading keys) gets a smaller share.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # where support is
# Shares of the executions; a signed body costs a signature each, a key an RSA key each.
SHARES = {
    "signature_header": 25, "json": 20, "messages": 15, "notification_headers": 12, "answer": 12,
    "timestamp": 6, "amount": 6, "signed_notification_body": 2, "key": 2,
}  # fmt: skip


def fuzz(name, executions):
    """Run one target in this process; the fuzzer does not return."""
    import atheris

    with atheris.instrument_imports(include=["aplus_adapters"]):
        from support.targets import SEEDS, TARGETS

    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(SEEDS[name]):
            (Path(corpus) / str(number)).write_bytes(seed)
        atheris.Setup(
            [sys.argv[0], f"-runs={executions}", "-max_len=2000", "-timeout=20", "-rss_limit_mb=2048",
             "-print_final_stats=1", corpus],
            TARGETS[name],
        )  # fmt: skip
        atheris.Fuzz()


def main(total):
    done = 0
    for name, share in SHARES.items():
        wanted = total * share // sum(SHARES.values())
        started = time.monotonic()
        run = subprocess.run(
            [sys.executable, __file__, "--one", name, str(wanted)],
            capture_output=True,
            text=True,
            check=False,
            cwd=HERE,
        )
        found = re.search(r"stat::number_of_executed_units:\s+(\d+)", run.stderr)
        if run.returncode or not found:
            print(run.stdout[-4000:], run.stderr[-4000:])
            sys.exit(f"{name}: failed")
        done += int(found[1])
        print(
            f"{name}: {int(found[1]):,} executions in {time.monotonic() - started:.0f} s",
            flush=True,
        )
    print(f"{done:,} executions, only our own errors")
    if done < total * 0.99:
        sys.exit("fewer executions than asked for")


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        fuzz(sys.argv[2], int(sys.argv[3]))
    else:
        main(int(sys.argv[1]))
