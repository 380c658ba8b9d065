"""What a guest lives through besides its files: remounts, resets, stops, sudden death.

A check gets a daemon, a guest that has just booted, and the served folder. It returns what is
wrong, or None; a guest.Failure is raised where a guest hangs.
"""

import fcntl
import os
import time

import guest

MOUNT = "mount -t virtiofs %s /data" % guest.TAG
# A disk may have much to write first.
EXIT_WITHIN_S = 60
SETTLE_WITHIN_S = 60


def _wanted(what, got, wanted):
    return None if got == wanted else "%s: %r, wanted %r" % (what, got, wanted)


def _first(problems):
    """The first that is one."""
    return next((problem for problem in problems if problem is not None), None)


def _descriptors(daemon, at_most):
    """The daemon's descriptors, when there are no more than that; or at last. What a guest forgets it
    tells some time later."""
    deadline = time.monotonic() + SETTLE_WITHIN_S
    while daemon.descriptors() > at_most and time.monotonic() < deadline:
        time.sleep(0.1)
    return daemon.descriptors()


def remount(daemon, machine, data):
    """One connection carries a mount after another: each begins with INIT, ends with DESTROY."""
    del daemon
    for number in range(5):
        machine.run("%s && echo %d >>/data/mounts && ls /data >/dev/null && umount /data" % (
            MOUNT, number))
    with open(os.path.join(data, "mounts"), encoding="ascii") as file:
        return _wanted("written by five mounts", file.read(), "0\n1\n2\n3\n4\n")


def rebind(daemon, machine, data):
    """The driver lets the device go, under a mount, and takes it again: INIT without DESTROY."""
    del daemon
    machine.run(MOUNT + " && echo before >/data/before")
    for _ in range(3):
        machine.run("""cd /sys/bus/virtio/drivers/virtiofs || exit
            for device in virtio*; do echo "$device" >unbind; done
            echo "$device" >/tmp/device
            ! ls /data/before 2>/dev/null || exit
            umount /data || exit
            read -r device </tmp/device && echo "$device" >bind""")
        machine.run(MOUNT + " && cat /data/before && echo again >>/data/after")
    with open(os.path.join(data, "after"), encoding="ascii") as file:
        return _wanted("written after unbinding", file.read(), "again\n" * 3)


def guest_reset(daemon, machine, data):
    """The machine is reset with files open and locked; its next boot finds nothing of that."""
    machine.run(MOUNT + """
        echo before >/data/file
        (exec 9>>/data/file; : >/tmp/opened; sleep 1000) &
        until [ -e /tmp/opened ]; do sleep 0.1; done
        (while :; do echo written >/data/busy; done) >/dev/null 2>&1 &""")
    before = daemon.descriptors()
    machine.monitor_do("system_reset")
    machine.await_boot()
    machine.run(MOUNT + """ && [ $(cat /data/file) = before ] && echo after >>/data/file &&
        umount /data""")
    left = _descriptors(daemon, before - 1)
    with open(os.path.join(data, "file"), encoding="ascii") as file:
        text = file.read()
    return _first([
        _wanted("written around the reset", text, "before\nafter\n"),
        None if left < before else "%d descriptors with a file open, %d after the reset" % (
            before, left)])


def forgotten(daemon, machine, data):
    """What the guest forgets, the daemon forgets: descriptors come back to what they were."""
    for number in range(3000):
        with open(os.path.join(data, "%04d" % number), "wb"):
            pass
    machine.run(MOUNT + " && cat /data/0000 && echo 3 >/proc/sys/vm/drop_caches")
    before = daemon.descriptors()
    counts = []
    # What stays may be a cache of the daemon's, but it must not grow.
    wanted = before + 1100
    for _ in range(2):
        machine.run("cat /data/* && ls -l /data | wc -l")
        machine.run("echo 3 >/proc/sys/vm/drop_caches; sleep 1")
        counts.append(_descriptors(daemon, wanted))
        wanted = min(wanted, counts[0] + 10)
    if counts[1] > wanted:
        return "%d descriptors before, %d and %d after two walks of 3000 forgotten files" % (
            before, *counts)
    return None


def stopped_under_load(daemon, machine, data):
    """The VMM stops and continues the guest in mid-request: rings stop, drain and start again."""
    machine.run(MOUNT)
    machine.start("""cd /data
        for writer in 1 2 3 4; do
          (for round in $(seq 25); do
            dd if=/dev/zero bs=64k count=4 2>/dev/null | tr '\\0' "$writer" >"w$writer.$round"
            mv "w$writer.$round" "done$writer.$round"
          done) &
        done
        wait
        cat done* | wc -c
        cat done* | tr -d 1234 | wc -c""")
    for _ in range(10):
        time.sleep(0.2)
        machine.monitor_do("stop")
        time.sleep(0.1)
        machine.monitor_do("cont")
    status, output = machine.finish()
    del daemon
    return _first([
        _wanted("exit status", status, 0),
        _wanted("bytes written, bytes that nobody wrote", output.split(),
                [str(100 * 4 * 65536), "0"]),
        _wanted("files on the host", len(os.listdir(data)), 100)])


def vmm_killed(daemon, machine, data):
    """The VMM dies in mid-I/O: the daemon ends by itself."""
    del data
    machine.run(MOUNT + """
        cd /data
        (while :; do dd if=/dev/zero of=big bs=1M count=20 conv=fsync; done) >/dev/null 2>&1 &
        (while :; do ls -lR / ; done) >/dev/null 2>&1 &""")
    time.sleep(1)
    machine.kill()
    status = daemon.wait(EXIT_WITHIN_S)
    if status != 0:
        return "%d s after QEMU was killed the exit status is %s, wanted 0; the daemon said: %s" % (
            EXIT_WITHIN_S, status, daemon.log())
    return None


def _locked(path):
    """Which of the two kinds of lock somebody else has on the file."""
    found = []
    with open(path, "rb+") as file:
        for name, take in (("record", fcntl.lockf), ("flock", fcntl.flock)):
            try:
                take(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found.append(name)
    return found


def host_locks(daemon, machine, data):
    """Locks that are the host's: both sides see and await them, and they end with the VMM."""
    for name in ("guests", "hosts", "waited-for"):
        with open(os.path.join(data, name), "wb"):
            pass
    hold = "probe hold /data/%s >/tmp/%s 2>&1 &\n"
    held = """for second in $(seq 300); do
          [ $(wc -l </tmp/%s) = 2 ] && exit
          sleep 1
        done
        cat /tmp/%s; exit 1"""
    machine.run(MOUNT + " && " + hold % ("guests", "guests") + held % ("guests", "guests"))
    seen = _locked(os.path.join(data, "guests"))
    with open(os.path.join(data, "hosts"), "rb+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        fcntl.flock(file, fcntl.LOCK_EX)
        machine.run(hold % ("hosts", "hosts") + "sleep 1; ! grep . /tmp/hosts")
    machine.run(held % ("hosts", "hosts"))
    with open(os.path.join(data, "waited-for"), "rb+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        machine.run(hold % ("waited-for", "waited-for") + "sleep 1; ! grep . /tmp/waited-for")
        machine.kill()
        status = daemon.wait(EXIT_WITHIN_S)
    return _first([
        _wanted("locks of the guest's on the host", seen, ["record", "flock"]),
        _wanted("exit status after QEMU was killed with a lock waited for", status, 0),
        _wanted("locks left by the dead guest", _locked(os.path.join(data, "guests")), [])])


# Name, body, flags of `gofer serve`; without any it is the virtiofsd personality that serves.
CHECKS = [
    ("REMOUNT", remount, ()),
    ("REBIND", rebind, ()),
    ("GUEST_RESET", guest_reset, ()),
    ("FORGOTTEN", forgotten, ()),
    ("STOPPED_UNDER_LOAD", stopped_under_load, ()),
    ("VMM_KILLED", vmm_killed, ()),
    ("HOST_LOCKS", host_locks, ("--posix_locks", "--flock_locks")),
]
