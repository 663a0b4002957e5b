// Connections that are not HTTP and have routes: by server name, split by weight, refused; through a real
// worker.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>

#include "base/strings.h"
#include "tests/unit/proxy-engine/client_hello.h"
#include "tests/unit/proxy-engine/rig.h"

namespace weft::proxy {
namespace {

// Says who it is, then repeats what it gets.
TestServer::Handler named(const std::string& name) {
  return [name](TestConnection& c) {
    const std::string all = c.read_until("end");
    c.send(str_cat(name, ":", all));
  };
}

WeightedCluster cluster(uint32_t index, uint32_t weight = 1) {
  return WeightedCluster{.cluster = index, .weight = weight, .label = ""};
}

L4Route route(std::vector<std::string> names, std::vector<WeightedCluster> clusters) {
  L4Route out{.name = "r", .matches = {}, .clusters = std::move(clusters)};
  if (!names.empty()) out.matches.emplace_back().sni_hosts = std::move(names);
  for (const WeightedCluster& c : out.clusters) out.total_weight += c.weight;
  return out;
}

// Two servers behind one port of which `host` has the routes.
class Layer4Rig {
 public:
  Layer4Rig(Protocol protocol, const L4Host& host)
      : one_(named("one")),
        two_(named("two")),
        rig_({.protocol = protocol, .clusters = clusters(), .options = {}}) {
    use(host, 2);
  }

  void use(const L4Host& host, uint64_t generation) {
    auto snapshot = std::make_shared<Snapshot>(*rig_.make_snapshot(clusters(), generation));
    snapshot->l4_hosts.push_back(host);
    snapshot->l4_host_by_address[Snapshot::AddressKey{.ns = "default", .address = rig_.address()}] = 0;
    rig_.use(std::move(snapshot));
  }
  // What a client that says this gets back; empty: a reset.
  std::string say(const std::string& text) {
    TestConnection client = rig_.connect();
    client.send(text);
    return client.read_until("end");
  }
  SeenRecord last() { return rig_.sink().wait(++seen_).back(); }
  Rig& rig() { return rig_; }

 private:
  std::vector<TestCluster> clusters() {
    return {TestCluster{.name = "one", .endpoints = {one_.address()}},
            TestCluster{.name = "two", .endpoints = {two_.address()}}};
  }

  TestServer one_, two_;
  Rig rig_;
  size_t seen_ = 0;
};

TEST(Layer4RoutesTest, TheServerNameDecides) {
  Layer4Rig rig(Protocol::kTls,
                {.name = "h",
                 .tls = {route({"one.example"}, {cluster(0)}), route({".example"}, {cluster(1)})},
                 .tcp = {}});
  const std::string one = client_hello("one.example") + "end", two = client_hello("x.example") + "end";
  EXPECT_EQ(rig.say(one), "one:" + one);
  EXPECT_EQ(rig.last().outcome, Outcome::kOk);
  EXPECT_EQ(rig.say(two), "two:" + two);
  EXPECT_EQ(rig.say(client_hello("example.org") + "end"), "");
  // A connection that went on is recorded when both ends have closed it, perhaps after the one that was
  // refused.
  const std::vector<SeenRecord> records = rig.rig().sink().wait(3);
  const auto refused = [](const SeenRecord& record) { return record.outcome == Outcome::kNoRoute; };
  EXPECT_EQ(std::count_if(records.begin(), records.end(), refused), 1);
}

// Between a connection and its first bytes the mesh may become a smaller one.
TEST(Layer4RoutesTest, WhatWaitsIsAimedInTheSnapshotThatIsThen) {
  TestServer one(named("one")), two(named("two"));
  const std::vector<TestCluster> both = {{.name = "one", .endpoints = {one.address()}},
                                         {.name = "two", .endpoints = {two.address()}}};
  Rig rig({.protocol = Protocol::kTls, .clusters = both, .options = {}});
  auto before = std::make_shared<Snapshot>(*rig.make_snapshot(both, 2));
  before->service_ports[0].tcp_cluster = 1;
  before->l4_hosts.push_back({.name = "h", .tls = {route({"x.example"}, {cluster(1)})}, .tcp = {}});
  before->l4_host_by_address[Snapshot::AddressKey{.ns = "default", .address = rig.address()}] = 0;
  rig.use(std::move(before));
  TestConnection client = rig.connect();
  ASSERT_TRUE(rig.wait_for([&] { return rig.pod() != nullptr && rig.pod()->connections.get() == 1; }));
  rig.use(rig.make_snapshot({both[0]}, 3));
  const std::string hello = client_hello("x.example") + "end";
  client.send(hello);
  EXPECT_EQ(client.read_until("end"), "one:" + hello);
}

TEST(Layer4RoutesTest, ADrainDoesNotWaitForAClientThatSaysNothing) {
  Layer4Rig rig(Protocol::kTls, {.name = "h", .tls = {route({"two.example"}, {cluster(1)})}, .tcp = {}});
  TestConnection client = rig.rig().connect();
  ASSERT_TRUE(rig.rig().wait_for(
      [&] { return rig.rig().pod() != nullptr && rig.rig().pod()->connections.get() == 1; }));
  std::atomic<bool> drained{false};
  rig.rig().worker().drain(std::chrono::minutes(5), [&] { drained = true; });
  EXPECT_EQ(client.read_end(), 0);
  EXPECT_TRUE(rig.rig().wait_for([&] { return drained.load(); }));
}

TEST(Layer4RoutesTest, AHelloInPiecesIsOneHello) {
  Layer4Rig rig(Protocol::kTls, {.name = "h", .tls = {route({"two.example"}, {cluster(1)})}, .tcp = {}});
  const std::string hello = client_hello("two.example") + "end";
  TestConnection client = rig.rig().connect();
  for (const char c : hello) client.send(std::string(1, c));
  EXPECT_EQ(client.read_until("end"), "two:" + hello);
}

TEST(Layer4RoutesTest, WhatIsNoTlsGoesToTheTcpRoutes) {
  Layer4Rig rig(
      Protocol::kTls,
      {.name = "h", .tls = {route({"one.example"}, {cluster(0)})}, .tcp = {route({}, {cluster(1)})}});
  EXPECT_EQ(rig.say("plain end"), "two:plain end");
  const std::string other = client_hello("other.example") + "end";
  EXPECT_EQ(rig.say(other), "two:" + other);
}

TEST(Layer4RoutesTest, AnUndeclaredPortTellsTlsFromOthers) {
  Layer4Rig rig(Protocol::kSniff, {.name = "h", .tls = {route({"two.example"}, {cluster(1)})}, .tcp = {}});
  const std::string hello = client_hello("two.example") + "end";
  EXPECT_EQ(rig.say(hello), "two:" + hello);
  EXPECT_EQ(rig.say("\x01 binary end"), "one:\x01 binary end")
      << "nothing is said about it: the service has it";
  EXPECT_EQ(rig.say(client_hello("one.example") + "end"), "");
}

TEST(Layer4RoutesTest, HalfAHelloIsNoWayAroundTheRoutes) {
  Layer4Rig rig(Protocol::kSniff, {.name = "h", .tls = {route({"two.example"}, {cluster(1)})}, .tcp = {}});
  TestConnection client = rig.rig().connect();
  client.send(client_hello("one.example").substr(0, 40));
  client.finish_sending();
  EXPECT_EQ(client.read_to_end(), "");
  EXPECT_EQ(rig.last().outcome, Outcome::kNoRoute);
}

TEST(Layer4RoutesTest, ConnectionsAreSplitByWeight) {
  Layer4Rig rig(Protocol::kTcp, {.name = "h", .tls = {}, .tcp = {route({}, {cluster(0, 1), cluster(1, 3)})}});
  int two = 0;
  constexpr int kConnections = 400;
  for (int i = 0; i < kConnections; ++i) two += rig.say("x end").starts_with("two") ? 1 : 0;
  EXPECT_NEAR(two, kConnections * 3 / 4, 45);
}

TEST(Layer4RoutesTest, InvalidAndUnknownBackendsRefuseTheirShare) {
  WeightedCluster invalid = cluster(kNone);
  invalid.invalid = true;
  Layer4Rig rig(Protocol::kTcp, {.name = "h", .tls = {}, .tcp = {route({}, {invalid})}});
  EXPECT_EQ(rig.say("x end"), "");
  EXPECT_EQ(rig.last().outcome, Outcome::kInvalidBackend);
  rig.use({.name = "h", .tls = {}, .tcp = {route({}, {cluster(kNone)})}}, 3);
  EXPECT_EQ(rig.say("x end"), "");
  EXPECT_EQ(rig.last().outcome, Outcome::kNoCluster);
}

}  // namespace
}  // namespace weft::proxy
