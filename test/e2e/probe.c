// What a shell cannot do, one small program of system calls: mappings, locks, descriptors of unlinked files,
// sockets. It runs inside a container and on the host alike, and prints one line per fact, errors as the name of
// their number, so that outputs of different runs can be compared.
//
// Usage: probe WORD [ARGUMENTS]; the words are in the table at the end.

#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void Say(const char* what, long result) {
  if (result < 0) {
    printf("%s: %s\n", what, strerrorname_np(errno));
  } else {
    printf("%s: %ld\n", what, result);
  }
  fflush(stdout);
}

// The exit status of a child that runs `body`.
static int InChild(int (*body)(const char*), const char* path) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) _exit(body(path));
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

static int Unlinked(char** argv) {
  const char* path = argv[0];
  struct stat st;
  char text[64] = {0};
  int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0640);
  Say("write", write(fd, "before", 6));
  Say("unlink", unlink(path));
  Say("open again", open(path, O_RDONLY));
  Say("write after", pwrite(fd, "-after", 6, 6));
  Say("read", pread(fd, text, sizeof(text), 0));
  printf("text: %s\n", text);
  Say("fstat", fstat(fd, &st));
  printf("links %ld, size %ld, mode %o\n", (long)st.st_nlink, (long)st.st_size, st.st_mode & 07777);
  Say("ftruncate", ftruncate(fd, 3));
  Say("fchmod", fchmod(fd, 0600));
  Say("fstat", fstat(fd, &st));
  printf("size %ld, mode %o\n", (long)st.st_size, st.st_mode & 07777);
  Say("fsync", fsync(fd));
  Say("close", close(fd));
  return 0;
}

static int WriteThroughMapping(const char* path) {
  int fd = open(path, O_RDWR);
  char* map = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) return 1;
  memcpy(map + 4090, "across the page", 15);
  return msync(map, 8192, MS_SYNC) == 0 && munmap(map, 8192) == 0 ? 0 : 2;
}

static int Mapped(char** argv) {
  const char* path = argv[0];
  int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
  Say("ftruncate", ftruncate(fd, 8192));
  const char* map = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
  if (map == MAP_FAILED) Say("mmap", -1);
  printf("child: %d\n", InChild(WriteThroughMapping, path));
  printf("mapping sees: %.15s\n", map + 4090);
  char text[16] = {0};
  Say("read", pread(fd, text, 15, 4090));
  printf("read sees: %s\n", text);
  Say("write", pwrite(fd, "ACROSS", 6, 4090));
  printf("mapping sees: %.15s\n", map + 4090);
  char* private = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  private[0] = 'p';
  printf("shared first byte after a private write: %d\n", map[0]);
  return 0;
}

static int TryLock(const char* path, short type, off_t start) {
  int fd = open(path, O_RDWR);
  struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = 10};
  return fcntl(fd, F_SETLK, &lock) == 0 ? 0 : errno;
}
static int WriteLockAtZero(const char* path) { return TryLock(path, F_WRLCK, 0); }
static int ReadLockAtZero(const char* path) { return TryLock(path, F_RDLCK, 0); }
static int WriteLockAtTen(const char* path) { return TryLock(path, F_WRLCK, 10); }
static int ExclusiveFlock(const char* path) {
  return flock(open(path, O_RDONLY), LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
}
static int SharedFlock(const char* path) { return flock(open(path, O_RDONLY), LOCK_SH | LOCK_NB) == 0 ? 0 : errno; }

static void SayLock(const char* what, int result) {
  printf("%s: %s\n", what, result == 0 ? "granted" : strerrorname_np(result));
}

static int Locks(char** argv) {
  const char* path = argv[0];
  int fd = open(path, O_RDWR | O_CREAT, 0644);
  struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
  Say("read lock", fcntl(fd, F_SETLK, &lock));
  SayLock("child, read lock on the same bytes", InChild(ReadLockAtZero, path));
  SayLock("child, write lock on the same bytes", InChild(WriteLockAtZero, path));
  SayLock("child, write lock on others", InChild(WriteLockAtTen, path));
  lock.l_type = F_UNLCK;
  Say("unlock", fcntl(fd, F_SETLK, &lock));
  SayLock("child, write lock", InChild(WriteLockAtZero, path));
  Say("flock shared", flock(fd, LOCK_SH));
  SayLock("child, shared", InChild(SharedFlock, path));
  SayLock("child, exclusive", InChild(ExclusiveFlock, path));
  Say("flock off", flock(fd, LOCK_UN));
  SayLock("child, exclusive", InChild(ExclusiveFlock, path));
  return 0;
}

static int Hold(char** argv) {  // PATH: waits for both kinds of lock on it, and keeps them
  int fd = open(argv[0], O_RDWR);
  struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  Say("write lock", fcntl(fd, F_SETLKW, &lock));
  Say("flock exclusive", flock(fd, LOCK_EX));
  while (pause() != 0) {
  }
  return 0;
}

static int Many(char** argv) {  // DIR COUNT: makes files
  int count = atoi(argv[1]);
  Say("mkdir", mkdir(argv[0], 0755));
  int dir = open(argv[0], O_RDONLY | O_DIRECTORY);
  char name[64];
  int made = 0;
  for (int i = 0; i < count; ++i) {
    snprintf(name, sizeof(name), "file-%05d", i);
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL, 0644);
    if (fd < 0) break;
    close(fd);
    ++made;
  }
  Say("made", made);
  return 0;
}

static int List(char** argv) {  // DIR: each entry once, also after going back to the start
  DIR* dir = opendir(argv[0]);
  if (dir == NULL) {
    Say("opendir", -1);
    return 1;
  }
  for (int round = 0; round < 2; ++round) {
    unsigned long sum = 0, entries = 0, untyped = 0, inodes = 0;
    for (struct dirent* entry; (entry = readdir(dir)) != NULL; ++entries) {
      unsigned long hash = 5381;
      for (const char* c = entry->d_name; *c != 0; ++c) hash = hash * 33 + (unsigned char)*c;
      sum += hash;
      if (entry->d_type == DT_UNKNOWN) ++untyped;
      if (entry->d_ino != 0) ++inodes;
    }
    printf("entries %lu, names %016lx, without type %lu, without inode %lu\n", entries, sum, untyped,
           entries - inodes);
    rewinddir(dir);
  }
  return 0;
}

static struct sockaddr_un Address(const char* path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
  return address;
}

static int Connect(char** argv) {  // PATH TEXT: sends and prints the answer
  struct sockaddr_un address = Address(argv[0]);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  int result = connect(fd, (struct sockaddr*)&address, sizeof(address));
  Say("connect", result);
  if (result < 0) return 1;
  Say("send", write(fd, argv[1], strlen(argv[1])));
  shutdown(fd, SHUT_WR);
  char text[128] = {0};
  Say("receive", read(fd, text, sizeof(text) - 1));
  printf("text: %s\n", text);
  return 0;
}

static int Serve(char** argv) {  // PATH: says "ready", then answers one connection
  struct sockaddr_un address = Address(argv[0]);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  alarm(300);  // nobody may come
  Say("bind", bind(fd, (struct sockaddr*)&address, sizeof(address)));
  Say("listen", listen(fd, 5));
  puts("ready");
  fflush(stdout);
  int peer = accept(fd, NULL, NULL);
  if (peer < 0) Say("accept", -1);
  char text[128] = {0};
  ssize_t got = read(peer, text, sizeof(text) - 8);
  Say("receive", got);
  printf("text: %s\n", text);
  fflush(stdout);
  strcat(text, "-back");
  if (write(peer, text, strlen(text)) < 0) Say("send", -1);
  return 0;
}

static int ServeSelf(char** argv) {  // PATH: both ends in one container
  int ready[2];
  if (pipe(ready) != 0) return 1;
  pid_t pid = fork();
  if (pid == 0) {
    dup2(ready[1], STDOUT_FILENO);
    _exit(Serve(argv));
  }
  close(ready[1]);
  char said[256] = {0};
  size_t len = 0;
  while (strstr(said, "ready") == NULL && len < sizeof(said) - 1) {
    ssize_t got = read(ready[0], said + len, sizeof(said) - 1 - len);
    if (got <= 0) break;
    len += (size_t)got;
  }
  fputs(said, stdout);
  struct stat st;
  Say("stat", stat(argv[0], &st));
  printf("socket: %d\n", S_ISSOCK(st.st_mode));
  char* arguments[] = {argv[0], "hello", NULL};
  Connect(arguments);
  waitpid(pid, NULL, 0);
  Say("unlink", unlink(argv[0]));
  return 0;
}

static int Open(char** argv) {  // PATH FLAGS: r, w, +, c(reat), t(runcate), d(irectory), n(onblock)
  int flags = 0;
  for (const char* c = argv[1]; *c != 0; ++c) {
    if (*c == 'w') flags |= O_WRONLY;
    if (*c == '+') flags |= O_RDWR;
    if (*c == 'c') flags |= O_CREAT;
    if (*c == 't') flags |= O_TRUNC;
    if (*c == 'd') flags |= O_DIRECTORY;
    if (*c == 'n') flags |= O_NONBLOCK;
    if (*c == 'x') flags |= O_EXCL;
    if (*c == 'l') flags |= O_NOFOLLOW;
  }
  int fd = open(argv[0], flags, 0644);
  printf("open %s: %s\n", argv[1], fd < 0 ? strerrorname_np(errno) : "ok");
  return 0;
}

static int As(char** argv) {  // UID GID PATH FLAGS: Open as somebody else
  if (setgid((gid_t)atoi(argv[1])) != 0 || setuid((uid_t)atoi(argv[0])) != 0) Say("setuid", -1);
  return Open(argv + 2);
}

static int Rename(char** argv) {
  Say("rename", rename(argv[0], argv[1]));
  return 0;
}

static int Replace(char** argv) {  // PATH: an open file keeps its content when another takes its name
  char text[16] = {0};
  char other[4096];
  snprintf(other, sizeof(other), "%s.new", argv[0]);
  int old_fd = open(argv[0], O_RDWR | O_CREAT | O_TRUNC, 0644);
  int new_fd = open(other, O_RDWR | O_CREAT | O_TRUNC, 0600);
  Say("write", write(old_fd, "old", 3));
  Say("write", write(new_fd, "new!", 4));
  Say("rename", rename(other, argv[0]));
  Say("read", pread(old_fd, text, sizeof(text), 0));
  printf("old descriptor: %s\n", text);
  struct stat st;
  Say("stat", stat(argv[0], &st));
  printf("size %ld, mode %o\n", (long)st.st_size, st.st_mode & 07777);
  Say("fstat", fstat(old_fd, &st));
  printf("links of the old %ld\n", (long)st.st_nlink);
  return 0;
}

int main(int argc, char** argv) {
  static const struct {
    const char* word;
    int (*body)(char** argv);
    int arguments;
  } words[] = {{"unlinked", Unlinked, 1}, {"mmap", Mapped, 1},    {"locks", Locks, 1},
               {"many", Many, 2},         {"list", List, 1},      {"connect", Connect, 2},
               {"serve", Serve, 1},       {"sockets", ServeSelf, 1}, {"open", Open, 2},
               {"as", As, 4},             {"rename", Rename, 2},  {"replace", Replace, 1},
               {"hold", Hold, 1}};
  signal(SIGPIPE, SIG_IGN);
  for (size_t i = 0; argc > 1 && i < sizeof(words) / sizeof(words[0]); ++i) {
    if (strcmp(argv[1], words[i].word) == 0 && argc == words[i].arguments + 2) return words[i].body(argv + 2);
  }
  fprintf(stderr, "probe: no such word, or a wrong number of arguments\n");
  return 2;
}
