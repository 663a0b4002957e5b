// What findings about a kernel forbid the shortcut. That this kernel passes is tests/bpf/shortcut_test.cc.
#include "bpf/user/shortcut_trial.h"

#include <gtest/gtest.h>

#include <functional>

namespace weft::bpf {
namespace {

ShortcutFindings good() {
  return {.sent = 3000,
          .readable = 3000,
          .unread = 3000,
          .read = 3000,
          .same = true,
          .put_off = true,
          .ended = true};
}

TEST(ShortcutTrialTest, KernelThatDoesAllOfItIsNotDoubted) { EXPECT_EQ(shortcut_doubt(good()), ""); }

TEST(ShortcutTrialTest, EachThingThatAKernelDoesNotDoIsNamed) {
  const std::pair<std::function<void(ShortcutFindings&)>, const char*> cases[] = {
      {[](ShortcutFindings& f) { f.read = 2999; }, "do not arrive"},
      {[](ShortcutFindings& f) { f.same = false; }, "do not arrive"},
      {[](ShortcutFindings& f) { f.readable = 0; }, "FIONREAD"},
      {[](ShortcutFindings& f) { f.unread = 0; }, "charge"},
      {[](ShortcutFindings& f) { f.unread_after = 1; }, "still charges"},
      {[](ShortcutFindings& f) { f.written = 1; }, "sequence numbers"},
      {[](ShortcutFindings& f) { f.copied = 1; }, "sequence numbers"},
      {[](ShortcutFindings& f) { f.put_off = false; }, "put off"},
      {[](ShortcutFindings& f) { f.ended = false; }, "the end"},
  };
  for (const auto& [spoil, word] : cases) {
    ShortcutFindings found = good();
    spoil(found);
    EXPECT_NE(shortcut_doubt(found).find(word), std::string::npos) << word;
  }
}

}  // namespace
}  // namespace weft::bpf
