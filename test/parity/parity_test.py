#!/usr/bin/env python3
"""Every row of docs/parity.md is there once, has a state with its reason, and names tests that exist."""

import collections
import glob
import os
import re
import sys

ROWS = dict(A=28, B=16, C=20, D=19, E=11, F=28, G=16, H=21, I=18, J=12, K=35, L=92, M=12, N=58,
            O=17, P=11, Q=16, R=21, S=14, T=19)
STATES = ("done", "better", "left out", "open")

failures = []


def fail(message):
    failures.append(message)


def rows(text):
    """(row, state, how, tests) of each line of a section's table."""
    for line in text.splitlines():
        cells = re.split(r"(?<!\\)\|", line)
        if len(cells) > 1 and re.fullmatch(r"[A-Z]\d+", cells[1].strip()):
            if len(cells) != 7:
                fail(f"{cells[1].strip()}: {len(cells) - 2} columns, not 5")
                continue
            row, _, state, how, tests = (cell.strip() for cell in cells[1:6])
            yield row, state, how, tests


class Tests:
    """The tests that the tree has, by what is written in it."""

    def __init__(self, root):
        self.root = root
        self.cases_of = {}

    def has_target(self, package, name):
        try:
            with open(os.path.join(self.root, package, "BUILD.bazel")) as file:
                build = file.read()
        except FileNotFoundError:
            return False
        # By its own name, or by the stem of a list of tests.
        stem = re.sub(r"_test$", "", name)
        return f'"{name}"' in build or f'"{stem}"' in build

    def has_case(self, package, case):
        if package not in self.cases_of:
            cases = set()
            for path in glob.glob(os.path.join(self.root, package, "*.cc")):
                with open(path) as file:
                    found = re.findall(r"\bTEST(?:_[FP])?\(\s*(\w+),\s*(\w+)\)", file.read())
                cases.update(".".join(pair) for pair in found)
            self.cases_of[package] = cases
        return case in self.cases_of[package]


def check_tests(row, text, tests):
    """How many test cases a cell names."""
    cases = 0
    for part in filter(None, text.split("; ")):
        match = re.fullmatch(r"`//([\w/]+):(\w+)` ([\w.]+(?:, [\w.]+)*)", part)
        if not match:
            fail(f"{row}: \"{part}\" is not `//package:target` Suite.Case, ...")
            continue
        package, target, names = match.groups()
        if not tests.has_target(package, target):
            fail(f"{row}: there is no target //{package}:{target}")
        for name in names.split(", "):
            cases += 1
            if not tests.has_case(package, name):
                fail(f"{row}: //{package} has no test case {name}")
    return cases


def main():
    # The tree itself, of which only the document is given: tests are all over it.
    document = os.path.realpath("docs/parity.md")
    with open(document) as file:
        text = file.read()
    tests = Tests(os.path.dirname(os.path.dirname(document)))
    expected = [f"{section}{i}" for section, n in ROWS.items() for i in range(1, n + 1)]
    seen = []
    states = collections.Counter()
    for row, state, how, cell in rows(text):
        seen.append(row)
        states[state] += 1
        cases = check_tests(row, cell, tests)
        if state not in STATES:
            fail(f"{row}: state \"{state}\" is not one of {', '.join(STATES)}")
        elif state in ("done", "better") and cases == 0:
            fail(f"{row}: is {state}, and no test shows it")
        elif state != "done" and not how:
            fail(f"{row}: is {state}, and nothing says how or why")
    if seen != expected:
        fail(f"rows missing: {sorted(set(expected) - set(seen))}, "
             f"twice: {[row for row, n in collections.Counter(seen).items() if n > 1]}, "
             f"unknown: {sorted(set(seen) - set(expected))}, or in another order")
    for state in STATES:
        if f"| {state} | {states[state]} |" not in text:
            fail(f"the table of states does not say {state}: {states[state]}")
    for failure in failures:
        print(f"FAIL: {failure}")
    print(", ".join(f"{state}: {states[state]}" for state in STATES))
    return 1 if failures else 0


sys.exit(main())
