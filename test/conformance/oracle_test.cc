// The kernel on a plain folder is the judge: each script runs through the client, over the socket
// and over a channel, and by plain system calls on a folder of its own; every errno, everything
// seen, and the trees that result must agree. Then the same with operations drawn at random.

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "test/conformance/script.h"
#include "test/support/session.h"
#include "test/support/temp_tree.h"
#include "test/support/test_server.h"

namespace lisafs {
namespace {

using gofer::testing::OverEachWay;
using gofer::testing::Session;
using gofer::testing::TempTree;
using gofer::testing::TestServer;

const std::string kLongName(255, 'n');

struct Script {
  const char* name;
  std::vector<Op> ops;
};

const std::vector<Script>& Scripts() {
  static const auto* const scripts = new std::vector<Script>{
      {"MkdirModes",
       {Mkdir("a", 0700), Mkdir("b", 01777), Mkdir("c", 0), Mkdir("a"), Stat("a"), Stat("b"),
        Stat("c")}},
      {"MkdirInSetgid", {Mkdir("g"), Chown("g", 0, 7), Chmod("g", 02755), Mkdir("g/d"), Stat("g")}},
      {"MkdirNowhere",
       {Mkdir("x/y"), Create("f"), Mkdir("f/d"), Mkdir(kLongName), Mkdir(kLongName + "n")}},
      {"RmdirNonEmpty",
       {Mkdir("d"), Create("d/f"), Rmdir("d"), Unlink("d/f"), Rmdir("d"), Rmdir("d")}},
      {"RmdirOfAFile", {Create("f"), Rmdir("f"), Unlink("f")}},
      {"UnlinkOfADirectory", {Mkdir("d"), Unlink("d"), Unlink("missing"), Unlink("d/missing")}},
      {"UnlinkedStillOpen",
       {Create("f"), Write(0, "text"), Unlink("f"), Write(4, "more"), Read(0, 100), StatSlot()}},
      {"CreateExisting",
       {Create("f"), Create("f"), Mkdir("d"), Create("d"), Symlink("l", "f"), Create("l")}},
      {"CreateModes", {Create("a", 0, 0), Create("b", 0, 0777), Create("c", 0, 01640), Stat("c")}},
      {"CreateReadOnlyModeStillWrites", {Create("f", 0, 0444), Write(0, "text"), Read(0, 4)}},
      {"CreateNowhere", {Create("x/f"), Create("f"), Create("f/g"), Create(kLongName + "n")}},
      {"OpenMissing", {Open("f", O_RDONLY), Open("x/f", O_RDONLY)}},
      {"OpenModes",
       {Create("f"), Write(0, "text"), Open("f", O_RDONLY, 1), Write(0, "x", 1), Read(0, 4, 1),
        Allocate(0, 9, 1), Open("f", O_WRONLY, 2), Read(0, 4, 2), Write(0, "T", 2), Read(0, 4)}},
      {"OpenTruncates",
       {Create("f"), Write(0, "text"), Open("f", O_WRONLY | O_TRUNC, 1), StatSlot(), Read(0, 4)}},
      {"OpenDirectory",
       {Mkdir("d"), Open("d", O_RDONLY), Read(0, 1), Write(0, "x"), Sync(), Open("d", O_WRONLY, 1),
        Open("d", O_RDWR, 1)}},
      {"Holes",
       {Create("f"), Write(10, "x"), Read(0, 100), Write(1 << 20, "y"), StatSlot(),
        Read((1 << 20) - 1, 5)}},
      {"ReadBeyondTheEnd",
       {Create("f"), Write(0, "abc"), Read(3, 1), Read(100, 1), Read(2, 100), Read(0, 0)}},
      {"OffsetsThatAreNegative",
       {Create("f"), Write(uint64_t{1} << 63, "x"), Read(uint64_t{1} << 63, 1),
        Write(UINT64_MAX, "x")}},
      {"Allocate",
       {Create("f"), Allocate(0, 40), StatSlot(), Allocate(20, 100), StatSlot(), Allocate(0, 0)}},
      {"RenamePlain",
       {Create("a"), Write(0, "a"), Rename("a", "b"), Stat("a"), Stat("b"), Rename("a", "b")}},
      {"RenameReplaces",
       {Create("a"), Write(0, "a"), Create("b", 1), Write(0, "b", 1), Rename("a", "b"), StatSlot(1),
        Read(0, 1, 1)}},
      {"RenameDirectories",
       {Mkdir("a"), Create("a/f"), Mkdir("b"), Create("b/g"), Rename("a", "b"), Unlink("b/g"),
        Rename("a", "b"), List("b")}},
      {"RenameIntoItself", {Mkdir("a"), Mkdir("a/b"), Rename("a", "a/b/c"), Rename("a/b", "a")}},
      {"RenameTypes",
       {Mkdir("d"), Create("f"), Rename("d", "f"), Rename("f", "d"), Symlink("l", "d"),
        Rename("f", "l"), List("l")}},
      {"RenameHardLinks", {Create("a"), Link("a", "b"), Rename("a", "b"), Stat("a"), Stat("b")}},
      {"RenameNoReplace",
       {Create("a"), Create("b"), Rename("a", "b", RENAME_NOREPLACE),
        Rename("a", "c", RENAME_NOREPLACE), Stat("c")}},
      {"RenameExchange",
       {Mkdir("a"), Create("a/f"), Create("b", 1), Write(0, "b", 1),
        Rename("a", "b", RENAME_EXCHANGE), Stat("a"), List("b"),
        Rename("a", "missing", RENAME_EXCHANGE)}},
      {"RenameWhatIsOpen",
       {Create("a"), Write(0, "text"), Mkdir("d"), Rename("a", "d/b"), Write(4, "!"), StatSlot(),
        Stat("d/b")}},
      {"RenameNowhere",
       {Create("a"), Rename("a", "x/b"), Rename("x/a", "b"), Create("f"), Rename("a", "f/g")}},
      {"Symlinks",
       {Symlink("l", "target"), ReadLink("l"), Stat("l"), Symlink("l", "again"),
        Symlink("empty", ""), Symlink("abs", "/etc/passwd"), ReadLink("abs")}},
      {"SymlinkTargets",
       {Symlink("a", std::string(4095, 't')), Symlink("b", std::string(4096, 't')), ReadLink("a"),
        Symlink("c", "..")}},
      {"SymlinkIsNotFollowed",
       {Mkdir("d"), Create("d/f"), Symlink("l", "d"), Stat("l/f"), Mkdir("l/x"), Unlink("l/f"),
        Rename("l/f", "f"), List("d")}},
      {"ReadLinkOfAFile", {Create("f"), ReadLink("f"), ReadLink("missing")}},
      {"SymlinkAttributes",
       {Symlink("l", "t"), Chown("l", 5, 6), Times("l", 100, 200), Chmod("l", 0600), Stat("l")}},
      {"HardLinks",
       {Create("a"), Write(0, "x"), Link("a", "b"), Stat("a"), Stat("b"), Link("a", "b"),
        Unlink("a"), Stat("b")}},
      {"HardLinkOfDirectoryAndSymlink",
       {Mkdir("d"), Link("d", "e"), Symlink("l", "d"), Link("l", "m"), ReadLink("m"),
        Link("missing", "n")}},
      {"Mknod",
       {Mknod("a"), Mknod("a"), Mknod("b", 0600), Stat("b"), Mknod("x/y"), Open("b", O_RDWR),
        Write(0, "t")}},
      {"ChmodAndChown",
       {Create("f", 0, 06755), Chmod("f", 0640), Stat("f"), Chown("f", 7, 8), Stat("f"),
        Chmod("missing", 0)}},
      {"ChownClearsSetid",
       {Create("f"), Chmod("f", 06755), Chown("f", 1, 1), Stat("f"), Chmod("f", 06644),
        Chown("f", 2, 2), Stat("f")}},
      {"ChownOfNothing",
       {Create("f"), Chown("f", 3, 4), Chown("f", 0xffffffff, 9), Stat("f"),
        Chown("f", 8, 0xffffffff), Stat("f")}},
      {"ChmodOfADirectory",
       {Mkdir("d"), Chmod("d", 03700), Stat("d"), Chown("d", 5, 5), Stat("d")}},
      {"Truncate",
       {Create("f"), Write(0, "0123456789"), Truncate("f", 4), Read(0, 100), Truncate("f", 8),
        Read(0, 100), Truncate("missing", 1)}},
      {"TruncateErrors",
       {Mkdir("d"), Truncate("d", 0), Create("f"), Truncate("f", uint64_t{1} << 63)}},
      {"Times",
       {Create("f"), Times("f", 1000, 2000), Mkdir("d"), Times("d", 5, 1671408000),
        Times("missing", 1, 2), Mknod("ro", 0444), Times("ro", 7, 8)}},
      {"Listing",
       {List("missing"), Mkdir("d"), List("d"), Create("d/f"), Mkdir("d/e"), Symlink("d/l", "x"),
        List("d"), Unlink("d/f"), List("d")}},
      {"ListingOfAFile", {Create("f"), StatSlot(), Sync()}},
      {"DeepPaths",
       {Mkdir("a"), Mkdir("a/b"), Mkdir("a/b/c"), Create("a/b/c/f"), Stat("a/b/c/f"),
        Stat("a/b/x/f"), Stat("a/b/c/f/g"), Rename("a/b", "z"), Stat("z/c/f")}},
      {"NamesOfAnyBytes",
       {Create("new\nline"), Create("\xff\xfe"), Mkdir("..."), Create(kLongName), List(""),
        Unlink("\xff\xfe")}},
      {"SpaceAndSync",
       {Create("f"), Write(0, std::string(100000, 'x')), Sync(), StatSlot(), Read(99990, 100)}},
  };
  return *scripts;
}

const std::vector<Script>& XattrScripts() {
  static const auto* const scripts = new std::vector<Script>{
      {"XattrSetAndGet",
       {Create("f"), SetXattr("f", "user.k", "value"), GetXattr("f", "user.k"), ListXattr("f"),
        RemoveXattr("f", "user.k"), GetXattr("f", "user.k"), ListXattr("f")}},
      {"XattrFlags",
       {Create("f"), SetXattr("f", "user.k", "a", XATTR_REPLACE),
        SetXattr("f", "user.k", "a", XATTR_CREATE), SetXattr("f", "user.k", "b", XATTR_CREATE),
        SetXattr("f", "user.k", "c", XATTR_REPLACE), GetXattr("f", "user.k")}},
      {"XattrSizes",
       {Create("f"), SetXattr("f", "user.k", "12345"), GetXattr("f", "user.k", 4),
        GetXattr("f", "user.k", 5), SetXattr("f", "user.empty", ""),
        GetXattr("f", "user.empty", 10)}},
      {"XattrOfDirectories",
       {Mkdir("d"), SetXattr("d", "user.k", "v"), GetXattr("d", "user.k"), ListXattr("d"),
        RemoveXattr("d", "user.none")}},
  };
  return *scripts;
}

class Oracle : public OverEachWay {
 protected:
  void Compare(const std::vector<Op>& ops) {
    const TempTree plain;
    const TempTree served;
    TestServer server(served);
    Session session(server, GetParam());
    const std::unique_ptr<Runner> host = MakeHostRunner(plain);
    const std::unique_ptr<Runner> lisafs = MakeLisafsRunner(session);
    for (size_t i = 0; i < ops.size(); ++i) {
      const Outcome wanted = host->Run(ops[i]);
      const Outcome got = lisafs->Run(ops[i]);
      ASSERT_EQ(ToString(got), ToString(wanted)) << "operation " << i << ": " << ToString(ops[i]);
    }
    EXPECT_EQ(served.Snapshot(), plain.Snapshot());
  }
};
INSTANTIATE_OVER_EACH_WAY(Oracle);

TEST_P(Oracle, JudgesScripts) {
  for (const Script& script : Scripts()) {
    SCOPED_TRACE(script.name);
    Compare(script.ops);
  }
}

TEST_P(Oracle, JudgesExtendedAttributes) {
  const TempTree probe;
  probe.Write("f", "");
  if (setxattr(probe.At("f").c_str(), "user.k", "v", 1, 0) != 0) {
    GTEST_SKIP() << "the file system of the test has no user attributes";
  }
  for (const Script& script : XattrScripts()) {
    SCOPED_TRACE(script.name);
    Compare(script.ops);
  }
}

// Operations on a few names, so that they get in each other's way.
std::vector<Op> RandomOps(uint32_t seed, size_t count) {
  std::mt19937 random(seed);
  const auto pick = [&random](uint64_t bound) { return random() % bound; };
  const std::vector<std::string> names = {"a", "b", "c"};
  const auto path = [&] {
    std::string result = names[pick(3)];
    while (pick(3) == 0) absl::StrAppend(&result, "/", names[pick(3)]);
    return result;
  };
  const auto slot = [&] { return static_cast<int>(pick(3)); };
  // Slots must hold something before they are used.
  std::vector<Op> ops = {Create("s0", 0), Create("s1", 1), Create("s2", 2)};
  while (ops.size() < count) {
    switch (pick(20)) {
      case 0:
      case 1:
      case 2:
        ops.push_back(Mkdir(path()));
        break;
      case 3:
      case 4:
        ops.push_back(Create(path(), slot()));
        break;
      case 5:
        ops.push_back(Write(pick(100), std::string(pick(50), 'w'), slot()));
        break;
      case 6:
        ops.push_back(Read(pick(100), pick(100), slot()));
        break;
      case 7:
        ops.push_back(Unlink(path()));
        break;
      case 8:
        ops.push_back(Rmdir(path()));
        break;
      case 9:
      case 10:
      case 11:
        ops.push_back(Rename(path(), absl::StrCat("d", path())));
        break;
      case 12: {
        const std::string from = path();
        const std::string to = path();
        // Onto itself is success without looking, also of what is not there: the one rule that is
        // not the host's.
        if (from != to) ops.push_back(Rename(from, to, pick(4) == 0 ? RENAME_EXCHANGE : 0));
        break;
      }
      case 13:
        ops.push_back(Symlink(path(), names[pick(3)]));
        break;
      case 14:
        ops.push_back(Link(path(), path()));
        break;
      case 15:
        ops.push_back(Stat(path()));
        break;
      case 16:
        ops.push_back(
            Chown(path(), static_cast<uint32_t>(pick(5)), static_cast<uint32_t>(pick(5))));
        break;
      case 17:
        ops.push_back(StatSlot(slot()));
        break;
      case 18:
        ops.push_back(Mknod(path()));
        break;
      default:
        ops.push_back(Times(path(), pick(1000), pick(1000)));
    }
  }
  return ops;
}

TEST_P(Oracle, JudgesRandomOperations) {
  for (uint32_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    Compare(RandomOps(seed, 300));
  }
}

}  // namespace
}  // namespace lisafs
