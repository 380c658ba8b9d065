// One recorded conversation over a channel, window by window, against our server.

#include <cstring>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "lisafs/client/client.h"
#include "lisafs/server/server.h"
#include "test/golden/golden.h"
#include "test/support/temp_tree.h"
#include "test/support/test_server.h"

namespace lisafs::golden {
namespace {

using gofer::testing::TempTree;
using gofer::testing::TestServer;

TEST(ChannelExchange, IsReproducedWindowByWindow) {
  const TempTree tree;
  tree.Write("f", "xxxx");
  TestServer server(tree);
  const std::unique_ptr<Client> client = server.Connect();
  ASSERT_TRUE(client->Mount().ok());
  gofer::ErrnoOr<ChannelGrant> grant = client->over_socket().RequestChannel();
  ASSERT_TRUE(grant.ok());
  EXPECT_EQ(grant->place.data_offset, 0);
  EXPECT_EQ(grant->place.data_length, kWindowSize);
  gofer::ErrnoOr<std::unique_ptr<ChannelWay>> channel = ChannelWay::Map(*std::move(grant));
  ASSERT_TRUE(channel.ok());
  const std::span<std::byte> window = (*channel)->window();

  size_t steps = 0;
  for (const ChannelStep& step : ReadChannelSteps()) {
    if (!IsFor(step.versions, "26")) continue;
    SCOPED_TRACE(step.what);
    ++steps;
    if (step.direction == "request") {
      // The recorded window, but for the state word, which passes the turn.
      std::memcpy(window.data() + sizeof(uint32_t), step.bytes.data() + sizeof(uint32_t),
                  step.bytes.size() - sizeof(uint32_t));
      ASSERT_EQ((*channel)->data_len().load(), step.data_len);
      ASSERT_TRUE((*channel)->PassTurn().ok());
      continue;
    }
    EXPECT_EQ((*channel)->state().load(), step.state_after);
    EXPECT_EQ((*channel)->data_len().load(), step.data_len);
    const Bytes got(window.begin(), window.begin() + static_cast<ptrdiff_t>(step.bytes.size()));
    // A second Mount makes another id for the root, as recorded; the rest of its reply is
    // truncated.
    EXPECT_EQ(ToHex(got), ToHex(step.bytes));
    size_t donated = 0;
    while (gofer::sys::ReceiveFd((*channel)->fd_socket()).ok()) ++donated;
    EXPECT_EQ(donated, step.donated_fds);
  }
  EXPECT_EQ(steps, 20u);
  (*channel)->ShutDown();
}

}  // namespace
}  // namespace lisafs::golden
