#!/usr/bin/env python3
"""End to end: real gVisor containers whose files our gofer serves.

Every setting (flags of runsc and the cases run with them) is run three times: with our gofer, with runsc's own,
and in a plain folder, that is, by the kernel. A case passes when our output is runsc's, or where the two differ,
when ours is line by line the kernel's; where a policy of gVisor's is the subject, the wanted output is written
down. That the gofer process really was ours is looked up in /proc while the
container runs.

Needs root, runsc, busybox (static), gcc and unshare. Works on a tmpfs of its own. Without one of them the test is skipped, and says so; with CI=true or
GOFER_REQUIRE_REAL=1 that is a failure.

Usage: sandbox_test.py [--gofer=PROGRAM] [--setting=NAME] [--case=NAME] [--keep]
"""

import argparse
import difflib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

import cases
import sandbox

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.append(os.path.join(HERE, "..", "support"))
import oracle  # noqa: E402 (found only now)

IN_NAMESPACE = "GOFER_E2E_IN_NAMESPACE"
PROGRAMS = ("runsc", "busybox", "gcc", "unshare")


class Setting:
    def __init__(self, name, case_list, flags=(), readonly_root=False, with_host=False):
        self.name = name
        self.cases = case_list
        self.flags = flags
        self.readonly_root = readonly_root
        self.with_host = with_host


SETTINGS = [
    Setting("default", cases.EVERYTHING),
    # The other way round than runsc's defaults: mounts exclusive, root shared.
    Setting("caching", cases.CACHED_OTHERWISE, ["--file-access-mounts=exclusive", "--file-access=shared"]),
    Setting("host_allowed", cases.WITH_HOST, ["--host-uds=all", "--host-fifo=open"], with_host=True),
    Setting("host_refused", cases.WITHOUT_HOST, readonly_root=True, with_host=True),
]


class HostPeers:
    """The host's ends of sockets and FIFOs in a container's folder; what they got is theirs to tell."""

    def __init__(self, layout, inside_socket):
        self.folder = os.path.join(layout.data, "host")
        os.mkdir(self.folder)
        self.inside_socket = inside_socket
        self.lines = []
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(os.path.join(self.folder, "socket"))
        self.listener.listen(5)
        self.stopping = threading.Event()
        for name in ("to-host", "from-host"):
            os.mkfifo(os.path.join(self.folder, name))
        # Both ends, so that neither side waits for the other to open.
        self.fifos = {name: os.open(os.path.join(self.folder, name), os.O_RDWR | os.O_NONBLOCK)
                      for name in ("to-host", "from-host")}
        os.write(self.fifos["from-host"], b"from the host\n")
        self.threads = [threading.Thread(target=body) for body in (self._answer, self._call, self._pipe)]
        for thread in self.threads:
            thread.start()

    def _answer(self):
        self.listener.settimeout(0.1)
        while not self.stopping.is_set():
            try:
                peer, _ = self.listener.accept()
            except socket.timeout:
                continue
            peer.settimeout(60)
            self.lines.append("host got: " + peer.recv(100).decode())
            peer.sendall(b"pong")
            peer.close()

    def _call(self):
        """Connects to the socket that the container makes, as soon as it listens."""
        while not self.stopping.is_set():
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
                    peer.settimeout(60)
                    peer.connect(self.inside_socket)
                    peer.sendall(b"from the host")
                    self.lines.append("container answered: " + peer.recv(100).decode())
                    return
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(0.02)
            except OSError as error:
                self.lines.append("calling the container: %s" % error)
                return

    def _pipe(self):
        while True:
            last_look = self.stopping.is_set()  # before the read: what was written is in the FIFO by now
            try:
                got = os.read(self.fifos["to-host"], 100)
            except BlockingIOError:
                if last_look:
                    return
                time.sleep(0.02)
                continue
            self.lines.append("FIFO brought: " + got.decode().strip())
            return

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        self.listener.close()
        for fd in self.fifos.values():
            os.close(fd)
        return sorted(self.lines)


class Test:
    def __init__(self, options, results):
        self.options = options
        self.results = results
        self.work = tempfile.mkdtemp(prefix="gofer-e2e.", dir="/var/tmp")
        if not options.keep:
            # Tens of thousands of files, three times: in memory they are made, and gone, in no time.
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2g", "gofer-e2e", self.work], check=True)
        os.chmod(self.work, 0o755)
        self.probe = os.path.join(self.work, "probe")
        self.busybox = shutil.which("busybox")
        self.hooked = os.path.join(self.work, "hooked")
        self.expected_tree = []

    def prepare(self):
        subprocess.run(["gcc", "-O1", "-static", "-o", self.probe, os.path.join(HERE, "probe.c")], check=True)
        # A copy at a path of its own: a gofer process that runs it can be no other program.
        gofer = os.path.join(self.work, "gofer-under-test")
        shutil.copy(self.options.gofer, gofer)
        tool = os.path.join(HERE, "..", "..", "tools", "runsc-with-gofer")
        runsc = shutil.which("runsc")
        prepared = subprocess.run([tool, "--gofer=" + gofer, "--runsc=" + runsc, "prepare", self.hooked], check=True,
                                  stdout=subprocess.PIPE, universal_newlines=True)
        self.expected_tree = oracle.make_input(self.work)
        return [sandbox.World("ours", prepared.stdout.strip(), gofer),
                sandbox.World("stock", runsc, os.path.realpath(runsc)),
                sandbox.World("plain")]

    def clean(self):
        tool = os.path.join(HERE, "..", "..", "tools", "runsc-with-gofer")
        subprocess.run([tool, "remove", self.hooked], check=False)
        if self.options.keep:
            print("kept: " + self.work)
        else:
            subprocess.run(["umount", "--lazy", self.work], check=False)
            os.rmdir(self.work)

    def run_setting(self, setting, worlds):
        chosen = [case for case in setting.cases if self.options.case in (None, case.name)]
        if not chosen:
            return
        outputs, layouts = {}, {}
        for world in worlds:
            layout = sandbox.Layout(os.path.join(self.work, "%s-%s" % (setting.name, world.name)), self.busybox,
                                    self.probe)
            layouts[world.name] = layout
            names = {case.name for case in chosen}
            if "TAR" in names:
                shutil.copy(os.path.join(self.work, "in.tar"), layout.data)
            if "LISTING" in names:
                oracle.make_listed(os.path.join(layout.data, "listed-from-host"))
            peers = None
            if setting.with_host:
                peers = HostPeers(layout, os.path.join(layout.data, "HOST_SOCKETS", "made-inside"))
            began = time.monotonic()
            try:
                outputs[world.name] = sandbox.run(world, layout, chosen, setting.flags, setting.readonly_root)
            except sandbox.Failure as failure:
                self.results.add(setting.name, "runs_with_%s" % world.name, str(failure))
                return
            finally:
                if peers is not None:
                    host_lines = peers.stop()
            if peers is not None:
                outputs[world.name]["HOST_SIDE"] = host_lines
            print("        %s with %s: %.1f s" % (setting.name, world.name, time.monotonic() - began), flush=True)
            self.results.add(setting.name, "runs_with_%s" % world.name)
        for case in chosen:
            ours, stock, plain = (outputs[world.name].get(case.name) for world in worlds)
            if case.expected is None:
                problem = self.judge(ours, stock, plain)
            else:
                problem = None if ours == case.expected else oracle.difference("wanted", case.expected, "ours", ours or [])
            self.results.add(setting.name, case.name, problem)
        if setting.with_host:
            ours, stock, _ = (outputs[world.name]["HOST_SIDE"] for world in worlds)
            problem = None if ours == stock else oracle.difference("runsc's own gofer", stock, "ours", ours)
            self.results.add(setting.name, "HOST_SIDE", problem)
        if "TAR" in outputs["ours"]:
            for world in worlds:
                self.check_packed(setting, world, layouts[world.name])

    @staticmethod
    def judge(ours, stock, plain):
        """What is wrong with our output, or None."""
        if not ours or len(ours) < 2:
            return "no output: %s; the kernel's: %s" % (ours, plain)
        if ours == stock:
            return None
        if ours == plain:
            return None
        # Differences from runsc's gofer have to be explained by the kernel, each line for itself.
        matcher = difflib.SequenceMatcher(None, stock or [], ours, autojunk=False)
        kernel = difflib.SequenceMatcher(None, plain or [], ours, autojunk=False)
        as_kernel = {line for _, start, size in kernel.get_matching_blocks() for line in range(start, start + size)}
        for kind, _, _, begin, end in matcher.get_opcodes():
            if kind == "equal" or (end > begin and all(line in as_kernel for line in range(begin, end))):
                continue
            return (oracle.difference("runsc's own gofer", stock or [], "ours", ours) + "\n" +
                    oracle.difference("the kernel", plain or [], "ours", ours))
        return None

    def check_packed(self, setting, world, layout):
        """The tree that went into the container and came out again is the one that was made on the host."""
        archive = os.path.join(layout.data, "TAR", "out.tar")
        problem = oracle.lost_in_tar(archive, os.path.join(layout.path, "unpacked"), self.expected_tree)
        self.results.add(setting.name, "tar_comes_out_whole_with_%s" % world.name, problem)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gofer", default="gofer/gofer")
    parser.add_argument("--setting")
    parser.add_argument("--case")
    parser.add_argument("--keep", action="store_true", help="leave the folders of the runs behind")
    options = parser.parse_args()
    if not options.keep and IN_NAMESPACE not in os.environ and not oracle.missing(PROGRAMS, options.gofer):
        # What is mounted ends with the test, however it ends.
        os.environ[IN_NAMESPACE] = "1"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, os.path.abspath(__file__), *sys.argv[1:]])
    results = oracle.Results("e2e")
    lacking = oracle.missing(PROGRAMS, options.gofer)
    if lacking:
        results.add_missing("e2e", "real_sandboxes", lacking)
    else:
        test = Test(options, results)
        try:
            worlds = test.prepare()
            for setting in SETTINGS:
                if options.setting in (None, setting.name):
                    test.run_setting(setting, worlds)
        finally:
            test.clean()
    results.finish()


if __name__ == "__main__":
    main()
