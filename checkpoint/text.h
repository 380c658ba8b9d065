// Files as reports and `gofer inspect` show them.
//
// Threads: safe.

#ifndef CHECKPOINT_TEXT_H_
#define CHECKPOINT_TEXT_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "gofer/fs/state.h"

namespace gofer::checkpoint {

// "file", "directory", ... for S_IFREG, S_IFDIR, ...
absl::string_view TypeName(uint32_t type);
// Seconds with nine decimals.
std::string TimeText(const fs::FileTime& time);
// A path as a member of a JSON object, and where it is no UTF-8 its bytes as another one, KEY_hex.
std::string PathAsJson(absl::string_view key, absl::string_view path);
// {"type":"file","device":"8:1","inode":12,...}
std::string FileAsJson(const fs::InodeState& file);

}  // namespace gofer::checkpoint

#endif  // CHECKPOINT_TEXT_H_
