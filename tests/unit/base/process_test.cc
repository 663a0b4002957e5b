// What programs do at their start and their end: limits, signals, flags, lines that repeat.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/address_flag.h"
#include "base/file_limit.h"
#include "base/log_rate.h"
#include "base/stop_signals.h"

namespace weft {
namespace {

using testing::HasSubstr;

TEST(FileLimitTest, IsRaisedToWhatIsAllowed) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit low{.rlim_cur = 64, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  EXPECT_EQ(raise_file_limit(), before.rlim_max);
  rlimit after{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &after), 0);
  EXPECT_EQ(after.rlim_cur, before.rlim_max);
  ::setrlimit(RLIMIT_NOFILE, &before);
}

// In a child: the mask is the process's. 0: as it should be.
int stop_signals() {
  const sigset_t stop = block_stop_signals();
  if (told_to_stop()) return 1;
  ::kill(::getpid(), SIGTERM);
  if (!told_to_stop()) return 2;
  int taken = 0;
  if (::sigwait(&stop, &taken) != 0 || taken != SIGTERM) return 3;
  return told_to_stop() ? 4 : 0;
}

TEST(StopSignalsTest, WaitUntilTheyAreTaken) {
  EXPECT_EXIT(::_exit(stop_signals()), testing::ExitedWithCode(0), "");
}

TEST(AddressFlagTest, WhatIsNoAddressIsToldWithItsFlag) {
  EXPECT_EQ(parse_address_flag("weft-x", "--listen", "[::]:15012")->port, 15012);
  const absl::Status status = parse_address_flag("weft-x", "--listen", "15012").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.ToString(), HasSubstr("--listen: '15012' is not IP:PORT"));
  EXPECT_THAT(status.ToString(), HasSubstr("next: weft-x --help"));
}

TEST(LogRateTest, TellsAtMostOnceInAWhileAndHowOften) {
  LogRate rate(absl::Seconds(1));
  const absl::Time start = absl::FromUnixSeconds(1'000);
  EXPECT_EQ(rate.count(start), 1U);
  for (int i = 0; i < 9; ++i) EXPECT_EQ(rate.count(start + absl::Milliseconds(100 * i)), 0U);
  EXPECT_EQ(rate.count(start + absl::Seconds(1)), 10U);
  EXPECT_EQ(rate.count(start + absl::Seconds(5)), 1U);
}

}  // namespace
}  // namespace weft
