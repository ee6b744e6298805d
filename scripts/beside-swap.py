#!/usr/bin/env python3
"""Times ordinary programs in too little memory: under `bifolio run`, and in a memory cgroup of the same size that swaps to zram.

    scripts/beside-swap.py [--bifolio FILE] [--rounds N] [--only PART]... [--json]

Each program runs plainly first, which tells how much private memory it needs; then, in turns, under `bifolio run --ram` and in the
cgroup with a share of that and 2 MiB for page tables. A line tells the plain time in seconds, and the medians of the other two over
it. What the machine lacks (a program, a module of Python, swap on zram alone, the right to make a cgroup) is skipped by name. A program
that takes longer than --limit times the plain one is ended, which counts as that long; "killed" says that the kernel ended it for want
of memory. The output of each run is compared with that of the plain one.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

DICT = """
import random, sys
count = int(sys.argv[1])
words = {random.Random(at).random(): str(at) for at in range(count)}
keys, choose = list(words), random.Random(1)
print(sum(len(words[keys[choose.randrange(count)]]) for _ in range(2 * count)))
"""
SCAN = """
import numpy
data = numpy.arange(16 << 20, dtype=numpy.float64)
print(sum(float(data.sum()) for _ in range(12)))
"""
MATMUL = """
import numpy
one = numpy.random.default_rng(1).random((2000, 2000))
print(round(float((one @ one).sum()), 3))
"""
COLUMNS = """
width, height = 8192, 12288
picture = bytearray(width * height)
for row in range(height): picture[row * width:(row + 1) * width] = bytes([row % 251]) * width
for column in range(0, width, 8): picture[column::width] = bytes(255 - value for value in picture[column::width])
print(sum(picture[::4093]))
"""
JOIN = """
import sqlite3
base = sqlite3.connect(':memory:')
base.execute('create table one (id integer primary key, other integer, text text)')
base.execute('create table two (id integer primary key, text text)')
count = 400000
base.executemany('insert into one values (?, ?, ?)', ((at, at * 7919 % count, 'x' * 100) for at in range(count)))
base.executemany('insert into two values (?, ?)', ((at, 'y' * 100) for at in range(count)))
print(base.execute('select count(*), sum(length(one.text) + length(two.text)) from one join two on two.id = one.other').fetchone())
"""
DUCKDB = """
import duckdb
base = duckdb.connect()
base.execute('set threads = 1')
base.execute('set enable_progress_bar = false')
base.execute("set memory_limit = '16GB'")  # It would take the cgroup's, and go to the disk.
base.execute("create table data as select range as id, hash(range) % 1000000 as key, range::varchar || 'text' as text from range(6000000)")
print(base.execute('select count(*), sum(total) from (select key, sum(id) as total, max(text) from data group by key)').fetchone())
"""
QUICKSORT = """
import numpy
data = numpy.random.default_rng(1).integers(0, 1 << 62, 8 << 20)
data.sort(kind='quicksort')
print(data[::65537].sum())
"""


def python(text, *arguments):
    """A program of Python: its words."""
    return [sys.executable, "-c", text, *arguments]


def programs(folder):
    """The programs: name, shares of memory, words, and a module of Python that is needed."""
    text, packed = make_inputs(folder)
    return [
        ("dict of 200,000, random look-ups", [1 / 2], python(DICT, "200000"), None),
        ("dict of 400,000, random look-ups", [3 / 4, 1 / 2], python(DICT, "400000"), None),
        ("sort", [1 / 2, 1 / 4], ["sort", "-S", "512M", "--parallel=1", text], None),
        ("numpy, scan", [1 / 2], python(SCAN), "numpy"),
        ("numpy, product of matrices", [1 / 2], python(MATMUL), "numpy"),
        ("sqlite, join in memory", [1 / 2], python(JOIN), "sqlite3"),
        ("duckdb, group by", [1 / 8], python(DUCKDB), "duckdb"),
        ("picture by columns", [1 / 3], python(COLUMNS), None),
        ("zstd --long", [0.7], ["zstd", "-q", "-c", "--long=27", "-T1", packed], None),
        ("xz -6", [0.6], ["xz", "-6", "-T1", "-c", packed], None),
        ("quicksort of 64 MiB, as umapsort", [1 / 2], python(QUICKSORT), "numpy"),
    ]


def make_inputs(folder):
    """Writes lines to sort, and text to compress; returns where they are."""
    draw = random.Random(1)
    text, packed = os.path.join(folder, "lines"), os.path.join(folder, "words")
    with open(text, "w", encoding="ascii") as file:
        for _ in range(2_000_000):
            file.write(f"{draw.getrandbits(160):040x}\n")
    words = [f"{draw.getrandbits(48):x}" for _ in range(50_000)]
    with open(packed, "w", encoding="ascii") as file:
        for _ in range(400):
            file.write(" ".join(draw.choices(words, k=5_000)) + "\n")
    return text, packed


class Group:
    """A memory cgroup that swaps to zram."""

    ROOM = 2 << 20
    PLACES = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]

    def __init__(self):
        with open("/proc/swaps", encoding="ascii") as file:
            swaps = file.read().splitlines()[1:]
        if not swaps or not all(swap.startswith("/dev/zram") for swap in swaps):
            raise OSError("nothing swaps to zram alone")
        for root, limit in self.PLACES:
            folder = f"{root}/beside-swap-{os.getpid()}"
            try:
                os.mkdir(folder)
            except OSError:
                continue
            if os.path.exists(f"{folder}/{limit}"):
                self.folder, self.limit = folder, f"{folder}/{limit}"
                return
            os.rmdir(folder)
        raise OSError("no memory cgroup can be made")

    def words(self, words, size):
        """The words that run a program within `size` bytes, and ROOM beside."""
        with open(self.limit, "w", encoding="ascii") as file:
            file.write(str(size + self.ROOM))
        return ["sh", "-c", f'echo $$ > {self.folder}/cgroup.procs && exec "$@"', "sh", *words]

    def end(self):
        """Removes the group, once its last program has ended."""
        for _ in range(50):
            try:
                return os.rmdir(self.folder)
            except OSError:
                time.sleep(0.1)


def private_memory(pid):
    """Private memory of a process, in bytes."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            lines = [line for line in file if line.startswith("RssAnon")]
        return int(lines[0].split()[1]) << 10 if lines else 0
    except OSError:
        return 0


def plain(words):
    """Runs a program: seconds, the digest of its output, and the most private memory that it had."""
    start, most = time.monotonic(), 0
    with tempfile.TemporaryFile() as output:
        with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output) as process:
            while process.poll() is None:
                most = max(most, private_memory(process.pid))
                time.sleep(0.002)
        if process.returncode != 0:
            raise OSError(f"{words[0]} ended with {process.returncode}")
        seconds = time.monotonic() - start
        output.seek(0)
        return seconds, hashlib.sha256(output.read()).digest(), most


def limited(words, digest, most_seconds):
    """Runs a program in too little memory; returns its seconds, the most if it takes longer, or None if the kernel ends it."""
    start = time.monotonic()
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=most_seconds, check=False)
    except subprocess.TimeoutExpired:
        return most_seconds
    if done.returncode < 0 or done.returncode == 137:
        return None
    if done.returncode != 0 or hashlib.sha256(done.stdout).digest() != digest:
        sys.exit(f"{' '.join(words)[:200]}: another result than the plain program (exit code {done.returncode})")
    return time.monotonic() - start


def middle(times, plain):
    """The median of some times over the plain one; None if there are none, or the kernel ended a program."""
    return statistics.median(times) / plain if times and None not in times else None


def measure(name, shares, words, options, group):
    """Prints a line for each share."""
    seconds, digest, most = min(plain(words) for _ in range(options.rounds))
    for share in shares:
        size = int(most * share) & ~4095
        managed = [options.bifolio, "run", "--quiet", "--ram", str(size), "--", *words]
        ours, swapped = [], []
        for _ in range(options.rounds):
            ours.append(limited(managed, digest, seconds * options.limit))
            if group:
                swapped.append(limited(group.words(words, size), digest, seconds * options.limit))
        run = middle(ours, seconds)
        zram = middle(swapped, seconds)
        if options.json:
            print(json.dumps({"program": name, "share": share, "bytes": most, "plain_s": seconds, "run": run, "zram": zram}))
        else:
            over = f"{zram / run:9.2f}" if zram and run else "        -"
            killed = "killed" if swapped else "-"
            run, zram = (f"{times:8.2f}" if times else f"{killed:>8}" for times in (run, zram))
            print(f"{name:34} {share:5.2f} {most >> 20:5} MiB {seconds:8.2f} {run} {zram} {over}", flush=True)


def is_missing(words, module):
    """What the machine lacks for a program, if anything."""
    if not shutil.which(words[0]):
        return words[0]
    if module and subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True, check=False).returncode:
        return module
    return None


def main():
    """Measures what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bifolio", default=shutil.which("bifolio") or "target/release/bifolio", help="the command")
    parser.add_argument("--rounds", type=int, default=3, help="times that each is measured")
    parser.add_argument("--limit", type=float, default=60, help="times the plain time that a program may take")
    parser.add_argument("--only", action="append", default=[], help="programs whose names have this part")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each")
    options = parser.parse_args()
    try:
        group = Group()
    except OSError as error:
        group = None
        print(f"SKIP zram: {error}", file=sys.stderr)
    if not options.json:
        print(f"{'':34} share    needs    plain s  run, x   zram, x  zram/run")
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name, shares, words, module in programs(folder):
                if options.only and not any(part in name for part in options.only):
                    continue
                lacking = is_missing(words, module)
                if lacking:
                    print(f"SKIP {name}: there is no {lacking}", file=sys.stderr)
                    continue
                measure(name, shares, words, options, group)
    finally:
        if group:
            group.end()


if __name__ == "__main__":
    main()
