// Differential framing: some thousand HTTP/1 messages go through a worker to a strict recorder. Each is
// refused, or arrives as exactly the requests that the strict reader finds in it.
#include <gtest/gtest.h>

#include "tests/unit/proxy-engine/framing_check.h"
#include "tests/unit/proxy-engine/framing_variants.h"

namespace weft::proxy {
namespace {

TEST(FramingTest, EveryVariantIsRefusedOrArrivesAsItWasFramed) {
  FramingRecorder recorder;
  Rig rig(Rig::Setup{.clusters = {{.name = "recorder", .endpoints = {recorder.address()}}}});
  FramingCheck check(rig.address(), recorder);
  int problems = 0;
  for (const std::string& variant : framing_variants()) {
    const std::string problem = check.run(variant);
    if (problem.empty()) continue;
    ADD_FAILURE() << problem;
    ASSERT_LT(++problems, 10) << "and so on";
  }
  EXPECT_EQ(recorder.malformed(), std::vector<std::string>());
  const FramingTotals& totals = check.totals();
  RecordProperty("variants", static_cast<int>(totals.variants));
  RecordProperty("forwarded", static_cast<int>(totals.forwarded));
  RecordProperty("refused", static_cast<int>(totals.refused));
  RecordProperty("sound_refused", static_cast<int>(totals.sound_refused));
  EXPECT_GE(totals.variants, 2000u);
  // Neither half may be empty, or the comparison would say nothing.
  EXPECT_GE(totals.forwarded, 300u);
  EXPECT_GE(totals.refused, 1000u);
}

}  // namespace
}  // namespace weft::proxy
