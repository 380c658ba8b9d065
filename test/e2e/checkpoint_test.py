#!/usr/bin/env python3
"""End to end: a real gVisor container is saved by `runsc checkpoint` and goes on after `runsc restore`, with our
gofer on both sides.

runsc's sentry saves what its container has open, and walks to it again through a new gofer, which it asks for each
file by name. The same container is run with our gofer, with runsc's own, and with one kind on each side; what it says
after it has gone on is what is written down here. A container that holds a deleted file cannot be saved by this runsc,
whoever serves it; it has to go on then.

Needs root, runsc, busybox (static). Without one of them the test is skipped, and says so; with CI=true or
GOFER_REQUIRE_REAL=1 that is a failure.

Usage: checkpoint_test.py [--gofer=PROGRAM] [--keep]
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time

import sandbox

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.append(os.path.join(HERE, "..", "support"))
import oracle  # noqa: E402 (found only now)

PROGRAMS = ("runsc", "busybox")
PATIENCE_S = 120
TOOL = os.path.join(HERE, "..", "..", "tools", "runsc-with-gofer")

# Files in every state that matters: read up to its middle, to be appended to, read and written, a FIFO, a folder that
# is somebody's working directory.
SCRIPT = r"""
mkdir /data/dir && cd /data/dir && echo inside >name
exec 3</data/read 4>>/data/append 5<>/data/both 6<>/data/fifo
head_of() { dd bs=1 count=$1 2>/dev/null; }
head_of 3 <&3; echo
echo before >&4
head_of 2 <&5; echo
%s
echo ready
while [ ! -e /data/go ]; do sleep 0.05; done
echo resumed
head_of 3 <&3; echo
echo after >&4; cat /data/append
printf X >&5; cat /data/both; echo
echo through >&6; read line <&6; echo "fifo: $line"
cat name; pwd; ls /data; ls /data/dir
echo new >/data/dir/new; cat /data/dir/new; rm /data/dir/new
stat -c '%%a %%s' /data/read
%s
echo done
"""
BEFORE = ["012", "ab", "ready"]
AFTER = ["resumed", "345", "old", "before", "after", "abXdef", "fifo: through", "inside", "/data/dir",
         "append", "both", "dir", "fifo", "go", "read", "name", "new", "644 11", "done"]
DELETED = ("echo gone >/data/gone; exec 7</data/gone; rm /data/gone", "cat <&7")
AFTER_DELETED = AFTER[:-1] + ["gone", "done"]


class Container:
    """A container and what it needs, with the data of its own in a folder."""

    def __init__(self, path, busybox, script):
        self.layout = sandbox.Layout(path, busybox, busybox)
        with open(os.path.join(self.layout.root, "cases.sh"), "w", encoding="ascii") as file:
            file.write(script)
        data = self.layout.data
        for name, text in (("read", "0123456789\n"), ("append", "old\n"), ("both", "abcdef")):
            with open(os.path.join(data, name), "w", encoding="ascii") as file:
                file.write(text)
        os.mkfifo(os.path.join(data, "fifo"))
        sandbox.bundle(self.layout, readonly_root=False)
        self.image = os.path.join(path, "image")
        os.mkdir(self.image)
        self.output = os.path.join(path, "output")
        self.errors = os.path.join(path, "errors")

    def runsc(self, world, *words):
        command = [world.runsc, "--root=" + os.path.join(self.layout.path, "state-" + world.name),
                   *sandbox.RUNSC_FLAGS, "--host-fifo=open", *words]
        with open(self.output, "ab") as output, open(self.errors, "ab") as errors:
            return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors,
                                  timeout=PATIENCE_S, check=False).returncode

    def must(self, world, *words):
        status = self.runsc(world, *words)
        if status != 0:
            with open(self.errors, encoding="utf-8", errors="replace") as errors:
                raise sandbox.Failure("%s: runsc %s ended with %d: %s" % (
                    world.name, words[0], status, errors.read()[:2000]))

    def lines(self):
        with open(self.output, encoding="utf-8", errors="replace") as output:
            return output.read().split("\n")[:-1]

    def await_line(self, wanted):
        deadline = time.monotonic() + PATIENCE_S
        while wanted not in self.lines():
            if time.monotonic() > deadline:
                raise sandbox.Failure("the container never said %r, only %s" % (wanted, self.lines()))
            time.sleep(0.02)

    def go(self):
        with open(os.path.join(self.layout.data, "go"), "w", encoding="ascii"):
            pass
        self.await_line("done")
        lines = self.lines()
        # What is on the host's side of a container's terminal is not the container's word.
        return [line for line in lines if line]


class Test:
    def __init__(self, options, results):
        self.options = options
        self.results = results
        self.work = tempfile.mkdtemp(prefix="gofer-ckpt.", dir="/var/tmp")
        os.chmod(self.work, 0o755)
        self.busybox = shutil.which("busybox")
        self.hooked = os.path.join(self.work, "hooked")

    def worlds(self):
        runsc = shutil.which("runsc")
        gofer = os.path.join(self.work, "gofer-under-test")
        shutil.copy(self.options.gofer, gofer)
        prepared = subprocess.run([TOOL, "--gofer=" + gofer, "--runsc=" + runsc, "prepare", self.hooked], check=True,
                                  stdout=subprocess.PIPE, universal_newlines=True)
        return (sandbox.World("ours", prepared.stdout.strip(), gofer),
                sandbox.World("stock", runsc, os.path.realpath(runsc)))

    def await_own_gofer(self, world, name):
        """The gofer of a detached container is nobody's child: it is looked for by the container's name."""
        program = os.stat(world.gofer_program)
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/cmdline" % entry, "rb") as file:
                    words = file.read().split(b"\0")
                if words[0].endswith(b"runsc-gofer") and os.fsencode(os.path.join(self.work, name)) in words:
                    running = os.stat("/proc/%s/exe" % entry)
                    if (running.st_dev, running.st_ino) == (program.st_dev, program.st_ino):
                        return
            except OSError:
                pass  # it has just ended
        raise sandbox.Failure("%s: no process of %s serves %s" % (world.name, world.gofer_program, name))

    def goes_on(self, saver, restorer):
        name = "%s_then_%s" % (saver.name, restorer.name)
        container = Container(os.path.join(self.work, name), self.busybox, SCRIPT % ("", ""))
        bundle = ["--bundle", container.layout.path]
        try:
            container.must(saver, "run", "--detach", *bundle, "ckpt-" + name)
            container.await_line("ready")
            self.await_own_gofer(saver, name)
            container.must(saver, "checkpoint", "--image-path=" + container.image, "ckpt-" + name)
            container.runsc(saver, "delete", "--force", "ckpt-" + name)
            container.must(restorer, "restore", "--detach", "--image-path=" + container.image, *bundle, "again-" + name)
            self.await_own_gofer(restorer, name)
            said = container.go()
        finally:
            container.runsc(saver, "delete", "--force", "ckpt-" + name)
            container.runsc(restorer, "delete", "--force", "again-" + name)
        self.results.add("checkpoint", name, oracle.difference("wanted", BEFORE + AFTER, "said", said)
                         if said != BEFORE + AFTER else None)

    def deleted_file(self, world):
        """This runsc saves no container with a deleted file; the gofer must not be why, nor suffer from it."""
        name = "deleted_" + world.name
        container = Container(os.path.join(self.work, name), self.busybox, SCRIPT % DELETED)
        try:
            container.must(world, "run", "--detach", "--bundle", container.layout.path, name)
            container.await_line("ready")
            self.await_own_gofer(world, name)
            status = container.runsc(world, "checkpoint", "--leave-running", "--image-path=" + container.image, name)
            with open(container.errors, encoding="utf-8", errors="replace") as errors:
                said = errors.read()
        finally:
            container.runsc(world, "delete", "--force", name)
        return "status %d, %s" % (status, "deleted and invalidated dentries can't be restored" in said)

    def run(self):
        try:
            ours, stock = self.worlds()
            for saver, restorer in ((ours, ours), (stock, stock), (ours, stock), (stock, ours)):
                try:
                    self.goes_on(saver, restorer)
                except (sandbox.Failure, subprocess.TimeoutExpired) as failure:
                    self.results.add("checkpoint", "%s_then_%s" % (saver.name, restorer.name), str(failure))
            try:
                outcomes = [self.deleted_file(world) for world in (ours, stock)]
                self.results.add("checkpoint", "a_deleted_file", None if outcomes[0] == outcomes[1]
                                 else "ours: %s; stock: %s" % tuple(outcomes))
            except (sandbox.Failure, subprocess.TimeoutExpired) as failure:
                self.results.add("checkpoint", "a_deleted_file", str(failure))
        finally:
            subprocess.run([TOOL, "remove", self.hooked], check=False)
            if self.options.keep:
                print("kept: " + self.work)
            else:
                shutil.rmtree(self.work, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gofer", default="gofer/gofer")
    parser.add_argument("--keep", action="store_true", help="leave the folders of the runs behind")
    options = parser.parse_args()
    results = oracle.Results("checkpoint_e2e")
    lacking = oracle.missing(PROGRAMS, options.gofer)
    if lacking:
        results.add_missing("checkpoint", "real_sandboxes", lacking)
    else:
        Test(options, results).run()
    results.finish()


if __name__ == "__main__":
    main()
