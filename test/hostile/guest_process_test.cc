// The shipped binary, confined as in production, with a hostile guest on one socket and an honest
// one on another: whatever the one does, the other is served, and the process ends when both have
// gone.
//
// Source: spec/security.md s.10; spec/vhost-user-fs.md s.6.4, s.11 and s.22.

#include <fcntl.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "fuse/wire/abi.h"
#include "gtest/gtest.h"
#include "test/support/eventually.h"
#include "test/support/gofer_process.h"
#include "test/support/results.h"
#include "test/support/stopwatch.h"
#include "test/support/temp_tree.h"
#include "test/support/vhost_daemon.h"
#include "vhost/driver/driver_queue.h"
#include "vhost/driver/frontend.h"
#include "vhost/driver/fuse_client.h"
#include "vhost/driver/machine.h"
#include "vhost/virtqueue/ring_layout.h"

namespace gofer::vhost {
namespace {

using driver::Frontend;
using driver::FuseClient;
using driver::Machine;
using fuse::NodeId;
using testing::ErrorOf;
using testing::GoferBinary;
using testing::Must;
using testing::TempTree;
using testing::VhostDaemon;

class GuestProcessTest : public ::testing::Test {
 protected:
  struct Guest {
    explicit Guest(UniqueFd socket)
        : machine(Must(Machine::Attach(
              std::move(socket),
              {.vmm = driver::Vmm::kQemu7, .request_queues = 2, .ram_bytes = 16 << 20}))) {
      Must(machine->Start());
      client = std::make_unique<FuseClient>(machine.get());
      Must(client->Init());
    }
    std::unique_ptr<Machine> machine;
    std::unique_ptr<FuseClient> client;
  };

  GuestProcessTest() { tree_.Write("f", "content"); }

  void Start(absl::string_view flags = "") {
    daemon_ = std::make_unique<VhostDaemon>(
        absl::StrCat(GoferBinary(), " serve --root={dir} --vhost_user_socket={socket},{socket}2 ",
                     flags),
        tree_.path());
    hostile_ = std::make_unique<Guest>(daemon_->TakeSocket());
    honest_ =
        std::make_unique<Guest>(Must(Frontend::Connect(absl::StrCat(daemon_->socket_path(), "2"))));
  }
  void ExpectHonestServed() {
    const testing::Stopwatch watch;
    const auto file = honest_->client->Lookup(NodeId::kRoot, "f");
    ASSERT_EQ(ErrorOf(file), 0);
    const auto open = honest_->client->Open(file->nodeid, O_RDONLY);
    ASSERT_EQ(ErrorOf(open), 0);
    EXPECT_EQ(Must(honest_->client->Read(file->nodeid, open->fh, 0, 100)), "content");
    EXPECT_EQ(ErrorOf(honest_->client->Release(file->nodeid, open->fh)), 0);
    EXPECT_LT(watch.Elapsed(), absl::Seconds(1));
  }
  // Both go.
  void ExpectEndsWell(int status = 0) {
    ExpectHonestServed();
    hostile_.reset();
    ExpectHonestServed();
    honest_.reset();
    EXPECT_EQ(daemon_->Wait(testing::kPatience), status) << daemon_->Stderr();
  }
  // A head with whatever the test has put into the table.
  void Send(driver::DriverQueue& queue, uint16_t head) {
    queue.AddHead(head, 0);
    queue.Publish();
    queue.Kick();
  }

  TempTree tree_;
  std::unique_ptr<VhostDaemon> daemon_;
  std::unique_ptr<Guest> hostile_;
  std::unique_ptr<Guest> honest_;
};

TEST_F(GuestProcessTest, RingsThatMakeNoSense) {
  Start();
  driver::DriverQueue& queue = hostile_->machine->queue(1);
  queue.SetDescriptor(0, {0x1000, 64, kDescriptorNext, 0});                 // a loop
  queue.SetDescriptor(1, {UINT64_MAX - 8, 64, 0, 0});                       // beyond the end
  queue.SetDescriptor(2, {uint64_t{2} << 30, 64, kDescriptorIndirect, 0});  // in a hole
  queue.SetDescriptor(3, {0x1000, 0xfffffff0, kDescriptorIndirect, 0});     // too much
  for (uint16_t head = 0; head < 4; ++head) Send(queue, head);
  ExpectHonestServed();
  Send(queue, 60000);  // this breaks the ring
  ExpectHonestServed();
  driver::DriverQueue& other = hostile_->machine->queue(2);
  other.PublishIndex(50000);
  ExpectEndsWell();
}

// Under the rings, under requests: the daemon gives the guest up, nobody else.
TEST_F(GuestProcessTest, MemoryThatIsCutOff) {
  Start();
  ASSERT_EQ(ftruncate(hostile_->machine->ram().file().get(), 0), 0);
  // Our own view of the ring is gone too: nothing but the kick may be touched.
  for (size_t ring = 0; ring < 3; ++ring) hostile_->machine->queue(ring).Kick();
  ExpectHonestServed();
  // A monitor that had to be left is a failure, in the end.
  ExpectEndsWell(/*status=*/1);
}

TEST_F(GuestProcessTest, AFloodOfOpenFiles) {
  Start("--rlimit_nofile=900");
  const NodeId file = Must(hostile_->client->Lookup(NodeId::kRoot, "f")).nodeid;
  int error = 0;
  size_t opened = 0;
  while (error == 0 && opened < 5000) {
    error = ErrorOf(hostile_->client->Open(file, O_RDONLY));
    if (error == 0) ++opened;
  }
  EXPECT_TRUE(error == ENFILE || error == EMFILE) << "error " << error << " after " << opened;
  // What the flood has left is enough to answer everybody.
  EXPECT_EQ(ErrorOf(hostile_->client->Getattr(file)), 0);
  EXPECT_EQ(ErrorOf(honest_->client->Getattr(NodeId::kRoot)), 0);
  // And comes back with the guest's end.
  hostile_.reset();
  const NodeId again = Must(honest_->client->Lookup(NodeId::kRoot, "f")).nodeid;
  EXPECT_TRUE(testing::Eventually([&] { return honest_->client->Open(again, O_RDONLY).ok(); }));
  ExpectHonestServed();
  honest_.reset();
  EXPECT_EQ(daemon_->Wait(testing::kPatience), 0) << daemon_->Stderr();
}

// More nodes than descriptors: they are given up and found again.
TEST_F(GuestProcessTest, AFloodOfLookups) {
  constexpr int kFiles = 3000;
  for (int i = 0; i < kFiles; ++i) tree_.Write(absl::StrCat("many-", i), "");
  Start("--rlimit_nofile=900");
  std::vector<NodeId> nodes;
  for (int i = 0; i < kFiles; ++i) {
    nodes.push_back(Must(hostile_->client->Lookup(NodeId::kRoot, absl::StrCat("many-", i))).nodeid);
  }
  for (const NodeId node : nodes) ASSERT_EQ(ErrorOf(hostile_->client->Getattr(node)), 0);
  ExpectEndsWell();
}

}  // namespace
}  // namespace gofer::vhost
