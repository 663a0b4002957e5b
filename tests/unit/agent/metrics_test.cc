// The Prometheus text and the tiny HTTP server that serves it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <fstream>
#include <sstream>

#include "agent/metrics/exporter.h"
#include "agent/metrics/metric_table.h"
#include "agent/metrics/rejections.h"
#include "base/http_server.h"
#include "base/prometheus_text.h"
#include "base/strings.h"
#include "bpf/abi/constants.h"

namespace weft::agent {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(TextFormatTest, LabelValuesAreEscaped) {
  TextFormat out;
  out.sample("weft_x", {{"a", "b\"c\\d\ne"}}, uint64_t{1});
  EXPECT_EQ(out.text(), "weft_x{a=\"b\\\"c\\\\d\\ne\"} 1\n");
}

TEST(TextFormatTest, HistogramBucketsAreCumulativeInSecondsAndEndAtInfinity) {
  TextFormat out;
  const std::vector<uint64_t> buckets{1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4};
  out.histogram("weft_d", {{"a", "b"}}, buckets, 1.5);
  EXPECT_THAT(out.text(),
              StartsWith("weft_d_bucket{a=\"b\",le=\"5e-05\"} 1\nweft_d_bucket{a=\"b\",le=\"0.0001\"} 3\n"));
  EXPECT_THAT(out.text(), HasSubstr("le=\"10\"} 3\nweft_d_bucket{a=\"b\",le=\"+Inf\"} 7\n"));
  EXPECT_THAT(out.text(), HasSubstr("weft_d_sum{a=\"b\"} 1.5\nweft_d_count{a=\"b\"} 7\n"));
}

MetricsInput input() {
  MetricsInput in;
  in.ids.add({Subject::Kind::kWorkload, "w", "web", "shop"});
  in.ids.add({Subject::Kind::kService, "s", "cart", "shop"});
  FlowRow row;
  row.key = {in.ids.find(Subject::Kind::kWorkload, "w"), in.ids.find(Subject::Kind::kService, "s"),
             WEFT_DIRECTION_OUTBOUND};
  row.total.opened = 5;
  row.total.connect.bucket[0] = 5;
  in.flows = {row};
  in.stats = std::vector<uint64_t>(WEFT_STAT_COUNT, 0);
  in.stats[WEFT_STAT_CAPTURED] = 9;
  in.maps = {{"m_flow", 1, 100}};
  return in;
}

TEST(ExporterTest, FlowsCarryTheNamesOfTheirIds) {
  EXPECT_THAT(render_metrics(input()),
              HasSubstr("weft_tcp_opened_total{source_workload=\"web\",source_namespace=\"shop\",destination_"
                        "service=\"cart\","
                        "destination_workload=\"\",destination_namespace=\"shop\",reporter=\"source\"} 5\n"));
}

TEST(ExporterTest, RowsWithEqualLabelsAreOneSeries) {
  MetricsInput in = input();
  FlowRow gone;
  gone.key = {12345, 67890, WEFT_DIRECTION_INBOUND};
  gone.total.opened = 2;
  in.flows.push_back(gone);
  gone.key.source = 54321;
  in.flows.push_back(gone);
  EXPECT_THAT(render_metrics(in), HasSubstr("destination_namespace=\"\",reporter=\"destination\"} 4\n"));
}

std::string series(std::string_view name, std::string_view reporter, std::string_view more) {
  return str_cat(name, "{source_workload=\"web\",source_namespace=\"shop\",destination_service=\"cart\",",
                 "destination_workload=\"\",destination_namespace=\"shop\",reporter=\"", reporter, "\"", more,
                 "}");
}

TEST(ExporterTest, FailuresAndBreaksAreSplitByCause) {
  MetricsInput in = input();
  weft_flow& row = in.flows[0].total;
  row.failed[WEFT_CONNECT_REFUSED] = 1;
  row.failed[WEFT_CONNECT_ABANDONED] = 2;
  row.broken[WEFT_BREAK_RESET] = 3;
  row.retransmits = 4;
  const std::string text = render_metrics(in);
  EXPECT_THAT(text, HasSubstr(series("weft_tcp_failed_total", "source", ",cause=\"refused\"") + " 1\n"));
  EXPECT_THAT(text, HasSubstr(series("weft_tcp_failed_total", "source", ",cause=\"timeout\"") + " 0\n"));
  EXPECT_THAT(text, HasSubstr(series("weft_tcp_failed_total", "source", ",cause=\"abandoned\"") + " 2\n"));
  EXPECT_THAT(text, HasSubstr(series("weft_tcp_broken_total", "source", ",cause=\"reset\"") + " 3\n"));
  EXPECT_THAT(text, HasSubstr(series("weft_tcp_retransmits_total", "source", "") + " 4\n"));
}

TEST(ExporterTest, EveryReporterHasRoundTripsAndFirstBytesAndWhoDialsHasConnects) {
  MetricsInput in = input();
  FlowRow row = in.flows[0];
  row.total.rtt = {.sum_ns = 3'000'000, .bucket = {0, 0, 1}};
  row.total.first_byte = {.sum_ns = 20'000'000, .bucket = {0, 0, 0, 0, 0, 0, 0, 0, 2}};
  in.flows.clear();
  for (const uint32_t direction : {WEFT_DIRECTION_OUTBOUND, WEFT_DIRECTION_INBOUND, WEFT_DIRECTION_PROXY}) {
    row.key.direction = direction;
    in.flows.push_back(row);
  }
  const std::string text = render_metrics(in);
  for (const char* reporter : {"source", "destination", "proxy"}) {
    EXPECT_THAT(text, HasSubstr(series("weft_tcp_rtt_seconds_sum", reporter, "") + " 0.003\n"));
    EXPECT_THAT(text, HasSubstr(series("weft_tcp_first_byte_seconds_count", reporter, "") + " 2\n"));
    const std::string connects = series("weft_tcp_connect_duration_seconds_count", reporter, "") + " 5\n";
    if (reporter == std::string("destination"))
      EXPECT_THAT(text, Not(HasSubstr(connects)));
    else
      EXPECT_THAT(text, HasSubstr(connects));
  }
}

TEST(ExporterTest, AbsentProxyLeavesItsSeriesOut) {
  MetricsInput in = input();
  EXPECT_THAT(render_metrics(in), HasSubstr("weft_proxy_up 0\n"));
  EXPECT_THAT(render_metrics(in), Not(HasSubstr("weft_requests_total{")));
  proxy::v1::Metrics metrics;
  auto* series = metrics.add_requests();
  series->set_route("r");
  series->set_requests(3);
  series->add_duration_buckets(3);
  (*metrics.mutable_gauges())["weft_proxy_downstream_connections"] = 4;
  (*metrics.mutable_gauges())["bad name{}"] = 4;
  in.proxy = metrics;
  const std::string text = render_metrics(in);
  EXPECT_THAT(text, HasSubstr("weft_proxy_up 1\n"));
  EXPECT_THAT(text, HasSubstr("route=\"r\",code_class=\"\",path=\"proxy\"} 3\n"));
  EXPECT_THAT(
      text,
      HasSubstr("# TYPE weft_proxy_downstream_connections gauge\nweft_proxy_downstream_connections 4\n"));
  EXPECT_THAT(text, Not(HasSubstr("bad name")));
}

TEST(ExporterTest, PodsCarryTheirNamesAndEveryReasonAndLeaveTogether) {
  MetricsInput in = input();
  proxy::v1::Metrics metrics;
  for (const uint64_t cookie : {7u, 8u}) {
    proxy::v1::PodUse* use = metrics.add_pods();
    use->set_netns_cookie(cookie);
    use->set_connections(5);
    use->set_waiting(1);
    use->set_buffered_bytes(4096);
    (*use->mutable_refused())["pod_requests"] = 2;
    (*use->mutable_refused())["evicted"] = 0;
  }
  in.proxy = metrics;
  in.pods[7] = {"shop", "web"};
  const std::string text = render_metrics(in);
  EXPECT_THAT(text, HasSubstr("weft_pod_connections{workload=\"web\",namespace=\"shop\"} 5\n"));
  EXPECT_THAT(text, HasSubstr("weft_pod_waiting_requests{workload=\"web\",namespace=\"shop\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("weft_pod_buffered_bytes{workload=\"web\",namespace=\"shop\"} 4096\n"));
  EXPECT_THAT(text,
              HasSubstr("weft_pod_refused_total{workload=\"web\",namespace=\"shop\",reason=\"evicted\"} "
                        "0\nweft_pod_refused_total{workload=\"web\",namespace=\"shop\",reason=\"pod_"
                        "requests\"} 2\n"));
  // Nobody's any more.
  in.pods.clear();
  EXPECT_THAT(render_metrics(in), Not(HasSubstr("weft_pod_connections{")));
}

TEST(ExporterTest, CertificatesAreCountedWhereThereAreAny) {
  MetricsInput in = input();
  EXPECT_THAT(render_metrics(in), Not(HasSubstr("\nweft_certificate")));
  in.certificates = CertificateCounts{.issued = 3, .refused = 2};
  EXPECT_THAT(render_metrics(in), HasSubstr("\nweft_certificates_issued_total 3\n"));
  EXPECT_THAT(render_metrics(in), HasSubstr("\nweft_certificates_refused_total 2\n"));
  EXPECT_THAT(render_metrics(in), Not(HasSubstr("\nweft_certificate_first")))
      << "an alert would take 0 for long ago";
  in.certificates->first_expiry_seconds = 1'800'000'000;
  EXPECT_THAT(render_metrics(in),
              HasSubstr("\nweft_certificate_first_expiry_timestamp_seconds 1800000000\n"));
}

TEST(ExporterTest, KernelEventsAndMapsAreNamed) {
  const std::string text = render_metrics(input());
  EXPECT_THAT(text, HasSubstr("weft_bpf_events_total{event=\"captured\"} 9\n"));
  EXPECT_THAT(text, HasSubstr("weft_bpf_map_capacity{map=\"m_flow\"} 100\n"));
}

TEST(ExporterTest, InsertionsWithoutRoomAreCountedByMap) {
  MetricsInput in = input();
  in.stats[WEFT_STAT_FLOW_OVERFLOW] = 2;
  in.stats[WEFT_STAT_FLOW_LOST] = 1;
  in.stats[WEFT_STAT_STORAGE_FAILED] = 7;
  const std::string text = render_metrics(in);
  EXPECT_THAT(text, HasSubstr("weft_bpf_map_failures_total{map=\"m_flow\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("weft_bpf_map_failures_total{map=\"m_flow_sk\"} 7\n"));
}

TEST(ExporterTest, ProgramRunsAreShownOnceTheKernelCountsThem) {
  MetricsInput in = input();
  in.program_runs = {{.name = "mesh_connect4"}, {.name = "mesh_sockops", .runs = 4, .run_ns = 1'500}};
  const std::string text = render_metrics(in);
  EXPECT_THAT(text, HasSubstr("weft_bpf_prog_runs_total{program=\"mesh_sockops\"} 4\n"));
  EXPECT_THAT(text, HasSubstr("weft_bpf_prog_run_seconds_total{program=\"mesh_sockops\"} 1.5e-06\n"));
  EXPECT_THAT(text, Not(HasSubstr("mesh_connect4")));
}

TEST(RejectionsTest, RefusalCountsWhenItBeginsAndWhenItsReasonChanges) {
  Rejections rejections;
  rejections.update({"a: bad port", "b: bad name"});
  EXPECT_EQ(rejections.total(), 2u);
  rejections.update({"a: bad port"});
  EXPECT_EQ(rejections.total(), 2u);
  rejections.update({"a: bad weight", "b: bad name"});
  EXPECT_EQ(rejections.total(), 4u);
}

TEST(DocsTest, MetricReferenceIsTheGeneratedOne) {
  std::ifstream file("docs/metrics.md");
  std::stringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str(), metrics_document());
}

class HttpServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    HttpServer::Options options{.address = *SocketAddress::parse("127.0.0.1:0"), .max_connections = 4};
    options.timeout = std::chrono::milliseconds(300);
    auto server = HttpServer::start(options, [](std::string_view path) {
      return HttpReply{path == "/metrics" ? 200 : 404, "text/plain", std::string(path) + "\n"};
    });
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = std::move(*server);
  }
  // Everything the server says to `text`, until it closes; at most 5 s.
  std::string ask(const std::string& text) {
    const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval limit{5, 0};
    ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    sockaddr_storage storage{};
    const socklen_t length = server_->address().to_sockaddr(&storage);
    EXPECT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
    ::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL);
    std::string reply;
    char chunk[4096];
    ssize_t n = 0;
    while ((n = ::recv(socket.get(), chunk, sizeof(chunk), 0)) > 0)
      reply.append(chunk, static_cast<size_t>(n));
    EXPECT_FALSE(n < 0 && errno == EAGAIN) << "the server did not close";
    return reply;
  }
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, GetIsAnsweredByPathWithoutItsQuery) {
  const std::string reply = ask("GET /metrics?x=1 HTTP/1.1\r\nHost: n\r\n\r\n");
  EXPECT_THAT(reply, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(reply, HasSubstr("\r\n\r\n/metrics\n"));
  EXPECT_THAT(ask("GET /other HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 404"));
}

TEST_F(HttpServerTest, OtherMethodsAndRubbishAreRefused) {
  EXPECT_THAT(ask("POST /metrics HTTP/1.1\r\n\r\n"), HasSubstr("405 Method Not Allowed"));
  EXPECT_THAT(ask("rubbish\r\n\r\n"), StartsWith("HTTP/1.1 400"));
}

TEST_F(HttpServerTest, LongHeadIsRefused) {
  EXPECT_THAT(ask("GET / HTTP/1.1\r\nX: " + std::string(8300, 'a')), StartsWith("HTTP/1.1 431"));
}

TEST_F(HttpServerTest, SilentClientIsClosedAtTheTimeoutWithoutAReply) { EXPECT_EQ(ask("GET /met"), ""); }

}  // namespace
}  // namespace weft::agent
