"""All benchmarks in about five minutes (``make bench``); ``--full`` for the large ones."""

import subprocess
import sys
import time

import common

SCRIPTS = (
    "bench_kernels.py",
    "bench_predict.py",
    "bench_scale.py",
    "bench_startup.py",
    "compare.py",
)


def main():
    """Run each script in a process of its own; returns the number that failed."""
    failed = []
    for script in SCRIPTS:
        print(f"== {script}", flush=True)
        began = time.perf_counter()
        done = subprocess.run([sys.executable, str(common.HERE / script), *sys.argv[1:]])
        failed += [script] * bool(done.returncode)
        print(f"== {script}: {time.perf_counter() - began:.0f} s\n", flush=True)
    if failed:
        print("failed:", ", ".join(failed))
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
