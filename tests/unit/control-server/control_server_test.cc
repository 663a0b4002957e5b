// weft-control and an agent's client of it, over TLS on loopback: what a node is told, what goes on without
// the server, who is refused, and who gets which certificate.
#include "control-plane/serve/control_server.h"

#include <algorithm>

#include "tests/unit/control-server/control_world.h"
#include "xds/stream_channel.h"

namespace weft::control_plane::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST_F(ControlServerTest, ANodeIsToldOfTheMeshAndOfItsOwnPods) {
  serve();
  Client client(client_options());
  const absl::Status started = client.start();
  ASSERT_TRUE(started.ok()) << started;
  EXPECT_THAT(client.pods_of_last(), ElementsAre("web"));
  EXPECT_TRUE(client.change(0).local_pods[0].wants_capture);
  EXPECT_EQ(client.change(0).local_pods[0].kubelet_uid, "uid-web") << "its cgroup is found by it";
  EXPECT_THAT(client.change(0).mesh_namespaces, ElementsAre("shop"));
  EXPECT_EQ(client.change(0).upserted.size(), 2U) << "both workloads";
  EXPECT_TRUE(client.report().connected);
  api_.put(kServices, service("cart", 80));
  ASSERT_TRUE(client.wait_for(2));
  ASSERT_EQ(client.change(1).upserted.size(), 1U);
  EXPECT_EQ(client.change(1).upserted[0].name(), "shop/cart.shop.svc.cluster.local");
  EXPECT_EQ(std::string_view(client.change(1).upserted[0].type_url()), kAddressType);
}

TEST_F(ControlServerTest, EveryNodeIsToldWhichNamespacesAreOfTheMeshWhenThatChanges) {
  serve();
  Client client(client_options("node1"));
  ASSERT_TRUE(client.start().ok());
  Json other = pod("teller", "node2", "10.0.0.3");
  other["metadata"]["namespace"] = "bank";
  api_.put(kPods, other);
  const std::vector<std::string> both{"bank", "shop"};
  EXPECT_TRUE(client.wait_until([&](const Change& last) { return last.mesh_namespaces == both; }));
  EXPECT_THAT(client.pods_of_last(), ElementsAre("web")) << "whose pods they are is not told";
}

TEST_F(ControlServerTest, WhatIsKnownStaysWhileTheServerIsAwayAndNothingIsSentTwice) {
  serve();
  Client client(client_options());
  ASSERT_TRUE(client.start().ok());
  const uint64_t received = client.report().resources;
  server_.reset();
  ASSERT_TRUE(harness::wait_until(kLimit, [&] { return !client.report().connected; }));
  ASSERT_EQ(client.report().problems.size(), 1U);
  EXPECT_THAT(client.report().problems[0], HasSubstr(str_cat("127.0.0.1:", port_.number())));
  EXPECT_THAT(client.report().problems[0], HasSubstr(" (next: "));
  // Changed while nobody told: that alone comes, from a server that was never there before.
  api_.put(kServices, service("cart", 80));
  serve();
  ASSERT_TRUE(client.wait_for(2));
  EXPECT_TRUE(harness::wait_until(kLimit, [&] { return client.report().connected; }));
  EXPECT_EQ(client.report().resources, received + 1);
  EXPECT_EQ(client.report().removals, 0U);
  EXPECT_EQ(client.report().streams, 2U);
  EXPECT_GE(client.report().failures, 1U);
  EXPECT_TRUE(client.report().problems.empty());
  EXPECT_THAT(client.pods_of_last(), ElementsAre("web")) << "and its pods are still there";
  EXPECT_TRUE(client.change(1).removed.empty());
}

TEST_F(ControlServerTest, ABadTokenIsRefusedWithTheReasonAndCounted) {
  serve();
  write(folder_.file("token"), "nonsense");
  Client client(refused_options("token"));
  const absl::Status status = client.start();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(std::string(status.message()), HasSubstr("the token is not valid"));
  EXPECT_THAT(metrics(), HasSubstr("weft_control_refused_total{reason=\"token\"} "));
  EXPECT_THAT(metrics(), HasSubstr("weft_control_agents 0\n"));
}

TEST_F(ControlServerTest, ARotatedTokenIsUsedFromTheNextConnectionOn) {
  serve();
  Client client(client_options());
  ASSERT_TRUE(client.start().ok());
  server_.reset();
  refuse("first");
  write(folder_.file("token"), "second@node1");
  serve();
  EXPECT_TRUE(
      harness::wait_until(kLimit, [&] { return client.report().connected && client.report().streams == 2; }));
}

TEST_F(ControlServerTest, AnAgentOfAnotherNodeThanItsTokenIsRefused) {
  serve();
  RemoteOptions options = client_options("node2");
  // Nothing tells when the first refusal has come back.
  options.first_limit = std::chrono::milliseconds(8000);
  Client client(options);
  EXPECT_THAT(client.start().ToString(), HasSubstr("--node-name node1"));
}

TEST_F(ControlServerTest, AServerThatAnotherAuthorityVouchesForIsNotTalkedTo) {
  serve();
  write(folder_.file("other.crt"), to_pem(::weft::test::make_authority("other").certificate.get()));
  RemoteOptions options = client_options();
  options.access.authority_file = folder_.file("other.crt");
  options.first_limit = std::chrono::milliseconds(1500);
  Client client(options);
  EXPECT_EQ(client.start().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(api_.count(kReviews, [](const auto&) { return true; }), 0U) << "the token was not shown";
}

TEST_F(ControlServerTest, WhatIsWrongWithObjectsReachesTheNodes) {
  api_.install(kVirtualServices);
  Json broken{{"apiVersion", "networking.istio.io/v1"},
              {"kind", "VirtualService"},
              {"metadata", {{"namespace", "shop"}, {"name", "cart"}}},
              {"spec", {{"hosts", {"cart"}}, {"http", {{{"route", {{{"weight", 100}}}}}}}}}};
  api_.put(kVirtualServices, broken);
  serve();
  Client client(client_options());
  ASSERT_TRUE(client.start().ok());
  ASSERT_TRUE(client.wait_until([](const Change& last) { return last.findings.size() == 1; }));
  const Change told = client.last();
  const Finding& finding = told.findings.front();
  EXPECT_EQ(finding.level, Finding::Level::kError);
  EXPECT_EQ(finding.object, "VirtualService shop/cart");
  EXPECT_THAT(finding.code, testing::StartsWith("WF"));
  EXPECT_FALSE(finding.message.empty());
  EXPECT_FALSE(finding.remedy.empty());
  api_.remove(kVirtualServices, "shop", "cart");
  EXPECT_TRUE(client.wait_until([](const Change& last) { return last.findings.empty(); }));
}

TEST_F(ControlServerTest, ARevocationListReachesTheNodesAndOneThatCannotBeReadChangesNothing) {
  serve();
  Client client(client_options());
  ASSERT_TRUE(client.start().ok());
  EXPECT_EQ(client.revocations(), "");
  const std::string list = ::weft::test::crl_pem(::weft::test::make_authority("root"), {});
  const auto told = [&client](const std::string& lists) {
    return harness::wait_until(kLimit, [&] { return client.revocations() == lists; });
  };
  revoke(list);
  EXPECT_TRUE(told(list));
  revoke(absl::FailedPreconditionError("no list"));
  revoke(list + list);
  EXPECT_TRUE(told(list + list)) << "the next good one counts";
  server_.reset();
  EXPECT_TRUE(harness::wait_until(kLimit, [&] { return !client.report().connected; }));
  EXPECT_EQ(client.revocations(), list + list) << "what is revoked stays so";
  // A replica that cannot read its lists at its start lifts none: what comes later shows that it has
  // answered.
  revoke(absl::FailedPreconditionError("no list"));
  serve();
  api_.put(kServices, service("cart", 80));
  ASSERT_TRUE(client.wait_for(2));
  EXPECT_EQ(client.revocations(), list + list);
  Client late(client_options("node1"));
  ASSERT_TRUE(late.start().ok()) << "nobody waits for a list";
  EXPECT_EQ(late.revocations(), "?") << "and nobody takes it for an empty one";
  revoke(list);
  EXPECT_TRUE(told(list));
  EXPECT_TRUE(harness::wait_until(kLimit, [&] { return late.revocations() == list; }));
}

TEST_F(ControlServerTest, WithoutAnAuthorityNoConnectionIsMadeAndTheMachinesAreNotTrusted) {
  write(folder_.file("empty.crt"), "");
  write(folder_.file("text.crt"), "no certificate\n");
  for (const std::string& file : {std::string(), folder_.file("empty.crt"), folder_.file("text.crt")}) {
    ControlAccess without = access();
    without.authority_file = file;
    ControlChannel channel(without);
    EXPECT_EQ(channel.connect().status().code(), absl::StatusCode::kFailedPrecondition) << file;
    const absl::Status shared = channel.shared().status();
    EXPECT_EQ(shared.code(), absl::StatusCode::kFailedPrecondition) << file;
    EXPECT_THAT(shared.ToString(), HasSubstr("authority: "));
    EXPECT_THAT(shared.ToString(), HasSubstr(file));
  }
}

TEST(StreamChannelTest, ComesBackWithinSecondsOfAnOutage) {
  const grpc::ChannelArguments arguments = xds::stream_arguments("host:15012", 1024, "");
  const grpc_channel_args made = arguments.c_channel_args();
  const auto longest = std::find_if(made.args, made.args + made.num_args, [](const grpc_arg& each) {
    return std::string_view(each.key) == GRPC_ARG_MAX_RECONNECT_BACKOFF_MS;
  });
  ASSERT_NE(longest, made.args + made.num_args) << "gRPC's own is two minutes";
  EXPECT_LE(longest->value.integer, 5'000);
  EXPECT_LE(RemoteOptions().backoff_max, std::chrono::seconds(5));
}

TEST_F(ControlServerTest, AWorkloadOfTheAskingNodeGetsACertificateAndNoOther) {
  serve();
  const auto chain = sign(kWeb);
  ASSERT_TRUE(chain.ok()) << chain.status();
  ASSERT_EQ(chain->size(), 2U);
  const auto leaf = read_certificates(chain->front());
  ASSERT_TRUE(leaf.ok());
  SpiffeId id;
  EXPECT_EQ(read_san(leaf->front().get(), &id), SanReading::kOk);
  EXPECT_EQ(id.to_string(), kWeb);
  EXPECT_EQ(sign(kDatabase).status().code(), absl::StatusCode::kUnauthenticated) << "its pod is on node2";
  EXPECT_FALSE(sign("spiffe://cluster.local/ns/shop/sa/nobody").ok());
  write(folder_.file("token"), "nonsense");
  EXPECT_EQ(sign(kWeb).status().code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(metrics(), HasSubstr("weft_control_certificates_total 1\n"));
  EXPECT_THAT(metrics(), HasSubstr("weft_control_certificates_refused_total 2\n"));
}

TEST_F(ControlServerTest, WhenThePodIsGoneItsNodeGetsNoMoreCertificates) {
  serve();
  ASSERT_TRUE(sign(kWeb).ok());
  api_.remove(kPods, "shop", "web");
  EXPECT_TRUE(harness::wait_until(kLimit, [&] { return !sign(kWeb).ok(); }));
}

TEST_F(ControlServerTest, AClientCertificateOfANodeIsAsGoodAsAToken) {
  serve();
  const auto make = [&](const char* organization, const std::string& name) {
    // As a kubelet's: the subject says which node.
    const KeyPtr key = ::weft::test::p256_key();
    X509Ptr leaf(X509_new());
    X509_set_version(leaf.get(), X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(leaf.get()), 7);
    X509_gmtime_adj(X509_getm_notBefore(leaf.get()), -60);
    X509_gmtime_adj(X509_getm_notAfter(leaf.get()), 3600);
    X509_NAME* const subject = X509_get_subject_name(leaf.get());
    const auto add = [subject](const char* field, const std::string& text) {
      X509_NAME_add_entry_by_txt(subject, field, MBSTRING_UTF8,
                                 reinterpret_cast<const unsigned char*>(text.data()),
                                 static_cast<int>(text.size()), -1, 0);
    };
    add("O", organization);
    add("CN", name);
    X509_set_issuer_name(leaf.get(), X509_get_subject_name(clients_.certificate.get()));
    X509_set_pubkey(leaf.get(), key.get());
    X509_sign(leaf.get(), clients_.key.get(), EVP_sha256());
    write(folder_.file("client.crt"), to_pem(leaf.get()));
    write(folder_.file("client.key"), ::weft::test::key_pem(key.get()));
  };
  RemoteOptions options = client_options();
  options.access.token_file.clear();
  options.access.certificate_file = folder_.file("client.crt");
  options.access.key_file = folder_.file("client.key");
  make("system:nodes", "system:node:node1");
  Client client(options);
  ASSERT_TRUE(client.start().ok());
  EXPECT_THAT(client.pods_of_last(), ElementsAre("web"));
  make("people", "system:node:node1");
  RemoteOptions of_person = refused_options("certificate");
  of_person.access = options.access;
  Client person(of_person);
  EXPECT_THAT(person.start().ToString(), HasSubstr("its certificate is of no node"));
}

TEST_F(ControlServerTest, WithoutTokenAndCertificateNobodyIsServed) {
  serve();
  RemoteOptions options = refused_options("nothing");
  options.access.token_file.clear();
  Client client(options);
  EXPECT_THAT(client.start().ToString(), HasSubstr("neither token nor client certificate"));
}

TEST_F(ControlServerTest, HealthSaysWhenObjectsWereRead) {
  serve();
  EXPECT_THAT(get(server_->health_address(), "/readyz"), HasSubstr("ready\n"));
  EXPECT_THAT(get(server_->health_address(), "/healthz"), HasSubstr("ok\n"));
  EXPECT_THAT(metrics(), HasSubstr("weft_kubernetes_objects"));
}

}  // namespace
}  // namespace weft::control_plane::test