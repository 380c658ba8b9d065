#include "gofer/runsc/connection_plan.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace gofer::runsc {
namespace {

oci::Mount Bind(const char* destination, std::vector<std::string> options = {}) {
  oci::Mount mount;
  mount.set_type("bind");
  mount.set_source("/s");
  mount.set_destination(destination);
  for (const std::string& option : options) mount.add_options(option);
  return mount;
}

oci::Mount Other(const char* type) {
  oci::Mount mount;
  mount.set_type(type);
  mount.set_source(type);
  mount.set_destination("/other");
  return mount;
}

oci::Spec SpecWith(std::vector<oci::Mount> mounts, bool readonly = false) {
  oci::Spec spec;
  spec.mutable_root()->set_readonly(readonly);
  for (const oci::Mount& mount : mounts) *spec.add_mounts() = mount;
  return spec;
}

CommandLine Line(Version version, std::vector<int> io_fds, absl::string_view confs = "") {
  CommandLine line;
  line.version = version;
  line.io_fds = std::move(io_fds);
  if (!confs.empty()) line.mount_confs = *ParseMountConfs(confs);
  return line;
}

// "root=6 1:7 3:8ro", or the error.
std::string Plan(const CommandLine& line, const oci::Spec& spec) {
  const auto plan = PlanConnections(line, spec);
  if (!plan.ok()) return std::string(plan.status().message());
  std::string text;
  if (plan->root.has_value())
    absl::StrAppend(&text, "root=", plan->root->io_fd, plan->root->read_only ? "ro" : "");
  for (const PlannedMount& mount : plan->mounts) {
    absl::StrAppend(&text, " ", mount.spec_index, ":", mount.io_fd, mount.read_only ? "ro" : "");
  }
  return text;
}

TEST(PlanV22, RootThenBindMountsInOrder) {
  const oci::Spec spec =
      SpecWith({Other("proc"), Bind("/a"), Other("tmpfs"), Bind("/b", {"rbind", "ro"})});
  EXPECT_EQ(Plan(Line(Version::kV22, {6, 7, 8}), spec), "root=6 1:7 3:8ro");
  EXPECT_EQ(Plan(Line(Version::kV22, {6, 7}), spec), "--io-fds: 2 given, 1 missing for /b");
  EXPECT_EQ(Plan(Line(Version::kV22, {6, 7, 8, 9}), spec), "--io-fds: 4 given, 1 without a mount");
  EXPECT_EQ(Plan(Line(Version::kV22, {6}), SpecWith({}, /*readonly=*/true)), "root=6ro");
}

TEST(PlanV22, OverlayMakesReadOnly) {
  CommandLine line = Line(Version::kV22, {6, 7});
  line.config.overlay = {.root = true, .mounts = false};
  EXPECT_EQ(Plan(line, SpecWith({Bind("/a")})), "root=6ro 0:7");
  line.config.overlay = {.root = true, .mounts = true};
  EXPECT_EQ(Plan(line, SpecWith({Bind("/a")})), "root=6ro 0:7ro");
}

TEST(PlanV24, ConfsDecide) {
  const oci::Spec spec =
      SpecWith({Bind("/a"), Other("proc"), Bind("/b"), Bind("/c"), Bind("/d", {"ro"})});
  // The second has an image, the third nothing below: neither takes an io fd.
  EXPECT_EQ(Plan(Line(Version::kV24, {6, 7, 8},
                      "lisafs:self,lisafs:none,erofs:memory,none:memory,lisafs:none"),
                 spec),
            "root=6ro 0:7 4:8ro");
  EXPECT_EQ(
      Plan(Line(Version::kV24, {6, 7}, "none:memory,lisafs:memory,none:self,none:anon,lisafs:none"),
           spec),
      " 0:6ro 4:7ro")
      << "the sandbox has the root from elsewhere";
  CommandLine line =
      Line(Version::kV24, {6, 7, 8}, "lisafs:none,lisafs:none,none:memory,none:memory,lisafs:none");
  line.config.overlay = {.root = true, .mounts = true};
  EXPECT_EQ(Plan(line, spec), "root=6 0:7 4:8ro") << "the flag means nothing here any more";
}

TEST(PlanV24, NumbersMustFit) {
  const oci::Spec spec = SpecWith({Bind("/a"), Bind("/b")});
  EXPECT_EQ(Plan(Line(Version::kV24, {6, 7}, "lisafs:none,lisafs:none"), spec),
            "--gofer-mount-confs: 2 given, 1 missing for /b");
  EXPECT_EQ(Plan(Line(Version::kV24, {6, 7}, "lisafs:none,lisafs:none,lisafs:none"), spec),
            "--io-fds: 2 given, 1 missing for /b");
  EXPECT_EQ(Plan(Line(Version::kV24, {6, 7}, "lisafs:none,none:memory,none:memory"), spec),
            "--io-fds: 2 given, 1 without a mount");
}

TEST(PlanV26, ImagesHaveConfs) {
  const oci::Spec spec = SpecWith({Other("erofs"), Bind("/a")});
  EXPECT_EQ(Plan(Line(Version::kV26, {6, 7}, "lisafs:none,erofs:none,lisafs:none"), spec),
            "root=6 1:7");
  EXPECT_EQ(Plan(Line(Version::kV24, {6, 7}, "lisafs:none,lisafs:none"), spec), "root=6 1:7");
}

}  // namespace
}  // namespace gofer::runsc
