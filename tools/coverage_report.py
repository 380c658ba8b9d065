#!/usr/bin/env python3
"""Prints, from an lcov file, how many lines of each folder have run, and whether that is enough.

Usage: coverage_report.py LINES.lcov [--missing=FILE]

Counts what ships: no tests, no other ends of protocols that only tests have. --missing prints the lines of
one file that nothing runs. Exit status 1 if a goal is missed.
"""

import collections
import os
import re
import sys

BUILT_IN = "/proc/self/cwd/"
FOLDERS = re.compile(r"^(checkpoint|fuse|gofer|lisafs|vhost)/")
# The far ends of the protocols, and what tests share.
NOT_SHIPPED = re.compile(r"_test\.cc$|_fixture\.h$|/test_ring\.|^checkpoint/damages\.|^vhost/driver/|^lisafs/client/"
                         r"|^bazel-|\.pb\.")

# What reads bytes of a peer or an image, what turns names into files, and what saves and restores: there a
# line that no test runs is a line that an attacker runs first, or one that loses a client's files.
CRITICAL = {
    "decoders": re.compile(
        r"^(lisafs|fuse)/wire/|^vhost/(memory|virtqueue)/|^vhost/user/(message|connection)\."
        r"|^gofer/base/(byte_reader|byte_writer|shared_bytes|json)\.|^lisafs/transport/packet_window\."),
    "paths": re.compile(
        r"^gofer/base/name\.|^gofer/fs/(filesystem|filesystem_names|filesystem_create|dentry|path_repair)\."
        r"|^gofer/sys/host_fs\.|^lisafs/server/handlers_(walk|link)\.|^fuse/session/(ops_lookup|ops_link)\."),
    "checkpoint": re.compile(
        r"^checkpoint/|^gofer/fs/(snapshot|tree_restore|file_judge|filesystem_state)\.|/take_back\."
        r"|^lisafs/server/connection_state\.|^fuse/session/session_state\.|^vhost/user/state_transfer\."),
}
CRITICAL_GOAL = 95.0
GOAL = 85.0
SHOWN_FILES = 15


def read(path):
    """{file: {line: count}} of what ships."""
    files = collections.defaultdict(lambda: collections.defaultdict(int))
    lines = None
    with open(path, encoding="utf-8") as lcov:
        for record in lcov:
            kind, _, value = record.rstrip("\n").partition(":")
            if kind == "SF":
                # Bazel compiles in a folder of its own that mirrors this one, and calls it so.
                name = value[len(BUILT_IN):] if value.startswith(BUILT_IN) else value
                shipped = FOLDERS.search(name) and not NOT_SHIPPED.search(name)
                lines = files[name] if shipped else None
            elif kind == "DA" and lines is not None:
                number, count = value.split(",")[:2]
                lines[int(number)] += int(count)
    return files


def count(files):
    total = sum(len(lines) for lines in files)
    return sum(1 for lines in files for ran in lines.values() if ran), total


def percent(ran, total):
    return 100.0 * ran / total if total else 100.0


def row(name, ran, total, goal=None):
    verdict = ""
    if goal is not None:
        verdict = "  goal %.0f %%: %s" % (goal, "reached" if percent(ran, total) >= goal else "MISSED")
    print("  %-28s %6d of %6d lines  %5.1f %%%s" % (name, ran, total, percent(ran, total), verdict))
    return goal is None or percent(ran, total) >= goal


def show_missing(lines):
    missing = sorted(number for number, ran in lines.items() if not ran)
    runs = []
    for number in missing:
        if runs and number <= runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    print(" ".join("%d" % a if a == b else "%d-%d" % (a, b) for a, b in runs))


def main():
    files = read(sys.argv[1])
    for argument in sys.argv[2:]:
        if argument.startswith("--missing="):
            show_missing(files[argument[len("--missing="):]])
            return
    if not files:
        sys.exit("coverage_report.py: nothing of what ships is in " + sys.argv[1])
    folders = collections.defaultdict(list)
    for name, lines in files.items():
        folders[os.path.dirname(name)].append(lines)
    print("lines run, by folder:")
    for folder in sorted(folders):
        row(folder, *count(folders[folder]))
    print("most lines that nothing runs:")
    worst = sorted(files, key=lambda name: sum(1 for ran in files[name].values() if not ran), reverse=True)
    for name in worst[:SHOWN_FILES]:
        row(name, *count([files[name]]))
    print("goals:")
    reached = True
    for name, pattern in CRITICAL.items():
        found = [lines for path, lines in files.items() if pattern.search(path)]
        if found:
            reached &= row(name, *count(found), goal=CRITICAL_GOAL)
    reached &= row("overall", *count(files.values()), goal=GOAL)
    sys.exit(0 if reached else 1)


if __name__ == "__main__":
    main()
