#include "test/soak/model.h"

#include <errno.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "glog/logging.h"

namespace gofer::soak {
namespace {

constexpr uint32_t kFile = S_IFREG | 0644;
constexpr uint32_t kDirectory = S_IFDIR | 0755;
constexpr uint32_t kSymlink = S_IFLNK | 0777;

Model::NodePtr MakeNode(uint32_t mode, absl::string_view content) {
  auto node = std::make_shared<Model::Node>();
  node->mode = mode;
  node->content = std::string(content);
  return node;
}

void AddPaths(const Model::Node& directory, const std::string& prefix,
              std::vector<std::string>& paths) {
  for (const auto& [name, node] : directory.children) {
    paths.push_back(prefix + name);
    AddPaths(*node, absl::StrCat(prefix, name, "/"), paths);
  }
}

bool Contains(const Model::Node& directory, const Model::Node& wanted) {
  return std::any_of(directory.children.begin(), directory.children.end(), [&](const auto& child) {
    return child.second.get() == &wanted || Contains(*child.second, wanted);
  });
}

}  // namespace

bool Model::Node::is_directory() const { return S_ISDIR(mode); }
bool Model::Node::is_file() const { return S_ISREG(mode); }
bool Model::Node::is_symlink() const { return S_ISLNK(mode); }

Model::Model() : root_(MakeNode(kDirectory, "")) {}

Model::Place Model::Resolve(absl::string_view path) const {
  CHECK(!path.empty());
  Place place = {.directory = root_, .name = "", .node = root_};
  for (const absl::string_view name : absl::StrSplit(path, '/')) {
    if (place.node == nullptr)
      return {.directory = nullptr, .name = "", .node = nullptr, .error = ENOENT};
    if (!place.node->is_directory()) {
      return {.directory = nullptr, .name = "", .node = nullptr, .error = ENOTDIR};
    }
    place.directory = std::move(place.node);
    place.name = std::string(name);
    const auto found = place.directory->children.find(place.name);
    place.node = found == place.directory->children.end() ? nullptr : found->second;
  }
  return place;
}

Model::Errors Model::Add(absl::string_view path, NodePtr node) {
  const Place place = Resolve(path);
  if (place.error != 0) return {place.error};
  if (place.node != nullptr) return {EEXIST};
  place.directory->children[place.name] = std::move(node);
  return {};
}

Model::Errors Model::Create(absl::string_view path, absl::string_view text) {
  return Add(path, MakeNode(kFile, text));
}

Model::Errors Model::Mkdir(absl::string_view path) { return Add(path, MakeNode(kDirectory, "")); }

Model::Errors Model::Symlink(absl::string_view target, absl::string_view path) {
  return Add(path, MakeNode(kSymlink, target));
}

Model::Errors Model::Link(absl::string_view from, absl::string_view to) {
  Errors errors;
  const Place source = Resolve(from);
  if (source.error != 0) {
    errors.insert(source.error);
  } else if (source.node == nullptr) {
    errors.insert(ENOENT);
  } else if (source.node->is_directory()) {
    errors.insert(EPERM);
  }
  const Place target = Resolve(to);
  if (target.error != 0) {
    errors.insert(target.error);
  } else if (target.node != nullptr) {
    errors.insert(EEXIST);
  }
  if (!errors.empty()) return errors;
  ++source.node->links;
  target.directory->children[target.name] = source.node;
  return {};
}

Model::Errors Model::Rename(absl::string_view from, absl::string_view to) {
  Errors errors;
  const Place source = Resolve(from);
  const Place target = Resolve(to);
  for (const Place* const place : {&source, &target}) {
    if (place->error != 0) errors.insert(place->error);
  }
  if (source.error == 0 && source.node == nullptr) errors.insert(ENOENT);
  if (source.node != nullptr && target.error == 0) {
    // Two names of one file stay as they are.
    if (source.node == target.node) return {};
    if (source.node->is_directory() &&
        (source.node == target.directory || Contains(*source.node, *target.directory))) {
      errors.insert(EINVAL);
    }
    if (target.node != nullptr) {
      if (target.node->is_directory() && !target.node->children.empty()) errors.insert(ENOTEMPTY);
      if (source.node->is_directory() && !target.node->is_directory()) errors.insert(ENOTDIR);
      if (!source.node->is_directory() && target.node->is_directory()) errors.insert(EISDIR);
    }
  }
  if (!errors.empty()) return errors;
  if (target.node != nullptr) --target.node->links;
  target.directory->children[target.name] = source.node;
  source.directory->children.erase(source.name);
  return {};
}

Model::Errors Model::Unlink(absl::string_view path) {
  const Place place = Resolve(path);
  if (place.error != 0) return {place.error};
  if (place.node == nullptr) return {ENOENT};
  if (place.node->is_directory()) return {EISDIR};
  --place.node->links;
  place.directory->children.erase(place.name);
  return {};
}

Model::Errors Model::Rmdir(absl::string_view path) {
  const Place place = Resolve(path);
  if (place.error != 0) return {place.error};
  if (place.node == nullptr) return {ENOENT};
  if (!place.node->is_directory()) return {ENOTDIR};
  if (!place.node->children.empty()) return {ENOTEMPTY};
  place.directory->children.erase(place.name);
  return {};
}

Model::Errors Model::Chmod(absl::string_view path, uint32_t permissions) {
  const Errors errors = Look(path);
  if (!errors.empty()) return errors;
  Node& node = *Find(path);
  CHECK(!node.is_symlink()) << path;
  node.mode = (node.mode & S_IFMT) | permissions;
  return {};
}

Model::Errors Model::FindFile(absl::string_view path, NodePtr& file) const {
  const Errors errors = Look(path);
  if (!errors.empty()) return errors;
  file = Find(path);
  CHECK(!file->is_symlink()) << path;
  if (file->is_directory()) return {EISDIR};
  return {};
}

Model::Errors Model::Truncate(absl::string_view path, uint64_t size) {
  NodePtr file;
  const Errors errors = FindFile(path, file);
  if (errors.empty()) file->content.resize(size);
  return errors;
}

Model::Errors Model::Write(absl::string_view path, absl::string_view text) {
  NodePtr file;
  const Errors errors = FindFile(path, file);
  if (errors.empty()) Write(*file, text);
  return errors;
}

void Model::Write(Node& file, absl::string_view text) {
  if (file.content.size() < text.size()) file.content.resize(text.size());
  text.copy(file.content.data(), text.size());
}

Model::Errors Model::Look(absl::string_view path) const {
  if (path.empty()) return {};
  const Place place = Resolve(path);
  if (place.error != 0) return {place.error};
  if (place.node == nullptr) return {ENOENT};
  return {};
}

Model::NodePtr Model::Find(absl::string_view path) const {
  return path.empty() ? root_ : Resolve(path).node;
}

bool Model::LeadsThroughSymlink(absl::string_view path) const {
  for (size_t slash = path.find('/'); slash != absl::string_view::npos;
       slash = path.find('/', slash + 1)) {
    const NodePtr node = Resolve(path.substr(0, slash)).node;
    if (node == nullptr) return false;
    if (node->is_symlink()) return true;
  }
  return false;
}

std::vector<std::string> Model::Paths() const {
  std::vector<std::string> paths;
  AddPaths(*root_, "", paths);
  return paths;
}

size_t Model::Height(const Node& node) {
  size_t height = 0;
  for (const auto& [name, child] : node.children) height = std::max(height, 1 + Height(*child));
  return height;
}

}  // namespace gofer::soak
