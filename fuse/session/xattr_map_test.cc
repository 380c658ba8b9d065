#include "fuse/session/xattr_map.h"

#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"

namespace gofer::fuse {
namespace {

using Use = XattrMap::Use;

XattrMap MapOf(absl::string_view rules) {
  absl::StatusOr<XattrMap> map = XattrMap::Parse(rules);
  EXPECT_TRUE(map.ok()) << rules << ": " << map.status();
  return map.ok() ? *std::move(map) : XattrMap();
}

std::string ErrorOf(absl::string_view rules) {
  return std::string(XattrMap::Parse(rules).status().message());
}

// The host's name, or the errno's.
std::string Host(const XattrMap& map, absl::string_view name, Use use = Use::kChange) {
  XattrMap::Buffer buffer;
  const ErrnoOr<absl::string_view> host = map.ToHost(name, use, buffer);
  if (host.ok()) return std::string(*host);
  const std::string error = host.error().ToString();
  return error.substr(0, error.find(' '));
}

std::string Client(const XattrMap& map, absl::string_view name) {
  return std::string(map.ToClient(name).value_or("(hidden)"));
}

// A comma stands for the NUL that ends each name.
std::string Filtered(const XattrMap& map, absl::string_view list) {
  std::string bytes = absl::StrReplaceAll(list, {{",", absl::string_view("\0", 1)}});
  bytes.resize(map.FilterList(std::span(bytes.data(), bytes.size())));
  return absl::StrReplaceAll(bytes, {{absl::string_view("\0", 1), ","}});
}

TEST(XattrMap, WithoutRulesNamesPass) {
  const XattrMap map;
  EXPECT_TRUE(map.empty());
  EXPECT_EQ(Host(map, "user.a"), "user.a");
  EXPECT_EQ(Client(map, "trusted.b"), "trusted.b");
  EXPECT_EQ(Filtered(map, "user.a,trusted.b,"), "user.a,trusted.b,");
}

TEST(XattrMap, PrefixForAllAndNothingElse) {
  for (const char* const rules : {":prefix:all::user.virtiofs.::bad:all:::",
                                  ":map::user.virtiofs.:", "/map//user.virtiofs./\n"}) {
    const XattrMap map = MapOf(rules);
    EXPECT_EQ(Host(map, "trusted.overlay.opaque"), "user.virtiofs.trusted.overlay.opaque");
    EXPECT_EQ(Host(map, "user.virtiofs.user.a"), "user.virtiofs.user.virtiofs.user.a");
    EXPECT_EQ(Client(map, "user.virtiofs.user.a"), "user.a");
    EXPECT_EQ(Client(map, "user.a"), "(hidden)");
    EXPECT_EQ(Filtered(map, "user.a,user.virtiofs.user.b,security.selinux,user.virtiofs.c,"),
              "user.b,c,");
  }
}

TEST(XattrMap, OneNamespaceIsMovedAndTheRestPasses) {
  for (const char* const rules : {":map:trusted.:user.virtiofs.:",
                                  "/prefix/all/trusted./user.virtiofs./ /bad/server//trusted./\n"
                                  "/bad/client/user.virtiofs.//\n\t/ok/all///"}) {
    const XattrMap map = MapOf(rules);
    EXPECT_EQ(Host(map, "trusted.a"), "user.virtiofs.trusted.a");
    EXPECT_EQ(Host(map, "user.virtiofs.trusted.a"), "EPERM") << "only by its own name";
    EXPECT_EQ(Host(map, "user.virtiofs.trusted.a", Use::kRead), "ENODATA");
    EXPECT_EQ(Host(map, "user.b"), "user.b");
    EXPECT_EQ(Client(map, "user.virtiofs.trusted.a"), "trusted.a");
    EXPECT_EQ(Client(map, "trusted.host"), "(hidden)");
    EXPECT_EQ(Client(map, "user.b"), "user.b");
  }
}

TEST(XattrMap, RefusedAndUnsupportedNames) {
  const XattrMap map = MapOf(
      ":unsupported:all:system.:system.::bad:client:security.:::bad:server::security.: :ok:all:::");
  EXPECT_EQ(Host(map, "system.posix_acl_access"), "EOPNOTSUPP");
  EXPECT_EQ(Host(map, "system.posix_acl_access", Use::kRead), "EOPNOTSUPP");
  EXPECT_EQ(Host(map, "security.capability"), "EPERM");
  EXPECT_EQ(Host(map, "security.capability", Use::kRead), "ENODATA");
  EXPECT_EQ(Filtered(map, "system.a,security.b,"), "") << "an empty list, not an empty name";
  EXPECT_EQ(Filtered(map, "user.a,security.b,user.c,"), "user.a,user.c,");
}

TEST(XattrMap, TheFirstRuleThatMatchesDecides) {
  const XattrMap map = MapOf(":ok:client:user.a:: :bad:all:user.:: :prefix:all::x.: :ok:all:::");
  EXPECT_EQ(Host(map, "user.abc"), "user.abc");
  EXPECT_EQ(Host(map, "user.b"), "EPERM");
  EXPECT_EQ(Host(map, "y"), "x.y");
  EXPECT_EQ(Client(map, "x.y"), "(hidden)")
      << "bad's prepend is empty, which every name begins with";
}

TEST(XattrMap, ScopesMatchOnlyTheirDirection) {
  const XattrMap map = MapOf(
      ":prefix:client:user.:user.g.: :prefix:server::user.g.: :bad:server::user.:"
      " :ok:all:::");
  EXPECT_EQ(Host(map, "user.a"), "user.g.user.a");
  EXPECT_EQ(Client(map, "user.g.user.a"), "user.a");
  EXPECT_EQ(Client(map, "user.a"), "(hidden)");
  EXPECT_EQ(Client(map, "trusted.a"), "trusted.a");
}

TEST(XattrMap, NamesAreBytes) {
  const XattrMap map = MapOf(":map:user.\xff:user.\xfe.:");
  EXPECT_EQ(Host(map, "user.\xff\x80"), "user.\xfe.user.\xff\x80");
  EXPECT_EQ(Client(map, "user.\xfe.user.\xff\x80"), "user.\xff\x80");
}

TEST(XattrMap, ANameThatIsOnlyThePrefixIsNotShown) {
  const XattrMap map = MapOf(":map::user.virtiofs.:");
  EXPECT_EQ(Client(map, "user.virtiofs."), "(hidden)");
  EXPECT_EQ(Filtered(map, "user.virtiofs.,user.virtiofs.a,"), "a,");
}

TEST(XattrMap, LongestName) {
  const XattrMap map = MapOf(":map::user.virtiofs.:");
  const std::string longest(XattrMap::kMaxName - strlen("user.virtiofs."), 'n');
  EXPECT_EQ(Host(map, longest), absl::StrCat("user.virtiofs.", longest));
  EXPECT_EQ(Host(map, longest + "n"), "ERANGE");
  EXPECT_EQ(Host(map, std::string(70'000, 'n')), "ERANGE");
  const XattrMap huge = MapOf(absl::StrCat(":map::", std::string(300, 'p'), ":"));
  EXPECT_EQ(Host(huge, "n"), "ERANGE");
}

TEST(XattrMap, WhatIsNoMap) {
  EXPECT_EQ(ErrorOf(""), "there is no rule");
  EXPECT_EQ(ErrorOf(" \n\t"), "there is no rule");
  EXPECT_EQ(ErrorOf(":"), "rule 1: the type \"\" does not end with ':'");
  EXPECT_EQ(ErrorOf(":ok:all:::/bad"), "rule 2: the type \"bad\" does not end with '/'");
  EXPECT_EQ(ErrorOf(":tomato:all:::"),
            "rule 1: type \"tomato\" is not one of prefix, ok, bad, unsupported, map");
  EXPECT_EQ(ErrorOf("::all:::"),
            "rule 1: type \"\" is not one of prefix, ok, bad, unsupported, map");
  EXPECT_EQ(ErrorOf(":ok:both:::"), "rule 1: scope \"both\" is not one of all, client, server");
  EXPECT_EQ(ErrorOf(":prefix:client:hi"), "rule 1: the key \"hi\" does not end with ':'");
  EXPECT_EQ(ErrorOf(":prefix:all:trusted.:user.vm."),
            "rule 1: the prepend \"user.vm.\" does not end with ':'");
  EXPECT_EQ(ErrorOf(":map:a:b::map:a:b:"),
            "rule 1: a map rule has to be the only one of its type, and last");
  EXPECT_EQ(ErrorOf(":map:a:b: :ok:all:::"),
            "rule 1: a map rule has to be the only one of its type, and last");
  EXPECT_EQ(ErrorOf(absl::string_view(":ok:all:\0::", 12)), "rule 1: the key has a NUL in it");
}

TEST(XattrMap, AMapThatLeavesNamesUndecidedIsRefused) {
  EXPECT_EQ(ErrorOf(":prefix:all::user.virtiofs.:"),
            "no rule decides about all other names of the host; end with :bad:all::: or "
            ":ok:all:::");
  EXPECT_EQ(ErrorOf(":ok:server:::"),
            "no rule decides about all other names of the client; end with :bad:all::: or "
            ":ok:all:::");
  EXPECT_EQ(ErrorOf(":ok:client:::"),
            "no rule decides about all other names of the host; end with :bad:all::: or "
            ":ok:all:::");
  EXPECT_EQ(ErrorOf(":ok:client::: :bad:server:::"), "");
}

TEST(XattrMap, EveryStrictPrefixIsRefused) {
  const std::string rules = "/prefix/all/trusted./user.virtiofs./ :map:a.:b.:";
  ASSERT_TRUE(XattrMap::Parse(rules).ok());
  for (size_t n = 0; n < rules.size(); ++n) {
    EXPECT_FALSE(XattrMap::Parse(rules.substr(0, n)).ok()) << rules.substr(0, n);
  }
}

TEST(XattrMap, AListThatDoesNotEndWithItsNulIsNotReadBeyond) {
  const XattrMap map = MapOf(":map::u.:");
  EXPECT_EQ(Filtered(map, "u.a,u.bc"), "a,bc,");
  const XattrMap ok = MapOf(":ok:all:::");
  EXPECT_EQ(Filtered(ok, "u.a,u.bc"), "u.a,u.bc");
  EXPECT_EQ(Filtered(ok, ",,a,"), "a,") << "empty names are none";
}

// Text of the language's own pieces, in any order: parsing never fails by crashing, and a map that
// was taken decides about every name and never makes a list longer.
TEST(XattrMap, RandomRulesAndNames) {
  const std::vector<std::string> pieces = {":",
                                           "/",
                                           "prefix",
                                           "ok",
                                           "bad",
                                           "map",
                                           "all",
                                           "client",
                                           "unsupported",
                                           "user.",
                                           "\n",
                                           " ",
                                           "::",
                                           ":::",
                                           ":ok:all:::",
                                           "server",
                                           "\xff",
                                           ":map:",
                                           "user.virtiofs."};
  std::mt19937 random(11);
  int taken = 0;
  for (int round = 0; round < 200'000; ++round) {
    std::string rules;
    for (size_t n = random() % 12; n > 0; --n) rules += pieces[random() % pieces.size()];
    const absl::StatusOr<XattrMap> map = XattrMap::Parse(rules);
    if (!map.ok()) continue;
    ++taken;
    std::string list;
    for (size_t n = random() % 5; n > 0; --n) {
      for (size_t k = random() % 3; k > 0; --k) list += pieces[random() % pieces.size()];
      list += '\0';
    }
    const size_t before = list.size();
    ASSERT_LE(map->FilterList(std::span(list.data(), list.size())), before);
    XattrMap::Buffer buffer;
    (void)map->ToHost(pieces[random() % pieces.size()], Use::kChange, buffer).ok();
  }
  EXPECT_GT(taken, 100);
}

}  // namespace
}  // namespace gofer::fuse
