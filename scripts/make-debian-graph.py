#!/usr/bin/env python3
"""Make data/debian-bookworm.graph.gz from the package lists that apt keeps.

usage: make-debian-graph.py [--available FILE] [--releases FOLDER] [--output FILE]

--available  a saved `apt-cache dumpavail`; without it the command is run
--releases   the folder of apt's InRelease files, from which the snapshot dates come
--output     the file to write

The same lists give the same bytes. data/README.md describes the format and what an edge means.
Run on Debian bookworm with main, updates and security enabled and nothing else: a list from another
origin or release is refused, since its packages would be mixed in unseen.
"""
import argparse
import collections
import glob
import gzip
import hashlib
import io
import os
import re
import subprocess
import sys
from email.utils import parsedate_to_datetime

RELEASE = "bookworm"
STRONG = ("Pre-Depends", "Depends")
WEAK = ("Recommends", "Suggests")
KEPT = frozenset(("Package", "Provides", *STRONG, *WEAK))
# A relation starts with its package name; version, architecture and build profile follow.
NAME = re.compile(r"[^\s(:\[<]+")


def paragraphs(lines):
    """The fields we use of each package, one dictionary a package."""
    fields, field = {}, None
    for line in lines:
        line = line.rstrip("\n")
        if not line:
            if fields:
                yield fields
            fields, field = {}, None
        elif line[0] in " \t":
            if field in fields:
                fields[field] += line
        else:
            field, _, value = line.partition(":")
            if field in KEPT:
                fields[field] = value.strip()
    if fields:
        yield fields


def names_in(package, fields):
    """Every name in the given relation fields of a package; alternatives count one by one."""
    for field in fields:
        for relation in re.split(r"[,|]", package.get(field, "")):
            if relation.strip():
                yield NAME.match(relation.strip()).group()


class Graph:
    """Packages sorted by name, and for each the names of the packages that it names."""

    def __init__(self, packages):
        self.counts = collections.Counter()
        self.targets = {name: set() for name in sorted(package["Package"] for package in packages)}
        if len(self.targets) != len(packages):
            sys.exit("error: a package is listed twice")
        self.providers = collections.defaultdict(set)
        for package in packages:
            for virtual in names_in(package, ("Provides",)):
                self.providers[virtual].add(package["Package"])
        for package in packages:
            self.add_edges(package)

    def add_edges(self, package):
        strong = self.named_by(package, STRONG, "strong")
        weak = self.named_by(package, WEAK, "weak") - strong
        self.counts["strong edges"] += len(strong)
        self.counts["weak edges"] += len(weak)
        self.targets[package["Package"]] = strong | weak

    def named_by(self, package, fields, kind):
        found = set()
        for name in names_in(package, fields):
            self.counts[f"{kind} alternatives"] += 1
            if name in self.targets:
                found.add(name)
            elif name in self.providers:
                self.counts[f"{kind} alternatives that name a virtual package"] += 1
                found |= self.providers[name]
            else:
                self.counts[f"{kind} alternatives that name nothing in the index"] += 1
        return found - {package["Package"]}


def encode(targets, sources):
    """The adjacency list: comments, then a line for each package."""
    lines = ["# adjacency list",
             "# Packages of Debian, each with the packages that it names as dependencies of any kind.",
             *(f"# {source}" for source in sources),
             *(" ".join([name, *sorted(targets[name])]) for name in sorted(targets))]
    return "".join(f"{line}\n" for line in lines).encode()


def pack(plain):
    """Packs with gzip, without a file name and a time, which would differ from run to run."""
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=packed, mtime=0) as file:
        file.write(plain)
    return packed.getvalue()


def refuse_foreign_lists():
    policy = subprocess.run(["apt-cache", "policy"], check=True, capture_output=True, text=True).stdout
    for release in re.findall(r"^\s+release (.*)$", policy, re.M):
        facts = dict(item.split("=", 1) for item in release.split(",") if "=" in item)
        if facts.get("a") == "now":
            continue
        if facts.get("o") != "Debian" or not facts.get("n", "").startswith(RELEASE) or facts.get("c") != "main":
            sys.exit(f"error: apt has a list that is not Debian {RELEASE} main: {release}")


def read_available(path):
    if path:
        with open(path, encoding="utf-8") as file:
            return list(paragraphs(file))
    refuse_foreign_lists()
    dump = subprocess.run(["apt-cache", "dumpavail"], check=True, capture_output=True).stdout
    return list(paragraphs(dump.decode().splitlines(keepends=True)))


def read_sources(folder):
    """One line a release file: which list, and the day it was made."""
    sources = []
    for path in glob.glob(os.path.join(folder, f"*_dists_{RELEASE}*_InRelease")):
        with open(path, encoding="utf-8") as file:
            facts = dict(re.findall(r"^(Codename|Version|Date): (.*)$", file.read(), re.M))
        day = parsedate_to_datetime(facts["Date"]).date().isoformat()
        sources.append(f"{facts['Codename']} {facts['Version']} main amd64, {day}")
    if not sources:
        sys.exit(f"error: no InRelease file of {RELEASE} in {folder}")
    return sorted(sources)


def main():
    data = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data")
    parser = argparse.ArgumentParser(description="Make the package graph of Debian bookworm.")
    parser.add_argument("--available", metavar="FILE", help="a saved `apt-cache dumpavail`")
    parser.add_argument("--releases", metavar="FOLDER", default="/var/lib/apt/lists",
                        help="folder of the InRelease files (default: %(default)s)")
    parser.add_argument("--output", metavar="FILE", default=os.path.join(data, "debian-bookworm.graph.gz"))
    options = parser.parse_args()

    graph = Graph(read_available(options.available))
    sources = read_sources(options.releases)
    plain = encode(graph.targets, sources)
    packed = pack(plain)
    with open(options.output, "wb") as file:
        file.write(packed)

    print("\n".join(sources))
    print(f"packages: {len(graph.targets)}")
    for what, count in sorted(graph.counts.items()):
        print(f"{what}: {count}")
    for what, data in ("unpacked", plain), ("packed", packed):
        print(f"{what}: {len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
