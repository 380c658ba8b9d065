// Fuzzes the rules for names against the kernel: a name that we accept is, for openat2, a direct
// child of its directory and nothing else; one that we refuse is one that the kernel refuses too,
// or that means another place. Input: a name.

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "glog/logging.h"
#include "gofer/base/name.h"
#include "gofer/base/unique_fd.h"
#include "test/support/temp_tree.h"

namespace {

using gofer::UniqueFd;

struct Place {
  Place() {
    tree.Mkdir("dir");
    tree.Write("dir/a", "");
    tree.Mkdir("dir/sub");
    tree.Symlink("dir/out", "/");
    tree.Symlink("dir/up", "..");
    dir = UniqueFd(open(tree.At("dir").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    PCHECK(dir.valid());
  }
  gofer::testing::TempTree tree;
  UniqueFd dir;
};

// Resolves beneath the directory: a descriptor, or the negative errno.
int Resolve(int dir, const char* name) {
  struct open_how how = {};
  how.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  const long fd = syscall(SYS_openat2, dir, name, &how, sizeof(how));
  return fd < 0 ? -errno : static_cast<int>(fd);
}

void CheckAccepted(const Place& place, absl::string_view bytes, const gofer::Name& name) {
  CHECK_EQ(name.view(), bytes);
  CHECK_EQ(absl::string_view(name.c_str()), bytes) << "cut or changed on its way to the kernel";
  const int fd = Resolve(place.dir.get(), name.c_str());
  if (fd < 0) {
    CHECK_EQ(fd, -ENOENT) << "not a plain missing name: errno " << -fd;
    // To make it is to have it in this directory, under these bytes.
    CHECK_EQ(mkdirat(place.dir.get(), name.c_str(), 0700), 0);
    struct stat made;
    CHECK_EQ(fstatat(place.dir.get(), name.c_str(), &made, AT_SYMLINK_NOFOLLOW), 0);
    CHECK_EQ(unlinkat(place.dir.get(), name.c_str(), AT_REMOVEDIR), 0);
    return;
  }
  const UniqueFd child(fd);
  struct stat by_fd;
  struct stat by_name;
  CHECK_EQ(fstat(child.get(), &by_fd), 0);
  CHECK_EQ(fstatat(place.dir.get(), name.c_str(), &by_name, AT_SYMLINK_NOFOLLOW), 0);
  CHECK(by_fd.st_ino == by_name.st_ino && by_fd.st_dev == by_name.st_dev);
}

void CheckRefused(const Place& place, absl::string_view bytes, int error) {
  if (bytes.find('\0') != absl::string_view::npos) {
    CHECK_EQ(error, EINVAL);  // the kernel would have seen another name
    return;
  }
  const std::string name(bytes);
  if (error == ENAMETOOLONG) {
    CHECK_EQ(Resolve(place.dir.get(), name.c_str()), -ENAMETOOLONG);
    return;
  }
  CHECK_EQ(error, EINVAL);
  const bool is_here_or_up = name.empty() || name == "." || name == "..";
  CHECK(is_here_or_up || name.find('/') != std::string::npos)
      << "refused without a reason: " << name;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto* const place = new Place;
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  const gofer::ErrnoOr<gofer::Name> name = gofer::Name::Parse(bytes);
  CHECK_EQ(name.ok(), gofer::Name::CheckBytes(bytes).ok() && size <= gofer::kMaxNameBytes);
  if (name.ok()) {
    CheckAccepted(*place, bytes, *name);
  } else {
    CheckRefused(*place, bytes, name.error().value());
  }
  return 0;
}
