"""What is done inside the containers: shell scripts whose output must be the same whoever serves the files.

A script starts in an empty folder of its own, below /data (a bind mount) or /work (the container's root). It
prints no times, inode numbers or addresses.
"""

import collections

# `expected`: our output, where neither runsc's gofer nor the kernel is the judge; else None.
Case = collections.namedtuple("Case", "name where script expected", defaults=(None,))

CREATE = r"""
echo hello >a; cat a; stat -c '%n %F %a %s %h %u:%g' a
(umask 077; echo x >private); (umask 0; : >open; mkdir everybody)
stat -c '%n %F %a %s' private open everybody
mkdir -p d/e/f; echo deep >d/e/f/g; find . | sort
set -C; echo again >a; set +C; echo more >>a; cat a
cat missing; mkdir a; mkdir d; : >d; : >a/b; : >missing/x
touch -d '2001-02-03 04:05:06' a; stat -c '%y' a
chmod 4751 a; stat -c '%a' a; chown 12:34 a; stat -c '%a %u:%g' a
chmod 2775 d; chown 5:6 d; mkdir d/child; : >d/file; stat -c '%n %a %u:%g' d d/child d/file
n=$(printf '%0255d' 0); : >$n; ls | grep -c 0000; : >${n}0
printf 'odd' >"$(printf 'new\nline \377 %%')"; ls | od -c | tail -n 3
probe open a +cx; probe open new +cx; probe open new +cx; probe open . rd; probe open a rd; probe open . +
"""

RENAME = r"""
echo 1 >a; mv a b; cat b; ls
echo 2 >c; mv c b; cat b; ls
mkdir d; mv b d/; cat d/b; mv d e; cat e/b; ls
mkdir -p x/y/z; probe rename x x/y/z/in; probe rename x/y/z missing/z; probe rename missing there
mkdir full; : >full/f; probe rename x full; probe rename full/f x; probe rename x full/f
mkdir empty; probe rename x empty; ls -R .
probe rename e/b e/b; ln e/b e/same; probe rename e/b e/same; ls e
cd empty/y/z; mv ../../../e ../e; cat ../e/b; pwd
"""

LINK = r"""
echo one >a; ln a b; stat -c '%n %h' a b; [ a -ef b ] && echo same
echo two >>b; cat a; rm a; cat b; stat -c '%h' b
mkdir d; ln d dd; ln b d; ln missing x; ln b d/c; stat -c '%h' b; stat -c '%h' d/c
ln -s b s; readlink s; cat s; ln -s missing dangling; cat dangling; stat -c '%F %s' dangling
ln -s loop loop; cat loop; ln -s /data/LINK-does-not-exist abs; cat abs; echo x >dangling; cat missing
ln -s d sd; ls sd; : >sd/through; ls d; rm sd; ls d; probe open s rl; ln -s a s
ln -s $(printf '%04000d' 0) long; readlink long | wc -c
"""

UNLINK = r"""
echo a >a; rm a; cat a; rm a; rmdir a
mkdir -p d/e; rmdir d; rm d; rmdir d/e; rmdir d; ls -la . | wc -l
probe unlinked gone; ls
probe replace taken; ls
mkdir here; cd here; rmdir ../here; : >file; ls; cd ..; ls -A
"""

TRUNCATE = r"""
yes 0123456789 | head -c 100000 >f; wc -c <f
truncate -s 10 f; cat f; echo; truncate -s 20 f; od -c f
truncate -s 1G sparse; stat -c '%s %b' sparse
echo end | dd of=sparse bs=1M seek=512 conv=notrunc 2>/dev/null; dd if=sparse bs=1M skip=512 count=1 2>/dev/null | head -c 4
: >f; stat -c %s f
dd if=/dev/zero bs=1M count=9 2>/dev/null | tr '\0' 'q' >big; sha256sum big; dd if=big bs=4096 skip=1000 count=3 2>/dev/null | sha256sum
cp big copy; cmp big copy && echo equal; tail -c 5 copy; echo
for i in 1 2 3 4 5 6 7 8; do (for j in 1 2 3 4 5; do echo "line $i $j" >>log; done) & done; wait; sort log | sha256sum; wc -l <log
fallocate -l 65536 reserved && stat -c %s reserved
"""

MMAP = r"""
probe mmap f; od -A d -c f | tail -n 4 | head -n 2
"""

LOCKS = r"""
probe locks f
flock f true && echo free; (flock 9; flock -n f true || echo held) 9<f
"""

LISTING = r"""
probe many m 10000; probe list m; ls m | sort | sha256sum; ls m | wc -l
(cd m; ls | grep '7$' | xargs rm); probe list m
probe list /data/listed-from-host; ls /data/listed-from-host | sort | sha256sum
"""

SOCKETS = r"""
probe sockets s; ls
probe open s r; probe connect missing x; : >plain; probe connect plain x
mkfifo p; stat -c '%F %a' p; (echo through >p &); cat p; wait
mkfifo q; probe open q wn; cat q >out & echo two >q; wait; cat out; rm p q; ls
"""

READ_ONLY = r"""
cat /ro/file; ls /ro; stat -c '%F %s' /ro/file /ro/dir
echo x >/ro/file; echo x >/ro/new; : >>/ro/file; rm /ro/file; mkdir /ro/d; rmdir /ro/dir; mkfifo /ro/p
mv /ro/file /ro/other; mv /ro/file . ; ln /ro/file /ro/hard; ln -s a /ro/soft; chmod 600 /ro/file; chown 1 /ro/file
truncate -s 0 /ro/file; touch /ro/file; touch /ro/new; probe rename /ro/file /ro/x; probe sockets /ro/s
probe open /ro/file +; probe open /ro/file w; probe open /ro/file r; probe open /ro/missing r
cat /ro/file; ls -A /ro; : >/usr/x
echo y >/work/mark && cat /work/mark
"""

READ_ONLY_ROOT = r"""
echo x >/new; mkdir /work/d; rm /bin/probe; chmod 777 /etc; mv /work /other; ln -s a /link; touch /etc
probe open /bin/probe +; ls /work; echo fine >mine; cat mine; ls
"""

OTHER_USERS = r"""
echo s >secret; chmod 600 secret; mkdir locked; chmod 700 locked; : >locked/in; : >shared; chmod 644 shared
probe as 1000 1000 secret r; probe as 1000 1000 locked/in r; probe as 1000 1000 shared r
probe as 1000 1000 shared +; probe as 1000 1000 made +c; chmod 777 .; probe as 1000 1000 made +c
stat -c '%n %u:%g %a' made; chown 1000 secret; probe as 1000 1000 secret +; probe as 1001 1000 secret r
chown 0:7 secret; chmod 060 secret; probe as 1000 7 secret +; probe as 1000 8 secret +
"""

COMPILE = r"""
cat >hello.c <<'END'
#include <stdio.h>
#include "answer.h"
int main(void) { printf("built inside: %d\n", ANSWER); return 0; }
END
echo '#define ANSWER 42' >answer.h
TMPDIR=. gcc -O1 -c -o hello.o hello.c && gcc -o hello hello.o && ./hello
sha256sum hello.o; stat -c '%a' hello; ls
cp hello running; ./running; rm running; ls
"""

TAR = r"""
mkdir tree; tar xf /data/in.tar -C tree && echo unpacked; cat tree/d0*/* | sha256sum; ls tree | wc -l
tar cf /data/TAR/out.tar tree && echo packed; rm -r tree/d0*; ls tree | sha256sum
"""

HOST_SOCKETS = r"""
probe connect /data/host/socket ping
probe serve made-inside; ls
stat -c '%F' made-inside; probe connect made-inside x; rm made-inside; ls
"""

HOST_FIFOS = r"""
echo to-host >/data/host/to-host; head -n 1 /data/host/from-host; stat -c '%F %a' /data/host/to-host
"""

# Where runsc is asked to keep containers from the host's sockets and FIFOs. The kernel knows no such policy, and
# gofers of 2022 hid such files altogether (even `ls` failed); since 2023 gVisor's show them and refuse to open
# them, and so does ours.
NO_HOST = r"""
probe connect /data/host/socket ping; probe open /data/host/to-host rn; ls /data/host; echo x >/data/host/plain
cat /data/host/plain
"""

NO_HOST_OUTPUT = """
connect: ECONNREFUSED
open rn: EPERM
from-host
socket
to-host
x
status 0
"""


def _in(where, **scripts):
    return [Case(name, where, script) for name, script in scripts.items()]


EVERYTHING = _in("data", CREATE=CREATE, RENAME=RENAME, LINK=LINK, UNLINK=UNLINK, TRUNCATE=TRUNCATE, MMAP=MMAP,
                 LOCKS=LOCKS, LISTING=LISTING, SOCKETS=SOCKETS, READ_ONLY=READ_ONLY, OTHER_USERS=OTHER_USERS,
                 COMPILE=COMPILE, TAR=TAR)
CACHED_OTHERWISE = (
    _in("data", CREATE=CREATE, RENAME=RENAME, UNLINK=UNLINK, MMAP=MMAP) +
    _in("work", LINK=LINK, TRUNCATE=TRUNCATE, ROOT_CREATE=CREATE, ROOT_RENAME=RENAME, ROOT_UNLINK=UNLINK,
        ROOT_MMAP=MMAP, ROOT_LOCKS=LOCKS, ROOT_SOCKETS=SOCKETS))
WITH_HOST = _in("data", HOST_SOCKETS=HOST_SOCKETS, HOST_FIFOS=HOST_FIFOS)
WITHOUT_HOST = [Case("NO_HOST", "data", NO_HOST, NO_HOST_OUTPUT.split("\n")[1:-1])] + _in(
    "data", READ_ONLY_ROOT=READ_ONLY_ROOT)
