"""Boots a Linux guest in QEMU that reaches a folder of the host through a virtio-fs daemon.

The guest runs scripts that the test sends it, one at a time, and answers each with its exit status
and output; the words go through a virtio-serial port, so that nothing the kernel prints can get
between them. Nothing here depends on Bazel.
"""

import json
import os
import select
import signal
import socket
import subprocess
import time

# For what takes a second or ten where nothing else runs.
START_TIMEOUT_S = 120
BOOT_TIMEOUT_S = 600
SCRIPT_TIMEOUT_S = 600
MEMORY_MIB = 512
TAG = "data"

# All that the guest does: reads "LENGTH\n" and a script of that many bytes, answers
# "STATUS LENGTH\n" and the output. It says "ready" at each boot.
AGENT = r"""
for port in /sys/class/virtio-ports/*; do
  [ "$(cat "$port/name")" = agent ] && exec 3<>"/dev/${port##*/}"
done
umask 022
echo ready >&3
while read -r length <&3; do
  dd bs="$length" count=1 iflag=fullblock <&3 >/tmp/script 2>/dev/null
  (cd / && exec sh /tmp/script) 3<&- </dev/null >/tmp/output 2>&1
  echo "$? $(stat -c %s /tmp/output)" >&3
  cat /tmp/output >&3
done
"""


class Failure(Exception):
    """Something that is not the outcome of a script: no daemon, no boot, a hang."""


def _end(process, number=signal.SIGKILL):
    if process.poll() is None:
        process.send_signal(number)
    return process.wait()


def _read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


class Daemon:
    """A process that serves virtio-fs on a socket, once."""

    def __init__(self, command, socket_path, log_path):
        self.socket_path = socket_path
        self.log_path = log_path
        with open(log_path, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not os.path.exists(socket_path):
            if self.process.poll() is not None or time.monotonic() > deadline:
                _end(self.process)
                raise Failure("%s does not serve:\n%s" % (command, self.log()))
            time.sleep(0.01)

    def log(self):
        return _read(self.log_path)[-3000:]

    def processes(self):
        """The daemon and its children: some fork to confine themselves."""
        found = [self.process.pid]
        for pid in found:
            try:
                children = _read("/proc/%d/task/%d/children" % (pid, pid))
                found += [int(word) for word in children.split()]
            except OSError:
                pass  # it has ended
        return found

    def descriptors(self):
        return sum(len(os.listdir("/proc/%d/fd" % pid)) for pid in self.processes())

    def wait(self, timeout_s):
        """The exit status, once the guest has gone; None when it has not ended by then."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        _end(self.process)


class Guest:
    """A running guest. `kernel` is a folder of tools/guest-image, `initramfs` runs AGENT."""

    def __init__(self, kernel, initramfs, socket_path, work, queues, processors):
        self.console_path = os.path.join(work, "console")
        self.agent, agent_end = socket.socketpair()
        self.monitor, monitor_end = socket.socketpair()
        self.buffered = b""
        self.monitor_lines = b""
        command = [
            "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-machine", "q35",
            "-nodefaults", "-no-user-config", "-display", "none", "-smp", str(processors),
            "-m", "%dM" % MEMORY_MIB,
            # The daemon maps the guest's memory.
            "-object", "memory-backend-memfd,id=memory,size=%dM,share=on" % MEMORY_MIB,
            "-numa", "node,memdev=memory",
            "-kernel", os.path.join(kernel, "vmlinuz"), "-initrd", initramfs,
            # No security module but the kernel's own: Debian's 6.1 has one that lets everybody set
            # what only an administrator may (security.* attributes). And nobody attacks this
            # guest's processor.
            "-append", "console=ttyS0 panic=-1 quiet lsm=capability mitigations=off",
            "-serial", "file:" + self.console_path,
            "-chardev", "socket,id=agent,fd=%d" % agent_end.fileno(),
            "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=agent",
            "-chardev", "socket,id=monitor,fd=%d" % monitor_end.fileno(),
            "-mon", "chardev=monitor,mode=control",
            "-chardev", "socket,id=files,path=" + socket_path,
            "-device", "vhost-user-fs-pci,chardev=files,tag=%s,num-request-queues=%d,queue-size=512"
            % (TAG, queues),
        ]
        self.log_path = os.path.join(work, "qemu")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                pass_fds=[agent_end.fileno(), monitor_end.fileno()])
        agent_end.close()
        monitor_end.close()
        try:
            self._monitor_line()  # its greeting
            self.monitor_do("qmp_capabilities")
            self.await_boot()
        except Failure:
            self.kill()
            raise

    def _fail(self, what):
        console = _read(self.console_path) if os.path.exists(self.console_path) else ""
        raise Failure("%s; QEMU: %s\nconsole: ...%s" % (
            what, _read(self.log_path)[-1500:], console[-3000:]))

    def _more(self, source, deadline, what):
        wait_s = deadline - time.monotonic()
        if wait_s <= 0 or not select.select([source], [], [], wait_s)[0]:
            self._fail("no answer in time: " + what)
        got = source.recv(65536)
        if not got:
            self._fail("the guest has ended: " + what)
        return got

    def _line(self, deadline, what):
        while b"\n" not in self.buffered:
            self.buffered += self._more(self.agent, deadline, what)
        line, self.buffered = self.buffered.split(b"\n", 1)
        return line.decode()

    def await_boot(self):
        line = self._line(time.monotonic() + BOOT_TIMEOUT_S, "boot")
        if line != "ready":
            self._fail("wanted the guest to be ready, it said %r" % line)

    def start(self, script):
        """Sends a script; `finish` has its outcome."""
        data = script.encode()
        self.agent.sendall(b"%d\n%s" % (len(data), data))

    def finish(self, timeout_s=SCRIPT_TIMEOUT_S):
        """The exit status and the output of the script that was started."""
        deadline = time.monotonic() + timeout_s
        answer = self._line(deadline, "the script's status")
        if answer == "ready":
            self._fail("the guest has booted anew")
        status, length = map(int, answer.split())
        while len(self.buffered) < length:
            self.buffered += self._more(self.agent, deadline, "the script's output")
        output, self.buffered = self.buffered[:length], self.buffered[length:]
        return status, output.decode("utf-8", "replace")

    def run(self, script, timeout_s=SCRIPT_TIMEOUT_S):
        """The output of a script that has to succeed."""
        self.start(script)
        status, output = self.finish(timeout_s)
        if status != 0:
            self._fail("status %d of: %s\n%s" % (status, script, output[-2000:]))
        return output

    def _monitor_line(self):
        deadline = time.monotonic() + START_TIMEOUT_S
        while b"\n" not in self.monitor_lines:
            self.monitor_lines += self._more(self.monitor, deadline, "QEMU's monitor")
        line, self.monitor_lines = self.monitor_lines.split(b"\n", 1)
        return json.loads(line)

    def monitor_do(self, command):
        """Has QEMU's monitor do something, and returns when it is done."""
        self.monitor.sendall(json.dumps({"execute": command}).encode())
        while True:
            answer = self._monitor_line()
            if "return" in answer:
                return
            if "error" in answer:
                self._fail("QEMU's monitor, %s: %s" % (command, answer["error"]))

    def halt(self):
        """Powers the guest off, from inside; QEMU ends."""
        self.start("poweroff -f")
        try:
            status = self.process.wait(START_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._fail("does not halt")
        if status != 0:
            self._fail("QEMU ended with status %d" % status)

    def kill(self):
        _end(self.process)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        self.agent.close()
        self.monitor.close()
