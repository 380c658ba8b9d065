#include "test/soak/actor.h"

#include <errno.h>
#include <sys/stat.h>

#include <algorithm>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "glog/logging.h"
#include "gofer/base/errno.h"
#include "test/support/results.h"

namespace gofer::soak {
namespace {

using one_tree::Facts;
using one_tree::OpenFile;
using one_tree::View;
using testing::ErrorOf;

// Few names and not deep: operations meet each other's files, and fail in every way that there is.
constexpr uint64_t kNames = 5;
constexpr size_t kDepth = 3;
constexpr size_t kMaxHeld = 8;
constexpr uint64_t kMaxText = 12 << 10;
constexpr uint64_t kMaxSize = 20 << 10;

std::string ErrorName(int error) { return error == 0 ? "success" : Errno(error).ToString(); }

std::string ErrorNames(const Model::Errors& errors) {
  if (errors.empty()) return "success";
  return absl::StrJoin(errors, " or ",
                       [](std::string* out, int error) { absl::StrAppend(out, ErrorName(error)); });
}

// A number is given once, to whoever sees the file first: the second who sees it must see the same.
std::string CheckFacts(const Facts& facts, Model::Node& node) {
  if (node.ino == 0) node.ino = facts.ino;
  std::string wrong;
  if (facts.mode != node.mode) {
    absl::StrAppendFormat(&wrong, " mode %o, expected %o;", facts.mode, node.mode);
  }
  if (facts.ino != node.ino) {
    absl::StrAppendFormat(&wrong, " inode %d, expected %d;", facts.ino, node.ino);
  }
  if (node.is_directory()) return wrong;
  if (facts.nlink != node.links) {
    absl::StrAppendFormat(&wrong, " %d links, expected %d;", facts.nlink, node.links);
  }
  if (facts.size != node.content.size()) {
    absl::StrAppendFormat(&wrong, " size %d, expected %d;", facts.size, node.content.size());
  }
  return wrong;
}

std::string CheckContent(const std::string& content, const Model::Node& node) {
  if (content == node.content) return "";
  const auto differs =
      std::mismatch(content.begin(), content.end(), node.content.begin(), node.content.end());
  return absl::StrCat(" ", content.size(), " bytes, expected ", node.content.size(),
                      ", which differ from the byte ", differs.first - content.begin(), " on;");
}

std::string CheckNames(std::vector<std::string> names, const Model::Node& directory) {
  std::sort(names.begin(), names.end());
  std::vector<std::string> expected;
  for (const auto& [name, node] : directory.children) expected.push_back(name);
  if (names == expected) return "";
  return absl::StrCat(" lists {", absl::StrJoin(names, " "), "}, expected {",
                      absl::StrJoin(expected, " "), "};");
}

}  // namespace

// One operation in a region. Each verb says what was wrong with the answer.
class Actor::Turn {
 public:
  Turn(Actor& actor, Region& region) ABSL_EXCLUSIVE_LOCKS_REQUIRED(region.mu)
      : actor_(actor), view_(*actor.view_), region_(region), model_(region.model) {}

  std::string Change() {
    switch (actor_.Below(16)) {
      case 0:
      case 1:
      case 2:
        return Create();
      case 3:
      case 4:
        return Mkdir();
      case 5:
        return Symlink();
      case 6:
        return Link();
      case 7:
      case 8:
        return Rename();
      case 9:
      case 10:
        return Unlink();
      case 11:
        return Rmdir();
      case 12:
        return Chmod();
      case 13:
        return Truncate();
      case 14:
        return WriteHeld();
      default:
        return Write();
    }
  }
  std::string Ask() {
    switch (actor_.Below(9)) {
      case 0:
      case 1:
      case 2:
        return Look();
      case 3:
      case 4:
        return Read();
      case 5:
        return Names();
      case 6:
        return Hold();
      case 7:
        return Close();
      default:
        return AskHeld();
    }
  }

 private:
  // ---- what it is done to

  std::string RandomPath() {
    std::string path = absl::StrCat(actor_.Below(kNames));
    for (uint64_t depth = 1 + actor_.Below(kDepth); depth > 1; --depth) {
      absl::StrAppend(&path, "/", actor_.Below(kNames));
    }
    return model_.LeadsThroughSymlink(path) ? path.substr(0, 1) : path;
  }
  // Mostly something that is there and satisfies it, else any name that does or is not there.
  template <typename Predicate>
  std::string Pick(Predicate&& fits) {
    if (actor_.Below(8) != 0) {
      std::vector<std::string> paths = model_.Paths();
      std::erase_if(paths, [&](const std::string& path) { return !fits(*model_.Find(path)); });
      if (!paths.empty()) return paths[actor_.Below(paths.size())];
    }
    for (;;) {
      const std::string path = RandomPath();
      const Model::NodePtr node = model_.Find(path);
      if (node == nullptr || fits(*node)) return path;
    }
  }
  std::string PickAny() {
    return Pick([](const Model::Node&) { return true; });
  }
  std::string PickFollowed() {
    return Pick([](const Model::Node& node) { return !node.is_symlink(); });
  }
  std::string PickFile() {
    return Pick([](const Model::Node& node) { return node.is_file(); });
  }
  Held* PickHeld() {
    std::vector<Held*> here;
    for (Held& held : actor_.held_) {
      if (held.region == &region_) here.push_back(&held);
    }
    return here.empty() ? nullptr : here[actor_.Below(here.size())];
  }
  // No two are the same.
  std::string Text() {
    std::string text =
        absl::StrCat(region_.directory, " ", view_.name(), " ", actor_.random_(), " ");
    const size_t size = 1 + actor_.Below(actor_.Below(4) == 0 ? kMaxText : 200);
    while (text.size() < size) text += text;
    text.resize(size);
    return text;
  }

  // ---- what it comes to

  std::string Judge(const std::string& what, int error, const Model::Errors& expected) {
    if (expected.empty() ? error == 0 : expected.contains(error)) return "";
    return absl::StrCat(view_.name(), " in ", region_.directory, ": ", what, ": ", ErrorName(error),
                        ", expected ", ErrorNames(expected));
  }
  std::string Complain(const std::string& what, const std::string& wrong) {
    if (wrong.empty()) return "";
    return absl::StrCat(view_.name(), " in ", region_.directory, ": ", what, ":", wrong);
  }

  std::string Create() {
    const std::string path = RandomPath();
    const std::string text = Text();
    const auto expected = model_.Create(path, text);
    return Judge("create " + path, ErrorOf(view_.Create(region_.At(path), text)), expected);
  }
  std::string Mkdir() {
    const std::string path = RandomPath();
    const auto expected = model_.Mkdir(path);
    return Judge("mkdir " + path, ErrorOf(view_.Mkdir(region_.At(path))), expected);
  }
  std::string Symlink() {
    const std::string path = RandomPath();
    const std::string target = absl::StrCat("to/", actor_.Below(1000));
    const auto expected = model_.Symlink(target, path);
    return Judge("symlink " + path, ErrorOf(view_.Symlink(target, region_.At(path))), expected);
  }
  std::string Link() {
    const std::string from = PickAny();
    const std::string to = RandomPath();
    const auto expected = model_.Link(from, to);
    return Judge(absl::StrCat("link ", from, " ", to),
                 ErrorOf(view_.Link(region_.At(from), region_.At(to))), expected);
  }
  std::string Rename() {
    const std::string from = PickAny();
    std::string to = actor_.Below(2) == 0 ? RandomPath() : PickAny();
    const Model::NodePtr moved = model_.Find(from);
    if (moved == nullptr && from == to) return Look();  // LISAFS says that it is done
    const size_t depth = 1 + static_cast<size_t>(std::count(to.begin(), to.end(), '/'));
    if (moved != nullptr && depth + Model::Height(*moved) > kDepth) to = to.substr(0, 1);
    const auto expected = model_.Rename(from, to);
    return Judge(absl::StrCat("rename ", from, " ", to),
                 ErrorOf(view_.Rename(region_.At(from), region_.At(to))), expected);
  }
  std::string Unlink() {
    const std::string path = PickAny();
    const auto expected = model_.Unlink(path);
    return Judge("unlink " + path, ErrorOf(view_.Unlink(region_.At(path))), expected);
  }
  std::string Rmdir() {
    const std::string path = PickAny();
    const auto expected = model_.Rmdir(path);
    return Judge("rmdir " + path, ErrorOf(view_.Rmdir(region_.At(path))), expected);
  }
  std::string Chmod() {
    const std::string path = PickFollowed();
    const uint32_t permissions = 0700 | static_cast<uint32_t>(actor_.Below(0100));
    const auto expected = model_.Chmod(path, permissions);
    return Judge("chmod " + path, ErrorOf(view_.Chmod(region_.At(path), permissions)), expected);
  }
  std::string Truncate() {
    const std::string path = PickFile();
    const uint64_t size = actor_.Below(kMaxSize);
    const auto expected = model_.Truncate(path, size);
    return Judge("truncate " + path, ErrorOf(view_.Truncate(region_.At(path), size)), expected);
  }
  std::string Write() {
    const std::string path = PickFile();
    const std::string text = Text();
    const auto expected = model_.Write(path, text);
    return Judge("write " + path, ErrorOf(view_.Write(region_.At(path), text)), expected);
  }

  std::string Look() {
    const std::string path = PickAny();
    const auto facts = view_.Look(region_.At(path));
    const std::string wrong = Judge("look at " + path, ErrorOf(facts), model_.Look(path));
    if (!wrong.empty() || !facts.ok()) return wrong;
    return Complain("look at " + path, CheckFacts(*facts, *model_.Find(path)));
  }
  std::string Read() {
    const std::string path =
        Pick([](const Model::Node& node) { return node.is_file() || node.is_symlink(); });
    const Model::NodePtr node = model_.Find(path);
    const bool is_link = node != nullptr && node->is_symlink();
    const auto content = is_link ? view_.Target(region_.At(path)) : view_.Read(region_.At(path));
    const std::string wrong = Judge("read " + path, ErrorOf(content), model_.Look(path));
    if (!wrong.empty() || !content.ok()) return wrong;
    return Complain("read " + path, CheckContent(*content, *node));
  }
  std::string Names() {
    const std::string path = Pick([](const Model::Node& node) { return node.is_directory(); });
    const auto names = view_.Names(region_.At(path));
    const std::string wrong = Judge("list " + path, ErrorOf(names), model_.Look(path));
    if (!wrong.empty() || !names.ok()) return wrong;
    return Complain("list " + path, CheckNames(*names, *model_.Find(path)));
  }

  std::string Hold() {
    if (actor_.held_.size() == kMaxHeld) return Close();
    const std::string path = PickFile();
    auto file = view_.Open(region_.At(path));
    const std::string wrong = Judge("open " + path, ErrorOf(file), model_.Look(path));
    if (!wrong.empty() || !file.ok()) return wrong;
    actor_.held_.push_back({&region_, model_.Find(path), *std::move(file)});
    return "";
  }
  std::string Close() {
    const Held* const held = PickHeld();
    if (held == nullptr) return "";
    actor_.held_.erase(actor_.held_.begin() + (held - actor_.held_.data()));
    return "";
  }
  std::string AskHeld() {
    Held* const held = PickHeld();
    if (held == nullptr) return Look();
    const auto facts = held->file->Look();
    std::string wrong = Judge("look at an open file", ErrorOf(facts), {});
    if (wrong.empty()) wrong = Complain("look at an open file", CheckFacts(*facts, *held->node));
    if (!wrong.empty()) return wrong;
    const auto content = held->file->Read();
    wrong = Judge("read an open file", ErrorOf(content), {});
    if (!wrong.empty()) return wrong;
    return Complain("read an open file", CheckContent(*content, *held->node));
  }
  std::string WriteHeld() {
    Held* const held = PickHeld();
    if (held == nullptr) return Write();
    const std::string text = Text();
    Model::Write(*held->node, text);
    return Judge("write to an open file", ErrorOf(held->file->Write(text)), {});
  }

  Actor& actor_;
  View& view_;
  Region& region_;
  Model& model_;
};

Actor::Actor(std::vector<Ground> grounds, uint64_t seed)
    : grounds_(std::move(grounds)), random_(seed) {
  CHECK(!grounds_.empty());
}

const Ground& Actor::PickGround() {
  uint64_t all = 0;
  for (const Ground& ground : grounds_) all += ground.weight;
  uint64_t dice = Below(all);
  for (const Ground& ground : grounds_) {
    if (dice < ground.weight) return ground;
    dice -= ground.weight;
  }
  return grounds_.back();
}

std::string Actor::Step() {
  ++steps_;
  const Ground& ground = PickGround();
  const absl::MutexLock lock(&ground.region->mu);
  Turn turn(*this, *ground.region);
  return ground.read_only || Below(2) == 0 ? turn.Ask() : turn.Change();
}

std::string Actor::LetGo() {
  held_.clear();
  const int error = ErrorOf(view_->Forget());
  if (error == 0) return "";
  return absl::StrCat(view_->name(), ": forget: ", ErrorName(error));
}

void Actor::Abandon() {
  for (const Held& held : held_) held.file->Abandon();
  held_.clear();
}

std::string Differences(View& view, Region& region) {
  const absl::MutexLock lock(&region.mu);
  std::vector<std::string> paths = region.model.Paths();
  paths.push_back("");
  std::string all;
  for (const std::string& path : paths) {
    Model::Node& node = *region.model.Find(path);
    const std::string at = path.empty() ? region.directory : region.At(path);
    std::string wrong;
    const auto facts = view.Look(at);
    const auto check = [&](const auto& answer, auto&& judge) {
      absl::StrAppend(&wrong,
                      answer.ok() ? judge() : absl::StrCat(" ", ErrorName(ErrorOf(answer)), ";"));
    };
    check(facts, [&] { return CheckFacts(*facts, node); });
    if (node.is_directory()) {
      const auto names = view.Names(at);
      check(names, [&] { return CheckNames(*names, node); });
    } else {
      const auto content = node.is_symlink() ? view.Target(at) : view.Read(at);
      check(content, [&] { return CheckContent(*content, node); });
    }
    if (!wrong.empty()) absl::StrAppend(&all, view.name(), ": ", at, ":", wrong, "\n");
  }
  return all;
}

}  // namespace gofer::soak
