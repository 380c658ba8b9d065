#include "gofer/runsc/oci_spec.h"

#include <fcntl.h>
#include <unistd.h>

#include "gtest/gtest.h"
#include "test/support/temp_tree.h"

namespace gofer::runsc {
namespace {

constexpr char kSpec[] = R"({
  "ociVersion": "1.0.2",
  "process": {"args": ["sh"], "cwd": "/work", "capabilities": {"bounding": []}, "user": {"uid": 0}},
  "root": {"path": "rootfs", "readonly": true},
  "hostname": "h",
  "mounts": [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/data", "type": "bind", "source": "/srv/data", "options": ["rbind", "ro"]},
    {"destination": "/rel", "type": "none", "source": "sub/../dir", "options": ["bind"]},
    {"destination": "/mapped", "type": "bind", "source": "/m", "future": {"a": [1]},
     "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 65536}],
     "gidMappings": [{"containerID": 1, "hostID": 2000, "size": 1}]},
    {"destination": "/tmp", "type": "tmpfs", "options": null}
  ],
  "linux": {"rootfsPropagation": "rslave", "devices": [{"path": "/dev/nvidia0", "type": "c", "major": 195}],
            "resources": {"memory": {"limit": 1e9}}, "namespaces": []},
  "annotations": {"dev.gvisor.flag.debug": "true"},
  "hooks": {"createContainer": [{"path": "/h", "args": ["h", "x"], "env": ["A=b"], "timeout": 3}]}
})";

TEST(Spec, WhatTheGoferActsOn) {
  const auto spec = ParseSpec(kSpec, "/bundle");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->root().path(), "/bundle/rootfs");
  EXPECT_TRUE(spec->root().readonly());
  EXPECT_EQ(spec->process().cwd(), "/work");
  EXPECT_EQ(spec->linux().rootfs_propagation(), "rslave");
  EXPECT_EQ(spec->linux().devices(0).path(), "/dev/nvidia0");
  EXPECT_EQ(spec->annotations().at("dev.gvisor.flag.debug"), "true");
  EXPECT_EQ(spec->hooks().create_container(0).timeout(), 3);
  ASSERT_EQ(spec->mounts_size(), 5);
  EXPECT_EQ(spec->mounts(1).source(), "/srv/data");
  EXPECT_EQ(spec->mounts(2).source(), "/bundle/dir") << "relative to the bundle, and clean";
}

TEST(Spec, WhichMountsAreBindMounts) {
  const auto spec = ParseSpec(kSpec, "/bundle");
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_FALSE(IsBindMount(spec->mounts(0)));
  EXPECT_TRUE(IsBindMount(spec->mounts(1)));
  EXPECT_TRUE(IsBindMount(spec->mounts(2))) << "by its option";
  EXPECT_FALSE(IsBindMount(spec->mounts(4)));
  oci::Mount no_source;
  no_source.set_type("bind");
  EXPECT_FALSE(IsBindMount(no_source));
}

TEST(Spec, MountsAreHandedOnWhole) {
  const auto spec = ParseSpec(kSpec, "/bundle");
  ASSERT_TRUE(spec.ok()) << spec.status();
  const auto json = MountsToJson(*spec);
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(
      *json,
      R"([{"destination":"/proc","type":"proc","source":"/bundle/proc"},)"
      R"({"destination":"/data","type":"bind","source":"/srv/data","options":["rbind","ro"]},)"
      R"({"destination":"/rel","type":"none","source":"/bundle/dir","options":["bind"]},)"
      R"({"destination":"/mapped","type":"bind","source":"/m",)"
      R"("uidMappings":[{"hostID":1000,"size":65536}],)"
      R"("gidMappings":[{"containerID":1,"hostID":2000,"size":1}]},)"
      R"({"destination":"/tmp","type":"tmpfs"}])");
  EXPECT_EQ(*MountsToJson(oci::Spec()), "[]");
}

TEST(Spec, IsReadFromItsStart) {
  const testing::TempTree tree;
  tree.Write("config.json", kSpec);
  const UniqueFd file(open(tree.At("config.json").c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_EQ(lseek(file.get(), 100, SEEK_SET), 100)
      << "as somebody who has read from it before leaves it";
  EXPECT_TRUE(ReadSpec(file, "/bundle").ok());
  EXPECT_TRUE(ReadSpec(file, "/bundle").ok());
}

TEST(Spec, WhatIsWrongWithIt) {
  const auto error = [](absl::string_view json) {
    return std::string(ParseSpec(json, "/b").status().message());
  };
  EXPECT_EQ(error("{}"), "spec: process is missing");
  EXPECT_EQ(error(R"({"process":{},"mounts":[{"destination":"a"}]})"),
            "spec: mount destination \"a\" is not absolute");
  EXPECT_EQ(error(R"({"process":{},"mounts":[{"destination":"/a","options":["rshared"]}]})"),
            "spec: mount /a: option \"rshared\" would let the sandbox's mounts reach the host");
  EXPECT_EQ(error(R"({"process":{},"linux":{"rootfsPropagation":"shared"}})"),
            "spec: linux.rootfsPropagation is \"shared\", which is not one of private, rprivate, "
            "slave, rslave");
  for (const char* const json : {"", "[]", "{", "\xff", R"({"root":{"path":7}})"}) {
    EXPECT_FALSE(ParseSpec(json, "/b").ok()) << json;
  }
}

}  // namespace
}  // namespace gofer::runsc
