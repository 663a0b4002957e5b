// The delta ADS client against a scripted gRPC server on a Unix socket: subscription, ACK, NACK, reconnect,
// coalescing.
#include "userspace-proxy/config/config_client.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <deque>
#include <mutex>

#include "proto/xds/discovery.grpc.pb.h"
#include "tests/unit/proxy-config/fake_worker.h"
#include "tests/unit/proxy-config/world.h"

namespace weft::proxy {
namespace {

using testing::HasSubstr;
using Stream = grpc::ServerReaderWriter<xds::DeltaDiscoveryResponse, xds::DeltaDiscoveryRequest>;

// Items from one thread to the test.
template <typename T>
class Mailbox {
 public:
  void put(T item) {
    std::lock_guard lock(mutex_);
    items_.push_back(std::move(item));
    changed_.notify_all();
  }
  // nullopt: nothing came for kTestPatience.
  std::optional<T> take() {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, kTestPatience, [&] { return !items_.empty(); })) return std::nullopt;
    T out = std::move(items_.front());
    items_.pop_front();
    return out;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<T> items_;
};

// Hands every request to the test, and sends what the test says on the newest stream.
class AdsServer final : public xds::AggregatedDiscoveryService::Service {
 public:
  explicit AdsServer(const std::string& target) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(target, grpc::InsecureServerCredentials());
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~AdsServer() override { server_->Shutdown(std::chrono::system_clock::now()); }

  grpc::Status DeltaAggregatedResources(grpc::ServerContext* context, Stream* stream) override {
    {
      std::lock_guard lock(mutex_);
      stream_ = stream;
      context_ = context;
    }
    xds::DeltaDiscoveryRequest request;
    while (stream->Read(&request)) requests.put(request);
    std::lock_guard lock(mutex_);
    stream_ = nullptr;
    context_ = nullptr;
    return grpc::Status::OK;
  }

  // Only after a request of this stream was taken.
  void send(std::string_view type, const std::string& nonce, std::vector<xds::Resource> resources,
            std::vector<std::string> removed = {}) {
    xds::DeltaDiscoveryResponse response;
    response.set_type_url(std::string(type));
    response.set_nonce(nonce);
    for (xds::Resource& resource : resources) *response.add_resources() = std::move(resource);
    for (std::string& name : removed) response.add_removed_resources(std::move(name));
    std::lock_guard lock(mutex_);
    ASSERT_NE(stream_, nullptr);
    stream_->Write(response);
  }
  void break_stream() {
    std::lock_guard lock(mutex_);
    if (context_ != nullptr) context_->TryCancel();
  }

  Mailbox<xds::DeltaDiscoveryRequest> requests;

 private:
  std::mutex mutex_;
  Stream* stream_ = nullptr;
  grpc::ServerContext* context_ = nullptr;
  std::unique_ptr<grpc::Server> server_;
};

// Addresses, Secrets, routes, destination policies, rules for tokens, authorizations, MeshConfig.
constexpr size_t kTypes = 7;

class ConfigClientTest : public testing::Test {
 protected:
  ConfigClientTest() : target_(str_cat("unix:", testing::TempDir(), "weft-ads-", ::getpid(), ".sock")) {
    server_ = std::make_unique<AdsServer>(target_);
  }
  ~ConfigClientTest() override {
    client_.reset();
    server_.reset();
  }

  void start() {
    ConfigClient::Options options;
    options.target = target_;
    options.node_id = "node-1";
    client_ = ConfigClient::start(options, [this](SnapshotPtr s) { snapshots_.put(std::move(s)); });
  }
  std::map<std::string, xds::DeltaDiscoveryRequest> take_subscription() {
    std::map<std::string, xds::DeltaDiscoveryRequest> out;
    for (size_t i = 0; i < kTypes; ++i) {
      const auto request = server_->requests.take();
      if (request) out[request->type_url()] = *request;
    }
    return out;
  }
  // Every type answered, snapshot and acknowledgements taken.
  SnapshotPtr bring_up() {
    start();
    take_subscription();
    server_->send(kAddressType, "a1", {make_resource("s", cart()), make_resource("w", pod())});
    server_->send(kSecretType, "k1", {});
    server_->send(kRouteSetType, "r1", {make_resource("shop/cart", routes(), "7")});
    server_->send(kDestinationPolicyType, "p1", {});
    server_->send(kAuthenticationType, "t1", {});
    server_->send(kAuthorizationType, "z1", {});
    server_->send(kMeshConfigType, "m1", {});
    const auto snapshot = snapshots_.take();
    for (size_t i = 0; i < kTypes; ++i) EXPECT_TRUE(server_->requests.take().has_value());
    return snapshot.value_or(nullptr);
  }

  static istio::workload::Address cart() {
    return service_address("shop", "cart", {"10.96.0.1"}, {{80, 8080}});
  }
  static istio::workload::Address pod() {
    return workload_address("shop", "cart-v1", {"10.1.0.3"}, {"shop/cart.shop.svc.cluster.local"});
  }
  static weft::mesh::v1::RouteSet routes() {
    return parse<weft::mesh::v1::RouteSet>(
        "name:'cart' namespace:'shop' hosts:'cart.shop.svc.cluster.local' http{name:'mine' "
        "destinations{host:'cart.shop.svc.cluster.local' weight:1}}");
  }

  const std::string target_;
  std::unique_ptr<AdsServer> server_;
  Mailbox<SnapshotPtr> snapshots_;
  std::unique_ptr<ConfigClient> client_;
};

TEST_F(ConfigClientTest, SubscribesToEverythingOfEachType) {
  start();
  const auto requests = take_subscription();
  ASSERT_EQ(requests.size(), kTypes);
  for (const auto& [type, request] : requests) {
    EXPECT_EQ(request.resource_names_subscribe_size(), 0) << type;
    EXPECT_EQ(request.initial_resource_versions_size(), 0) << type;
    EXPECT_EQ(request.node().id(), "node-1");
  }
  EXPECT_TRUE(requests.contains(std::string(kAddressType)));
}

TEST_F(ConfigClientTest, FirstSnapshotComesWhenEveryTypeHasAnswered) {
  const SnapshotPtr snapshot = bring_up();
  ASSERT_NE(snapshot, nullptr);
  EXPECT_EQ(snapshot->generation, 1u);
  EXPECT_EQ(snapshot->clusters.size(), 1u);
  EXPECT_EQ(snapshot->virtual_hosts.front()->routes.front().name, "mine");
}

TEST_F(ConfigClientTest, AcknowledgesWithTheNonceAfterPublishing) {
  bring_up();
  server_->send(kAddressType, "a2", {make_resource("w2", workload_address("shop", "x", {"10.1.0.9"}))});
  const auto snapshot = snapshots_.take();
  ASSERT_TRUE(snapshot.has_value());
  EXPECT_EQ((*snapshot)->generation, 2u);
  EXPECT_EQ((*snapshot)->sources.size(), 2u);
  const auto ack = server_->requests.take();
  ASSERT_TRUE(ack.has_value());
  EXPECT_EQ(ack->response_nonce(), "a2");
  EXPECT_EQ(ack->type_url(), kAddressType);
  EXPECT_FALSE(ack->has_error_detail());
  EXPECT_FALSE(ack->has_node());
}

TEST_F(ConfigClientTest, WorkersNeverFreeASnapshot) {
  SnapshotPtr used = bring_up();
  server_->send(kRouteSetType, "r2", {}, {"shop/cart"});
  // Acknowledged: the workers would use the new one by now.
  ASSERT_TRUE(snapshots_.take() && server_->requests.take());
  EXPECT_EQ(used.use_count(), 2) << "the client must let it go last";
  const std::weak_ptr<const Snapshot> watched = used;
  used.reset();
  const auto deadline = std::chrono::steady_clock::now() + kTestPatience;
  while (!watched.expired() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_TRUE(watched.expired()) << "and not only with the next change";
}

// One that waits for the next burst would find the changes of a rollout in its way.
TEST_F(ConfigClientTest, SnapshotsGoAlsoWhileChangesComeWithoutAPause) {
  std::weak_ptr<const Snapshot> watched = bring_up();
  int sent = 0;
  for (; !watched.expired() && sent < 10'000; ++sent) {
    if (sent % 2 == 0)
      server_->send(kRouteSetType, str_cat("n", sent), {}, {"shop/cart"});
    else
      server_->send(kRouteSetType, str_cat("n", sent), {make_resource("shop/cart", routes(), str_cat(sent))},
                    {});
    ASSERT_TRUE(snapshots_.take() && server_->requests.take());
  }
  EXPECT_LE(sent, 4);
}

TEST_F(ConfigClientTest, RefusesTheBadResourceAndAppliesTheGoodOne) {
  bring_up();
  auto bad = routes();
  bad.clear_hosts();
  auto good = routes();
  good.set_name("z");
  good.set_hosts(0, "free.example.com");
  server_->send(kRouteSetType, "r2",
                {make_resource("shop/cart", bad, "8"), make_resource("shop/z", good, "1")});
  const auto snapshot = snapshots_.take();
  const auto nack = server_->requests.take();
  ASSERT_TRUE(snapshot.has_value() && nack.has_value());
  EXPECT_EQ(nack->response_nonce(), "r2");
  EXPECT_EQ(nack->error_detail().code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(nack->error_detail().message(), HasSubstr("shop/cart: hosts: empty"));
  EXPECT_EQ(ask(**snapshot, "shop", "cart.shop", "10.96.0.1:80").route->name, "mine") << "last good version";
  EXPECT_NE(ask(**snapshot, "shop", "free.example.com", "10.9.9.9:80").route, nullptr);
  EXPECT_THAT(client_->rejected().at("weft.mesh.v1.RouteSet shop/cart"), HasSubstr("hosts"));
}

TEST_F(ConfigClientTest, RemovedResourceLeavesTheSnapshot) {
  bring_up();
  server_->send(kRouteSetType, "r2", {}, {"shop/cart"});
  const auto snapshot = snapshots_.take();
  ASSERT_TRUE(snapshot.has_value());
  EXPECT_EQ((*snapshot)->virtual_hosts.front()->routes.front().name, "default");
}

TEST_F(ConfigClientTest, ReconnectsAndSaysWhatItHolds) {
  bring_up();
  server_->break_stream();
  const auto requests = take_subscription();
  ASSERT_EQ(requests.size(), kTypes);
  const auto& held = requests.at(std::string(kRouteSetType)).initial_resource_versions();
  ASSERT_EQ(held.size(), 1u);
  EXPECT_EQ(held.at("shop/cart"), "7");
  EXPECT_EQ(requests.at(std::string(kAddressType)).initial_resource_versions_size(), 2);
  EXPECT_EQ(requests.at(std::string(kAddressType)).node().id(), "node-1");
  server_->send(kAddressType, "b1", {}, {"w"});
  const auto snapshot = snapshots_.take();
  ASSERT_TRUE(snapshot.has_value());
  EXPECT_EQ((*snapshot)->generation, 2u);
  EXPECT_TRUE((*snapshot)->sources.empty());
  EXPECT_FALSE((*snapshot)->virtual_hosts.empty()) << "what was held is still there";
}

TEST_F(ConfigClientTest, ServerMayComeLaterAndComeBack) {
  server_.reset();
  start();
  server_ = std::make_unique<AdsServer>(target_);
  EXPECT_EQ(take_subscription().size(), kTypes);
  server_.reset();
  server_ = std::make_unique<AdsServer>(target_);
  EXPECT_EQ(take_subscription().size(), kTypes);
}

TEST_F(ConfigClientTest, EndsWhileConnectedAndWhileNobodyIsThere) {
  bring_up();
  client_.reset();
  server_.reset();
  start();
  client_.reset();
  SUCCEED() << "joined both times";
}

}  // namespace
}  // namespace weft::proxy
