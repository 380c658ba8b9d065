"""Runs a shell script in a real gVisor sandbox, or in a plain folder of the host, with the same view of files.

A World says who serves the files: "ours" (runsc with our gofer in place of its own), "stock" (runsc as
packaged) or "plain" (the kernel: a private mount namespace and chroot). All see the same layout:

    /            a folder with busybox, `probe` and /work      read-write or read-only
    /data        bind mount of a folder                       read-write
    /ro          bind mount of the same folder as /frozen     read-only
    /usr         the host's /usr                              read-only

Nothing here depends on Bazel.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import time

RUNSC_FLAGS = ["--platform=ptrace", "--network=none", "--ignore-cgroups", "--overlay2=none"]
CAPABILITIES = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
                "CAP_SETGID", "CAP_SETUID"]
MARK = "=== case "
# For what takes a second or ten where nothing else runs.
START_TIMEOUT_S = 120
RUN_TIMEOUT_S = 600


class Failure(Exception):
    """Something that is not the outcome of a case: no sandbox, a wrong gofer, a hang."""


class World:
    def __init__(self, name, runsc=None, gofer_program=None):
        self.name = name
        self.runsc = runsc
        # The file that the gofer process has to run.
        self.gofer_program = gofer_program


class Layout:
    """The folders of one run, made anew."""

    def __init__(self, path, busybox, probe):
        self.path = path
        self.root = os.path.join(path, "rootfs")
        self.data = os.path.join(path, "data")
        self.frozen = os.path.join(path, "frozen")
        for part in ("bin", "data", "dev", "etc", "proc", "ro", "root", "sys", "tmp", "usr", "work"):
            os.makedirs(os.path.join(self.root, part))
        os.chmod(path, 0o755)
        os.makedirs(self.data)
        os.makedirs(self.frozen)
        for link in ("lib", "lib64"):  # where programs of /usr look for their loader
            os.symlink("usr/" + link, os.path.join(self.root, link))
        for program, name in ((busybox, "busybox"), (probe, "probe")):
            shutil.copy(program, os.path.join(self.root, "bin", name))
        subprocess.run(["chroot", self.root, "/bin/busybox", "--install", "-s", "/bin"], check=True)
        with open(os.path.join(self.frozen, "file"), "w", encoding="ascii") as file:
            file.write("frozen\n")
        os.mkdir(os.path.join(self.frozen, "dir"))
        os.chmod(self.data, 0o755)

    def mounts(self):
        return [("/data", self.data, "rw"), ("/ro", self.frozen, "ro"), ("/usr", "/usr", "ro")]


def script_of(cases):
    """One program of all cases; each starts in a folder of its own below /data or /work."""
    lines = ["read go", "umask 022"]
    for case in cases:
        folder = "/%s/%s" % (case.where, case.name)
        lines += ["echo", "echo '%s%s'" % (MARK, case.name),
                  "(mkdir -p %s; cd %s || exit 1" % (folder, folder), case.script, ") 2>&1",
                  'echo "status $?"']
    return "\n".join(lines) + "\n"


def split_output(text):
    """Output by case."""
    outputs, lines = {}, None
    for line in text.split("\n"):
        if line.startswith(MARK):
            lines = outputs.setdefault(line[len(MARK):], [])
        elif lines is not None and line:
            lines.append(line)
    return outputs


def bundle(layout, readonly_root):
    config = {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": ["/bin/sh", "/cases.sh"],
            "env": ["PATH=/bin:/usr/bin", "HOME=/root", "LC_ALL=C"],
            "cwd": "/",
            "capabilities": {kind: CAPABILITIES for kind in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 4096, "hard": 4096}],
        },
        "root": {"path": "rootfs", "readonly": readonly_root},
        "hostname": "e2e",
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}] + [
            {"destination": to, "type": "bind", "source": source, "options": ["rbind", mode]}
            for to, source, mode in layout.mounts()],
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "network", "ipc", "uts", "mount")]},
    }
    with open(os.path.join(layout.path, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file)


def plain_command(layout, readonly_root):
    quoted = shlex.quote(layout.root)
    steps = ["set -e", "mount --bind %s %s" % (quoted, quoted), "mount -t proc proc %s/proc" % quoted]
    for to, source, mode in layout.mounts():
        steps.append("mount --bind %s %s%s" % (shlex.quote(source), quoted, to))
        if mode == "ro":
            steps.append("mount -o remount,bind,ro %s%s" % (quoted, to))
    if readonly_root:
        steps.append("mount -o remount,bind,ro %s" % quoted)
    steps.append("exec chroot %s /bin/env -i PATH=/bin:/usr/bin HOME=/root LC_ALL=C /bin/sh /cases.sh" % quoted)
    return ["unshare", "--mount", "--ipc", "--uts", "sh", "-c", "\n".join(steps)]


def descendants(pid):
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open("/proc/%s/stat" % entry, encoding="utf-8", errors="replace") as file:
                    parents[int(entry)] = int(file.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                pass  # it has just ended
    found, new = set(), {pid}
    while new:
        found |= new
        new = {child for child, parent in parents.items() if parent in new} - found
    return found - {pid}


def gofers_of(pid):
    """Processes below `pid` that run as a gofer: pid -> (device, inode number) of the program, and its path."""
    found = {}
    for process in descendants(pid):
        try:
            with open("/proc/%d/cmdline" % process, "rb") as file:
                words = file.read().split(b"\0")
            if os.path.basename(words[0]) == b"runsc-gofer" and b"gofer" in words:
                # By identity: in the gofer's own mount namespace the file may have no path.
                program = os.stat("/proc/%d/exe" % process)
                found[process] = ((program.st_dev, program.st_ino), os.readlink("/proc/%d/exe" % process))
        except OSError:
            pass
    return found


def await_gofer(world, process):
    """Waits for the container's gofer to serve, and says whose it is."""
    deadline = time.monotonic() + START_TIMEOUT_S
    gofers = {}
    program = os.stat(world.gofer_program)
    while time.monotonic() < deadline and process.poll() is None:
        gofers = gofers_of(process.pid)
        if [identity for identity, _ in gofers.values()] == [(program.st_dev, program.st_ino)]:
            return
        time.sleep(0.02)
    raise Failure("%s: wanted one gofer process, %s; there are %s" % (world.name, world.gofer_program, gofers))


def run(world, layout, cases, flags=(), readonly_root=False, timeout_s=RUN_TIMEOUT_S):
    """Runs the cases in one sandbox; their output lines by name."""
    with open(os.path.join(layout.root, "cases.sh"), "w", encoding="utf-8") as file:
        file.write(script_of(cases))
    if world.runsc is None:
        command, container = plain_command(layout, readonly_root), None
    else:
        bundle(layout, readonly_root)
        container = "e2e-%d-%s" % (os.getpid(), os.path.basename(layout.path))
        command = [world.runsc, "--root=" + os.path.join(layout.path, "state"), *RUNSC_FLAGS, *flags, "run",
                   "--bundle", layout.path, container]
    with open(os.path.join(layout.path, "errors"), "w+", encoding="utf-8", errors="replace") as errors:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                              start_new_session=True) as process:
            try:
                if world.runsc is not None:
                    await_gofer(world, process)
                output, _ = process.communicate(b"go\n", timeout=timeout_s)
            except (Failure, OSError, subprocess.TimeoutExpired) as error:
                left = descendants(process.pid) | {process.pid}
                for pid in left:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
                output, _ = process.communicate()
                errors.seek(0)
                raise Failure("%s: %s\nstdout: ...%s\nstderr: %s" % (
                    world.name, error, output.decode("utf-8", "replace")[-1500:], errors.read()[-3000:])) from error
        errors.seek(0)
        said = errors.read()
    if process.returncode != 0:
        raise Failure("%s ended with %d: %s" % (world.name, process.returncode, said[-3000:]))
    return split_output(output.decode("utf-8", "replace"))
