#!/usr/bin/env bash
# No library but those of //gofer/sys refers to the C library's system calls. The libraries come as arguments.
# close(2) is allowed everywhere: it is what UniqueFd is for, and is in a header.
set -euo pipefail

forbidden='syscall|ioctl|fcntl|dup[23]?|pipe2?|umask
open|open2|openat|openat2|creat|read|write|pread|pwrite|readv|writev|preadv2?|pwritev2?|lseek|sendfile|splice
f?stat|lstat|fstatat|statx|f?statfs|f?statvfs|faccessat|access|readlink|readlinkat
mkdir|mkdirat|rmdir|unlink|unlinkat|rename|renameat2?|link|linkat|symlink|symlinkat|mknod|mknodat|mkfifo
f?chmod|fchmodat|f?chown|lchown|fchownat|f?truncate|fallocate|posix_fallocate|utimensat|futimens|fsync|fdatasync|sync
opendir|fdopendir|readdir|getdents64|[lf]?(get|set|list|remove)xattr|flock
mmap|munmap|mremap|mprotect|madvise|memfd_create|shm_open
poll|ppoll|select|epoll_(create1?|ctl|wait)|eventfd
socket|socketpair|bind|listen|accept4?|connect|send|sendto|sendmsg|recv|recvfrom|recvmsg|shutdown|[gs]etsockopt|getpeername|getsockname
v?fork|execve?|execvp|clone|unshare|setns|u?mount2?|pivot_root|chroot|f?chdir|prctl|capset|set(res)?[ug]id|setgroups|kill|system|popen'
pattern=$(tr '\n' '|' <<<"${forbidden}")

failures=0
checked=0
for library in "$@"; do
  [[ ${library} == *.a ]] || continue
  checked=$((checked + 1))
  symbols=$(nm --undefined-only "${library}") || { echo "FAIL: nm cannot read ${library}"; exit 1; }
  # In their 64-bit and fortified forms too.
  if found=$(awk '$1 == "U" { print $2 }' <<<"${symbols}" | sort -u |
    sed -E 's/^__(.*)_chk$/\1/; s/^__(open(at)?(64)?)_2$/\1/; s/64$//' | grep -xE "${pattern%|}"); then
    echo "FAIL: ${library} calls" ${found}
    failures=$((failures + 1))
  fi
done
[[ ${checked} -gt 0 ]] || { echo "FAIL: no library was given"; exit 1; }
[[ ${failures} -eq 0 ]] && echo "${checked} libraries make no system call of their own"
exit $((failures > 0))
