#include "checkpoint/text.h"

#include <sys/stat.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gofer/base/json.h"

namespace gofer::checkpoint {

using fs::FileTime;
using fs::InodeState;

absl::string_view TypeName(uint32_t type) {
  switch (type) {
    case S_IFREG:
      return "file";
    case S_IFDIR:
      return "directory";
    case S_IFLNK:
      return "symlink";
    case S_IFIFO:
      return "FIFO";
    case S_IFSOCK:
      return "socket";
    case S_IFCHR:
      return "character device";
    case S_IFBLK:
      return "block device";
    default:
      return "unknown type";
  }
}

std::string TimeText(const FileTime& time) {
  return absl::StrFormat("%d.%09d", time.sec, time.nsec);
}

std::string PathAsJson(absl::string_view key, absl::string_view path) {
  std::string json = absl::StrCat("\"", key, "\":", JsonQuote(path));
  if (!IsUtf8(path)) {
    absl::StrAppend(&json, ",\"", key, "_hex\":\"", absl::BytesToHexString(path), "\"");
  }
  return json;
}

std::string FileAsJson(const InodeState& file) {
  std::string json = absl::StrCat("{\"type\":", JsonQuote(TypeName(file.type)), ",\"device\":\"",
                                  file.dev_major, ":", file.dev_minor, "\",\"inode\":", file.ino);
  if (file.birth.has_value()) absl::StrAppend(&json, ",\"birth\":", TimeText(*file.birth));
  if (file.type == S_IFREG) absl::StrAppend(&json, ",\"size\":", file.size);
  absl::StrAppend(&json, ",\"mtime\":", TimeText(file.mtime), ",\"ctime\":", TimeText(file.ctime),
                  "}");
  return json;
}

}  // namespace gofer::checkpoint
