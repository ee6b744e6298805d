"""A model in Python searches the graph of Debian's packages in shared memory, breadth first; residency over time as a picture.

    python3 search.py GRAPH.gz [PICTURE.png]
"""

import gzip
import struct
import sys
import zlib

import numpy

import bifolio

UNREACHED = (1 << 64) - 1


def read_lists(path):
    numbers, lists = {}, []

    def number(name):
        if name not in numbers:
            numbers[name] = len(lists)
            lists.append([])
        return numbers[name]

    with gzip.open(path, "rt") as file:
        for line in file:
            if not line.startswith("#") and (words := line.replace(":", " ").split()):
                first, *targets = map(number, words)
                lists[first] += targets
    return lists


def levels_by_cpu(lists, root):
    levels, frontier = {root: 0}, [root]
    for node in frontier:
        for target in lists[node]:
            if target not in levels:
                levels[target] = levels[node] + 1
                frontier.append(target)
    return levels


def search(port, job, on_fault):
    """The model: reads nodes (level, count, address of edges) by their addresses, one frontier after the other."""

    def read(address, size):
        while (data := port.try_read(address, size)) is None:
            port.resolve(address, size)
            on_fault()
        return data

    frontier, level = [job], 0
    while frontier:
        level, reached = level + 1, []
        for node in frontier:
            _, count, edges = struct.unpack("<3Q", read(node, 24))
            for target in struct.unpack(f"<{count}Q", read(edges, 8 * count)) if count else ():
                if struct.unpack("<Q", read(target, 8))[0] == UNREACHED:
                    port.write(target, struct.pack("<Q", level))
                    reached.append(target)
        frontier = reached


def write_png(path, rows):
    """A picture of booleans, a row for each moment: dark where a page is on the device."""
    height, width = rows.shape
    grey = numpy.where(rows, 40, 235).astype(numpy.uint8)
    lines = b"".join(b"\0" + line.tobytes() for line in grey)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))


def main(graph, picture=None):
    lists = read_lists(graph)
    root = max(range(len(lists)), key=lambda node: len(lists[node]))
    with bifolio.Space(64 << 20, checked=True) as space:
        # One array for all, so that its pages are one picture: nodes of three words, then edges.
        edges = sum(map(len, lists))
        words = space.array(3 * len(lists) + edges)
        base, at = words.ctypes.data, 3 * len(lists)
        nodes = words[:at].reshape(-1, 3)
        for number, targets in enumerate(lists):
            nodes[number] = UNREACHED, len(targets), base + 8 * at
            words[at : at + len(targets)] = [base + 24 * target for target in targets]
            at += len(targets)
        nodes[root, 0] = 0

        device = space.attach(vram=words.nbytes // 4 // 4096 * 4096)
        port, rows, faults = device.port(), [], 0

        def on_fault():
            nonlocal faults
            faults += 1
            if picture and faults % 200 == 0:
                rows.append(space.residency(base, words.nbytes))

        search(port, base + 24 * root, on_fault)
        found = {node: int(nodes[node, 0]) for node in range(len(lists)) if nodes[node, 0] != UNREACHED}
        stats = space.stats()
        del nodes, words
    assert found == levels_by_cpu(lists, root), "levels differ from those of the CPU"
    assert stats["evictions"] > 0 and stats["violations"] == 0, stats
    print(f"{len(found)} of {len(lists)} nodes reached, as by the CPU; {faults} faults, {stats['evictions']} evictions")
    if picture:
        write_png(picture, numpy.array(rows))
        print(f"{picture}: {len(rows)} moments")


if __name__ == "__main__":
    main(*sys.argv[1:])
