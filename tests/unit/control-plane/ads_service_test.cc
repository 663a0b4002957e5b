// AdsService against a real gRPC client over a Unix socket.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/strings.h"
#include "control-plane/discovery/ads_service.h"
#include "control-plane/discovery/memory_return.h"
#include "control-plane/discovery/subscription.h"

namespace weft::control_plane {
namespace {

namespace xds = envoy::service::discovery::v3;
using ClientStream = grpc::ClientReaderWriter<xds::DeltaDiscoveryRequest, xds::DeltaDiscoveryResponse>;

Resource make(const char* type, const std::string& name, const std::string& body) {
  return {type, name, "v-" + body, body};
}

// One stream. Every read is bounded by the call's deadline.
class Client {
 public:
  explicit Client(const std::string& address)
      : stub_(xds::AggregatedDiscoveryService::NewStub(
            grpc::CreateChannel(address, grpc::InsecureChannelCredentials()))) {
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    stream_ = stub_->DeltaAggregatedResources(&context_);
  }
  ~Client() { context_.TryCancel(); }

  void subscribe(const char* type, const std::map<std::string, std::string>& held = {}) {
    xds::DeltaDiscoveryRequest request;
    request.mutable_node()->set_id("proxy-1");
    request.set_type_url(type);
    for (const auto& [name, version] : held) (*request.mutable_initial_resource_versions())[name] = version;
    EXPECT_TRUE(stream_->Write(request));
  }
  void ack(const xds::DeltaDiscoveryResponse& response, const std::string& error = "") {
    xds::DeltaDiscoveryRequest request;
    request.set_type_url(response.type_url());
    request.set_response_nonce(response.nonce());
    if (!error.empty()) request.mutable_error_detail()->set_message(error);
    EXPECT_TRUE(stream_->Write(request));
  }
  void subscribe_name(const char* type, const std::string& name) {
    xds::DeltaDiscoveryRequest request;
    request.set_type_url(type);
    request.add_resource_names_subscribe(name);
    EXPECT_TRUE(stream_->Write(request));
  }
  xds::DeltaDiscoveryResponse read() {
    xds::DeltaDiscoveryResponse response;
    EXPECT_TRUE(stream_->Read(&response)) << "the stream ended";
    return response;
  }
  // "type +added -removed"
  std::string read_and_ack() {
    const auto response = read();
    ack(response);
    return describe(response);
  }
  static std::string describe(const xds::DeltaDiscoveryResponse& response) {
    std::string out = response.type_url().substr(response.type_url().rfind('.') + 1);
    for (const auto& resource : response.resources())
      str_append(&out, " +", resource.name(), "=", resource.resource().value());
    for (const auto& name : response.removed_resources()) str_append(&out, " -", name);
    return out;
  }
  grpc::Status finish() { return stream_->Finish(); }
  bool ended() {
    xds::DeltaDiscoveryResponse response;
    return !stream_->Read(&response);
  }

 private:
  std::unique_ptr<xds::AggregatedDiscoveryService::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<ClientStream> stream_;
};

class AdsTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = str_cat(testing::TempDir(), "/weft-ads-", getpid(), ".sock");
    ads_ = AdsService::create();
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix:" + path_, grpc::InsecureServerCredentials());
    builder.RegisterService(ads_->service());
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }
  void TearDown() override {
    ads_->shutdown();
    server_->Shutdown();
    server_.reset();
    ads_.reset();
    unlink(path_.c_str());
  }

  void apply(std::vector<Resource> upserted, std::vector<std::pair<std::string, std::string>> removed = {}) {
    ads_->apply(
        {.generation = ++generation_, .upserted = std::move(upserted), .removed = std::move(removed)});
  }
  std::string address() const { return "unix:" + path_; }
  // Reading a response of another type proves that the server has seen all earlier requests of the stream.
  void sync(Client& client) {
    client.subscribe(str_cat("sync.", ++syncs_).c_str());
    client.read_and_ack();
  }

  std::string path_;
  uint64_t generation_ = 0;
  int syncs_ = 0;
  std::unique_ptr<AdsService> ads_;
  std::unique_ptr<grpc::Server> server_;
};

TEST_F(AdsTest, TheFirstResponseCarriesEverythingOfTheType) {
  apply({make(kAddressType, "a", "1"), make(kRouteSetType, "r", "1")});
  Client client(address());
  client.subscribe(kAddressType);
  EXPECT_EQ(client.read_and_ack(), "Address +a=1");
  client.subscribe(kRouteSetType);
  EXPECT_EQ(client.read_and_ack(), "RouteSet +r=1");
}

TEST_F(AdsTest, AnEmptyTypeIsAnsweredSoThatClientsCanBegin) {
  Client client(address());
  client.subscribe(kAddressType);
  EXPECT_EQ(client.read_and_ack(), "Address");
}

TEST_F(AdsTest, OnlyChangesFollow) {
  apply({make(kAddressType, "a", "1"), make(kAddressType, "b", "1")});
  Client client(address());
  client.subscribe(kAddressType);
  EXPECT_EQ(client.read_and_ack(), "Address +a=1 +b=1");
  apply({make(kAddressType, "b", "2")});
  EXPECT_EQ(client.read_and_ack(), "Address +b=2");
  apply({}, {{kAddressType, "a"}});
  EXPECT_EQ(client.read_and_ack(), "Address -a");
}

TEST_F(AdsTest, ChangesDuringAnUnansweredResponseAreGathered) {
  apply({make(kAddressType, "a", "1")});
  Client client(address());
  client.subscribe(kAddressType);
  const auto first = client.read();
  apply({make(kAddressType, "a", "2")});
  apply({make(kAddressType, "a", "3"), make(kAddressType, "b", "1")});
  client.ack(first);
  EXPECT_EQ(client.read_and_ack(), "Address +a=3 +b=1");
}

TEST_F(AdsTest, AdditionsGoEndpointsFirstAndRemovalsRoutesFirst) {
  Client client(address());
  for (const char* type : {kAddressType, kDestinationPolicyType, kRouteSetType}) {
    client.subscribe(type);
    client.read_and_ack();
  }
  sync(client);
  apply(
      {make(kRouteSetType, "r", "1"), make(kDestinationPolicyType, "d", "1"), make(kAddressType, "a", "1")});
  EXPECT_EQ(client.read_and_ack(), "Address +a=1");
  EXPECT_EQ(client.read_and_ack(), "DestinationPolicy +d=1");
  EXPECT_EQ(client.read_and_ack(), "RouteSet +r=1");
  sync(client);
  apply({make(kAddressType, "b", "1")},
        {{kAddressType, "a"}, {kDestinationPolicyType, "d"}, {kRouteSetType, "r"}});
  EXPECT_EQ(client.read_and_ack(), "Address +b=1");
  EXPECT_EQ(client.read_and_ack(), "RouteSet -r");
  EXPECT_EQ(client.read_and_ack(), "DestinationPolicy -d");
  EXPECT_EQ(client.read_and_ack(), "Address -a");
}

TEST_F(AdsTest, ARouteWaitsForTheEndpointsBeforeIt) {
  Client client(address());
  client.subscribe(kRouteSetType);
  client.read_and_ack();
  client.subscribe(kAddressType);
  const auto unanswered = client.read();
  apply({make(kAddressType, "a", "1"), make(kRouteSetType, "r", "1")});
  client.ack(unanswered);
  EXPECT_EQ(client.read_and_ack(), "Address +a=1");
  EXPECT_EQ(client.read_and_ack(), "RouteSet +r=1");
}

TEST_F(AdsTest, APolicyComesBeforeTheWorkloadsThatNameItAndGoesAfterThem) {
  Client client(address());
  client.subscribe(kAddressType);
  client.read_and_ack();
  client.subscribe(kAuthorizationType);
  const auto unanswered = client.read();
  apply({make(kAddressType, "a", "1"), make(kAuthorizationType, "p", "1")});
  client.ack(unanswered);
  EXPECT_EQ(client.read_and_ack(), "Authorization +p=1");
  EXPECT_EQ(client.read_and_ack(), "Address +a=1");
  sync(client);
  apply({make(kAddressType, "a", "2")}, {{kAuthorizationType, "p"}});
  EXPECT_EQ(client.read_and_ack(), "Address +a=2");
  EXPECT_EQ(client.read_and_ack(), "Authorization -p");
}

TEST_F(AdsTest, ARefusalIsRememberedByNameAndNotRepeated) {
  apply({make(kRouteSetType, "shop/cart", "1")});
  Client client(address());
  client.subscribe(kRouteSetType);
  client.ack(client.read(), "shop/cart: bad: regex\nshop/other: unknown host");
  sync(client);
  const std::vector<ClientState> clients = ads_->clients();
  ASSERT_EQ(clients.size(), 1U);
  EXPECT_EQ(clients[0].node_id, "proxy-1");
  EXPECT_EQ(clients[0].rejected.at(str_cat(kRouteSetType, " shop/cart")), "bad: regex");
  EXPECT_EQ(clients[0].rejected.size(), 2U);
  apply({make(kRouteSetType, "shop/cart", "2")});
  EXPECT_EQ(client.read_and_ack(), "RouteSet +shop/cart=2");
  sync(client);
  EXPECT_TRUE(ads_->clients().at(0).rejected.empty());
}

TEST_F(AdsTest, AReconnectSendsOnlyWhatTheClientDoesNotHold) {
  apply({make(kAddressType, "a", "1"), make(kAddressType, "b", "2")});
  Client client(address());
  client.subscribe(kAddressType, {{"a", "v-1"}, {"b", "v-1"}, {"gone", "v-1"}});
  EXPECT_EQ(client.read_and_ack(), "Address +b=2 -gone");
}

TEST_F(AdsTest, TheAcknowledgedGenerationFollowsEveryWatchedType) {
  apply({make(kAddressType, "a", "1")});
  apply({make(kRouteSetType, "r", "1")});
  Client client(address());
  client.subscribe(kAddressType);
  client.read_and_ack();
  client.subscribe(kRouteSetType);
  const auto routes = client.read();
  EXPECT_EQ(ads_->clients().at(0).acked_generation, 0U);
  client.ack(routes);
  // Answered behind the acknowledgement: the stream is served in order.
  client.subscribe_name(kAddressType, "a");
  EXPECT_EQ(Client::describe(client.read()), "Address +a=1");
  EXPECT_EQ(ads_->clients().at(0).acked_generation, 2U);
}

TEST_F(AdsTest, NamedResourcesAreAnsweredEvenWhenUnknown) {
  apply({make(kAddressType, "a", "1"), make(kAddressType, "b", "1")});
  Client client(address());
  client.subscribe_name(kAddressType, "a");
  EXPECT_EQ(client.read_and_ack(), "Address +a=1");
  client.subscribe_name(kAddressType, "nobody");
  EXPECT_EQ(client.read_and_ack(), "Address -nobody");
}

TEST_F(AdsTest, SeveralClientsAreServedIndependently) {
  apply({make(kAddressType, "a", "1")});
  Client slow(address()), fast(address());
  slow.subscribe(kAddressType);
  const auto unanswered = slow.read();
  fast.subscribe(kAddressType);
  fast.read_and_ack();
  apply({make(kAddressType, "a", "2")});
  EXPECT_EQ(fast.read_and_ack(), "Address +a=2");
  slow.ack(unanswered);
  EXPECT_EQ(slow.read_and_ack(), "Address +a=2");
}

TEST_F(AdsTest, OfARefusalOnlySoMuchIsKept) {
  apply({make(kRouteSetType, "shop/cart", "1")});
  Client client(address());
  client.subscribe(kRouteSetType);
  std::string refusal;
  for (size_t i = 0; i < 3 * kMaxRefusals; ++i)
    str_append(&refusal, "r", i, ": \x1b[31m", std::string(2000, 'x'), "\n");
  client.ack(client.read(), refusal);
  sync(client);
  const std::vector<ClientState> clients = ads_->clients();
  ASSERT_EQ(clients.size(), 1U);
  EXPECT_EQ(clients[0].rejected.size(), kMaxRefusals + 1);
  EXPECT_TRUE(clients[0].rejected.contains(str_cat(kRouteSetType, " *"))) << "that there was more is said";
  const std::string& first = clients[0].rejected.at(str_cat(kRouteSetType, " r0"));
  EXPECT_EQ(first.size(), kMaxRefusalBytes);
  EXPECT_EQ(first.find('\x1b'), std::string::npos);
}

TEST(MemoryReturnTest, AWalkThroughTheHeapIsAtMostOneAMinute) {
  int walks = 0;
  MemoryReturn memory([&walks] { ++walks; });
  const absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  EXPECT_FALSE(memory.run(now)) << "nothing has become free";
  memory.note();
  EXPECT_TRUE(memory.run(now));
  EXPECT_FALSE(memory.run(now + MemoryReturn::kEvery));
  memory.note();
  EXPECT_FALSE(memory.run(now + absl::Seconds(59)));
  EXPECT_TRUE(memory.run(now + MemoryReturn::kEvery)) << "what was noted too early is not forgotten";
  EXPECT_EQ(walks, 2);
}

TEST_F(AdsTest, ShutdownEndsOpenStreamsAndRefusesLaterOnes) {
  Client client(address());
  client.subscribe(kAddressType);
  client.read_and_ack();
  ads_->shutdown();
  EXPECT_TRUE(client.ended());
  EXPECT_EQ(client.finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  Client late(address());
  EXPECT_TRUE(late.ended());
  EXPECT_EQ(late.finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(AdsTest, ARequestWithoutATypeEndsTheStream) {
  Client client(address());
  client.subscribe("");
  EXPECT_TRUE(client.ended());
  EXPECT_EQ(client.finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

}  // namespace
}  // namespace weft::control_plane
