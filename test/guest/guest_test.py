#!/usr/bin/env python3
"""End to end: real Linux guests in QEMU whose /data our daemon serves over vhost-user.

Every setting (cache policy, request queues, guest kernel) is run with our daemon; the same cases run
in a plain folder of this host too. Our output has to be the plain folder's, but for the lines of
DIFFERENCES, each with the reason why a FUSE client cannot do otherwise, and each to be seen with
QEMU's virtiofsd as well: that is run with the cases they are about, where it can serve the setting.
Two guests run at a time.

Needs root, QEMU and virtiofsd (Debian's qemu-system-x86 and qemu-system-common), busybox (static),
gcc and unshare; the guests' kernels come from tools/guest-image. No KVM. Without one of them the
test is skipped, and says so; with CI=true or GOFER_REQUIRE_REAL=1 that is a failure.

Usage: guest_test.py --gofer=PROGRAM --posix=PROGRAM [--setting=NAME] [--case=NAME] [--world=NAME]
                     [--keep]
"""

import argparse
import collections
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path += [os.path.join(HERE, "..", "support"), os.path.join(HERE, "..", "e2e")]
import cases  # noqa: E402 (found only now)
import oracle  # noqa: E402
import sandbox  # noqa: E402
import guest  # noqa: E402
import lifecycle  # noqa: E402

GUEST_IMAGE = os.path.join(HERE, "..", "..", "tools", "guest-image")
QEMU_VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
PROGRAMS = ("qemu-system-x86_64", "busybox", "gcc", "unshare", QEMU_VIRTIOFSD)
MOUNT = "mount -t virtiofs %s /data" % guest.TAG
GUESTS_AT_ONCE = 2
DROP_CACHES = "echo 3 >/proc/sys/vm/drop_caches"

# The host looks at the tree that was unpacked, and into the archive.
TAR = r"""
mkdir tree; tar xf /data/in.tar -C tree && echo unpacked; ls tree | wc -l; cat tree/d0*/* | sha256sum
tar cf out.tar tree/d1* && echo packed; rm -r tree/d2*; ls tree | wc -l
"""

# By the shell's own patterns: busybox's ls would look up each of the 10 000 names as well.
LISTING = r"""
cd /data/listed-from-host; probe list .; printf '%s\n' * | sha256sum
printf '%s\n' *7 | xargs rm; probe list .; printf '%s\n' * | sha256sum
ls | sort | sha256sum
"""

# What the sandbox test runs in containers is run here too. Left out is what needs its mounts, its
# compiler, or a program that busybox does not have (flock); made shorter, as the processor is
# emulated, is what makes and reads thousands of files.
_OTHERWISE = ("READ_ONLY", "COMPILE", "LOCKS", "TAR", "LISTING")
_COMMON = [case for case in cases.EVERYTHING if case.name not in _OTHERWISE] + [
    cases.Case("TAR", "data", TAR),
    cases.Case("LISTING", "data", LISTING),
    cases.Case("LOCKS", "data", "probe locks f"),
    cases.Case("POSIX", "data", "posix_cases . --skip=path,permission,mode,tree"),
]
# All of the tables of paths, permissions and modes would take an emulated guest minutes, so each
# setting has a part of them; the host's own FUSE client is asked all of them, see test/posix.
_PARTS = [
    cases.Case("POSIX_TABLES_%d" % part, "data",
               "posix_cases . --only=path,permission,mode --shard=%d/12" % part)
    for part in range(6)
]
CASES = _COMMON + _PARTS


class Setting:
    def __init__(self, name, part, cache, writeback, queues, kernel, processors):
        self.name = name
        self.cache = cache
        self.writeback = writeback
        self.queues = queues
        self.kernel = kernel
        self.processors = processors
        self.cases = _COMMON + [_PARTS[part]]
        if cache == "never" and kernel == "6.1":  # see DIFFERENCES; the probe needs a mapping
            self.cases = [case for case in self.cases if case.name != "MMAP"]


# The driver of 6.1 uses the first request queue, whatever there is; that of 6.12 one for each
# processor.
# An emulated guest with several processors and one queue would spend its time on waking them.
SETTINGS = [
    Setting("never", 0, "never", False, 1, "6.1", 1),
    Setting("auto", 1, "auto", False, 1, "6.1", 1),
    Setting("always_writeback", 2, "always", True, 1, "6.1", 1),
    Setting("never_4_queues", 3, "never", False, 4, "6.12", 4),
    Setting("auto_4_queues", 4, "auto", False, 4, "6.12", 4),
    Setting("always_writeback_4_queues", 5, "always", True, 4, "6.12", 4),
]

# In the settings for which `where` holds, a line of the case that matches `plain` in a plain folder
# may be one that matches `guest` in a guest.
Difference = collections.namedtuple("Difference", "case plain guest where reason")


def _linux_6_1(setting):
    return setting.kernel == "6.1"


DIFFERENCES = [
    Difference("POSIX.*", r"(path/open_tmpfile|data/tmpfile|permission/.*/tmpfile).*",
               r".*: open=EOPNOTSUPP .*", _linux_6_1, "the driver knows O_TMPFILE since Linux 6.2"),
    Difference("POSIX", r"sharing/mmap/(?!private).*", r"sharing/mmap/.*(ENODEV|=100).*",
               lambda setting: _linux_6_1(setting) and setting.cache == "never",
               "files that are not cached can be mapped shared since Linux 6.6"),
    Difference("POSIX", r"acl/access/malformed: empty=ok .*", r".*: empty=EINVAL .*", _linux_6_1,
               "the client refuses an empty ACL before Linux 6.2"),
    Difference("POSIX_TABLES_.*", r"mode/setgid_(shared|sticky)/by_alice/[2367].*",
               r".* parent/file f [04].*", _linux_6_1,
               "in which groups a caller is besides his own is told to servers since Linux 6.3"),
    Difference("POSIX_TABLES_.*", r"mode/change/[a-z_]*/by_bob/2666: .* f f 0666 .*",
               r".* f f 2666 .*", lambda setting: True,
               "fuse_setattr drops setgid only from what the group may execute"),
    Difference("POSIX_TABLES_.*", r"mode/change/(write|append)/by_alice/2666: .*",
               r".* f f 0666 .*", lambda setting: setting.cache == "never",
               "with direct I/O the server drops privileges, and is not in the file's group"),
    Difference("POSIX", r"time/moved_by/truncate_to_same: .*", r".* file=still .*",
               lambda setting: setting.writeback,
               "the client has the times, and a size that stays is no change to it"),
    Difference("POSIX", r"time/set/file/far_(future|past): .*", r".* mtime=-?99999999999\.0 .*",
               lambda setting: setting.writeback,
               "the client believes its own time, not what the file system can store"),
    Difference("POSIX_TABLES_.*", r"mode/change/chown_minus_one/by_bob/2666: chown=EPERM .*",
               r".*: chown=ok .*", lambda setting: True,
               "the same: it clears nothing, and what asks for nothing is not refused"),
]


def our_command(gofer, socket_path, folder, setting):
    command = [gofer, "virtiofsd", "--socket-path=" + socket_path, "--shared-dir=" + folder,
               "--cache=" + setting.cache, "--posix-acl", "--allow-direct-io", "--preserve-noatime",
               "--modcaps=+sys_admin"]  # for trusted.* and security.*
    if setting.cache == "never":
        command.append("--allow-mmap")
    return command + (["--writeback"] if setting.writeback else [])


def qemu_command(socket_path, folder, setting):
    cache = {"never": "none"}.get(setting.cache, setting.cache)
    options = ["source=" + folder, "cache=" + cache, "posix_acl", "xattr", "allow_direct_io",
               "modcaps=+sys_admin", "sandbox=chroot",
               "writeback" if setting.writeback else "no_writeback"]
    return [QEMU_VIRTIOFSD, "--socket-path=" + socket_path, "-o", ",".join(options)]


def explained(case_name, setting, plain, line):
    """The difference that allows this line in place of the plain folder's, or None."""
    return next((row for row in DIFFERENCES
                 if re.fullmatch(row.case, case_name) and row.where(setting) and
                 re.fullmatch(row.plain, plain) and re.fullmatch(row.guest, line)), None)


def judge(case_name, setting, plain, got):
    """What is wrong with a guest's lines, or None; and the differences that had to be allowed."""
    wanted, rows = [], set()
    for index, line in enumerate(plain):
        row = None
        if index < len(got) and got[index] != line:
            row = explained(case_name, setting, line, got[index])
        wanted.append(line if row is None else got[index])
        rows |= {row} - {None}
    if len(plain) < 2:
        return "no output in the plain folder: %s" % plain, rows
    if got == wanted:
        return None, rows
    return oracle.difference("the kernel", wanted, "the guest", got), rows


class Test:
    def __init__(self, options, results):
        self.options = options
        self.results = results
        self.work = tempfile.mkdtemp(prefix="gofer-guest.", dir="/var/tmp")
        os.chmod(self.work, 0o755)
        self.probe = os.path.join(self.work, "probe")
        self.programs = [self.probe]
        self.settings = [setting for setting in SETTINGS if options.setting in (None, setting.name)]
        self.cases = [case for case in CASES if self.chosen(case)]
        self.expected_tree = []
        self.images = {}
        self.plain = {}

    def chosen(self, case):
        return self.options.case in (None, case.name) and any(
            case in setting.cases for setting in self.settings)

    def clean(self):
        if self.options.keep:
            print("kept: " + self.work)
        else:
            shutil.rmtree(self.work)

    def prepare(self):
        source = os.path.join(HERE, "..", "e2e", "probe.c")
        subprocess.run(["gcc", "-O1", "-static", "-o", self.probe, source], check=True)
        if self.options.posix:
            posix = os.path.join(self.work, "posix_cases")
            shutil.copy(self.options.posix, posix)
            self.programs.append(posix)
        self.expected_tree = oracle.make_input(self.work)
        for series in sorted({setting.kernel for setting in self.settings}):
            self.images[series] = self.make_image(series)

    def run_plain(self):
        """The cases in a plain folder, with what a guest has: busybox, programs, /proc, /dev."""
        run, data = self.run_folder("plain")
        self.fill(data, self.cases)
        root = os.path.join(run, "root")
        for part in ("bin", "data", "dev", "proc", "root", "sys", "tmp"):
            os.makedirs(os.path.join(root, part))
        for program in [shutil.which("busybox"), *self.programs]:
            shutil.copy(program, os.path.join(root, "bin"))
        subprocess.run(["chroot", root, "/bin/busybox", "--install", "-s", "/bin"], check=True)
        # In a mount namespace of its own, which ends with the script.
        steps = """set -e
            mount --bind "$1" "$0/data"
            mount --rbind /dev "$0/dev"
            mount -t proc proc "$0/proc"
            exec chroot "$0" /bin/env -i PATH=/bin HOME=/root /bin/sh /tmp/script"""
        for case in self.cases:
            with open(os.path.join(root, "tmp", "script"), "w", encoding="utf-8") as file:
                file.write(sandbox.script_of([case]))
            done = subprocess.run(
                ["unshare", "--mount", "--ipc", "sh", "-c", steps, root, data], check=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.plain.update(sandbox.split_output(done.stdout.decode("utf-8", "replace")))
        self.results.add("plain", "runs")
        self.check_tree("plain", "plain", data)

    def make_image(self, series):
        """The kernel's folder and an initramfs for it."""
        made = subprocess.run([GUEST_IMAGE, "kernel", series], check=True, stdout=subprocess.PIPE)
        agent = os.path.join(self.work, "agent")
        with open(agent, "w", encoding="ascii") as file:
            file.write(guest.AGENT)
        initramfs = os.path.join(self.work, series + ".cpio")
        subprocess.run([GUEST_IMAGE, "initramfs", series, initramfs, agent, *self.programs],
                       check=True)
        return made.stdout.decode().strip(), initramfs

    def fill(self, data, chosen):
        names = {case.name for case in chosen}
        if "TAR" in names:
            shutil.copy(os.path.join(self.work, "in.tar"), data)
        if "LISTING" in names:
            oracle.make_listed(os.path.join(data, "listed-from-host"))

    def daemon(self, world, folder, setting, run, serve_flags=()):
        socket_path = os.path.join(run, "socket")
        if serve_flags:
            command = [self.options.gofer, "serve", "--vhost_user_socket=" + socket_path,
                       "--root=" + folder, "--cache=" + setting.cache, *serve_flags]
        elif world == "ours":
            command = our_command(self.options.gofer, socket_path, folder, setting)
        else:
            command = qemu_command(socket_path, folder, setting)
        return guest.Daemon(command, socket_path, os.path.join(run, "daemon"))

    def boot(self, daemon, setting, run):
        kernel, initramfs = self.images[setting.kernel]
        return guest.Guest(kernel, initramfs, daemon.socket_path, run, setting.queues,
                           setting.processors)

    def run_folder(self, name):
        """A new folder of a run, and the one in it that is served."""
        run = os.path.join(self.work, name)
        data = os.path.join(run, "data")
        os.makedirs(data)
        os.chmod(data, 0o755)
        return run, data

    def run_cases(self, world, setting):
        """The output lines by case; None if it did not come to that."""
        run, data = self.run_folder("%s-%s" % (setting.name, world))
        chosen = self.cases_of(world, setting)
        self.fill(data, chosen)
        outputs, times = {}, []
        began = time.monotonic()
        try:
            with self.daemon(world, data, setting, run) as daemon:
                with self.boot(daemon, setting, run) as machine:
                    booted = time.monotonic()
                    machine.run(MOUNT)
                    for case in chosen:
                        if world == "qemu":  # a descriptor for each file that the guest remembers
                            machine.run(DROP_CACHES)
                        case_began = time.monotonic()
                        output = machine.run(sandbox.script_of([case]))
                        outputs.update(sandbox.split_output(output))
                        times.append("%s %.1f" % (case.name, time.monotonic() - case_began))
                    machine.run("umount /data")
                    machine.halt()
                status = daemon.wait(lifecycle.EXIT_WITHIN_S)
        except guest.Failure as failure:
            self.results.add(setting.name, "runs_with_" + world, str(failure))
            return None
        print("        %s with %s: boot %.1f s, all %.1f s; %s" % (
            setting.name, world, booted - began, time.monotonic() - began, ", ".join(times)),
            flush=True)
        problem = None
        if world == "ours" and status != 0:
            problem = "%d s after the guest's end the daemon's exit status is %s, wanted 0" % (
                lifecycle.EXIT_WITHIN_S, status)
        self.results.add(setting.name, "runs_with_" + world, problem)
        if world == "ours":
            self.check_tree(setting.name, world, data)
        return outputs

    def check_tree(self, setting_name, world, data):
        """That the tree was unpacked as it was made, but for d2*, and d1* packed."""
        if not os.path.exists(os.path.join(data, "in.tar")):
            return
        unpacked = oracle.describe(os.path.join(data, "TAR", "tree"))
        wanted = [line for line in self.expected_tree if not line.startswith("d2")]
        problem = None
        if unpacked != wanted:
            problem = oracle.difference("made", wanted, "unpacked", unpacked)
        self.results.add(setting_name, "unpacked_with_" + world, problem)
        wanted = [line for line in self.expected_tree if line.startswith("d1")]
        problem = oracle.lost_in_tar(os.path.join(data, "TAR", "out.tar"),
                                     os.path.join(data, "unpacked"), wanted)
        self.results.add(setting_name, "packed_with_" + world, problem)

    def cases_of(self, world, setting):
        """What is run there: QEMU's virtiofsd is asked only where a difference may be allowed."""
        chosen = filter(self.chosen, setting.cases)
        if world == "ours":
            return list(chosen)
        return [case for case in chosen
                if any(re.fullmatch(row.case, case.name) for row in DIFFERENCES)]

    def worlds_of(self, setting):
        worlds = ["ours"] + (["qemu"] if setting.queues == 1 else [])  # it has one request queue
        return [world for world in worlds
                if self.options.world in (None, world) and self.cases_of(world, setting)]

    def judge_setting(self, setting, outputs):
        for case in filter(self.chosen, setting.cases):
            allowed = {}
            for world in filter(outputs.get, outputs):
                if case not in self.cases_of(world, setting):
                    continue
                problem, allowed[world] = judge(case.name, setting, self.plain[case.name],
                                                outputs[world].get(case.name, []))
                if world == "ours":
                    self.results.add(setting.name, case.name, problem)
                elif problem:
                    print("        QEMU's virtiofsd, %s.%s:\n%s" % (
                        setting.name, case.name, problem))
            # What a guest cannot do otherwise, it cannot do with another daemon either.
            for row in allowed.get("ours", set()) - allowed.get("qemu", set(DIFFERENCES)):
                self.results.add(setting.name, case.name + "_with_qemu",
                                 "not so with QEMU's virtiofsd: " + row.reason)

    def run_check(self, setting, name, body, serve_flags):
        """One of the checks of `lifecycle`, with a daemon and a guest of its own."""
        run, data = self.run_folder("%s-%s" % (setting.name, name))
        world = self.options.world or "ours"
        try:
            with self.daemon(world, data, setting, run, serve_flags) as daemon:
                with self.boot(daemon, setting, run) as machine:
                    problem = body(daemon, machine, data)
        except guest.Failure as failure:
            problem = str(failure)
        self.results.add(setting.name, name, problem)

    def checks(self):
        for setting in self.settings:
            for name, body, serve_flags in lifecycle.CHECKS:
                if setting.cache == "auto" and self.options.case in (None, name) and not (
                        serve_flags and self.options.world == "qemu"):
                    yield setting, name, body, serve_flags

    def run(self):
        """Everything, as many guests at a time as there are workers; the longest runs come first."""
        with concurrent.futures.ThreadPoolExecutor(GUESTS_AT_ONCE) as workers:
            plain = workers.submit(self.run_plain) if self.cases else None
            # Without a cache every component of a path is looked up each time.
            longest_first = sorted(self.settings, key=lambda setting: setting.cache != "never")
            runs = {(setting.name, world): workers.submit(self.run_cases, world, setting)
                    for setting in longest_first for world in self.worlds_of(setting)}
            checks = [workers.submit(self.run_check, *check) for check in self.checks()]
            if plain:
                plain.result()
            for setting in self.settings:
                self.judge_setting(setting, {world: runs[setting.name, world].result()
                                             for world in self.worlds_of(setting)})
            for check in checks:
                check.result()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gofer", default="gofer/gofer")
    parser.add_argument("--posix")
    parser.add_argument("--setting")
    parser.add_argument("--case")
    parser.add_argument("--world", choices=("ours", "qemu"), help="this daemon only")
    parser.add_argument("--keep", action="store_true", help="leave the folders of the runs behind")
    options = parser.parse_args()
    results = oracle.Results("guest")
    lacking = oracle.missing(PROGRAMS, options.gofer if options.world in (None, "ours") else None)
    if lacking:
        results.add_missing("guest", "real_guests", lacking)
    else:
        test = Test(options, results)
        try:
            test.prepare()
            test.run()
        finally:
            test.clean()
    results.finish()


if __name__ == "__main__":
    main()
