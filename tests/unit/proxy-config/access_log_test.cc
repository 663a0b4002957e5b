// The access log: one escaped, bounded line per exchange, and none lost when the proxy ends in order.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <sstream>

#include "base/strings.h"
#include "tests/unit/proxy-config/telemetry_world.h"
#include "userspace-proxy/telemetry/access_log.h"
#include "userspace-proxy/telemetry/access_log_line.h"

namespace weft::proxy {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string line_of(const ExchangeRecord& record) {
  std::string out;
  append_access_log_line(record, telemetry_snapshot(), 1'767'225'600'123'000'000, &out);
  return out;
}

std::string logged(std::string_view text) {
  std::string out;
  append_logged(text, &out);
  return out;
}

std::string contents(const std::string& path) {
  std::ifstream file(path);
  std::stringstream out;
  out << file.rdbuf();
  return out.str();
}

TEST(AccessLogLineTest, HttpExchangeIsOneLine) {
  EXPECT_EQ(line_of(telemetry_record()),
            "2026-01-01T00:00:00.123Z source=shop/web client=10.1.0.1:5555 dialled=10.96.0.1:80 service=cart "
            "upstream=10.1.0.3:8080 workload=cart-v1 protocol=http/1.1 method=GET authority=cart path=/items "
            "status=200 "
            "route=default outcome=ok duration_us=1234 received=10 sent=20\n");
}

TEST(AccessLogLineTest, NamesTheVersionThatTheClientSpeaks) {
  ExchangeRecord r = telemetry_record();
  r.protocol = ExchangeRecord::Protocol::kHttp2;
  EXPECT_THAT(line_of(r), HasSubstr("protocol=http/2 method=GET "));
}

TEST(AccessLogLineTest, TcpConnectionHasNoHttpFields) {
  ExchangeRecord r = telemetry_record();
  r.protocol = ExchangeRecord::Protocol::kTcp;
  EXPECT_THAT(line_of(r), HasSubstr("protocol=tcp outcome=ok"));
  EXPECT_THAT(line_of(r), Not(HasSubstr("method=")));
}

TEST(AccessLogLineTest, ATunnelSaysWhoCameByIt) {
  ExchangeRecord r = telemetry_record();
  r.protocol = ExchangeRecord::Protocol::kTunnel;
  r.identity = "spiffe://cluster.local/ns/shop/sa/web";
  r.source = r.cluster = r.endpoint = kNone;
  r.server = 0;
  EXPECT_EQ(
      line_of(r),
      "2026-01-01T00:00:00.123Z source=- client=10.1.0.1:5555 "
      "identity=spiffe://cluster.local/ns/shop/sa/web dialled=10.96.0.1:80 service=- "
      "upstream=10.1.0.3:8080 workload=web protocol=hbone status=200 outcome=ok duration_us=1234 received=10 "
      "sent=20 direction=inbound\n");
}

TEST(AccessLogLineTest, WhatIsUnknownIsADash) {
  ExchangeRecord r = telemetry_record();
  r.source = r.cluster = r.endpoint = kNone;
  r.upstream = {};
  r.route = {};
  r.outcome = Outcome::kNoRoute;
  EXPECT_THAT(line_of(r), HasSubstr("source=- "));
  EXPECT_THAT(line_of(r), HasSubstr("service=- upstream=- workload=- "));
  EXPECT_THAT(line_of(r), HasSubstr("route=- outcome=no_route"));
}

TEST(AccessLogLineTest, QueryStringIsNeverLogged) {
  ExchangeRecord r = telemetry_record();
  r.path = "/login?token=secret";
  EXPECT_THAT(line_of(r), HasSubstr("path=/login status"));
  EXPECT_THAT(line_of(r), Not(HasSubstr("secret")));
}

TEST(AccessLogLineTest, ControlCharactersAreEscaped) {
  EXPECT_EQ(logged("/a\r\nfake line"), "\"/a\\x0d\\x0afake line\"");
  EXPECT_EQ(logged(std::string_view("\0\x1b\x7f\xff", 4)), "\"\\x00\\x1b\\x7f\\xff\"");
  EXPECT_EQ(logged("say \"hi\" \\"), "\"say \\\"hi\\\" \\\\\"");
  EXPECT_EQ(logged("a=b"), "\"a=b\"");
  EXPECT_EQ(logged(""), "-");
  ExchangeRecord r = telemetry_record();
  r.authority = "x\noutcome=ok";
  const std::string line = line_of(r);
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
}

TEST(AccessLogLineTest, LongFieldsAreCut) {
  const std::string text(10'000, 'a');
  EXPECT_EQ(logged(text), std::string(kMaxLoggedField, 'a') + "...");
  EXPECT_LE(logged(std::string(10'000, '\n')).size(), 4 * kMaxLoggedField + 5);
}

TEST(ByteRingTest, MessagesWrapAroundTheEnd) {
  ByteRing ring(16);
  std::string out;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(ring.push("abcde", "fgh"));
    ring.drain(&out);
    ASSERT_TRUE(ring.push("12345"));
    out.clear();
    ring.drain(&out);
    ASSERT_EQ(out, "12345");
  }
}

TEST(ByteRingTest, FullRingDropsWholeMessagesAndCounts) {
  ByteRing ring(16);
  EXPECT_TRUE(ring.push("0123456789"));
  EXPECT_FALSE(ring.push("0123456789"));
  EXPECT_TRUE(ring.push("012345"));
  std::string out;
  ring.drain(&out);
  EXPECT_EQ(out, "0123456789012345");
  EXPECT_EQ(ring.dropped(), 1u);
}

TEST(AccessLogTest, EveryLineIsWrittenOrCountedWhenTheLogEnds) {
  const std::string path = testing::TempDir() + str_cat("weft-access-", ::getpid(), ".log");
  constexpr size_t kLines = 20'000;
  uint64_t dropped = 0;
  {
    auto log = AccessLog::open(path, 2);
    ASSERT_TRUE(log.ok()) << log.status();
    const auto produce = [&](size_t worker) {
      for (size_t i = 0; i < kLines; ++i)
        (*log)->write(worker, str_cat("worker ", worker, " line ", i, "\n"));
    };
    std::thread other(produce, 1);
    produce(0);
    other.join();
    dropped = (*log)->dropped();
  }
  const std::string text = contents(path);
  EXPECT_EQ(static_cast<uint64_t>(std::count(text.begin(), text.end(), '\n')) + dropped, 2 * kLines);
  EXPECT_THAT(text, HasSubstr("worker 1 line 0\n"));
  std::remove(path.c_str());
}

TEST(AccessLogTest, ReopenContinuesInANewFile) {
  const std::string path = testing::TempDir() + str_cat("weft-rotate-", ::getpid(), ".log");
  const std::string old = path + ".1";
  {
    auto log = AccessLog::open(path, 1);
    ASSERT_TRUE(log.ok()) << log.status();
    std::rename(path.c_str(), old.c_str());
    (*log)->reopen();
    (*log)->write(0, "after\n");
  }
  EXPECT_EQ(contents(path), "after\n");
  EXPECT_EQ(contents(old), "");
  std::remove(path.c_str());
  std::remove(old.c_str());
}

TEST(AccessLogTest, UnwritablePathSaysWhichFile) {
  const auto log = AccessLog::open("/nonexistent-folder/access.log", 1);
  ASSERT_FALSE(log.ok());
  EXPECT_THAT(std::string(log.status().message()), HasSubstr("/nonexistent-folder/access.log"));
}

}  // namespace
}  // namespace weft::proxy
