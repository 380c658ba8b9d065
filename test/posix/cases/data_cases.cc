// What is in a file after reads, writes, holes, truncation, allocation, copies; with and without
// the page cache; and in files that have lost their name.

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "test/posix/cases/harness.h"

namespace posix_cases {
namespace {

std::string Pattern(size_t size, unsigned seed = 1) {
  std::string data(size, '\0');
  unsigned state = seed;
  for (char& c : data) {
    state = state * 1664525 + 1013904223;
    c = static_cast<char>(state >> 24);
  }
  return data;
}

struct Free {
  void operator()(char* memory) const { free(memory); }
};
std::unique_ptr<char, Free> Aligned(size_t size) {
  void* memory = nullptr;
  if (posix_memalign(&memory, 4096, size) != 0) Die("allocate");
  return std::unique_ptr<char, Free>(static_cast<char*>(memory));
}

Fd OpenNew(const char* path, int flags = 0) {
  Fd fd(open(path, O_RDWR | O_CREAT | O_EXCL | flags, 0644));
  if (fd < 0) Die(std::string("create ") + path);
  return fd;
}

void NoteSize(Result& result, int fd) {
  struct stat st;
  if (fstat(fd, &st) != 0) Die("fstat");
  result.Note("size", st.st_size);
}

void NoteContent(Result& result, int fd) {
  std::string data;
  char buffer[65536];
  ssize_t n;
  while ((n = pread(fd, buffer, sizeof(buffer), static_cast<off_t>(data.size()))) > 0) {
    data.append(buffer, static_cast<size_t>(n));
  }
  if (n < 0) result.Try("pread", n);
  result.Note("sum", std::to_string(data.size()) + "#" + Checksum(data));
}

void WriteSizes(Result& result, int flags) {
  const Fd fd = OpenNew("file", flags);
  off_t at = 0;
  for (const size_t size : {1, 511, 4096, 4097, 65536, 131072, 131073, 1048576, 1048577}) {
    const std::string data = Pattern(size, static_cast<unsigned>(size));
    result.Note("wrote", pwrite(fd, data.data(), size, at));
    at += static_cast<off_t>(size);
  }
  NoteSize(result, fd);
  NoteContent(result, fd);
}

void ReadSizes(Result& result) {
  MakeFile("file", Pattern(300'001));
  const Fd fd(open("file", O_RDONLY));
  for (const size_t size : {1, 4096, 131072, 1048576}) {
    std::string data(size, '\0');
    for (const off_t at :
         {off_t{0}, off_t{1}, off_t{4095}, off_t{299'999}, off_t{300'001}, off_t{1} << 40}) {
      const ssize_t n = pread(fd, data.data(), size, at);
      result.Note("read", n);
      if (n > 0) result.Note("sum", Checksum(data.substr(0, static_cast<size_t>(n))));
    }
  }
}

struct Allocation {
  const char* name;
  int mode;
  off_t offset;
  off_t length;
};
constexpr Allocation kAllocations[] = {
    {"grow", 0, 0, 40'000},
    {"beyond_end", 0, 100'000, 5000},
    {"keep_size", FALLOC_FL_KEEP_SIZE, 0, 100'000},
    {"punch", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 8192},
    {"punch_unaligned", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 100, 10'000},
    {"punch_without_keep_size", FALLOC_FL_PUNCH_HOLE, 4096, 8192},
    {"zero", FALLOC_FL_ZERO_RANGE, 4096, 8192},
    {"zero_grows", FALLOC_FL_ZERO_RANGE, 16'384, 65'536},
    {"zero_keep_size", FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 16'384, 65'536},
    {"no_length", 0, 0, 0},
    {"negative", 0, -1, 10},
    {"too_far", 0, 0x7fffffffffffffff, 10},
};

std::string Extents(int fd, off_t size) {  // what lseek finds; 64 KiB apart on any file system
  std::string text;
  off_t at = 0;
  while (at < size) {
    const off_t data = lseek(fd, at, SEEK_DATA);
    if (data < 0) return text + ErrnoName(errno);
    const off_t hole = lseek(fd, data, SEEK_HOLE);
    if (hole < 0) return text + ErrnoName(errno);
    text += std::to_string(data) + "-" + std::to_string(hole) + ",";
    at = hole;
  }
  return text;
}

void AddUnlinked(Cases& cases) {
  cases.push_back({"data/unlinked/goes_on", [](Result& result) {
                     const Fd fd = OpenNew("file");
                     result.Try("write", write(fd, "before", 6));
                     result.Try("unlink", unlink("file"));
                     result.Try("open", open("file", O_RDONLY));
                     result.Try("write", pwrite(fd, "-after", 6, 6));
                     NoteContent(result, fd);
                     struct stat st;
                     result.Try("fstat", fstat(fd, &st));
                     result.Note("is", Describe(st));
                     result.Try("ftruncate", ftruncate(fd, 3));
                     result.Try("fchmod", fchmod(fd, 0600));
                     result.Try("fchown", fchown(fd, 1001, 1002));
                     const timespec times[2] = {{1, 2}, {3, 4}};
                     result.Try("futimens", futimens(fd, times));
                     result.Try("fsync", fsync(fd));
                     result.Try("fstat", fstat(fd, &st));
                     result.Note("is", Describe(st));
                     result.Note("mtime", st.st_mtim.tv_sec);
                   }});
  cases.push_back({"data/unlinked/replaced_by_rename", [](Result& result) {
                     MakeFile("file", "old");
                     MakeFile("new", "newer");
                     const Fd fd(open("file", O_RDWR));
                     result.Try("rename", rename("new", "file"));
                     NoteContent(result, fd);
                     result.Try("write", pwrite(fd, "OLD", 3, 0));
                     result.Note("file", ReadFile("file"));
                   }});
  cases.push_back({"data/unlinked/name_used_again", [](Result& result) {
                     MakeFile("file", "old");
                     const Fd old(open("file", O_RDWR));
                     result.Try("unlink", unlink("file"));
                     MakeFile("file", "new");
                     NoteContent(result, old);
                     result.Note("file", ReadFile("file"));
                     struct stat st;
                     result.Try("fstat", fstat(old, &st));
                     result.Note("links", static_cast<long long>(st.st_nlink));
                   }});
  cases.push_back({"data/unlinked/one_of_two_links", [](Result& result) {
                     MakeFile("file", "text");
                     result.Try("link", link("file", "second"));
                     const Fd fd(open("file", O_RDWR));
                     result.Try("unlink", unlink("file"));
                     result.Try("write", pwrite(fd, "T", 1, 0));
                     result.Note("second", ReadFile("second"));
                   }});
  cases.push_back({"data/unlinked/directory_open", [](Result& result) {
                     MakeDirectory("dir");
                     const Fd fd(open("dir", O_RDONLY | O_DIRECTORY));
                     result.Try("rmdir", rmdir("dir"));
                     struct stat st;
                     result.Try("fstat", fstat(fd, &st));
                     result.Try("openat", openat(fd, "new", O_CREAT | O_WRONLY, 0644));
                     result.Try("mkdirat", mkdirat(fd, "new", 0755));
                     result.Try("openat", openat(fd, "none", O_RDONLY));
                   }});
}

void AddAllocation(Cases& cases) {
  for (const Allocation& allocation : kAllocations) {
    cases.push_back(
        {std::string("data/fallocate/") + allocation.name, [&allocation](Result& result) {
           const Fd fd = OpenNew("file");
           const std::string data = Pattern(20'000);
           if (write(fd, data.data(), data.size()) < 0) Die("write");
           result.Try("fallocate",
                      fallocate(fd, allocation.mode, allocation.offset, allocation.length));
           NoteSize(result, fd);
           NoteContent(result, fd);
         }});
  }
  cases.push_back({"data/fallocate/through_read_only_descriptor", [](Result& result) {
                     MakeFile("file", "text");
                     const Fd fd(open("file", O_RDONLY));
                     result.Try("fallocate", fallocate(fd, 0, 0, 100));
                   }});
  cases.push_back({"data/fallocate/directory", [](Result& result) {
                     const Fd fd(open(".", O_RDONLY));
                     result.Try("fallocate", fallocate(fd, 0, 0, 100));
                   }});
}

void AddHoles(Cases& cases) {
  cases.push_back(
      {"data/holes/seek", [](Result& result) {
         const Fd fd = OpenNew("file");
         constexpr off_t kPiece = 65'536;
         const std::string data = Pattern(kPiece);
         for (const off_t at : {kPiece, 4 * kPiece, 5 * kPiece, 9 * kPiece}) {
           result.Note("wrote", pwrite(fd, data.data(), data.size(), at));
         }
         result.Try("ftruncate", ftruncate(fd, 12 * kPiece));
         result.Try("fsync", fsync(fd));
         result.Note("extents", Extents(fd, 12 * kPiece));
         result.Note("after_end",
                     lseek(fd, 12 * kPiece, SEEK_DATA) < 0 ? ErrnoName(errno) : "found");
         result.Note("negative", lseek(fd, -1, SEEK_HOLE) < 0 ? ErrnoName(errno) : "found");
         NoteContent(result, fd);
       }});
  cases.push_back({"data/holes/big_sparse", [](Result& result) {
                     const Fd fd = OpenNew("file");
                     result.Note("wrote", pwrite(fd, "end", 3, off_t{1} << 40));
                     struct stat st;
                     result.Try("fstat", fstat(fd, &st));
                     result.Note("size", st.st_size);
                     result.Note("sparse", st.st_blocks < 1000 ? "yes" : "no");
                     char text[4] = {};
                     result.Note("read", pread(fd, text, 3, off_t{1} << 40));
                     result.Note("text", text);
                     result.Try("ftruncate", ftruncate(fd, 0));
                   }});
  cases.push_back({"data/truncate/grows_with_zeros", [](Result& result) {
                     const Fd fd = OpenNew("file");
                     const std::string data = Pattern(10'000);
                     result.Note("wrote", write(fd, data.data(), data.size()));
                     result.Try("ftruncate", ftruncate(fd, 5000));
                     result.Try("ftruncate", ftruncate(fd, 9000));
                     NoteContent(result, fd);
                     result.Try("truncate", truncate("file", 4097));
                     result.Try("truncate", truncate("file", 20'000));
                     NoteContent(result, fd);
                     result.Note("wrote", pwrite(fd, "x", 1, 30'000));
                     NoteContent(result, fd);
                   }});
  cases.push_back({"data/truncate/descriptors", [](Result& result) {
                     MakeFile("file", "text");
                     const Fd read_only(open("file", O_RDONLY));
                     result.Try("ftruncate", ftruncate(read_only, 1));
                     const Fd write_only(open("file", O_WRONLY));
                     result.Try("ftruncate", ftruncate(write_only, 2));
                     result.Try("ftruncate_negative", ftruncate(write_only, -5));
                     const Fd dir(open(".", O_RDONLY));
                     result.Try("ftruncate_dir", ftruncate(dir, 0));
                   }});
}

void AddCopies(Cases& cases) {
  cases.push_back({"data/copy_file_range/whole", [](Result& result) {
                     MakeFile("from", Pattern(200'000));
                     const Fd from(open("from", O_RDONLY));
                     const Fd to = OpenNew("to");
                     size_t left = 200'000;
                     while (left > 0) {
                       const ssize_t n = copy_file_range(from, nullptr, to, nullptr, left, 0);
                       if (n <= 0) {
                         result.Try("copy", n);
                         break;
                       }
                       left -= static_cast<size_t>(n);
                     }
                     NoteContent(result, to);
                   }});
  cases.push_back({"data/copy_file_range/part_and_end", [](Result& result) {
                     MakeFile("from", Pattern(10'000));
                     const Fd from(open("from", O_RDONLY));
                     const Fd to = OpenNew("to");
                     off_t in = 9000;
                     off_t out = 123;
                     result.Note("copied", copy_file_range(from, &in, to, &out, 5000, 0));
                     result.Note("in", in);
                     result.Note("out", out);
                     in = 20'000;
                     result.Note("copied", copy_file_range(from, &in, to, &out, 5000, 0));
                     NoteContent(result, to);
                   }});
  cases.push_back({"data/copy_file_range/same_file", [](Result& result) {
                     const Fd fd = OpenNew("file");
                     const std::string data = Pattern(10'000);
                     result.Note("wrote", write(fd, data.data(), data.size()));
                     off_t in = 0;
                     off_t out = 20'000;
                     result.Note("copied", copy_file_range(fd, &in, fd, &out, 10'000, 0));
                     in = 0;
                     out = 100;
                     result.Try("overlapping", copy_file_range(fd, &in, fd, &out, 1000, 0));
                     NoteContent(result, fd);
                   }});
  cases.push_back({"data/copy_file_range/refused", [](Result& result) {
                     MakeFile("from", "text");
                     const Fd from(open("from", O_RDONLY));
                     const Fd append = OpenNew("append", O_APPEND);
                     result.Try("to_append", copy_file_range(from, nullptr, append, nullptr, 4, 0));
                     const Fd also(open("from", O_RDONLY));
                     result.Try("to_read_only",
                                copy_file_range(from, nullptr, also, nullptr, 4, 0));
                     const Fd dir(open(".", O_RDONLY));
                     const Fd to = OpenNew("to");
                     result.Try("from_dir", copy_file_range(dir, nullptr, to, nullptr, 4, 0));
                     result.Try("flags", copy_file_range(from, nullptr, to, nullptr, 4, 1));
                   }});
  cases.push_back({"data/sendfile", [](Result& result) {
                     MakeFile("from", Pattern(100'000));
                     const Fd from(open("from", O_RDONLY));
                     const Fd to = OpenNew("to");
                     off_t at = 10;
                     while (sendfile(to, from, &at, 65'536) > 0) continue;
                     NoteContent(result, to);
                   }});
}

void AddDirect(Cases& cases) {
  cases.push_back({"data/direct/write_then_read_cached", [](Result& result) {
                     const Fd direct = OpenNew("file", O_DIRECT);
                     const auto buffer = Aligned(1 << 20);
                     const std::string data = Pattern(1 << 20);
                     memcpy(buffer.get(), data.data(), data.size());
                     result.Note("wrote", pwrite(direct, buffer.get(), 1 << 20, 0));
                     result.Note("wrote", pwrite(direct, buffer.get(), 4096, 1 << 21));
                     const Fd cached(open("file", O_RDONLY));
                     NoteContent(result, cached);
                   }});
  cases.push_back({"data/direct/write_cached_then_read", [](Result& result) {
                     const Fd cached = OpenNew("file");
                     const std::string data = Pattern(70'000);
                     result.Note("wrote", write(cached, data.data(), data.size()));
                     const Fd direct(open("file", O_RDONLY | O_DIRECT));
                     const auto buffer = Aligned(1 << 17);
                     const ssize_t n = pread(direct, buffer.get(), 1 << 17, 0);
                     result.Note("read", n);
                     if (n > 0) {
                       result.Note(
                           "sum", Checksum(std::string_view(buffer.get(), static_cast<size_t>(n))));
                     }
                   }});
  cases.push_back({"data/direct/mixed", [](Result& result) {
                     const Fd cached = OpenNew("file");
                     const Fd direct(open("file", O_RDWR | O_DIRECT));
                     const auto buffer = Aligned(8192);
                     memset(buffer.get(), 'd', 8192);
                     const std::string c(8192, 'c');
                     result.Note("wrote", pwrite(cached, c.data(), 8192, 0));
                     result.Note("wrote", pwrite(direct, buffer.get(), 4096, 4096));
                     NoteContent(result, cached);
                     result.Note("wrote", pwrite(cached, "C", 1, 4096));
                     result.Note("read", pread(direct, buffer.get(), 4096, 4096));
                     result.Note("byte", std::string(1, buffer.get()[0]));
                   }});
}

void AddSpecialOpens(Cases& cases) {
  cases.push_back(
      {"data/tmpfile/gets_a_name", [](Result& result) {
         const Fd fd(static_cast<int>(result.Try("open", open(".", O_RDWR | O_TMPFILE, 0640))));
         if (fd < 0) return;
         result.Try("write", write(fd, "text", 4));
         struct stat st;
         result.Try("fstat", fstat(fd, &st));
         result.Note("is", Describe(st));
         const std::string proc = "/proc/self/fd/" + std::to_string(fd);
         result.Try("link", linkat(AT_FDCWD, proc.c_str(), AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
         result.Try("again", linkat(AT_FDCWD, proc.c_str(), AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
       }});
  cases.push_back(
      {"data/tmpfile/exclusive_has_no_name", [](Result& result) {
         const Fd fd(
             static_cast<int>(result.Try("open", open(".", O_RDWR | O_TMPFILE | O_EXCL, 0640))));
         if (fd < 0) return;
         const std::string proc = "/proc/self/fd/" + std::to_string(fd);
         result.Try("link", linkat(AT_FDCWD, proc.c_str(), AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
       }});
  cases.push_back({"data/tmpfile/read_only", [](Result& result) {
                     result.Try("open", open(".", O_RDONLY | O_TMPFILE, 0640));
                   }});
  cases.push_back({"data/vectors", [](Result& result) {
                     const Fd fd = OpenNew("file");
                     std::string parts[3] = {"one ", "", "three"};
                     iovec out[3];
                     for (int i = 0; i < 3; ++i) out[i] = {parts[i].data(), parts[i].size()};
                     result.Note("writev", writev(fd, out, 3));
                     result.Note("pwritev", pwritev(fd, out, 3, 100));
                     char a[6];
                     char b[200];
                     iovec in[2] = {{a, sizeof(a)}, {b, sizeof(b)}};
                     result.Note("preadv", preadv(fd, in, 2, 0));
                     result.Note("text", std::string(a, sizeof(a)));
                     result.Note("append", pwritev2(fd, out, 1, 0, RWF_APPEND));
                     NoteContent(result, fd);
                   }});
  cases.push_back({"data/descriptor_modes", [](Result& result) {
                     MakeFile("file", "text");
                     char byte;
                     const Fd write_only(open("file", O_WRONLY));
                     result.Try("read", read(write_only, &byte, 1));
                     const Fd read_only(open("file", O_RDONLY));
                     result.Try("write", write(read_only, "x", 1));
                     const Fd path(open("file", O_PATH));
                     result.Try("read_path", read(path, &byte, 1));
                     result.Try("fchmod_path", fchmod(path, 0600));
                     const Fd dir(open(".", O_RDONLY));
                     result.Try("read_dir", read(dir, &byte, 1));
                     result.Try("pread_negative", pread(read_only, &byte, 1, -1));
                     result.Try("fsync", fsync(read_only));
                     result.Try("fdatasync", fdatasync(write_only));
                     result.Try("fsync_dir", fsync(dir));
                     result.Try("syncfs", syncfs(dir));
                   }});
  cases.push_back({"data/reopen_by_proc", [](Result& result) {
                     MakeFile("file", "text", 0444);
                     const Fd fd(open("file", O_RDONLY));
                     const std::string proc = "/proc/self/fd/" + std::to_string(fd);
                     const As as(kAlice);
                     result.Try("open_w", open(proc.c_str(), O_WRONLY));
                     Fd(static_cast<int>(result.Try("open_r", open(proc.c_str(), O_RDONLY))));
                   }});
  cases.push_back({"data/statvfs", [](Result& result) {
                     struct statvfs st;
                     result.Try("statvfs", statvfs(".", &st));
                     result.Note("namemax", st.f_namemax);
                     result.Note("bsize", st.f_bsize);
                     result.Note("frsize", st.f_frsize);
                     result.Note("sane", st.f_blocks >= st.f_bfree && st.f_bfree >= st.f_bavail &&
                                                 st.f_files >= st.f_ffree && st.f_blocks > 0
                                             ? "yes"
                                             : "no");
                     const Fd fd = OpenNew("file");
                     struct statvfs other;
                     result.Try("fstatvfs", fstatvfs(fd, &other));
                     result.Note("same", st.f_blocks == other.f_blocks ? "yes" : "no");
                   }});
  cases.push_back({"data/fifo", [](Result& result) {
                     if (mkfifo("fifo", 0644) != 0) Die("make a FIFO");
                     result.Try("writer_alone", open("fifo", O_WRONLY | O_NONBLOCK));
                     const Fd reader(open("fifo", O_RDONLY | O_NONBLOCK));
                     const Fd writer(open("fifo", O_WRONLY | O_NONBLOCK));
                     result.Note("wrote", write(writer, "through", 7));
                     char text[16] = {};
                     result.Note("read", read(reader, text, sizeof(text)));
                     result.Note("text", text);
                   }});
}

}  // namespace

void AddDataCases(Cases& cases) {
  cases.push_back({"data/write_sizes/cached", [](Result& r) { WriteSizes(r, 0); }});
  cases.push_back({"data/write_sizes/append", [](Result& r) { WriteSizes(r, O_APPEND); }});
  cases.push_back({"data/write_sizes/sync", [](Result& r) { WriteSizes(r, O_SYNC); }});
  cases.push_back({"data/read_sizes", ReadSizes});
  AddUnlinked(cases);
  AddAllocation(cases);
  AddHoles(cases);
  AddCopies(cases);
  AddDirect(cases);
  AddSpecialOpens(cases);
}

}  // namespace posix_cases
