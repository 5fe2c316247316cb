# SPDX-License-Identifier: GPL-2.0-or-later
"""What the benchmarks share: running and measuring a command, and printing a figure."""
import json
import os
import shutil
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
REHOST = os.path.join(ROOT, "build", "rehost")
PAIRS = int(os.environ.get("BENCH_PAIRS", "5"))
MIB = 1 << 20


def run(argv, env=None):
    """Runs one command: wall and CPU seconds of it and its children, peak memory of the largest."""
    start = time.monotonic()
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, env={**os.environ, **(env or {})})
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.stderr.write(output.decode(errors="replace")[-2000:])
        raise SystemExit(f"bench: {' '.join(argv)}: wait status {status}")
    return {"wall_s": time.monotonic() - start, "cpu_s": usage.ru_utime + usage.ru_stime,
            "peak_bytes": usage.ru_maxrss * 1024}


def median(values):
    return statistics.median(values)


def emit(figure, ours, unit, peer=None, peer_name=None, ratio=None, bar=None, met=None, **more):
    line = {"figure": figure, "ours": round(ours, 4), "unit": unit}
    if peer is not None:
        line.update(peer=round(peer, 4), peer_name=peer_name, ratio=round(ratio, 3))
    if bar is not None:
        line.update(bar=bar, met=bool(met))
    line.update(more)
    print(json.dumps(line), flush=True)


def compare(figure, key, ours, peers, peer_name, bar=None, unit="s", **more):
    ratios = [a[key] / b[key] for a, b in zip(ours, peers)]
    ratio = median(ratios)
    emit(figure, median(r[key] for r in ours), unit, median(r[key] for r in peers), peer_name, ratio,
         bar and f"ratio <= {bar}", bar and ratio <= bar, pairs=len(ratios),
         ratio_min=round(min(ratios), 3), ratio_max=round(max(ratios), 3), **more)


def fixture(*argv):
    process = subprocess.run([os.path.join(ROOT, "tests", "fixtures", argv[0]), *argv[1:]],
                             stdout=subprocess.PIPE, check=True, text=True)
    return process.stdout.strip().splitlines()[-1]


def pretouch(folder):
    """The first touch of a guest's memory is 20 times slower than the second: touch it before."""
    size = min(int(shutil.disk_usage(folder).free * 0.5), 6 << 30)
    path = os.path.join(folder, "pretouch")
    block = os.urandom(MIB) * 8
    with open(path, "wb") as file:
        for _ in range(size // len(block)):
            file.write(block)
    os.unlink(path)


def allocated(path):
    return os.stat(path).st_blocks * 512
