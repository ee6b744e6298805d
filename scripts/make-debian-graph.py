#!/usr/bin/env python3
"""Make data/debian-bookworm.graph.gz from the package lists that apt keeps.

usage: make-debian-graph.py [--available FILE] [--releases FOLDER] [--output FILE]

--available  a saved `apt-cache dumpavail`; without it the command is run
--releases   the folder of apt's InRelease files, from which the snapshot dates come
--output     the file to write

The same lists give the same bytes. The format and the meaning of an edge are told in data/README.md.
Run on Debian bookworm with main, updates and security enabled and nothing else: a list from another
origin or release is refused, for its packages would be mixed in unseen.
"""
import argparse
import collections
import glob
import gzip
import hashlib
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
    """Packages sorted by name, and for each the numbers of the packages it names."""

    def __init__(self, packages):
        self.counts = collections.Counter()
        self.names = sorted(package["Package"] for package in packages)
        self.number = {name: number for number, name in enumerate(self.names)}
        if len(self.number) != len(self.names):
            sys.exit("error: a package is listed twice")
        self.providers = collections.defaultdict(set)
        for package in packages:
            for virtual in names_in(package, ("Provides",)):
                self.providers[virtual].add(self.number[package["Package"]])
        self.strong = [set() for _ in self.names]
        self.weak = [set() for _ in self.names]
        for package in packages:
            self.add_edges(package)

    def add_edges(self, package):
        source = self.number[package["Package"]]
        strong = self.targets(source, package, STRONG, "strong")
        self.strong[source] = strong
        self.weak[source] = self.targets(source, package, WEAK, "weak") - strong

    def targets(self, source, package, fields, kind):
        found = set()
        for name in names_in(package, fields):
            self.counts[f"{kind} alternatives"] += 1
            if name in self.number:
                found.add(self.number[name])
            elif name in self.providers:
                self.counts[f"{kind} alternatives that name a virtual package"] += 1
                found |= self.providers[name]
            else:
                self.counts[f"{kind} alternatives that name nothing in the index"] += 1
        return found - {source}


def varint(value):
    """Seven bits a byte, the lowest first; the top bit says that more follow."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_names(names):
    out, last = bytearray(), b""
    for name in map(str.encode, names):
        shared = len(os.path.commonprefix([last, name]))
        out += varint(shared) + varint(len(name) - shared) + name[shared:]
        last = name
    return bytes(out)


def encode_edges(rows):
    out = bytearray()
    for row in rows:
        out += varint(len(row))
        expected = 0
        for target in sorted(row):
            out += varint(target - expected)
            expected = target + 1
    return bytes(out)


def encode(graph, sources):
    header = ["bifolio-graph 1", *(f"source: {source}" for source in sources),
              f"packages: {len(graph.names)}",
              f"strong: {sum(map(len, graph.strong))}",
              f"weak: {sum(map(len, graph.weak))}", "", ""]
    return ("\n".join(header).encode() + encode_names(graph.names)
            + encode_edges(graph.strong) + encode_edges(graph.weak))


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
    plain = encode(graph, read_sources(options.releases))
    with open(options.output, "wb") as file:
        # No file name and no time in the header: they would differ from run to run.
        with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=file, mtime=0) as packed:
            packed.write(plain)
    with open(options.output, "rb") as file:
        packed = file.read()

    print(plain[:plain.index(b"\n\n")].decode())
    for what, count in sorted(graph.counts.items()):
        print(f"{what}: {count}")
    print(f"plain: {len(plain)} bytes, sha256 {hashlib.sha256(plain).hexdigest()}")
    print(f"packed: {len(packed)} bytes, sha256 {hashlib.sha256(packed).hexdigest()}")


if __name__ == "__main__":
    main()
