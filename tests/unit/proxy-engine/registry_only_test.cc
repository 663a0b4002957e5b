// A pod that may reach declared destinations only, through a real worker: HTTP is answered, anything else is
// reset, and what the registry knows by name is reached by name.
#include <fcntl.h>
#include <gtest/gtest.h>

#include "base/strings.h"
#include "tests/unit/proxy-engine/client_hello.h"
#include "tests/unit/proxy-engine/rig.h"

namespace weft::proxy {
namespace {

std::shared_ptr<const ClusterPolicy> at_most_two() {
  auto policy = std::make_shared<ClusterPolicy>();
  policy->connections = std::make_shared<const ConnectionSettings>(ConnectionSettings{.max_requests = 2});
  return policy;
}

// The pod dials the rig's address, which nobody has declared; one cluster, "service", is at the server.
class RegistryOnlyTest : public testing::Test {
 protected:
  RegistryOnlyTest() : server_(always("declared")), rig_(setup_for(server_.address())) {}

  struct Registry {
    bool passes_through = false;  // the cluster is where it was dialled,
    bool anywhere = false;        // wherever that is
  };
  void use(const Registry& registry) {
    auto snapshot = std::make_shared<Snapshot>(*rig_.make_snapshot(one_endpoint(server_.address()), 2));
    snapshot->service_port_by_address.clear();
    snapshot->virtual_host_by_address.clear();
    snapshot->sources.push_back(Source{.uid = "pod 1", .ns = "shop", .registry_only = true});
    snapshot->source_by_uid["pod 1"] = 0;
    const uint16_t port = rig_.address().port;
    snapshot->virtual_host_by_host[Snapshot::HostKey{"shop", port, "service"}] = 0;
    snapshot->named_cluster_by_host[Snapshot::HostKey{"shop", port, "service"}] = 0;
    if (registry.passes_through) snapshot->clusters[0].load_balancer = LoadBalancer::kPassthrough;
    snapshot->clusters[0].anywhere = registry.anywhere;
    snapshot->clusters[0].policy = at_most_two();
    rig_.use(std::move(snapshot));
  }
  std::string get(const std::string& host) {
    TestConnection client = rig_.connect();
    client.send(str_cat("GET / HTTP/1.1\r\nHost: ", host, "\r\n\r\n"));
    return client.read_message();
  }
  Outcome outcome() { return rig_.sink().wait(1).at(0).outcome; }
  SocketAddress upstream() { return rig_.sink().wait(1).at(0).upstream; }

  TestServer server_;
  Rig rig_;
};

TEST_F(RegistryOnlyTest, APodThatIsNotKnownYetIsHeldToWhatTheAgentSaid) {
  SocketAddress address;
  CaptureListener listener{.netns_cookie = 8,
                           .workload_uid = "pod 8",
                           .netns = {},
                           .listener = listen_on_loopback(&address),
                           .confined = true};
  fcntl(listener.listener.get(), F_SETFL, O_NONBLOCK);
  rig_.worker().add_listener(std::move(listener));
  const auto ask = [&address] {
    TestConnection client = TestConnection::to(address);
    client.send("GET / HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n");
    return client.read_message();
  };
  use({});
  EXPECT_TRUE(ask().starts_with("HTTP/1.1 502"));
  EXPECT_EQ(outcome(), Outcome::kNotDeclared);
  // A service at that address.
  auto snapshot = std::make_shared<Snapshot>(*rig_.make_snapshot(one_endpoint(server_.address()), 3));
  snapshot->service_port_by_address[address] = 0;
  snapshot->virtual_host_by_address[Snapshot::AddressKey{.ns = "default", .address = address}] = 0;
  rig_.use(std::move(snapshot));
  EXPECT_EQ(ask(), ok_response("declared"));
}

TEST_F(RegistryOnlyTest, HttpToNobodyIsAnswered502) {
  use({});
  const std::string answer = get("elsewhere.example");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 502")) << answer;
  EXPECT_NE(answer.find("x-weft-reason: not_declared"), std::string::npos) << answer;
  EXPECT_EQ(outcome(), Outcome::kNotDeclared);
  EXPECT_EQ(server_.connections(), 0);
}

TEST_F(RegistryOnlyTest, ADeclaredHostIsReachedWhereItIsAndNotWhereItWasDialled) {
  use({});
  EXPECT_EQ(get("service"), ok_response("declared"));
  EXPECT_EQ(upstream(), server_.address());
}

TEST_F(RegistryOnlyTest, ADeclaredHostDoesNotMakeTheDialledAddressOne) {
  use({.passes_through = true});
  EXPECT_TRUE(get("service").starts_with("HTTP/1.1 502"));
  EXPECT_EQ(outcome(), Outcome::kNotDeclared);
  EXPECT_EQ(rig_.sink().count(), 1u);
}

// The address that it dialled is the worker's own: each request comes back as one more, until the limit ends
// it. That it went there is what counts.
TEST_F(RegistryOnlyTest, AnEntryOfNamesOnlyIsWhereItsClientsDial) {
  use({.passes_through = true, .anywhere = true});
  get("service");
  bool there = false;
  for (const SeenRecord& record : rig_.sink().wait(2)) {
    EXPECT_NE(record.outcome, Outcome::kNotDeclared);
    there = there || record.upstream == rig_.address();
  }
  EXPECT_TRUE(there);
  EXPECT_EQ(server_.connections(), 0);
}

TEST_F(RegistryOnlyTest, ConnectionsToNobodyAreReset) {
  use({});
  TestConnection client = rig_.connect();
  client.send("SSH-2.0-client\r\n");
  EXPECT_GT(client.read_end(), 0) << "a reset, no end of stream";
  EXPECT_EQ(outcome(), Outcome::kNotDeclared);
}

TEST_F(RegistryOnlyTest, AServerThatSpeaksFirstIsNotReachedEither) {
  use({});
  TestConnection client = rig_.connect();
  EXPECT_GT(client.read_end(), 0);
  EXPECT_EQ(outcome(), Outcome::kNotDeclared);
  EXPECT_EQ(server_.connections(), 0);
}

TEST_F(RegistryOnlyTest, TlsIsReachedByItsServerName) {
  use({});
  TestConnection client = rig_.connect();
  client.send(client_hello("service"));
  client.finish_sending();
  client.read_to_end();
  EXPECT_EQ(upstream(), server_.address());
}

TEST_F(RegistryOnlyTest, TlsToAnotherNameIsReset) {
  use({});
  TestConnection client = rig_.connect();
  client.send(client_hello("elsewhere.example"));
  EXPECT_GT(client.read_end(), 0);
  EXPECT_EQ(outcome(), Outcome::kNotDeclared);
}

}  // namespace
}  // namespace weft::proxy
