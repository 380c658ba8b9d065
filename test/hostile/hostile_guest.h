// What every test with a hostile guest watches: a second guest, which is honest, is answered within
// a second, the hostile one's honest queue too where that can be, nothing beside the served tree is
// touched, and descriptors and threads go back to what they were.
//
//   class MyTest : public HostileGuestTest {};
//   TEST_F(MyTest, Name) { Boot(); ...do harm with machine() and client()... }   // TearDown checks
//
// The guests drive the whole of the back-end through its socket, on real shared memory.
//
// Source: spec/security.md s.7 and s.10; spec/vhost-user-fs.md s.11.

#ifndef TEST_HOSTILE_HOSTILE_GUEST_H_
#define TEST_HOSTILE_HOSTILE_GUEST_H_

#include <map>
#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "test/support/results.h"
#include "test/support/temp_tree.h"
#include "test/support/vhost_server.h"
#include "vhost/driver/fuse_client.h"
#include "vhost/driver/machine.h"

namespace gofer::vhost {

using testing::ErrorOf;
using testing::Must;

class HostileGuestTest : public ::testing::Test {
 protected:
  explicit HostileGuestTest(const fuse::SessionOptions& session = Permissive());
  ~HostileGuestTest() override;

  void TearDown() override;

  // Starts the hostile guest anew, with a client on request queue 1 that has mounted.
  void Boot(const driver::MachineOptions& options = Small(),
            const driver::FuseClientOptions& client = {});
  // Ends it, in whatever state it is.
  void PullThePlug();

  driver::Machine& machine() { return *machine_; }
  driver::FuseClient& client() { return *client_; }

  // The honest guest gets an answer soon, and so does a new one.
  void ExpectOthersServed();
  void ExpectNothingHeld();
  void ExpectBesideUntouched();

  static fuse::SessionOptions Permissive();
  // Under QEMU 7: QEMU 10 resets the device after it has named the error descriptors.
  static driver::MachineOptions Small() {
    return {.vmm = driver::Vmm::kQemu7, .request_queues = 2, .ram_bytes = 16 << 20};
  }

  // "served" is what is served; "beside" is what nobody may reach.
  testing::TempTree tree_;
  testing::VhostServer server_;

 private:
  struct Guest {
    Guest(UniqueFd socket, const driver::MachineOptions& options,
          const driver::FuseClientOptions& client);
    std::unique_ptr<driver::Machine> machine;
    std::unique_ptr<driver::FuseClient> client;
  };

  std::map<std::string, std::string> Beside() const;

  std::unique_ptr<Guest> honest_;
  std::unique_ptr<driver::Machine> machine_;
  std::unique_ptr<driver::FuseClient> client_;
  std::map<std::string, std::string> beside_before_;
  size_t fds_before_ = 0;
  size_t threads_before_ = 0;
};

}  // namespace gofer::vhost

#endif  // TEST_HOSTILE_HOSTILE_GUEST_H_
