#include "fuse/session/negotiation.h"

#include "gtest/gtest.h"

namespace gofer::fuse {
namespace {

constexpr uint64_t kEverything = ~uint64_t{0};

InitReq Ask(uint64_t flags, uint32_t major = 7, uint32_t minor = 41) {
  return {.fixed = {.major = major, .minor = minor, .max_readahead = 4711, .flags = 0},
          .flags = flags};
}

uint64_t Granted(const SessionOptions& options, uint64_t offered = kEverything) {
  const ErrnoOr<Negotiation> result = Negotiate(Ask(offered), options);
  EXPECT_TRUE(result.ok());
  if (!result.ok()) return 0;
  EXPECT_EQ(result->reply.flags | uint64_t{result->reply.flags2} << 32, result->granted.flags);
  return result->granted.flags;
}

TEST(Negotiation, Versions) {
  const SessionOptions options;
  for (const auto& [major, minor] : {std::pair{6u, 41u}, {0u, 0u}, {7u, 0u}, {7u, 26u}}) {
    EXPECT_EQ(Negotiate(Ask(0, major, minor), options).error(), EPROTO) << major << "." << minor;
  }
  const ErrnoOr<Negotiation> newer = Negotiate(Ask(kEverything, 8, 0), options);
  ASSERT_TRUE(newer.ok());
  EXPECT_FALSE(newer->agreed) << "it asks again";
  EXPECT_EQ(newer->reply.major, 7u);
  EXPECT_EQ(newer->reply.minor, 41u);
  EXPECT_EQ(newer->reply.flags, 0u);
  EXPECT_EQ(newer->reply.max_write, 0u);
  for (const uint32_t minor : {27u, 38u, 41u, 45u}) {
    const ErrnoOr<Negotiation> result = Negotiate(Ask(0, 7, minor), options);
    ASSERT_TRUE(result.ok());
    EXPECT_TRUE(result->agreed);
    EXPECT_EQ(result->reply.minor, 41u);
    EXPECT_EQ(result->granted.minor, std::min(minor, 41u));
  }
}

TEST(Negotiation, Values) {
  const InitOut reply = Negotiate(Ask(kEverything), {})->reply;
  EXPECT_EQ(reply.max_readahead, 4711u);
  EXPECT_EQ(reply.max_background, 65535);
  EXPECT_EQ(reply.congestion_threshold, 49149);
  EXPECT_EQ(reply.max_write, 1048576u);
  EXPECT_EQ(reply.max_pages, 256);
  EXPECT_EQ(reply.time_gran, 1u);
  EXPECT_EQ(reply.map_alignment, 0);
  EXPECT_EQ(reply.max_stack_depth, 0u);
}

TEST(Negotiation, WhatIsGrantedToWhom) {
  constexpr uint64_t kAlways = init::kAsyncRead | init::kParallelDirops | init::kBigWrites |
                               init::kAutoInvalData | init::kAsyncDio | init::kHasIoctlDir |
                               init::kMaxPages | init::kSubmounts | init::kExt |
                               init::kCreateSuppGroup | init::kAllowIdmap;
  constexpr uint64_t kPlus = init::kDoReaddirplus | init::kReaddirplusAuto;
  EXPECT_EQ(Granted({}), kAlways | kPlus);
  EXPECT_EQ(Granted({.readdirplus = false}), kAlways);
  EXPECT_EQ(Granted({.cache = CachePolicy::kNever}), kAlways);
  EXPECT_EQ(Granted({.cache = CachePolicy::kMetadata}), kAlways | kPlus | init::kCacheSymlinks);
  EXPECT_EQ(Granted({.cache = CachePolicy::kAlways}), kAlways | kPlus | init::kCacheSymlinks);
  EXPECT_EQ(Granted({.writeback = true}), kAlways | kPlus | init::kWritebackCache);
  EXPECT_EQ(Granted({.allow_mmap = true}), kAlways | kPlus | init::kDirectIoAllowMmap);
  EXPECT_EQ(Granted({.posix_acl = true}),
            kAlways | kPlus | init::kPosixAcl | init::kDontMask | init::kSetxattrExt);
  EXPECT_EQ(Granted({.security_label = true}), kAlways | kPlus | init::kSecurityCtx);
  EXPECT_EQ(Granted({.killpriv_v2 = true}),
            kAlways | kPlus | init::kHandleKillprivV2 | init::kAtomicOTrunc);
  EXPECT_EQ(Granted({.announce_submounts = false}), kAlways | kPlus) << "granted all the same";
  EXPECT_EQ(Granted({.posix_locks = true}), kAlways | kPlus | init::kPosixLocks);
  EXPECT_EQ(Granted({.flock_locks = true}), kAlways | kPlus | init::kFlockLocks);
}

TEST(Negotiation, NothingIsGrantedThatWasNotOffered) {
  const SessionOptions all = {.cache = CachePolicy::kAlways,
                              .writeback = true,
                              .allow_mmap = true,
                              .killpriv_v2 = true,
                              .posix_locks = true,
                              .flock_locks = true};
  EXPECT_EQ(Granted(all, 0), 0u);
  for (int bit = 0; bit < 64; ++bit) {
    const uint64_t offered = uint64_t{1} << bit;
    EXPECT_EQ(Granted(all, offered) & ~offered, 0u);
  }
}

TEST(Negotiation, WhatAnOptionDependsOnMustBeOffered) {
  for (const uint64_t missing : {init::kPosixAcl, init::kDontMask, init::kSetxattrExt}) {
    EXPECT_EQ(Negotiate(Ask(kEverything & ~missing), {.posix_acl = true}).error(), EPROTO);
  }
  EXPECT_EQ(Negotiate(Ask(kEverything & ~init::kSecurityCtx), {.security_label = true}).error(),
            EPROTO);
}

TEST(CacheRules, AreVirtiofsds) {
  constexpr uint32_t kDirect = fopen::kDirectIo | fopen::kParallelDirectWrites;
  constexpr uint32_t kKeepDir = fopen::kKeepCache | fopen::kCacheDir;
  const struct {
    CachePolicy policy;
    uint64_t valid_s;
    uint32_t file_open;
    uint32_t dir_open;
    bool negative;
  } kTable[] = {
      {CachePolicy::kNever, 0, kDirect, 0, false},
      {CachePolicy::kMetadata, 86400, kDirect, kKeepDir, true},
      {CachePolicy::kAuto, 1, 0, 0, false},
      {CachePolicy::kAlways, 86400, fopen::kKeepCache, kKeepDir, true},
  };
  for (const auto& row : kTable) {
    const CacheRules rules = CacheRules::Of(row.policy);
    EXPECT_EQ(rules.valid_s, row.valid_s);
    EXPECT_EQ(rules.file_open, row.file_open);
    EXPECT_EQ(rules.dir_open, row.dir_open);
    EXPECT_EQ(rules.negative, row.negative);
  }
}

}  // namespace
}  // namespace gofer::fuse
