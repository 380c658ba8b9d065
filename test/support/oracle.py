"""For tests that run the same cases in several worlds and compare: outcomes, and trees of files."""

import difflib
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from xml.etree import ElementTree

TREE_FILES = 5000
LISTED_FILES = 10000


class Results:
    """Named outcomes, printed as they come and written as a GoogleTest-like XML file at the end.

    Threads may add at the same time.
    """

    def __init__(self, suite):
        self.suite = suite
        self.outcomes = []
        self.started = time.monotonic()
        self.adding = threading.Lock()

    def add(self, setting, name, problem=None, skipped=None):
        word = "SKIPPED" if skipped else "FAILED" if problem else "ok"
        passed_s = time.monotonic() - self.started
        text = "%-7s %s.%s  (%.1f s)" % (word, setting, name, passed_s)
        if problem or skipped:
            text += "\n    " + (problem or skipped).replace("\n", "\n    ")
        with self.adding:
            self.outcomes.append((setting, name, problem, skipped))
            print(text, flush=True)

    def add_missing(self, setting, name, lacking):
        """What the test cannot do for want of something: skipped, or failed where it has to run."""
        text = "missing: " + ", ".join(lacking)
        required = os.environ.get("CI") == "true" or os.environ.get("GOFER_REQUIRE_REAL") == "1"
        self.add(setting, name, problem=text if required else None, skipped=None if required else text)

    def finish(self):
        """Ends the program, with Bazel's report where it wants one."""
        if os.environ.get("XML_OUTPUT_FILE"):
            self.write(os.environ["XML_OUTPUT_FILE"])
        sys.exit(1 if self.failed() else 0)

    def failed(self):
        return any(problem for _, _, problem, _ in self.outcomes)

    def write(self, path):
        failures = str(sum(1 for outcome in self.outcomes if outcome[2]))
        total = str(len(self.outcomes))
        root = ElementTree.Element("testsuites", tests=total, failures=failures, timestamp="now")
        suite = ElementTree.SubElement(root, "testsuite", name=self.suite, tests=total,
                                       failures=failures)
        for setting, name, problem, skipped in self.outcomes:
            case = ElementTree.SubElement(suite, "testcase", classname=setting, name=name,
                                          status="run",
                                          result="skipped" if skipped else "completed")
            if problem:
                ElementTree.SubElement(case, "failure", message=problem[:2000])
        ElementTree.ElementTree(root).write(path)


def missing(programs, gofer):
    """What a test with real peers lacks on this machine; `gofer` is a path, or None if it is not needed."""
    lacking = [name for name in programs if shutil.which(name) is None]
    if os.geteuid() != 0:
        lacking.append("root")
    if gofer is not None and not os.access(gofer, os.X_OK):
        lacking.append("the gofer (%s)" % gofer)
    return lacking


def make_input(path):
    """Makes in.tar, what is in the tree that goes in by tar; and returns what the tree is like."""
    tree = os.path.join(path, "tree")
    for number in range(TREE_FILES):
        folder = os.path.join(tree, "d%02d" % (number % 50))
        os.makedirs(folder, exist_ok=True)
        name = os.path.join(folder, "f%05d" % number)
        with open(name, "wb") as file:
            file.write((hashlib.sha256(b"%d" % number).digest() * 40)[: number * 37 % 1200])
        os.chmod(name, 0o600 + number % 64)
        if number % 100 == 0:
            os.symlink("f%05d" % number, name + ".link")
    # Short names: a client without a cache asks several times for each part of a path.
    subprocess.run(["tar", "cf", os.path.join(path, "in.tar"), "-C", tree, *sorted(os.listdir(tree))],
                   check=True)
    return describe(tree)


def describe(tree):
    """All of a tree that busybox's tar keeps, a line per file; folders get the time of unpacking."""
    lines = []
    for folder, subfolders, files in os.walk(tree):
        for name in subfolders + files:
            path = os.path.join(folder, name)
            stat = os.lstat(path)
            modified = 0
            if os.path.islink(path):
                content = os.readlink(path)
            elif os.path.isdir(path):
                content = "folder"
            else:
                modified = stat.st_mtime_ns // 10**9  # rounded down, as tar does it
                with open(path, "rb") as file:
                    content = hashlib.sha256(file.read()).hexdigest()
            lines.append("%s %o %d:%d %d %s" % (os.path.relpath(path, tree), stat.st_mode,
                                                stat.st_uid, stat.st_gid, modified, content))
    return sorted(lines)


def difference(name_a, a, name_b, b):
    return "\n".join(list(difflib.unified_diff(a, b, name_a, name_b, lineterm="", n=1))[:40])


def lost_in_tar(archive, folder, expected):
    """What is wrong with the tree in the archive, which is unpacked in a new folder; or None."""
    os.mkdir(folder)
    unpacked = subprocess.run(["tar", "xf", archive, "-C", folder], check=False,
                              stderr=subprocess.PIPE)
    if unpacked.returncode != 0:
        return unpacked.stderr.decode()
    found = describe(os.path.join(folder, "tree"))
    return None if found == expected else difference("made", expected, "came out", found)


def make_listed(path):
    """A folder of many files, to be listed from inside."""
    os.mkdir(path)
    for number in range(LISTED_FILES):
        os.close(os.open(os.path.join(path, "host-%d" % number), os.O_CREAT | os.O_WRONLY, 0o644))
