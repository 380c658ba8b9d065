#include "test/hostile/hostile_guest.h"

#include <utility>

#include "absl/time/time.h"
#include "glog/logging.h"
#include "test/support/eventually.h"
#include "test/support/stopwatch.h"

namespace gofer::vhost {

using driver::FuseClient;
using driver::FuseClientOptions;
using driver::Machine;
using driver::MachineOptions;
using testing::CountOpenFds;
using testing::CountThreads;
using testing::Eventually;
using testing::Stopwatch;
using testing::TempTree;

namespace {

// Makes what is served and what is beside it, before the server starts.
const TempTree& Prepared(const TempTree& tree) {
  tree.Mkdir("served");
  tree.Mkdir("beside");
  tree.Write("beside/secret", "secret");
  tree.Mkdir("beside/dir");
  return tree;
}

std::unique_ptr<Machine> Booted(UniqueFd socket, const MachineOptions& options) {
  std::unique_ptr<Machine> machine = Must(Machine::Attach(std::move(socket), options));
  Must(machine->Start());
  return machine;
}

}  // namespace

HostileGuestTest::Guest::Guest(UniqueFd socket, const MachineOptions& options,
                               const FuseClientOptions& client_options)
    : machine(Booted(std::move(socket), options)),
      client(std::make_unique<FuseClient>(machine.get(), client_options)) {
  Must(client->Init());
}

fuse::SessionOptions HostileGuestTest::Permissive() {
  fuse::SessionOptions options;
  options.xattr = true;
  options.posix_locks = true;
  options.flock_locks = true;
  options.make_devices = true;
  return options;
}

HostileGuestTest::HostileGuestTest(const fuse::SessionOptions& session)
    : server_(Prepared(tree_), "served", session),
      honest_(std::make_unique<Guest>(server_.Connect(), Small(), FuseClientOptions{})) {
  beside_before_ = Beside();
  fds_before_ = CountOpenFds();
  threads_before_ = CountThreads();
}

HostileGuestTest::~HostileGuestTest() = default;

void HostileGuestTest::Boot(const MachineOptions& options, const FuseClientOptions& client) {
  PullThePlug();
  Guest guest(server_.Connect(), options, client);
  machine_ = std::move(guest.machine);
  client_ = std::move(guest.client);
}

void HostileGuestTest::PullThePlug() {
  client_.reset();
  machine_.reset();
}

std::map<std::string, std::string> HostileGuestTest::Beside() const {
  std::map<std::string, std::string> lines;
  for (const auto& [name, line] : tree_.StrictSnapshot()) {
    if (name.rfind("beside", 0) == 0) lines[name] = line;
  }
  return lines;
}

void HostileGuestTest::ExpectOthersServed() {
  const Stopwatch watch;
  EXPECT_EQ(ErrorOf(honest_->client->Getattr(fuse::NodeId::kRoot)), 0);
  const Guest newcomer(server_.Connect(), Small(), {});
  EXPECT_EQ(ErrorOf(newcomer.client->Getattr(fuse::NodeId::kRoot)), 0);
  EXPECT_LT(watch.Elapsed(), absl::Seconds(1));
}

void HostileGuestTest::ExpectNothingHeld() {
  ASSERT_TRUE(server_.WaitForConnections(1)) << "a guest that has gone is still served";
  // The tree's own cache keeps descriptors on purpose, up to a bound.
  server_.filesystem().dentries().Purge();
  // Threads that have been joined are in /proc for a moment longer.
  EXPECT_TRUE(Eventually([&] { return CountThreads() <= threads_before_; })) << CountThreads();
  EXPECT_TRUE(Eventually([&] { return CountOpenFds() <= fds_before_; })) << CountOpenFds();
}

void HostileGuestTest::ExpectBesideUntouched() { EXPECT_EQ(Beside(), beside_before_); }

void HostileGuestTest::TearDown() {
  ExpectOthersServed();
  PullThePlug();
  ExpectNothingHeld();
  ExpectBesideUntouched();
}

}  // namespace gofer::vhost
