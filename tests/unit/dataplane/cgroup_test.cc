// Finding the cgroup2 mount in the text of mountinfo.
#include "bpf/user/cgroup.h"

#include <gtest/gtest.h>

namespace weft::bpf {
namespace {

TEST(CgroupMountTest, UnifiedHierarchyIsFound) {
  EXPECT_EQ(
      parse_cgroup2_mount("25 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
                          "30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"),
      "/sys/fs/cgroup");
}

TEST(CgroupMountTest, HybridHierarchyIsFoundAmongTheV1Controllers) {
  EXPECT_EQ(parse_cgroup2_mount("30 25 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n"
                                "31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
                                "32 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"),
            "/sys/fs/cgroup/unified");
}

TEST(CgroupMountTest, MountOfTheWholeHierarchyWinsOverASubtree) {
  EXPECT_EQ(parse_cgroup2_mount("30 25 0:26 /pod /mnt/pod rw - cgroup2 none rw\n"
                                "31 25 0:26 / /mnt/all rw master:1 shared:2 - cgroup2 none rw\n"),
            "/mnt/all");
}

TEST(CgroupMountTest, EscapedSpaceInTheMountPointIsUndone) {
  EXPECT_EQ(parse_cgroup2_mount("30 25 0:26 / /mnt/a\\040b rw - cgroup2 none rw\n"), "/mnt/a b");
}

TEST(CgroupMountTest, V1OnlyAndBrokenLinesGiveNothing) {
  EXPECT_EQ(parse_cgroup2_mount("31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"), std::nullopt);
  EXPECT_EQ(parse_cgroup2_mount("30 25 0:26 / /mnt rw -\ncgroup2\n\n"), std::nullopt);
  EXPECT_EQ(parse_cgroup2_mount(""), std::nullopt);
}

}  // namespace
}  // namespace weft::bpf
