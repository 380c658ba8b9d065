#include "fuse/session/id_map.h"

#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace gofer::fuse {
namespace {

IdMap MapOf(const std::vector<std::string>& rules) {
  IdMap map;
  for (const std::string& rule : rules) EXPECT_TRUE(map.Add(rule).ok()) << rule;
  return map;
}

// The host's id, or minus the errno.
int64_t Host(const IdMap& map, uint32_t guest) {
  const ErrnoOr<uint32_t> host = map.ToHost(guest);
  return host.ok() ? int64_t{*host} : -host.error().value();
}

std::string ErrorOf(const std::vector<std::string>& rules) {
  IdMap map;
  absl::Status last;
  for (const std::string& rule : rules) last = map.Add(rule);
  return std::string(last.message());
}

TEST(IdMap, WithoutRulesEveryIdIsItself) {
  const IdMap map;
  EXPECT_TRUE(map.empty());
  for (const uint32_t id : {0u, 1000u, 0xfffffffeu, 0xffffffffu}) {
    EXPECT_EQ(Host(map, id), id);
    EXPECT_EQ(map.ToGuest(id), id);
  }
}

TEST(IdMap, EachTypeInItsDirection) {
  const IdMap guest = MapOf({"guest:10:100:5"});
  EXPECT_EQ(Host(guest, 9), 9);
  EXPECT_EQ(Host(guest, 10), 100);
  EXPECT_EQ(Host(guest, 14), 104);
  EXPECT_EQ(Host(guest, 15), 15);
  EXPECT_EQ(guest.ToGuest(100), 100u) << "the other direction is not meant";

  const IdMap host = MapOf({"host:100:10:5"});
  EXPECT_EQ(host.ToGuest(99), 99u);
  EXPECT_EQ(host.ToGuest(100), 10u);
  EXPECT_EQ(host.ToGuest(104), 14u);
  EXPECT_EQ(host.ToGuest(105), 105u);
  EXPECT_EQ(Host(host, 10), 10);

  const IdMap squash_guest = MapOf({"squash-guest:0:107:4294967295"});
  EXPECT_EQ(Host(squash_guest, 0), 107);
  EXPECT_EQ(Host(squash_guest, 0xfffffffe), 107);
  EXPECT_EQ(Host(squash_guest, 0xffffffff), 0xffffffff) << "means: leave it as it is";
  EXPECT_EQ(squash_guest.ToGuest(5), 5u);

  const IdMap squash_host = MapOf({"squash-host:1000:0:2"});
  EXPECT_EQ(squash_host.ToGuest(1000), 0u);
  EXPECT_EQ(squash_host.ToGuest(1001), 0u);
  EXPECT_EQ(squash_host.ToGuest(1002), 1002u);
  EXPECT_EQ(Host(squash_host, 0), 0);

  const IdMap forbid = MapOf({"forbid-guest:1:2"});
  EXPECT_EQ(Host(forbid, 0), 0);
  EXPECT_EQ(Host(forbid, 1), -EPERM);
  EXPECT_EQ(Host(forbid, 2), -EPERM);
  EXPECT_EQ(Host(forbid, 3), 3);
  EXPECT_EQ(forbid.ToGuest(1), 1u);

  const IdMap both = MapOf({"map:0:100000:65536"});
  EXPECT_EQ(Host(both, 0), 100000);
  EXPECT_EQ(Host(both, 65535), 165535);
  EXPECT_EQ(both.ToGuest(100000), 0u);
  EXPECT_EQ(both.ToGuest(165535), 65535u);
  EXPECT_EQ(both.ToGuest(165536), 165536u);
}

TEST(IdMap, RulesOfBothDirectionsStandSideBySide) {
  // As a microVM manager gives them: all of the guest's ids become ours, ours are shown as root's.
  const IdMap map =
      MapOf({"squash-guest:0:1000:4294967295", "host:1000:0:1", "squash-host:0:65534:1000"});
  EXPECT_EQ(Host(map, 33), 1000);
  EXPECT_EQ(map.ToGuest(1000), 0u);
  EXPECT_EQ(map.ToGuest(33), 65534u);
  EXPECT_EQ(map.ToGuest(1001), 1001u);
}

TEST(IdMap, AnySeparatorAndAnyCase) {
  for (const char* const rule :
       {"map:1:2:3", "MAP/1/2/3", "Map 1 2 3", "map.1.2.3", "map+1+2+3", "map\n1\n2\n3"}) {
    EXPECT_EQ(Host(MapOf({rule}), 1), 2) << rule;
  }
  EXPECT_EQ(Host(MapOf({"Squash-Guest,5,6,1"}), 5), 6);
}

TEST(IdMap, WhatIsNoRule) {
  EXPECT_EQ(ErrorOf({""}),
            "rule \"\": type \"\" is not one of guest, host, squash-guest, squash-host, "
            "forbid-guest, map");
  EXPECT_EQ(ErrorOf({"guests:1:2:3"}),
            "rule \"guests:1:2:3\": type \"guests\" is not one of guest, host, squash-guest, "
            "squash-host, forbid-guest, map");
  EXPECT_EQ(ErrorOf({"guest"}), "rule \"guest\": guest takes 3 numbers (guest:host:count), not 0");
  EXPECT_EQ(ErrorOf({"host:1:2"}),
            "rule \"host:1:2\": host takes 3 numbers (host:guest:count), not 2");
  EXPECT_EQ(ErrorOf({"map:1:2:3:4"}),
            "rule \"map:1:2:3:4\": map takes 3 numbers (guest:host:count), not 4");
  EXPECT_EQ(ErrorOf({"forbid-guest:1:2:3"}),
            "rule \"forbid-guest:1:2:3\": forbid-guest takes 2 numbers (guest:count), not 3");
  EXPECT_EQ(ErrorOf({"map:1:2/3"}),
            "rule \"map:1:2/3\": \"2/3\" is not a number from 0 to 4294967295");
  for (const char* const number : {"", " 1", "-1", "0x1", "1a", "4294967296", "+1"}) {
    const std::string rule = absl::StrCat("map:", number, ":2:3");
    EXPECT_EQ(ErrorOf({rule}), absl::StrCat("rule \"", rule, "\": \"", number,
                                            "\" is not a number from 0 to 4294967295"));
  }
}

TEST(IdMap, RangesThatOverflowAreRefused) {
  EXPECT_EQ(ErrorOf({"guest:1:0:4294967295"}),
            "rule \"guest:1:0:4294967295\": 4294967295 ids of the guest from 1 on go beyond "
            "4294967294");
  EXPECT_EQ(ErrorOf({"host:4294967294:0:2"}),
            "rule \"host:4294967294:0:2\": 2 ids of the host from 4294967294 on go beyond "
            "4294967294");
  EXPECT_EQ(ErrorOf({"guest:0:4294967290:10"}),
            "rule \"guest:0:4294967290:10\": 10 ids of the host from 4294967290 on go beyond "
            "4294967294");
  EXPECT_EQ(ErrorOf({"squash-guest:0:4294967295:1"}),
            "rule \"squash-guest:0:4294967295:1\": 1 ids of the host from 4294967295 on go beyond "
            "4294967294")
      << "chown to it would change nothing";
  EXPECT_EQ(ErrorOf({"forbid-guest:4294967295:1"}),
            "rule \"forbid-guest:4294967295:1\": 1 ids of the guest from 4294967295 on go beyond "
            "4294967294");
  EXPECT_EQ(ErrorOf({"guest:4294967294:4294967294:1"}), "");
}

TEST(IdMap, OverlapInOneDirectionIsRefusedAndChangesNothing) {
  EXPECT_EQ(ErrorOf({"guest:10:100:5", "forbid-guest:14:1"}),
            "rule \"forbid-guest:14:1\": overlaps an earlier rule for ids of the guest");
  EXPECT_EQ(ErrorOf({"host:10:100:5", "squash-host:0:1:11"}),
            "rule \"squash-host:0:1:11\": overlaps an earlier rule for ids of the host");
  EXPECT_EQ(ErrorOf({"map:0:100:5", "map:10:104:5"}),
            "rule \"map:10:104:5\": overlaps an earlier rule for ids of the host");
  EXPECT_EQ(ErrorOf({"guest:10:100:5", "guest:15:100:1", "guest:9:100:1", "host:10:1:5"}), "")
      << "neighbours, equal targets and the other direction do not overlap";

  IdMap map = MapOf({"host:104:0:1"});
  EXPECT_FALSE(map.Add("map:0:100:5").ok());
  EXPECT_EQ(Host(map, 0), 0) << "of a refused rule not even a half is there";
}

TEST(IdMap, ARangeOfNothingDoesNothing) {
  const IdMap map = MapOf({"guest:10:100:0", "guest:10:100:1"});
  EXPECT_EQ(Host(map, 10), 100);
}

TEST(IdMap, EveryStrictPrefixIsARuleOrAnError) {
  const std::string rule = "squash-guest:100000:42:65536";
  for (size_t n = 0; n < rule.size(); ++n) {
    IdMap map;
    const bool whole = n > std::string("squash-guest:100000:42:").size();
    EXPECT_EQ(map.Add(rule.substr(0, n)).ok(), whole) << rule.substr(0, n);
  }
}

// Against a table of every id below a bound, filled rule by rule.
TEST(IdMap, AgreesWithATableUnderRandomRules) {
  constexpr uint32_t kIds = 64;
  std::mt19937 random(7);
  const auto below = [&](uint32_t end) { return static_cast<uint32_t>(random() % end); };
  for (int round = 0; round < 500; ++round) {
    IdMap map;
    std::vector<int64_t> host(kIds), guest(kIds);
    std::vector<bool> host_taken(kIds), guest_taken(kIds);
    for (uint32_t id = 0; id < kIds; ++id) host[id] = guest[id] = id;
    for (int i = 0; i < 8; ++i) {
      const char* const types[] = {"guest", "host", "squash-guest", "squash-host", "map"};
      const std::string type = types[below(5)];
      const uint32_t a = below(kIds - 8), b = below(kIds - 8), n = below(8);
      const bool to_guest = type == "host" || type == "squash-host";
      const bool squash = type == "squash-guest" || type == "squash-host";
      bool free = true;
      for (uint32_t k = 0; k < n; ++k) {
        if (to_guest ? guest_taken[a + k] : host_taken[a + k]) free = false;
        if (type == "map" && guest_taken[b + k]) free = false;
      }
      const std::string rule = absl::StrCat(type, ":", a, ":", b, ":", n);
      ASSERT_EQ(map.Add(rule).ok(), free) << rule;
      for (uint32_t k = 0; free && k < n; ++k) {
        (to_guest ? guest : host)[a + k] = squash ? b : b + k;
        (to_guest ? guest_taken : host_taken)[a + k] = true;
        if (type == "map") guest[b + k] = a + k, guest_taken[b + k] = true;
      }
    }
    for (uint32_t id = 0; id < kIds; ++id) {
      ASSERT_EQ(Host(map, id), host[id]);
      ASSERT_EQ(map.ToGuest(id), guest[id]);
    }
  }
}

}  // namespace
}  // namespace gofer::fuse
