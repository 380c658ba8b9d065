// Extended attributes: each namespace by each verb, and values of each size. A sandbox has its own
// namespace and no other; a guest has what the host gives a process without capabilities. Attacks
//
//
// Source: spec/security.md s.2 and s.10.

#include <sys/xattr.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "test/hostile/peer.h"
#include "test/support/results.h"

namespace gofer::testing {
namespace {

using Node = Peer::Node;

class FileXattr : public PeerTest {
 protected:
  void SetUp() override {
    tree_.Write("served/file", "text");
    tree_.Mkdir("served/dir");
    tree_.Symlink("served/link", tree_.At("beside/secret"));
    tree_.Fifo("served/fifo");
    peer_ = Connect();
  }
  void TearDown() override {
    peer_.reset();
    PeerTest::TearDown();
  }
  Node Lookup(const char* name) { return Must(peer_->Lookup(peer_->root(), name)); }
  bool Lists(const Node& node, const std::string& name) {
    const std::vector<std::string> names = Must(peer_->ListXattr(node.id));
    return std::find(names.begin(), names.end(), name) != names.end();
  }

  std::unique_ptr<Peer> peer_;
};

TEST_P(FileXattr, TheClientsOwnNamespace) {
  for (const char* const name : {"file", "dir"}) {
    const Node node = Lookup(name);
    EXPECT_EQ(ErrorOf(peer_->GetXattr(node.id, "user.k", 100)), ENODATA);
    Must(peer_->SetXattr(node.id, "user.k", "value"));
    EXPECT_EQ(Must(peer_->GetXattr(node.id, "user.k", 100)), "value");
    EXPECT_TRUE(Lists(node, "user.k"));
    Must(peer_->RemoveXattr(node.id, "user.k"));
    EXPECT_EQ(ErrorOf(peer_->RemoveXattr(node.id, "user.k")), ENODATA);
    EXPECT_FALSE(Lists(node, "user.k"));
  }
}

// What the host has there can be neither seen nor changed.
TEST_P(FileXattr, EveryOtherNamespace) {
  // The last for what LISAFS alone keeps from its clients: a guest's kernel judges by itself, and
  // the host refuses what a process may not that has a gofer's few capabilities.
  struct Case {
    const char* name;
    bool hidden_from_guests;
  };
  const Case cases[] = {
      {"system.posix_acl_access", true}, {"system.posix_acl_default", true},
      {"user.overlay.opaque", false},    {"trusted.k", false},
      {"trusted.overlay.opaque", false}, {"security.selinux", false},
      {"security.capability", false},    {"security.evm", false},
  };
  const Node node = Lookup("file");
  const std::string path = tree_.At("served/file");
  for (const Case& one : cases) {
    if (IsFuse() && !one.hidden_from_guests) continue;
    SCOPED_TRACE(one.name);
    EXPECT_EQ(ErrorOf(peer_->SetXattr(node.id, one.name, "value")), EOPNOTSUPP);
    EXPECT_EQ(ErrorOf(peer_->RemoveXattr(node.id, one.name)), EOPNOTSUPP);
    EXPECT_FALSE(Lists(node, one.name));
    const int read = ErrorOf(peer_->GetXattr(node.id, one.name, 100));
    const bool may_be_read = absl::string_view(one.name) == "security.capability";
    EXPECT_EQ(read, may_be_read ? ENODATA : EOPNOTSUPP);
    EXPECT_LT(getxattr(path.c_str(), one.name, nullptr, 0), 0) << "it has come to the host";
    // Nor if somebody on the host has set it.
    if (setxattr(path.c_str(), one.name, "v", 1, 0) != 0) continue;
    EXPECT_EQ(ErrorOf(peer_->GetXattr(node.id, one.name, 100)), EOPNOTSUPP);
    EXPECT_EQ(ErrorOf(peer_->SetXattr(node.id, one.name, "value")), EOPNOTSUPP);
    EXPECT_EQ(ErrorOf(peer_->RemoveXattr(node.id, one.name)), EOPNOTSUPP);
    EXPECT_FALSE(Lists(node, one.name));
    removexattr(path.c_str(), one.name);
  }
}

TEST_P(FileXattr, NamesThatAreNone) {
  const Node node = Lookup("file");
  for (const std::string& name :
       {std::string("user"), std::string("USER.k"), std::string("users.k"), std::string("btrfs.k"),
        std::string("system.k"), std::string("k")}) {
    SCOPED_TRACE(name);
    EXPECT_EQ(ErrorOf(peer_->SetXattr(node.id, name, "v")), EOPNOTSUPP);
    EXPECT_EQ(ErrorOf(peer_->GetXattr(node.id, name, 100)), EOPNOTSUPP);
    EXPECT_EQ(ErrorOf(peer_->RemoveXattr(node.id, name)), EOPNOTSUPP);
  }
  EXPECT_EQ(ErrorOf(peer_->SetXattr(node.id, "", "v")), ERANGE);
  EXPECT_EQ(ErrorOf(peer_->SetXattr(node.id, "user." + std::string(251, 'n'), "v")), ERANGE);
  EXPECT_EQ(ErrorOf(peer_->GetXattr(node.id, "user." + std::string(60'000, 'n'), 10)), ERANGE);
  EXPECT_TRUE(Must(peer_->ListXattr(node.id)).empty());
}

TEST_P(FileXattr, Sizes) {
  const Node node = Lookup("file");
  Must(peer_->SetXattr(node.id, "user.empty", ""));
  EXPECT_EQ(Must(peer_->GetXattr(node.id, "user.empty", 65536)), "");
  Must(peer_->SetXattr(node.id, "user.k", "value"));
  EXPECT_EQ(ErrorOf(peer_->GetXattr(node.id, "user.k", 4)), ERANGE);
  EXPECT_EQ(Must(peer_->GetXattr(node.id, "user.k", 65536)), "value");
  EXPECT_EQ(Must(peer_->GetXattr(node.id, "user.k", 65537)), "value");
  if (IsFuse()) {
    // The largest that a host knows, as far as its file system goes; and one that none knows.
    const int largest = ErrorOf(peer_->SetXattr(node.id, "user.l", std::string(65536, 'v')));
    EXPECT_TRUE(largest == 0 || largest == ENOSPC || largest == E2BIG) << largest;
    EXPECT_EQ(ErrorOf(peer_->SetXattr(node.id, "user.l", std::string(65537, 'v'))), E2BIG);
    EXPECT_EQ(ErrorOf(peer_->GetXattr(node.id, "user.k", UINT32_MAX)), ENOMEM);
  } else {
    // A string of LISAFS says 65 535 at most; what the host has beyond that is too big to be told.
    const int largest = ErrorOf(peer_->SetXattr(node.id, "user.l", std::string(65535, 'v')));
    EXPECT_TRUE(largest == 0 || largest == ENOSPC || largest == E2BIG) << largest;
    if (setxattr(tree_.At("served/file").c_str(), "user.l", std::string(65536, 'v').data(), 65536,
                 0) == 0) {
      EXPECT_EQ(ErrorOf(peer_->GetXattr(node.id, "user.l", 65536)), E2BIG);
    }
    EXPECT_EQ(Must(peer_->GetXattr(node.id, "user.k", UINT32_MAX)), "value");
  }
}

// Not through a link, and not on what cannot have any.
TEST_P(FileXattr, OtherTypes) {
  for (const char* const name : {"link", "fifo"}) {
    SCOPED_TRACE(name);
    const Node node = Lookup(name);
    EXPECT_EQ(ErrorOf(peer_->SetXattr(node.id, "user.k", "v")), EPERM);
    const int read = ErrorOf(peer_->GetXattr(node.id, "user.k", 100));
    EXPECT_TRUE(read == ENODATA || read == EPERM) << read;
    const int removed = ErrorOf(peer_->RemoveXattr(node.id, "user.k"));
    EXPECT_TRUE(removed == ENODATA || removed == EPERM) << removed;
    EXPECT_TRUE(Must(peer_->ListXattr(node.id)).empty());
  }
  EXPECT_LT(getxattr(tree_.At("beside/secret").c_str(), "user.k", nullptr, 0), 0);
}

INSTANTIATE_OVER_EACH_WAY_IN(FileXattr);

}  // namespace
}  // namespace gofer::testing
