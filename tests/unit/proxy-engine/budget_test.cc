// What a pod may use besides connections, what the worker has left when descriptors or memory run out, and
// that what was refused is counted at the pod, with its reason.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/strings.h"
#include "tests/unit/proxy-engine/rig.h"

namespace weft::proxy {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view kGet = "GET / HTTP/1.1\r\nHost: service\r\n\r\n";
constexpr std::string_view kGetAll = "GET /all HTTP/1.1\r\nHost: service\r\n\r\n";

void hold(TestConnection& c) { c.read_to_end(); }

// "/all" is answered with more than anything buffers, all else with "ok".
void serve(TestConnection& c) {
  const std::string block(1 << 20, 'x');
  for (std::string head = c.read_message(); !head.empty(); head = c.read_message()) {
    if (head.find("/all") == std::string::npos) {
      c.send(ok_response("ok"));
      continue;
    }
    c.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
    while (c.send(block)) {
    }
    return;
  }
}

Rig::Setup to(const TestServer& server, Protocol protocol = Protocol::kHttp) {
  Rig::Setup setup;
  setup.protocol = protocol;
  setup.clusters = one_endpoint(server.address());
  setup.options.pod_max_connections = setup.options.pod_max_exchanges = 1000;
  return setup;
}

std::string get_at(const SocketAddress& address) {
  TestConnection client = TestConnection::to(address);
  client.send(kGet);
  return client.read_message();
}

uint64_t refused(const Rig& rig, Refusal why, uint64_t pod = 1) {
  const auto use = rig.pod(pod);
  return use == nullptr ? 0 : use->refusals(why);
}

TEST(BudgetTest, RefusesATcpConnectionOfAPodWithTooManyUnderWayAndCountsIt) {
  TestServer server(hold);
  Rig::Setup setup = to(server, Protocol::kTcp);
  setup.options.pod_max_exchanges = 1;
  Rig rig(setup);
  TestConnection first = rig.connect();
  ASSERT_TRUE(rig.wait_for([&] { return rig.pod()->exchanges.get() == 1; }));
  TestConnection second = rig.connect();
  EXPECT_EQ(second.read_end(), ECONNRESET);
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kOverload);
  EXPECT_EQ(refused(rig, Refusal::kPodRequests), 1u);
  first.close();
  ASSERT_TRUE(rig.wait_for([&] { return rig.pod()->exchanges.get() == 0; }));
  TestConnection third = rig.connect();
  EXPECT_TRUE(rig.wait_for([&] { return rig.pod()->exchanges.get() == 1; }));
}

TEST(BudgetTest, SaysWhyRequestsAndConnectionsWereRefused) {
  TestServer server(hold);
  Rig::Setup setup = to(server);
  setup.options.pod_max_connections = 2;
  setup.options.pod_max_exchanges = 1;
  Rig rig(setup);
  TestConnection busy = rig.connect();
  busy.send(kGet);
  ASSERT_TRUE(rig.wait_for([&] { return rig.pod()->exchanges.get() == 1; }));
  EXPECT_THAT(rig.get(), HasSubstr("x-weft-reason: overload"));
  EXPECT_EQ(refused(rig, Refusal::kPodRequests), 1u);
  TestConnection quiet = rig.connect();
  ASSERT_TRUE(rig.wait_for([&] { return rig.pod()->connections.get() == 2; }));
  TestConnection newer = rig.connect();
  EXPECT_EQ(quiet.read_end(), 0);
  EXPECT_EQ(refused(rig, Refusal::kEvicted), 1u);
  EXPECT_EQ(refused(rig, Refusal::kPodConnections), 0u);
}

TEST(BudgetTest, ForgetsWhatAPodWasRefusedWhenThePodLeaves) {
  TestServer server(serve);
  Rig rig(to(server));
  ASSERT_NE(rig.pod(), nullptr);
  rig.worker().remove_listener(1);
  EXPECT_TRUE(rig.wait_for([&] { return rig.pod() == nullptr; }));
}

TEST(BudgetTest, ClosesThePooledConnectionsOfAPodThatLeaves) {
  TestServer server(serve);
  Rig rig(to(server));
  EXPECT_EQ(rig.get(), ok_response("ok"));
  ASSERT_TRUE(rig.wait_for([&] { return rig.worker().gauges().upstream_idle == 1; }));
  rig.worker().remove_listener(1);
  EXPECT_TRUE(rig.wait_for([&] { return rig.worker().gauges().upstream_connections == 0; }));
}

TEST(BudgetTest, HoldsOneBudgetAgainstAPodHoweverManyListenersItHas) {
  TestServer server(hold);
  Rig::Setup setup = to(server);
  setup.options.pod_max_connections = 1;
  Rig rig(setup);
  const SocketAddress other = rig.listen(1);
  TestConnection busy = rig.connect();
  busy.send(kGet);
  ASSERT_TRUE(rig.wait_for([&] { return rig.worker().gauges().upstream_connections == 1; }));
  EXPECT_EQ(TestConnection::to(other).read_end(), 0);
  EXPECT_EQ(refused(rig, Refusal::kPodConnections), 1u);
}

TEST(BudgetTest, AnswersOverloadToAPodWhoseBuffersAreFullAndServesAnother) {
  TestServer server(serve);
  Rig::Setup setup = to(server);
  // More than a request needs, less than a stream that fills its buffers.
  constexpr uint64_t kBudget = 24 * 1024;
  setup.options.pod_max_buffered_bytes = kBudget;
  Rig rig(setup);
  const SocketAddress other = rig.listen(2);
  EXPECT_EQ(rig.get(), ok_response("ok"));
  TestConnection stalled = rig.connect();
  stalled.send(kGetAll);
  ASSERT_TRUE(rig.wait_for([&] { return rig.pod()->buffered_bytes.get() > kBudget; }));
  // It may be empty for a moment between two reads, for as long as the kernel still takes some.
  EXPECT_TRUE(rig.wait_for([&] { return rig.get().find("x-weft-reason: overload") != std::string::npos; }));
  EXPECT_GE(refused(rig, Refusal::kPodBytes), 1u);
  EXPECT_EQ(get_at(other), ok_response("ok"));
  EXPECT_EQ(refused(rig, Refusal::kPodBytes, 2), 0u);
  stalled.reset();
  ASSERT_TRUE(rig.wait_for([&] { return rig.pod()->buffered_bytes.get() == 0; }));
  EXPECT_EQ(rig.get(), ok_response("ok"));
}

TEST(BudgetTest, RefusesTheRequestOfAPodTooManyOfWhichWaitForWhateverEndpoint) {
  TestServer one(hold), two(hold);
  Rig::Setup setup = to(one);
  setup.clusters[0].endpoints.push_back(two.address());
  setup.options.max_upstream_connections = 1;
  setup.options.pod_max_waiting = 1;
  Rig rig(setup);
  std::vector<TestConnection> clients;
  for (uint64_t i = 1; i <= 3; ++i) {
    clients.push_back(rig.connect());
    clients.back().send(kGet);
    ASSERT_TRUE(rig.wait_for([&] { return rig.pod()->exchanges.get() == i; }));
  }
  ASSERT_TRUE(rig.wait_for([&] { return rig.pod()->waiting.get() == 1; }));
  EXPECT_THAT(rig.get(), HasSubstr("x-weft-reason: overload"));
  EXPECT_EQ(refused(rig, Refusal::kPodWaiting), 1u);
  EXPECT_EQ(refused(rig, Refusal::kEndpointWaiting), 0u);
  for (TestConnection& client : clients) client.reset();
  EXPECT_TRUE(rig.wait_for([&] { return rig.pod()->waiting.get() == 0; }));
}

TEST(BudgetTest, RefusesRequestsWhileBuffersHoldTooMuchAndRecovers) {
  TestServer server(serve);
  Rig::Setup setup = to(server);
  setup.options.max_buffered_bytes = 4 << 20;
  setup.options.pod_max_buffered_bytes = 1 << 30;
  Rig rig(setup);
  std::vector<TestConnection> stalled;
  while (stalled.size() < 64 && rig.worker().gauges().overloaded == 0) {
    stalled.push_back(rig.connect());
    const int small = 4096;
    setsockopt(stalled.back().fd(), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    stalled.back().send(kGetAll);
    rig.wait_for([&, n = stalled.size()] {
      const WorkerGauges gauges = rig.worker().gauges();
      return gauges.upstream_connections == n || gauges.overloaded == 1;
    });
  }
  ASSERT_TRUE(rig.wait_for([&] { return rig.worker().gauges().overloaded == 1; }));
  EXPECT_TRUE(rig.wait_for([&] { return rig.get().find("x-weft-reason: overload") != std::string::npos; }));
  EXPECT_GE(refused(rig, Refusal::kOverload), 1u);
  for (TestConnection& client : stalled) client.reset();
  ASSERT_TRUE(rig.wait_for([&] { return rig.worker().gauges().overloaded == 0; }));
  EXPECT_EQ(rig.get(), ok_response("ok"));
}

// No descriptor can be opened while this lives, but for those that others close.
class NoDescriptors {
 public:
  NoDescriptors() {
    getrlimit(RLIMIT_NOFILE, &before_);
    const UniqueFd lowest(dup(0));
    const rlimit now{.rlim_cur = static_cast<rlim_t>(lowest.get()), .rlim_max = before_.rlim_max};
    setrlimit(RLIMIT_NOFILE, &now);
  }
  ~NoDescriptors() { end(); }
  void end() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST(BudgetTest, SaysOverloadAtOnceWhenNoDescriptorIsLeftForTheEndpointAndRecovers) {
  TestServer server(serve);
  Rig rig(to(server));
  TestConnection client = rig.connect();
  ASSERT_TRUE(rig.wait_for([&] { return rig.worker().gauges().downstream_connections == 1; }));
  NoDescriptors none;
  client.send(kGet);
  EXPECT_THAT(client.read_message(), HasSubstr("503 Service Unavailable\r\nx-weft-reason: overload"));
  EXPECT_EQ(refused(rig, Refusal::kDescriptors), 1u);
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kOverload);
  none.end();
  EXPECT_TRUE(rig.wait_for([&] { return rig.get() == ok_response("ok"); }));
}

TEST(BudgetTest, AcceptsAClientWithoutDescriptorsLeftToTellItSoAndRecovers) {
  TestServer server(serve);
  Rig rig(to(server));
  SocketAddress address;
  UniqueFd listener = listen_on_loopback(&address);
  TestConnection waiting = TestConnection::to(address);
  waiting.send(kGet);
  TestConnection served = rig.connect();
  ASSERT_TRUE(rig.wait_for([&] { return rig.worker().gauges().downstream_connections == 1; }));
  NoDescriptors none;
  rig.listen(2, std::move(listener));
  EXPECT_THAT(waiting.read_message(), HasSubstr("503 Service Unavailable\r\nx-weft-reason: overload"));
  EXPECT_EQ(refused(rig, Refusal::kOverload, 2), 1u);
  EXPECT_TRUE(rig.wait_for([&] { return rig.worker().gauges().accept_failures > 0; }));
  none.end();
  // An accept that io_uring has begun keeps the limit of that time, so the first client may still hear of it.
  EXPECT_TRUE(rig.wait_for([&] { return get_at(address) == ok_response("ok"); }));
}

TEST(BudgetTest, GivesUpIdleConnectionsToEndpointsWhenDescriptorsRunShort) {
  TestServer server(serve);
  Rig rig(to(server));
  EXPECT_EQ(rig.get(), ok_response("ok"));
  ASSERT_TRUE(rig.wait_for([&] { return rig.worker().gauges().upstream_idle == 1; }));
  SocketAddress address;
  UniqueFd listener = listen_on_loopback(&address);
  // Some of them may get a descriptor that the first request gives back.
  std::vector<TestConnection> waiting;
  for (int i = 0; i < 20; ++i) waiting.push_back(TestConnection::to(address));
  NoDescriptors none;
  rig.listen(2, std::move(listener));
  EXPECT_TRUE(rig.wait_for([&] { return rig.worker().gauges().upstream_idle == 0; }));
}

}  // namespace
}  // namespace weft::proxy
