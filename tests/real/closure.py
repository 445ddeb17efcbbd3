#!/usr/bin/env python3
"""Plans and builds the store paths of `closure.sh`: made-up contents, real paths.

Usage: closure.py plan N MB    prints the plan, a list of nodes, as JSON
       closure.py build        builds one node; called by Nix, with `node`, `references` and `out`

Everything follows from N and MB alone. The first nodes are odd on purpose, each in its own way (see
`SHAPES`); the others look like a system: a few that all refer to, many small, some large, most referring
to themselves. Contents are hexadecimal digits of a hash stream, which compress to about a half.
Not here: special files and holes, which a store cannot hold.
"""

import hashlib
import json
import math
import os
import random
import sys

# One node each, from the second on: what the root of the store path is, and what is odd about it.
SHAPES = ("file", "executable", "link", "empty-file", "empty-directory", "large", "names", "deep")
# Every character that a store path's name may have, in the length that leaves room for `.drv`.
ODD_NAME = "0123456789+-._?=ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
LONGEST_NAME = "long-" * 41 + "ab"
# More than one multipart part of anybody's default, and more than one frame of 16 MiB.
LARGE = (64 << 20) + 4321
# File names that Nix takes and that programs like to trip over; bytes, since one is not UTF-8.
ODD_FILES = (
    b" ", b"with space", b"trailing ", b".hidden", b"..more", b"-dash", b"~tilde", b"#hash", b"100%25",
    b"quote'\"", b"back\\slash", b"tab\there", b"line\nbreak", b"bell\x07", b"delete\x7f", b"a:b", b"a?b&c=d",
    b"Case", b"case", b"\xc3\xa9", b"e\xcc\x81", b"\xe9\x9d\x99", b"\xf0\x9f\x8c\xb2", b"latin1-\xe9", b"n" * 255,
)


def plan(count, megabytes):
    draw = random.Random(f"closure {count} {megabytes}")
    # Log-normal around a few kB as measured on systems; the large tail makes up the rest of the total.
    sizes = [int(min(2e6, max(100, draw.lognormvariate(math.log(8e3), 1.6)))) for _ in range(count)]
    rest = megabytes * 1_000_000 - sum(sizes) - LARGE
    large = draw.sample(range(len(SHAPES) + 3, count - 1), max(1, count // 30))
    for i in large:
        sizes[i] += max(0, rest) // len(large)
    nodes, used = [], set()
    for i in range(count):
        # What everything refers to, then mostly what is near; the last one holds all that is loose.
        references = {j for j in range(min(i, 3)) if draw.random() < 0.6}
        for _ in range(min(i, int(draw.expovariate(1 / 4)))):
            references.add(max(0, i - 1 - int(draw.expovariate(1 / (1 + i / 6)))))
        if i == count - 1:
            references |= set(range(count - 1)) - used
        used |= references
        node = {
            "name": f"part{i:04d}-{draw.randrange(10)}.{draw.randrange(30)}",
            "shape": "directory",
            "references": sorted(references),
            "self": draw.random() < 0.8,
            "size": sizes[i],
            "files": 1 + int(draw.expovariate(1 / 3)),
            "links": draw.randrange(3),
        }
        if 1 <= i <= len(SHAPES):
            node["shape"] = SHAPES[i - 1]
        if i == len(SHAPES) + 1:
            node["name"] = ODD_NAME
        if i == len(SHAPES) + 2:
            node["name"] = LONGEST_NAME
        nodes.append(node)
    return nodes


def fill(path, seed, size, head=b""):
    """Writes `size` bytes that follow from the seed, after what is to be found in them."""
    with open(path, "wb") as file:
        file.write(head)
        for block in range(0, size, 1 << 17):
            want = min(1 << 17, size - block)
            stream = hashlib.shake_128(f"{seed} {block}".encode()).digest((want + 1) // 2)
            file.write(stream.hex().encode()[:want])


def build_directory(out, node, references):
    os.makedirs(f"{out}/lib/a/b")
    for i in range(node["files"]):
        folder = ("bin", "lib", "lib/a", "lib/a/b", "share")[i % 5]
        os.makedirs(f"{out}/{folder}", exist_ok=True)
        path = f"{out}/{folder}/file{i}"
        # The first file refers to everything, as a program's library path does.
        head = b"\0".join(r.encode() for r in references) if i == 0 else b""
        fill(path, f"{node['name']} {i}", node["size"] // node["files"], head)
        if folder == "bin":
            os.chmod(path, 0o755)
    for i in range(node["links"]):
        target = (references[i % len(references)] + "/bin", "lib/a", "../outside/nothing")[i % 3]
        os.symlink(target, f"{out}/link{i}")


def build_names(out):
    os.mkdir(out)
    for name in ODD_FILES:
        with open(os.fsencode(out) + b"/" + name, "wb") as file:
            file.write(name)
    os.symlink("/" + "t" * 4000, f"{out}/long-target")
    os.symlink(b"latin1-\xe9\n", os.fsencode(out) + b"/odd-target")


def build_deep(out):
    # Nix stops at 64 levels.
    path = out + "/d" * 60
    os.makedirs(path)
    fill(f"{path}/bottom", "deep", 1000)


def build():
    node, out = json.loads(os.environ["node"]), os.environ["out"]
    references = os.environ["references"].split() + ([out] if node["self"] else [])
    head = "\n".join(references).encode()
    match node["shape"]:
        case "directory":
            build_directory(out, node, references)
        case "file":
            fill(out, "file", 5000, head)
        case "executable":
            fill(out, "executable", 5000, b"#!/bin/sh\n" + head)
            os.chmod(out, 0o755)
        case "link":
            os.symlink(references[0] + "/bin", out)
        case "empty-file":
            fill(out, "", 0)
        case "empty-directory":
            os.mkdir(out)
        case "large":
            os.mkdir(out)
            fill(f"{out}/large", "large", LARGE, head)
        case "names":
            build_names(out)
        case "deep":
            build_deep(out)


if sys.argv[1] == "plan":
    json.dump(plan(int(sys.argv[2]), int(sys.argv[3])), sys.stdout)
else:
    build()
