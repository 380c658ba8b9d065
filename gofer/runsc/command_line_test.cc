#include "gofer/runsc/command_line.h"

#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "gtest/gtest.h"

namespace gofer::runsc {
namespace {

absl::StatusOr<CommandLine> Parse(absl::string_view text) {
  const std::vector<std::string> words = absl::StrSplit(text, ' ', absl::SkipEmpty());
  return ParseCommandLine(words);
}

CommandLine MustParse(absl::string_view text) {
  absl::StatusOr<CommandLine> line = Parse(text);
  EXPECT_TRUE(line.ok()) << line.status();
  return line.ok() ? *std::move(line) : CommandLine();
}

// As recorded from Debian's packages.
constexpr char kV22[] =
    "--root=/r --debug=true --debug-log=/l/ --network=none --ignore-cgroups=true --debug-log-fd=3 "
    "gofer "
    "--bundle /b --spec-fd=4 --mounts-fd=5 --io-fds=6 --io-fds=7";
constexpr char kV24[] =
    "--platform=ptrace --ignore-cgroups=true --root=/r --debug=true --network=none "
    "--debug-log-fd=3 gofer "
    "--bundle /b --gofer-mount-confs=lisafs:self,lisafs:none --spec-fd=4 --mounts-fd=5 --io-fds=6 "
    "--io-fds=7";
constexpr char kV26[] =
    "--panic-log=/p --root=/r --log=/l --log-format=json --log-fd=3 gofer --bundle /b "
    "--gofer-mount-confs=lisafs:none,lisafs:none --spec-fd=4 --mounts-fd=5 --rpc-fd=6 --io-fds=7,8 "
    "--sync-chroot-fd=9 cid";

TEST(CommandLine, V22) {
  const CommandLine line = MustParse(kV22);
  EXPECT_EQ(line.version, Version::kV22);
  EXPECT_TRUE(line.config.debug);
  EXPECT_EQ(line.debug_log_fd, 3);
  EXPECT_EQ(line.bundle, "/b");
  EXPECT_EQ(line.spec_fd, 4);
  EXPECT_EQ(line.mounts_fd, 5);
  EXPECT_EQ(line.io_fds, (std::vector<int>{6, 7}));
  EXPECT_FALSE(line.DonatesMountPoints());
  EXPECT_TRUE(line.OpensCharacterDevices());
  EXPECT_EQ(line.Descriptors(), (std::vector<int>{3, 4, 5, 6, 7}));
}

TEST(CommandLine, V24) {
  const CommandLine line = MustParse(kV24);
  EXPECT_EQ(line.version, Version::kV24);
  EXPECT_EQ(line.mount_confs.size(), 2u);
  EXPECT_TRUE(line.DonatesMountPoints()) << "directfs is on by default";
  EXPECT_FALSE(MustParse(absl::StrCat("--directfs=false ", kV24)).DonatesMountPoints());
}

TEST(CommandLine, V26) {
  const CommandLine line = MustParse(kV26);
  EXPECT_EQ(line.version, Version::kV26);
  EXPECT_EQ(line.log_fd, 3);
  EXPECT_EQ(line.rpc_fd, 6);
  EXPECT_EQ(line.io_fds, (std::vector<int>{7, 8}));
  EXPECT_EQ(line.sync_chroot_fd, 9);
  EXPECT_EQ(line.container_id, "cid");
  EXPECT_FALSE(line.OpensCharacterDevices());
  EXPECT_TRUE(MustParse(absl::StrCat("--character-device-policy=passthrough ", kV26))
                  .OpensCharacterDevices());
}

TEST(CommandLine, HowItLooksAfterTheReExecutionOfTheOriginal) {
  const CommandLine line =
      MustParse(absl::StrCat(kV22, " --apply-caps=false --setup-root=false --sync-userns-fd=-1"));
  EXPECT_FALSE(line.setup_root);
  EXPECT_EQ(line.sync_userns_fd, -1);
}

TEST(CommandLine, Policies) {
  const auto uds = [](absl::string_view flag) {
    return MustParse(absl::StrCat(flag, " ", kV22)).config.host_uds;
  };
  EXPECT_EQ(uds(""), HostUds::kNone);
  EXPECT_EQ(uds("--host-uds=open"), HostUds::kOpen);
  EXPECT_EQ(uds("--host-uds=create"), HostUds::kCreate);
  EXPECT_EQ(uds("--host-uds=all"), HostUds::kAll);
  EXPECT_EQ(uds("--fsgofer-host-uds"), HostUds::kAll) << "the name of earlier releases";
  EXPECT_EQ(uds("--fsgofer-host-uds=false"), HostUds::kNone);
  EXPECT_FALSE(Parse(absl::StrCat("--host-uds=some ", kV22)).ok());
  EXPECT_TRUE(MustParse(absl::StrCat("--host-fifo=open ", kV22)).config.host_fifo);
  EXPECT_EQ(MustParse(absl::StrCat("--fdlimit=100 ", kV22)).config.fd_limit, 100);
}

TEST(CommandLine, Overlay) {
  const auto overlay = [](absl::string_view flag) {
    return MustParse(absl::StrCat(flag, " ", kV22)).config.overlay;
  };
  EXPECT_FALSE(overlay("").root);
  EXPECT_FALSE(overlay("--overlay2=none").root);
  EXPECT_TRUE(overlay("--overlay2=root:memory").root);
  EXPECT_FALSE(overlay("--overlay2=root:memory").mounts);
  EXPECT_TRUE(overlay("--overlay2=all:/dir").mounts);
  EXPECT_TRUE(overlay("--overlay").mounts);
  EXPECT_FALSE(Parse(absl::StrCat("--overlay2=some:memory ", kV22)).ok());
}

TEST(CommandLine, WhatIsUnknown) {
  EXPECT_EQ(MustParse(absl::StrCat("--some-new-flag=3 --another ", kV22)).version, Version::kV22)
      << "config flags of later releases are ignored";
  const CommandLine line = MustParse(absl::StrCat(kV22, " --pin-ring-fd=10 --profile-cpu-fd=11"));
  EXPECT_EQ(line.held_fds, (std::vector<int>{10, 11})) << "descriptors of unknown flags stay open";
  EXPECT_FALSE(Parse(absl::StrCat(kV22, " --colour=blue")).ok());
  EXPECT_FALSE(Parse(absl::StrCat(kV22, " --colour-fd=blue")).ok());
}

TEST(CommandLine, WrongUse) {
  EXPECT_EQ(Parse("").status().message(), "command \"\" is not \"gofer\"");
  EXPECT_EQ(Parse("--debug boot").status().message(), "command \"boot\" is not \"gofer\"");
  EXPECT_EQ(Parse("gofer --spec-fd=4 --io-fds=5").status().message(), "--bundle is missing");
  EXPECT_EQ(Parse("gofer --bundle /b --io-fds=5").status().message(), "--spec-fd is missing");
  EXPECT_EQ(Parse("gofer --bundle /b --spec-fd=4").status().message(), "--io-fds is missing");
  EXPECT_EQ(Parse(absl::StrCat(kV26, " more")).status().message(),
            "argument \"more\" after the container id");
  EXPECT_FALSE(Parse(absl::StrCat(kV22, " --uid=-1")).ok());
  EXPECT_FALSE(Parse(absl::StrCat(kV22, " --uid=4294967295")).ok())
      << "that would mean: leave unchanged";
}

Config Annotated(bool allowed, const char* name, const char* value) {
  Config config;
  config.allow_flag_override = allowed;
  oci::Spec spec;
  (*spec.mutable_annotations())[name] = value;
  EXPECT_TRUE(ApplyAnnotations(spec, config).ok());
  return config;
}

TEST(Annotations, OverrideFlagsWhereTheyMay) {
  EXPECT_EQ(Annotated(true, "dev.gvisor.flag.host-uds", "all").host_uds, HostUds::kAll);
  EXPECT_EQ(Annotated(false, "dev.gvisor.flag.host-uds", "all").host_uds, HostUds::kNone);
  EXPECT_TRUE(Annotated(false, "dev.gvisor.flag.debug", "true").debug);
  EXPECT_FALSE(Annotated(true, "dev.gvisor.flag.unknown", "true").debug);
  EXPECT_FALSE(Annotated(true, "dev.gvisor.flag.allow-flag-override", "false").debug);
  EXPECT_EQ(Annotated(true, "some.host-uds", "all").host_uds, HostUds::kNone);
}

TEST(Annotations, ABadValueIsAnError) {
  Config config;
  config.allow_flag_override = true;
  oci::Spec spec;
  (*spec.mutable_annotations())["dev.gvisor.flag.host-uds"] = "some";
  EXPECT_EQ(
      ApplyAnnotations(spec, config).message(),
      "annotation dev.gvisor.flag.host-uds: flag --host-uds: \"some\" is not one of its values");
}

}  // namespace
}  // namespace gofer::runsc
