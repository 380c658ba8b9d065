#!/usr/bin/env bash
# No library outside gofer/sys makes a system call: looked up in what the compiled code asks the C
# library for. The one exception is close(), which UniqueFd inlines wherever a descriptor is owned.
#
# Usage: system_calls_test.sh LIBRARY...
set -u
readonly calls='syscall|ioctl|fcntl|fcntl64|f?l?stat|f?l?stat64|fstatat|fstatat64|statx|f?statv?fs|f?statv?fs64
  |openat?|openat?64|creat|creat64|p?readv?2?|p?readv?64v?2?|p?writev?2?|p?writev?64v?2?|lseek|lseek64|dup[23]?|pipe2?
  |(un)?link(at)?|symlink(at)?|readlink(at)?|rename(at2?)?|mkdir(at)?|rmdir|mknod(at)?|f?ch(mod|own)(at)?|lchown
  |utimensat|futimens|f?truncate|f?truncate64|(posix_)?fallocate(64)?|f(data)?sync|f?l?(get|set|list|remove)xattr
  |opendir|fdopendir|readdir|readdir64|getdents64|socket|socketpair|bind|listen|accept4?|connect|send(to|msg)?
  |recv(from|msg)?|shutdown|[gs]etsockopt|mmap|mmap64|munmap|mprotect|memfd_create|eventfd|p?poll|epoll_.*
  |fork|vfork|exec.*|mount|umount2?|chroot|chdir|fchdir|umask|prctl'
readonly pattern="^(${calls//[[:space:]]/})(_chk)?$"
failed=0
checked=0
for library in "$@"; do
  [[ ${library} == *.a ]] || continue
  checked=$((checked + 1))
  found=$(nm -u "${library}" | awk '$1 == "U" { sub(/@.*/, "", $2); sub(/^__/, "", $2); print $2 }' |
    sort -u | grep -E "${pattern}")
  [[ -z ${found} ]] || { echo "${library} calls:" ${found}; failed=1; }
done
if [[ ${checked} -lt 5 ]]; then
  echo "only ${checked} libraries to look at"
  failed=1
fi
exit "${failed}"
