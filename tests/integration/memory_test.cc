// What the proxy holds of the node's memory, as the kernel counts it.
#include <gmock/gmock.h>

#include "tests/harness/mesh_test.h"

namespace weft::harness {
namespace {

using MemoryTest = MeshTest;

// The bar of docs/benchmarks.md, "resident memory, fresh".
constexpr uint64_t kFreshBytes = 12'000'000;

TEST_F(MemoryTest, AProxyThatHasJustBegunToServeIsSmall) {
  ASSERT_TRUE(listeners_shared());
  const LoadResult result = load(client_, {kProductV4, "-n", "100", "--new-connections"});
  ASSERT_EQ(result.failed, 0u) << result.text;
  // It gives back what only its start needed two seconds after it was configured.
  EXPECT_TRUE(
      wait_until(milliseconds(15'000), [&] { return mesh_->proxy().resident_bytes() <= kFreshBytes; }))
      << mesh_->proxy().resident_bytes() << " bytes";
}

}  // namespace
}  // namespace weft::harness
