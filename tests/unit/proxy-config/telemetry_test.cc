// What a worker counts: histogram bounds, series, outcomes, observed exchanges.
#include <gtest/gtest.h>

#include "base/strings.h"
#include "tests/unit/proxy-config/telemetry_world.h"
#include "userspace-proxy/metrics.h"
#include "userspace-proxy/telemetry/worker_telemetry.h"

namespace weft::proxy {
namespace {

namespace v1 = weft::proxy::v1;

v1::Metrics sum(const std::vector<WorkerTelemetry*>& telemetry) {
  v1::Metrics out;
  sum_telemetry(telemetry, &out);
  return out;
}

TEST(DurationHistogramTest, BoundBelongsToItsBucket) {
  EXPECT_EQ(histogram_bucket(0), 0u);
  EXPECT_EQ(histogram_bucket(50), 0u);
  EXPECT_EQ(histogram_bucket(51), 1u);
  EXPECT_EQ(histogram_bucket(100), 1u);
  EXPECT_EQ(histogram_bucket(10'000'000), 14u);
  EXPECT_EQ(histogram_bucket(10'000'001), 15u);
}

TEST(DurationHistogramTest, PartsOfAMicrosecondCountUpwards) {
  DurationHistogram histogram;
  histogram.add(50'000);
  histogram.add(50'001);
  EXPECT_EQ(histogram.buckets[0].get(), 1u);
  EXPECT_EQ(histogram.buckets[1].get(), 1u);
  EXPECT_EQ(histogram.sum_us.get(), 100u);
}

TEST(WorkerTelemetryTest, SeriesOfAllWorkersAreSummed) {
  WorkerTelemetry a(0, nullptr, nullptr), b(1, nullptr, nullptr);
  const Snapshot snapshot = telemetry_snapshot();
  for (int i = 0; i < 3; ++i) a.record(telemetry_record(), snapshot);
  b.record(telemetry_record(), snapshot);
  const v1::Metrics metrics = sum({&a, &b});
  ASSERT_EQ(metrics.requests_size(), 1);
  const v1::RequestSeries& series = metrics.requests(0);
  EXPECT_EQ(series.requests(), 4u);
  EXPECT_EQ(series.source_workload(), "web");
  EXPECT_EQ(series.destination_service(), "cart");
  EXPECT_EQ(series.destination_workload(), "cart-v1");
  EXPECT_EQ(series.code_class(), "2xx");
  EXPECT_EQ(series.duration_us_sum(), 4u * 1234);
  EXPECT_EQ(series.duration_buckets(static_cast<int>(histogram_bucket(1234))), 4u);
}

TEST(WorkerTelemetryTest, WhatARouteAnswersByItselfIsCountedApart) {
  WorkerTelemetry t(0, nullptr, nullptr);
  const Snapshot snapshot = telemetry_snapshot();
  ExchangeRecord record = telemetry_record();
  record.endpoint = kNone;
  record.status = 503;
  for (const Outcome outcome : {Outcome::kNoEndpoint, Outcome::kFaultAbort, Outcome::kDirectResponse}) {
    record.outcome = outcome;
    t.record(record, snapshot);
  }
  const v1::Metrics metrics = sum({&t});
  ASSERT_EQ(metrics.requests_size(), 1) << "labels of a metric are as they were";
  EXPECT_EQ(metrics.requests(0).requests(), 3u);
  EXPECT_EQ(metrics.requests(0).own_answers(), 2u);
}

TEST(WorkerTelemetryTest, StatusRouteAndEndpointMakeSeries) {
  WorkerTelemetry t(0, nullptr, nullptr);
  const Snapshot snapshot = telemetry_snapshot();
  ExchangeRecord record = telemetry_record();
  t.record(record, snapshot);
  record.status = 503;
  t.record(record, snapshot);
  record.endpoint = kNone;
  t.record(record, snapshot);
  record.status = 0;
  const std::string route = "other-route";
  record.route = route;
  t.record(record, snapshot);
  EXPECT_EQ(sum({&t}).requests_size(), 4);
}

TEST(WorkerTelemetryTest, SeriesOutliveSnapshotsAndRecords) {
  WorkerTelemetry t(0, nullptr, nullptr);
  for (uint64_t generation = 1; generation <= 3; ++generation) {
    const Snapshot snapshot = telemetry_snapshot(generation);
    ExchangeRecord record = telemetry_record();
    const std::string route = str_cat("rou", "te");
    record.route = route;
    t.record(record, snapshot);
    t.record(record, snapshot);
  }
  const v1::Metrics metrics = sum({&t});
  ASSERT_EQ(metrics.requests_size(), 1);
  EXPECT_EQ(metrics.requests(0).requests(), 6u);
}

TEST(WorkerTelemetryTest, TooManySeriesGoToOneOther) {
  RequestSeriesTable table(2);
  const Snapshot snapshot = telemetry_snapshot();
  for (int i = 0; i < 10; ++i) {
    ExchangeRecord record = telemetry_record();
    const std::string route = str_cat("r", i);
    record.route = route;
    table.add(record, snapshot);
  }
  size_t series = 0, other = 0;
  for (const RequestSeries* s = table.first(); s != nullptr; s = s->next) {
    ++series;
    if (s->labels.route == "other") other = s->requests.get();
  }
  EXPECT_EQ(series, 3u);
  EXPECT_EQ(other, 8u);
}

TEST(WorkerTelemetryTest, EveryOutcomeHasItsCounter) {
  WorkerTelemetry t(0, nullptr, nullptr);
  const Snapshot snapshot = telemetry_snapshot();
  for (int i = 0; i < kOutcomeCount; ++i) {
    ExchangeRecord record = telemetry_record();
    record.protocol = ExchangeRecord::Protocol::kTcp;
    record.outcome = static_cast<Outcome>(i);
    for (int n = 0; n <= i; ++n) t.record(record, snapshot);
  }
  const v1::Metrics metrics = sum({&t});
  ASSERT_EQ(metrics.outcomes_size(), kOutcomeCount);
  for (int i = 0; i < kOutcomeCount; ++i) {
    EXPECT_EQ(metrics.outcomes(i).outcome(), label(static_cast<Outcome>(i)));
    EXPECT_EQ(metrics.outcomes(i).count(), static_cast<uint64_t>(i + 1));
  }
  EXPECT_EQ(metrics.requests_size(), 0) << "TCP connections are no requests";
}

TEST(WorkerTelemetryTest, TunnelsAreCountedApartFromWhatTheyCarry) {
  WorkerTelemetry one(0, nullptr, nullptr), other(1, nullptr, nullptr);
  const Snapshot snapshot = telemetry_snapshot();
  ExchangeRecord record = telemetry_record();
  record.protocol = ExchangeRecord::Protocol::kTunnel;
  one.record(record, snapshot);
  record.outcome = Outcome::kAccessDenied;
  one.record(record, snapshot);
  other.record(record, snapshot);
  const v1::Metrics metrics = sum({&one, &other});
  ASSERT_EQ(metrics.tunnels_size(), kOutcomeCount);
  EXPECT_EQ(metrics.tunnels(static_cast<int>(Outcome::kOk)).count(), 1u);
  EXPECT_EQ(metrics.tunnels(static_cast<int>(Outcome::kAccessDenied)).count(), 2u);
  EXPECT_EQ(metrics.tunnel_received_bytes(), 3 * record.received_bytes);
  EXPECT_EQ(metrics.tunnel_sent_bytes(), 3 * record.sent_bytes);
  for (const v1::OutcomeCount& each : metrics.outcomes()) EXPECT_EQ(each.count(), 0u) << each.outcome();
  EXPECT_EQ(metrics.requests_size(), 0);
}

TEST(WorkerTelemetryTest, ExchangesAreObservedOnlyWhileSwitchedOn) {
  WorkerTelemetry t(0, nullptr, nullptr);
  const Snapshot snapshot = telemetry_snapshot();
  std::vector<v1::Exchange> seen;
  t.record(telemetry_record(), snapshot);
  t.observe(true);
  ExchangeRecord record = telemetry_record();
  record.path = "/a\xff?token=secret";
  t.record(record, snapshot);
  t.observe(false);
  t.record(telemetry_record(), snapshot);
  t.take_observed(&seen);
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].path(), "/a?");
  EXPECT_EQ(seen[0].source_workload(), "shop/web");
  EXPECT_EQ(seen[0].destination_workload(), "shop/cart-v1");
  EXPECT_EQ(seen[0].upstream_address(), "10.1.0.3:8080");
}

TEST(WorkerTelemetryTest, NobodyReadingDropsAndCounts) {
  WorkerTelemetry t(0, nullptr, nullptr);
  const Snapshot snapshot = telemetry_snapshot();
  t.observe(true);
  constexpr uint64_t kExchanges = 10'000;
  for (uint64_t i = 0; i < kExchanges; ++i) t.record(telemetry_record(), snapshot);
  std::vector<v1::Exchange> seen;
  t.take_observed(&seen);
  EXPECT_GT(t.observe_dropped(), 0u);
  EXPECT_EQ(seen.size() + t.observe_dropped(), kExchanges);
}

}  // namespace
}  // namespace weft::proxy
