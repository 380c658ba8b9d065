#include "checkpoint/describe.h"

#include <fcntl.h>

#include <cstddef>
#include <map>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "checkpoint/fuse_codec.h"
#include "checkpoint/text.h"
#include "fuse/session/state.h"
#include "gofer/base/json.h"
#include "gofer/fs/state.h"
#include "lisafs/server/state.h"

namespace gofer::checkpoint {
namespace {

struct Totals {
  std::map<absl::string_view, uint64_t> types;
  uint64_t deleted_bytes = 0;
};

Totals TotalsOf(const fs::FilesystemState& files) {
  Totals totals;
  for (const fs::InodeState& inode : files.inodes) ++totals.types[TypeName(inode.type)];
  for (const fs::DeletedFileState& file : files.deleted_files) {
    for (const fs::Extent& extent : file.extents) totals.deleted_bytes += extent.data.size();
  }
  return totals;
}

absl::string_view AccessText(uint32_t flags) {
  switch (flags & O_ACCMODE) {
    case O_RDONLY:
      return "reading";
    case O_WRONLY:
      return "writing";
    default:
      return "reading and writing";
  }
}

// By row of dentries: how it is open, once for each open file.
std::vector<std::vector<std::string>> OpenStates(const fs::FilesystemState& files) {
  std::vector<std::vector<std::string>> states(files.dentries.size());
  for (const fs::HandleState& handle : files.handles) {
    std::string text(AccessText(handle.flags));
    if ((handle.flags & O_DIRECT) != 0) absl::StrAppend(&text, ", direct");
    if (handle.position != 0) absl::StrAppend(&text, " at ", handle.position);
    states[handle.dentry].push_back(std::move(text));
  }
  return states;
}

// Parents come first, so each path is made of one that is there already.
std::vector<std::string> Paths(const fs::FilesystemState& files) {
  std::vector<std::string> paths;
  for (const fs::DentryState& dentry : files.dentries) {
    if (dentry.parent == fs::kNoIndex) {
      paths.emplace_back("/");
    } else {
      const std::string& parent = paths[dentry.parent];
      paths.push_back(absl::StrCat(parent == "/" ? "" : parent, "/", dentry.name));
    }
  }
  return paths;
}

std::string SavedAt(const Configuration& configuration) {
  return absl::FormatTime(absl::RFC3339_sec, absl::FromUnixSeconds(configuration.saved_at_sec()),
                          absl::UTCTimeZone());
}

void AppendTree(const fs::FilesystemState& files, std::string& text) {
  const std::vector<std::string> paths = Paths(files);
  const auto states = OpenStates(files);
  for (size_t row = 0; row < files.dentries.size(); ++row) {
    const fs::DentryState& dentry = files.dentries[row];
    const fs::InodeState& inode = files.inodes[dentry.inode];
    absl::StrAppend(&text, absl::CHexEscape(paths[row]), "  ", TypeName(inode.type), " ",
                    inode.dev_major, ":", inode.dev_minor, "/", inode.ino, ", mtime ",
                    TimeText(inode.mtime));
    if (inode.type == S_IFREG) absl::StrAppend(&text, ", ", inode.size, " bytes");
    if (inode.client_ino != inode.ino) {
      absl::StrAppend(&text, ", clients know it as ", inode.client_ino);
    }
    if (dentry.deleted) absl::StrAppend(&text, ", deleted");
    for (const std::string& state : states[row]) absl::StrAppend(&text, ", open for ", state);
    absl::StrAppend(&text, "\n");
  }
}

void AppendTreeAsJson(const fs::FilesystemState& files, std::string& json) {
  const std::vector<std::string> paths = Paths(files);
  const auto states = OpenStates(files);
  absl::StrAppend(&json, ",\"tree\":[");
  for (size_t row = 0; row < files.dentries.size(); ++row) {
    const fs::DentryState& dentry = files.dentries[row];
    const fs::InodeState& inode = files.inodes[dentry.inode];
    absl::StrAppend(&json, row == 0 ? "{" : ",{", PathAsJson("path", paths[row]),
                    ",\"file\":", FileAsJson(inode), ",\"client_inode\":", inode.client_ino,
                    ",\"deleted\":", dentry.deleted ? "true" : "false", ",\"open\":[",
                    absl::StrJoin(states[row], ",",
                                  [](std::string* out, const std::string& state) {
                                    absl::StrAppend(out, JsonQuote(state));
                                  }),
                    "]}");
  }
  absl::StrAppend(&json, "]");
}

void AppendFuseClient(const FuseClientState& client, std::string& text) {
  const fuse::SessionState& session = client.session;
  absl::StrAppend(&text, "  by ", absl::CHexEscape(client.way), ": ");
  if (!session.connected) {
    absl::StrAppend(&text, "nobody had connected\n");
    return;
  }
  absl::StrAppend(&text, session.readonly ? "read-only, " : "", "version 7.", session.minor, ", ",
                  session.nodes.size(), " nodes, ", session.files.size(), " open files, ",
                  session.locks.size(), " locks\n");
}

void AppendFuseClientAsJson(const FuseClientState& client, std::string& json) {
  const fuse::SessionState& session = client.session;
  absl::StrAppend(&json, "{\"way\":", JsonQuote(client.way),
                  ",\"connected\":", session.connected ? "true" : "false",
                  ",\"readonly\":", session.readonly ? "true" : "false",
                  ",\"minor\":", session.minor, ",\"nodes\":", session.nodes.size(),
                  ",\"open_files\":", session.files.size(), ",\"locks\":", session.locks.size(),
                  "}");
}

}  // namespace

std::string DescribeAsText(const Loaded& image, const DescribeOptions& options) {
  const Configuration& configuration = image.configuration;
  const fs::FilesystemState& files = image.files;
  const Totals totals = TotalsOf(files);
  std::string text = absl::StrCat(
      "image: ", options.image_bytes, " bytes, saved ", SavedAt(configuration), " by gofer ",
      configuration.gofer_version(), "\nroot: ", absl::CHexEscape(configuration.root()),
      configuration.readonly() ? ", read-only" : "", "\nnames: ", files.dentries.size(),
      "\nfiles: ", files.inodes.size());
  for (const auto& [type, count] : totals.types) {
    absl::StrAppend(&text, ", ", type, " ", count);
  }
  absl::StrAppend(&text, "\nopen files: ", files.handles.size(),
                  "\nopen files without a name: ", files.deleted_files.size(), ", ",
                  totals.deleted_bytes,
                  " bytes of data\nLISAFS clients: ", image.lisafs.connections.size(), "\n");
  for (const lisafs::ConnectionState& connection : image.lisafs.connections) {
    absl::StrAppend(&text, "  at ", absl::CHexEscape(connection.mount_path),
                    connection.readonly ? " read-only" : "", ": ", connection.fds.size(),
                    " ids, the next is ", connection.next_id, "\n");
  }
  absl::StrAppend(&text, "FUSE clients: ", image.fuse.size(), "\n");
  for (const FuseClientState& client : image.fuse) AppendFuseClient(client, text);
  if (options.tree) AppendTree(files, text);
  return text;
}

std::string DescribeAsJson(const Loaded& image, const DescribeOptions& options) {
  const Configuration& configuration = image.configuration;
  const fs::FilesystemState& files = image.files;
  const Totals totals = TotalsOf(files);
  std::string json = absl::StrCat(
      "{\"image_bytes\":", options.image_bytes, ",\"saved_at\":", JsonQuote(SavedAt(configuration)),
      ",\"gofer_version\":", JsonQuote(configuration.gofer_version()), ",",
      PathAsJson("root", configuration.root()),
      ",\"readonly\":", configuration.readonly() ? "true" : "false",
      ",\"names\":", files.dentries.size(), ",\"files\":", files.inodes.size(), ",\"types\":{");
  absl::StrAppend(&json, absl::StrJoin(totals.types, ",", [](std::string* out, const auto& entry) {
    absl::StrAppend(out, JsonQuote(entry.first), ":", entry.second);
  }));
  absl::StrAppend(&json, "},\"open_files\":", files.handles.size(),
                  ",\"deleted_files\":", files.deleted_files.size(),
                  ",\"deleted_bytes\":", totals.deleted_bytes, ",\"lisafs_clients\":[");
  absl::StrAppend(&json,
                  absl::StrJoin(image.lisafs.connections, ",",
                                [](std::string* out, const lisafs::ConnectionState& connection) {
                                  absl::StrAppend(
                                      out, "{", PathAsJson("path", connection.mount_path),
                                      ",\"readonly\":", connection.readonly ? "true" : "false",
                                      ",\"ids\":", connection.fds.size(),
                                      ",\"next_id\":", connection.next_id, "}");
                                }));
  absl::StrAppend(&json, "],\"fuse_clients\":[",
                  absl::StrJoin(image.fuse, ",",
                                [](std::string* out, const FuseClientState& client) {
                                  AppendFuseClientAsJson(client, *out);
                                }),
                  "]");
  if (options.tree) AppendTreeAsJson(files, json);
  return json + "}\n";
}

}  // namespace gofer::checkpoint
