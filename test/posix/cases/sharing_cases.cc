// Two processes on one file: appending, shared mappings, locks of every kind.

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "test/posix/cases/harness.h"

namespace posix_cases {
namespace {

constexpr size_t kPage = 4096;

// A child that has its own descriptors, and waits for a byte where the case says so.
struct Turn {
  int to_child[2];
  int to_parent[2];
  Turn() {
    if (pipe(to_child) != 0 || pipe(to_parent) != 0) Die("make a pipe");
  }
  ~Turn() {
    for (const int fd : {to_child[0], to_child[1], to_parent[0], to_parent[1]}) close(fd);
  }
  static void Give(int fd) {
    if (write(fd, "!", 1) != 1) Die("pass the turn");
  }
  static void Take(int fd) {
    char byte;
    if (read(fd, &byte, 1) != 1) Die("take the turn");
  }
};

// Until a child of this program waits in a system call, as who wants a lock does.
void AwaitSleepOf(pid_t child) {
  const std::string path = "/proc/" + std::to_string(child) + "/stat";
  for (int i = 0; i < 60'000; ++i) {
    // "pid (name) state ..."
    const std::string stat = ReadFile(path);
    const size_t name_end = stat.rfind(") ");
    if (name_end != std::string::npos && stat[name_end + 2] == 'S') return;
    const timespec pause = {0, 1'000'000};
    nanosleep(&pause, nullptr);
  }
  Die("wait for a child to wait");
}

void TwoWriters(Result& result, int flags, int writers, size_t record) {
  constexpr int kRecords = 200;
  MakeFile("log", "");
  std::vector<pid_t> children;
  for (int w = 0; w < writers; ++w) {
    const pid_t pid = fork();
    if (pid < 0) Die("fork");
    if (pid == 0) {
      const Fd fd(open("log", O_WRONLY | O_APPEND | flags));
      const std::string text(record, static_cast<char>('a' + w));
      for (int i = 0; i < kRecords; ++i) {
        if (write(fd, text.data(), record) != static_cast<ssize_t>(record)) _exit(1);
      }
      _exit(0);
    }
    children.push_back(pid);
  }
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    result.Note("child", status);
  }
  std::string text = ReadFile("log");
  result.Note("size", static_cast<long long>(text.size()));
  size_t torn = 0;  // records whose bytes are not all of one writer
  for (size_t at = 0; at + record <= text.size(); at += record) {
    if (text.find_first_not_of(text[at], at) < at + record) ++torn;
  }
  result.Note("torn", static_cast<long long>(torn));
  std::sort(text.begin(), text.end());
  result.Note("sorted", Checksum(text));
  truncate("log", 0) == 0 ? void() : Die("truncate");
}

void AddAppending(Cases& cases) {
  cases.push_back({"sharing/append/two_writers", [](Result& r) { TwoWriters(r, 0, 2, 16); }});
  cases.push_back({"sharing/append/four_writers", [](Result& r) { TwoWriters(r, 0, 4, 100); }});
  cases.push_back({"sharing/append/sync", [](Result& r) { TwoWriters(r, O_DSYNC, 2, 50); }});
  cases.push_back({"sharing/append/ignores_offset", [](Result& result) {
                     MakeFile("f", "0123456789");
                     const Fd fd(open("f", O_WRONLY | O_APPEND));
                     result.Note("pwrite", pwrite(fd, "AB", 2, 3));
                     result.Note("seek", lseek(fd, 1, SEEK_SET));
                     result.Note("write", write(fd, "CD", 2));
                     result.Note("at", lseek(fd, 0, SEEK_CUR));
                   }});
  cases.push_back({"sharing/append/switched_on_later", [](Result& result) {
                     MakeFile("f", "0123456789");
                     const Fd fd(open("f", O_RDWR));
                     result.Note("write", write(fd, "AB", 2));
                     result.Try("fcntl", fcntl(fd, F_SETFL, O_APPEND));
                     result.Note("write", write(fd, "CD", 2));
                     result.Try("fcntl", fcntl(fd, F_SETFL, 0));
                     result.Note("pwrite", pwrite(fd, "EF", 2, 4));
                   }});
}

void AddMappings(Cases& cases) {
  cases.push_back({"sharing/mmap/parent_and_child", [](Result& result) {
                     MakeFile("f", std::string(2 * kPage, '.'));
                     const Fd fd(open("f", O_RDWR));
                     void* const map =
                         mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
                     result.Try("mmap", map == MAP_FAILED ? -1 : 0);
                     if (map == MAP_FAILED) return;
                     char* const bytes = static_cast<char*>(map);
                     result.Note("child", InChild([&] {
                                   bytes[0] = 'c';
                                   bytes[kPage] = 'C';
                                   return 0;
                                 }));
                     result.Note("seen", std::string(1, bytes[0]) + bytes[kPage]);
                     bytes[1] = 'p';
                     result.Try("msync", msync(map, 2 * kPage, MS_SYNC));
                     result.Note("read", ReadFile("f").substr(0, 3));
                     munmap(map, 2 * kPage);
                   }});
  cases.push_back({"sharing/mmap/two_openers", [](Result& result) {
                     MakeFile("f", std::string(kPage, '.'));
                     const Fd fd(open("f", O_RDWR));
                     void* const map =
                         mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
                     result.Try("mmap", map == MAP_FAILED ? -1 : 0);
                     if (map == MAP_FAILED) return;
                     static_cast<char*>(map)[5] = 'm';
                     result.Note("child", InChild([] {
                                   const Fd other(open("f", O_RDWR));
                                   void* const theirs = mmap(nullptr, kPage, PROT_READ | PROT_WRITE,
                                                             MAP_SHARED, other, 0);
                                   if (theirs == MAP_FAILED) return 100;
                                   const bool seen = static_cast<char*>(theirs)[5] == 'm';
                                   static_cast<char*>(theirs)[6] = 't';
                                   return seen ? 0 : 1;
                                 }));
                     result.Note("seen", std::string(1, static_cast<char*>(map)[6]));
                     munmap(map, kPage);
                   }});
  cases.push_back({"sharing/mmap/and_write", [](Result& result) {
                     MakeFile("f", std::string(kPage, '.'));
                     const Fd fd(open("f", O_RDWR));
                     void* const map =
                         mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
                     result.Try("mmap", map == MAP_FAILED ? -1 : 0);
                     if (map == MAP_FAILED) return;
                     result.Note("wrote", pwrite(fd, "written", 7, 0));
                     result.Note("mapped", std::string(static_cast<char*>(map), 8));
                     memcpy(map, "MAPPED", 6);
                     char text[9] = {};
                     result.Note("read", pread(fd, text, 8, 0));
                     result.Note("text", text);
                     munmap(map, kPage);
                   }});
  cases.push_back(
      {"sharing/mmap/private_stays_private", [](Result& result) {
         MakeFile("f", std::string(kPage, '.'));
         const Fd fd(open("f", O_RDONLY));
         void* const map = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
         result.Try("mmap", map == MAP_FAILED ? -1 : 0);
         if (map == MAP_FAILED) return;
         static_cast<char*>(map)[0] = 'x';
         result.Note("file", ReadFile("f").substr(0, 1));
         munmap(map, kPage);
         result.Try("shared_writable_of_read_only",
                    mmap(nullptr, kPage, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
       }});
  cases.push_back(
      {"sharing/mmap/past_the_end", [](Result& result) {
         MakeFile("f", std::string(100, '.'));
         result.Note("in_last_page", InChild([] {
                       const Fd fd(open("f", O_RDWR));
                       void* const map =
                           mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
                       if (map == MAP_FAILED) return 100;
                       return static_cast<volatile char*>(map)[200] == 0 ? 0 : 1;
                     }));
         result.Note("in_next_page", InChild([] {
                       const Fd fd(open("f", O_RDWR));
                       void* const map =
                           mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
                       if (map == MAP_FAILED) return 100;
                       return static_cast<volatile char*>(map)[kPage] == 0 ? 0 : 1;
                     }));
       }});
  cases.push_back({"sharing/mmap/outlives_unlink_and_close", [](Result& result) {
                     MakeFile("f", std::string(kPage, '.'));
                     void* map;
                     {
                       const Fd fd(open("f", O_RDWR));
                       map = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
                     }
                     result.Try("mmap", map == MAP_FAILED ? -1 : 0);
                     if (map == MAP_FAILED) return;
                     result.Try("unlink", unlink("f"));
                     static_cast<char*>(map)[0] = 'x';
                     result.Try("msync", msync(map, kPage, MS_SYNC));
                     result.Note("byte", std::string(1, static_cast<char*>(map)[0]));
                     munmap(map, kPage);
                   }});
}

int Lock(int fd, int command, short type, off_t start = 0, off_t length = 0) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = start;
  lock.l_len = length;
  return fcntl(fd, command, &lock);
}

std::string WhoHolds(int fd, off_t start, off_t length) {
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  lock.l_start = start;
  lock.l_len = length;
  if (fcntl(fd, F_GETLK, &lock) != 0) return ErrnoName(errno);
  if (lock.l_type == F_UNLCK) return "nobody";
  return std::string(lock.l_type == F_RDLCK ? "read" : "write") + "@" +
         std::to_string(lock.l_start) + "+" + std::to_string(lock.l_len) +
         (lock.l_pid == getppid() ? ",parent" : ",somebody");
}

std::string InChildText(const std::function<std::string()>& body) {
  int fds[2];
  if (pipe(fds) != 0) Die("make a pipe");
  InChild([&] {
    const std::string text = body();
    return write(fds[1], text.data(), text.size()) < 0 ? 1 : 0;
  });
  close(fds[1]);
  char text[256];
  const ssize_t n = read(fds[0], text, sizeof(text));
  close(fds[0]);
  return n > 0 ? std::string(text, static_cast<size_t>(n)) : "";
}

void AddLocks(Cases& cases) {
  struct Pair {
    const char* name;
    short held;
    short wanted;
  };
  static constexpr Pair kPairs[] = {{"read_read", F_RDLCK, F_RDLCK},
                                    {"read_write", F_RDLCK, F_WRLCK},
                                    {"write_read", F_WRLCK, F_RDLCK},
                                    {"write_write", F_WRLCK, F_WRLCK}};
  for (const Pair& pair : kPairs) {
    cases.push_back({std::string("sharing/lock/record/") + pair.name, [&pair](Result& result) {
                       MakeFile("f", "text");
                       const Fd fd(open("f", O_RDWR));
                       result.Try("lock", Lock(fd, F_SETLK, pair.held, 10, 20));
                       for (const off_t start : {0, 5, 15, 29, 30}) {
                         result.Note("at_" + std::to_string(start), InChildText([&] {
                                       const Fd own(open("f", O_RDWR));
                                       const std::string held = WhoHolds(own, start, 6);
                                       return held + (Lock(own, F_SETLK, pair.wanted, start, 6) == 0
                                                          ? ",got"
                                                          : "," + ErrnoName(errno));
                                     }));
                       }
                     }});
    cases.push_back(
        {std::string("sharing/lock/flock/") + pair.name, [&pair](Result& result) {
           const auto mode = [](short type) { return type == F_RDLCK ? LOCK_SH : LOCK_EX; };
           MakeFile("f", "text");
           const Fd fd(open("f", O_RDWR));
           result.Try("lock", flock(fd, mode(pair.held) | LOCK_NB));
           result.Note("other", InChildText([&] {
                         const Fd own(open("f", O_RDWR));
                         return flock(own, mode(pair.wanted) | LOCK_NB) == 0 ? "got"
                                                                             : ErrnoName(errno);
                       }));
           result.Note("inherited", InChildText([&] {
                         return flock(fd, mode(pair.wanted) | LOCK_NB) == 0 ? "got"
                                                                            : ErrnoName(errno);
                       }));
         }});
    cases.push_back(
        {std::string("sharing/lock/open_description/") + pair.name, [&pair](Result& result) {
           MakeFile("f", "text");
           const Fd fd(open("f", O_RDWR));
           const Fd second(open("f", O_RDWR));
           result.Try("lock", Lock(fd, F_OFD_SETLK, pair.held));
           result.Try("second", Lock(second, F_OFD_SETLK, pair.wanted));
           result.Try("record", Lock(second, F_SETLK, pair.wanted));
         }});
  }
  cases.push_back({"sharing/lock/record/closing_any_descriptor_releases", [](Result& result) {
                     MakeFile("f", "text");
                     const Fd fd(open("f", O_RDWR));
                     result.Try("lock", Lock(fd, F_SETLK, F_WRLCK));
                     { const Fd second(open("f", O_RDONLY)); }
                     result.Note("held", InChildText([] {
                                   const Fd own(open("f", O_RDWR));
                                   return WhoHolds(own, 0, 0);
                                 }));
                   }});
  cases.push_back({"sharing/lock/record/split", [](Result& result) {
                     MakeFile("f", "text");
                     const Fd fd(open("f", O_RDWR));
                     result.Try("lock", Lock(fd, F_SETLK, F_WRLCK, 0, 100));
                     result.Try("unlock", Lock(fd, F_SETLK, F_UNLCK, 40, 20));
                     for (const off_t start : {0, 30, 40, 59, 60, 99, 100}) {
                       result.Note("at_" + std::to_string(start), InChildText([&] {
                                     const Fd own(open("f", O_RDWR));
                                     return WhoHolds(own, start, 1);
                                   }));
                     }
                   }});
  cases.push_back({"sharing/lock/record/needs_the_access", [](Result& result) {
                     MakeFile("f", "text");
                     const Fd read_only(open("f", O_RDONLY));
                     const Fd write_only(open("f", O_WRONLY));
                     result.Try("write_lock", Lock(read_only, F_SETLK, F_WRLCK));
                     result.Try("read_lock", Lock(write_only, F_SETLK, F_RDLCK));
                     result.Try("negative", Lock(write_only, F_SETLK, F_WRLCK, -5, 2));
                   }});
  cases.push_back({"sharing/lock/record/waits", [](Result& result) {
                     MakeFile("f", "text");
                     Turn turn;
                     const pid_t pid = fork();
                     if (pid < 0) Die("fork");
                     if (pid == 0) {
                       const Fd own(open("f", O_RDWR));
                       if (Lock(own, F_SETLK, F_WRLCK) != 0) _exit(1);
                       Turn::Give(turn.to_parent[1]);
                       Turn::Take(turn.to_child[0]);
                       const timespec pause = {0, 50'000'000};
                       nanosleep(&pause, nullptr);
                       if (pwrite(own, "DONE", 4, 0) != 4) _exit(1);
                       _exit(0);  // releases
                     }
                     Turn::Take(turn.to_parent[0]);
                     const Fd fd(open("f", O_RDWR));
                     result.Try("try", Lock(fd, F_SETLK, F_WRLCK));
                     Turn::Give(turn.to_child[1]);
                     result.Try("wait", Lock(fd, F_SETLKW, F_WRLCK));
                     result.Note("text", ReadFile("f"));
                     int status = 0;
                     waitpid(pid, &status, 0);
                     result.Note("child", status);
                   }});
  cases.push_back({"sharing/lock/record/wait_is_interrupted", [](Result& result) {
                     MakeFile("f", "text");
                     const Fd fd(open("f", O_RDWR));
                     result.Try("lock", Lock(fd, F_SETLK, F_WRLCK));
                     result.Note("child", InChildText([] {
                                   struct sigaction action = {};
                                   action.sa_handler = [](int) {};
                                   sigaction(SIGALRM, &action, nullptr);
                                   const Fd own(open("f", O_RDWR));
                                   ualarm(50'000, 50'000);  // again, if it does not wait yet
                                   const int error = Lock(own, F_SETLKW, F_WRLCK) == 0 ? 0 : errno;
                                   ualarm(0, 0);
                                   return error == 0 ? "got" : ErrnoName(error);
                                 }));
                     result.Try("unlock", Lock(fd, F_SETLK, F_UNLCK));
                     result.Note("free", InChildText([] {
                                   const Fd own(open("f", O_RDWR));
                                   return Lock(own, F_SETLK, F_WRLCK) == 0 ? "got"
                                                                           : ErrnoName(errno);
                                 }));
                   }});
  cases.push_back({"sharing/lock/flock/waits", [](Result& result) {
                     MakeFile("f", "text");
                     Turn turn;
                     const pid_t pid = fork();
                     if (pid < 0) Die("fork");
                     if (pid == 0) {
                       const Fd own(open("f", O_RDWR));
                       if (flock(own, LOCK_EX) != 0) _exit(1);
                       Turn::Give(turn.to_parent[1]);
                       Turn::Take(turn.to_child[0]);
                       const timespec pause = {0, 50'000'000};
                       nanosleep(&pause, nullptr);
                       _exit(0);
                     }
                     Turn::Take(turn.to_parent[0]);
                     const Fd fd(open("f", O_RDWR));
                     result.Try("try", flock(fd, LOCK_EX | LOCK_NB));
                     Turn::Give(turn.to_child[1]);
                     result.Try("wait", flock(fd, LOCK_EX));
                     int status = 0;
                     waitpid(pid, &status, 0);
                     result.Note("child", status);
                   }});
  cases.push_back({"sharing/lock/deadlock_is_seen", [](Result& result) {
                     MakeFile("f", "text");
                     Turn turn;
                     const Fd fd(open("f", O_RDWR));
                     result.Try("lock", Lock(fd, F_SETLK, F_WRLCK, 0, 1));
                     const pid_t pid = fork();
                     if (pid < 0) Die("fork");
                     if (pid == 0) {
                       if (Lock(fd, F_SETLK, F_WRLCK, 1, 1) != 0) _exit(1);
                       Turn::Give(turn.to_parent[1]);
                       _exit(Lock(fd, F_SETLKW, F_WRLCK, 0, 1) == 0 ? 0 : 2);
                     }
                     Turn::Take(turn.to_parent[0]);
                     AwaitSleepOf(pid);
                     const timespec pause = {0, 50'000'000};
                     nanosleep(&pause, nullptr);
                     struct sigaction action = {};  // where it is not seen: no waiting for ever
                     action.sa_handler = [](int) {};
                     sigaction(SIGALRM, &action, nullptr);
                     const itimerval soon = {.it_interval = {0, 50'000}, .it_value = {2, 0}};
                     const itimerval never = {};
                     setitimer(ITIMER_REAL, &soon, nullptr);
                     const int other_way = Lock(fd, F_SETLKW, F_WRLCK, 1, 1);
                     const int error = errno;
                     setitimer(ITIMER_REAL, &never, nullptr);
                     errno = error;
                     result.Try("other_way", other_way);
                     result.Try("unlock", Lock(fd, F_SETLK, F_UNLCK, 0, 0));
                     int status = 0;
                     waitpid(pid, &status, 0);
                     result.Note("child", status);
                   }});
}

}  // namespace

void AddSharingCases(Cases& cases) {
  AddAppending(cases);
  AddMappings(cases);
  AddLocks(cases);
}

}  // namespace posix_cases
