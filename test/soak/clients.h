// Clients of the soak: one kind for each way in, and the host's own. Each acts as long as it is
// asked to, and can die in the way of its kind and come again.
//
// Owner:   the caller; the gofer whose ways they use, and the regions, outlive them.
// Threads: one for each.
// Errors:  Must, as in tests: a client that cannot come back ends the test.

#ifndef TEST_SOAK_CLIENTS_H_
#define TEST_SOAK_CLIENTS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"
#include "test/one_tree/view.h"
#include "test/soak/actor.h"
#include "vhost/driver/fuse_client.h"
#include "vhost/driver/machine.h"

namespace gofer::soak {

class Client {
 public:
  Client(std::string name, std::vector<Ground> grounds, uint64_t seed)
      : name_(std::move(name)), actor_(std::move(grounds), seed) {}
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  virtual ~Client() = default;

  const std::string& name() const { return name_; }
  Actor& actor() { return actor_; }
  uint64_t deaths() const { return deaths_; }

  virtual one_tree::View& view() = 0;
  // Before it acts, and after it has left or died.
  virtual void Come() = 0;
  // With all that it holds, perhaps in the middle of something.
  void Die();
  // As a client does that has nothing more to do. Says what went wrong.
  std::string Leave();

 protected:
  virtual void DieAsItsKind() = 0;
  virtual void GoAway() = 0;

 private:
  const std::string name_;
  Actor actor_;
  uint64_t deaths_ = 0;
};

// A connection, with channels or without.
class LisafsSoakClient final : public Client {
 public:
  LisafsSoakClient(std::string name, std::string socket, size_t channels,
                   std::vector<Ground> grounds, uint64_t seed);

  one_tree::View& view() override { return *view_; }
  void Come() override;

 private:
  void DieAsItsKind() override;
  void GoAway() override { view_.reset(); }

  const std::string socket_;
  const size_t channels_;
  std::unique_ptr<one_tree::LisafsView> view_;
};

// A virtual machine, which stays: what comes and goes is the guest in it.
class GuestSoakClient final : public Client {
 public:
  GuestSoakClient(std::string name, UniqueFd socket, std::vector<Ground> grounds, uint64_t seed);

  one_tree::View& view() override { return view_; }
  void Come() override;

 private:
  void DieAsItsKind() override;
  void GoAway() override;

  const std::unique_ptr<vhost::driver::Machine> machine_;
  vhost::driver::FuseClient client_;
  one_tree::GuestView view_;
};

// A program on this machine: through a mount, or beside it. When it dies, the kernel closes its
// files.
class FolderSoakClient final : public Client {
 public:
  FolderSoakClient(std::unique_ptr<one_tree::FolderView> view, std::vector<Ground> grounds,
                   uint64_t seed);

  one_tree::View& view() override { return *view_; }
  void Come() override { actor().Use(view_.get()); }

 private:
  void DieAsItsKind() override {}
  void GoAway() override {}

  const std::unique_ptr<one_tree::FolderView> view_;
};

// A folder that others change as well behind the kernel's back. Linux cannot move a directory that
// it knows by another name while it renames something itself (fs/dcache.c, __d_unalias), and says
// ESTALE until somebody has looked.
class MountView final : public one_tree::FolderView {
 public:
  using FolderView::FolderView;

  ErrnoOr<void> Rename(const std::string& from, const std::string& to) override;
};

}  // namespace gofer::soak

#endif  // TEST_SOAK_CLIENTS_H_
