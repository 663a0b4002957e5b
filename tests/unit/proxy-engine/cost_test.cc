// What a request and a stream cost: no allocation per request once warm, and memory that does not grow with
// the body.
#include <gtest/gtest.h>
#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <new>

#include "base/strings.h"
#include "proto/istio/security.pb.h"
#include "proto/weft/mesh/v1/http_terms.pb.h"
#include "tests/unit/proxy-engine/route_rig.h"
#include "userspace-proxy/policy/request_policy.h"
#include "userspace-proxy/telemetry/request_series.h"

namespace {
// Counts on every thread; the test's own threads use no allocation while it counts.
std::atomic<bool> g_counting{false};
std::atomic<uint64_t> g_allocations{0};
}  // namespace

void* operator new(size_t size) {
  if (g_counting.load(std::memory_order_relaxed)) g_allocations.fetch_add(1, std::memory_order_relaxed);
  void* block = std::malloc(size);
  if (block == nullptr) std::abort();
  return block;
}
void operator delete(void* block) noexcept { std::free(block); }
void operator delete(void* block, size_t) noexcept { std::free(block); }

namespace weft::proxy {
namespace {

constexpr std::string_view kGet =
    "GET /item HTTP/1.1\r\nHost: service\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n";

// Reads exactly `count` bytes into a buffer on the stack.
bool read_exactly(int fd, size_t count) {
  char bytes[65536];
  while (count > 0) {
    const ssize_t got = recv(fd, bytes, std::min(count, sizeof(bytes)), 0);
    if (got <= 0) return false;
    count -= static_cast<size_t>(got);
  }
  return true;
}

uint64_t resident_kib() {
  std::ifstream status("/proc/self/statm");
  uint64_t total = 0, resident = 0;
  status >> total >> resident;
  return resident * 4;
}

TEST(CostTest, AllocatesNothingPerRequestOnceWarm) {
  const std::string response = ok_response("0123456789");
  TestServer server([&](TestConnection& c) {
    while (read_exactly(c.fd(), kGet.size()) && c.send(response)) {
    }
  });
  Rig::Setup setup;
  setup.clusters.push_back(TestCluster{.name = "v1", .endpoints = {server.address()}});
  Rig rig(setup);
  rig.sink().keep = false;
  TestConnection client = rig.connect();
  for (int i = 0; i < 1100; ++i) {
    if (i == 100) g_counting = true;
    ASSERT_TRUE(client.send(kGet));
    ASSERT_TRUE(read_exactly(client.fd(), response.size()));
  }
  g_counting = false;
  EXPECT_EQ(g_allocations, 0u);
}

TEST(CostTest, JudgingARequestAllocatesNothing) {
  auto message = std::make_shared<istio::security::Authorization>();
  message->set_action(istio::security::DENY);
  weft::mesh::v1::HttpTerms terms;
  terms.add_methods()->set_prefix("P");
  terms.add_hosts()->set_exact("cart");
  terms.add_path_templates("/a/{*}/c/{**}");
  auto& header = *terms.add_headers();
  header.set_name("x-user");
  header.add_values()->mutable_presence();
  terms.add_remote_ips()->set_address(std::string("\x0a\0\0\0", 4));
  terms.mutable_remote_ips(0)->set_length(8);
  message->add_rules()->add_clauses()->add_matches()->add_extensions()->mutable_config()->PackFrom(terms);
  const AuthorizationPtr list[] = {message};
  const ConnectionPolicy policy(std::make_shared<const PolicySet>(list), {});
  RequestHead head;
  head.method = "POST";
  head.authority = "CART:8080";
  head.path = "/a/a%20segment-that-is-no-short-string/c/d";
  head.headers = {{"X-User", "somebody"}, {"X-Forwarded-For", "192.168.0.1, 10.1.2.3"}};
  PathReadings paths;
  int denied = 0;
  judged(head, IpAddress(), &paths);
  g_counting = true;
  for (int i = 0; i < 1000; ++i) denied += policy.judge(judged(head, IpAddress(), &paths)).allowed ? 0 : 1;
  g_counting = false;
  EXPECT_EQ(g_allocations.exchange(0), 0u);
  EXPECT_EQ(denied, 1000);
}

// Messages this short come in one piece.
bool receive_some(int fd) {
  char bytes[4096];
  return recv(fd, bytes, sizeof(bytes), 0) > 0;
}

TEST(CostTest, AllocatesNothingForWhatARouteDoesBesidesOnceWarm) {
  const std::string response = ok_response("0123456789");
  TestServer server([&](TestConnection& c) {
    while (receive_some(c.fd()) && c.send(response)) {
    }
  });
  const std::vector<TestCluster> clusters = {TestCluster{.name = "v1", .endpoints = {server.address()}}};
  Rig rig(Rig::Setup{.protocol = Protocol::kHttp, .clusters = clusters, .options = {}, .with_route = true});
  rig.sink().keep = false;
  rig.use(with_routes(
      rig.make_snapshot(clusters, 2),
      str_cat(
          "http{matches{uri{exact:'/direct'}} direct_response{status:503 body:'later'}} "
          "http{matches{uri{exact:'/moved'}} redirect{path:'/new' code:301}} "
          "http{path_rewrite{regex{pattern:'^/(.*)' substitution:'/v2/\\\\1'}} authority_rewrite:'other' "
          "timeout_ms:60000 "
          "retries{attempts:2 on:ON_5XX} fault{abort_ppm:1 http_status:500} cors{allow_origins{exact:'*'}} "
          "request_headers{edits{name:'x-from' value{parts{variable:DOWNSTREAM_REMOTE_ADDRESS}}}} "
          "response_headers{remove:'server' edits{name:'x-a' value{parts{literal:'1'}}}}",
          kTo, "}")));
  TestConnection client = rig.connect();
  for (const std::string_view path : {"/item", "/direct", "/moved"}) {
    const std::string request =
        str_cat("GET ", path, " HTTP/1.1\r\nHost: service\r\nOrigin: http://a\r\n\r\n");
    for (int i = 0; i < 600; ++i) {
      if (i == 100) g_counting = true;
      ASSERT_TRUE(client.send(request));
      ASSERT_TRUE(receive_some(client.fd()));
    }
    g_counting = false;
    EXPECT_EQ(g_allocations.exchange(0), 0u) << path;
  }
}

// Refused before a cluster was chosen: a flood of these is when memory is wanted least.
TEST(CostTest, CountsWhatIsRefusedWithoutAllocating) {
  Snapshot snapshot;
  snapshot.sources.push_back(Source{.uid = "uid", .name = "web", .ns = "shop"});
  snapshot.service_ports.push_back(ServicePort{.service = "cart", .ns = "shop"});
  ExchangeRecord record;
  record.status = 429;
  record.dialled = *SocketAddress::parse("10.96.0.1:80");
  record.source = 0;
  record.cluster = record.endpoint = kNone;
  record.route = "a route whose name is longer than what a string holds in itself";
  snapshot.service_port_by_address[record.dialled] = 0;
  RequestSeriesTable table;
  table.add(record, snapshot);
  g_allocations = 0;
  g_counting = true;
  for (int i = 0; i < 1000; ++i) table.add(record, snapshot);
  g_counting = false;
  EXPECT_EQ(g_allocations, 0u);
  EXPECT_EQ(table.first()->requests.get(), 1001u);
  EXPECT_EQ(table.first()->labels.service, "cart");
}

TEST(CostTest, StreamsAQuarterGigabyteBothWaysInConstantMemory) {
  constexpr size_t kBytes = 256 * 1024 * 1024;
  TestServer server([&](TestConnection& c) {
    c.read_until("\r\n\r\n");
    std::thread reader([&] { read_exactly(c.fd(), kBytes); });
    c.send(str_cat("HTTP/1.1 200 OK\r\nContent-Length: ", kBytes, "\r\n\r\n"));
    const std::string block(64 * 1024, 'b');
    for (size_t sent = 0; sent < kBytes && c.send(block); sent += block.size()) {
    }
    reader.join();
  });
  Rig::Setup setup;
  setup.clusters.push_back(TestCluster{.name = "v1", .endpoints = {server.address()}});
  Rig rig(setup);
  TestConnection client = rig.connect();
  const uint64_t before = resident_kib();
  client.send(str_cat("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ", kBytes, "\r\n\r\n"));
  std::thread sender([&] {
    const std::string block(64 * 1024, 'a');
    for (size_t sent = 0; sent < kBytes && client.send(block); sent += block.size()) {
    }
  });
  client.read_until("\r\n\r\n");
  // Whatever read_until took beyond the head is body.
  uint64_t peak = 0;
  size_t received = client.read(1).size();
  while (received < kBytes) {
    const size_t got = client.read(std::min<size_t>(1 << 20, kBytes - received)).size();
    if (got == 0) break;
    received += got;
    peak = std::max(peak, resident_kib());
  }
  sender.join();
  EXPECT_EQ(received, kBytes);
  EXPECT_LT(peak, before + 16 * 1024);
  EXPECT_EQ(rig.sink().wait(1).at(0).sent_bytes, kBytes);
}

}  // namespace
}  // namespace weft::proxy
