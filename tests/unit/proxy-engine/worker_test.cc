// The worker as its owner sees it: draining, snapshots under load, listeners, bounded memory.
#include "userspace-proxy/worker.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "base/strings.h"
#include "tests/unit/proxy-engine/rig.h"

namespace weft::proxy {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

std::future<void> drain(Rig& rig, std::chrono::milliseconds deadline) {
  auto done = std::make_shared<std::promise<void>>();
  rig.worker().drain(deadline, [done] { done->set_value(); });
  return done->get_future();
}

TEST(WorkerTest, LosesNoRequestWhileWeightsChangeUnderLoad) {
  TestServer v1(always("1")), v2(always("2"));
  std::vector<TestCluster> clusters = {TestCluster{.name = "v1", .endpoints = {v1.address()}, .weight = 95},
                                       TestCluster{.name = "v2", .endpoints = {v2.address()}, .weight = 5}};
  Rig::Setup setup;
  setup.clusters = clusters;
  Rig rig(setup);
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      TestConnection client = rig.connect();
      while (!stop) {
        client.send(kGetRoot);
        const std::string response = client.read_message();
        if (response != ok_response("1") && response != ok_response("2")) ++wrong;
      }
    });
  }
  for (uint32_t change = 0; change < 20; ++change) {
    const uint64_t before = rig.sink().total;
    clusters[1].weight = change * 5;
    clusters[0].weight = 100 - clusters[1].weight;
    rig.use(rig.make_snapshot(clusters, change + 2));
    EXPECT_TRUE(rig.wait_for([&] { return rig.sink().total > before + 50; }));
  }
  stop = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(rig.sink().failed, 0u);
}

TEST(WorkerTest, FollowsANewSnapshotOnAnOpenConnection) {
  TestServer v1(always("1")), v2(always("2"));
  Rig rig(setup_for(v1.address()));
  TestConnection client = rig.connect();
  client.send(kGetRoot);
  EXPECT_THAT(client.read_message(), EndsWith("1"));
  rig.use(rig.make_snapshot({TestCluster{.name = "v2", .endpoints = {v2.address()}}}, 2));
  client.send(kGetRoot);
  EXPECT_THAT(client.read_message(), EndsWith("2"));
}

TEST(WorkerTest, DrainEndsIdleConnectionsSoonAndBusyOnesAfterTheirResponse) {
  std::promise<void> asked, answer;
  TestServer server([&](TestConnection& c) {
    const std::string request = c.read_message();
    if (request.find("/slow") != std::string::npos) {
      asked.set_value();
      answer.get_future().wait_for(std::chrono::seconds(5));
    }
    c.send(ok_response("ok"));
  });
  Rig rig(setup_for(server.address()));
  TestConnection idle = rig.connect();
  idle.send(kGetRoot);
  idle.read_message();
  TestConnection busy = rig.connect();
  busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
  asked.get_future().wait_for(std::chrono::seconds(5));
  std::future<void> done = drain(rig, std::chrono::seconds(5));
  EXPECT_EQ(idle.read_end(), 0);
  EXPECT_EQ(done.wait_for(std::chrono::milliseconds(0)), std::future_status::timeout);
  answer.set_value();
  EXPECT_THAT(busy.read_message(), HasSubstr("Connection: close"));
  EXPECT_EQ(busy.read_end(), 0);
  EXPECT_EQ(done.wait_for(std::chrono::seconds(5)), std::future_status::ready);
}

TEST(WorkerTest, DrainAnswersARequestThatWasOnItsWayAndSaysClose) {
  TestServer server(always("ok"));
  Rig rig(setup_for(server.address()));
  TestConnection idle = rig.connect();
  idle.send(kGetRoot);
  idle.read_message();
  std::future<void> done = drain(rig, std::chrono::seconds(5));
  ASSERT_TRUE(rig.wait_for([&] { return TestConnection::to(rig.address()).fd() < 0; }));
  idle.send(kGetRoot);
  const std::string response = idle.read_message();
  EXPECT_THAT(response, HasSubstr("Connection: close"));
  EXPECT_THAT(response, EndsWith("ok"));
  EXPECT_EQ(idle.read_end(), 0);
  EXPECT_EQ(done.wait_for(std::chrono::seconds(5)), std::future_status::ready);
}

TEST(WorkerTest, DrainCutsWhatIsLeftAtTheDeadlineAndSaysSo) {
  Served t([](TestConnection& c) { c.read_to_end(); });
  auto& [server, rig, client] = t;
  client.send(kGetRoot);
  ASSERT_TRUE(rig.wait_for([&] { return rig.worker().gauges().upstream_connections == 1; }));
  EXPECT_EQ(drain(rig, std::chrono::milliseconds(50)).wait_for(std::chrono::seconds(5)),
            std::future_status::ready);
  EXPECT_EQ(client.read_end(), ECONNRESET);
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kDrained);
}

TEST(WorkerTest, LeavesNewConnectionsInTheListenerWhenItDrains) {
  TestServer server(always("ok"));
  SocketAddress address;
  UniqueFd ours = listen_on_loopback(&address);
  fcntl(ours.get(), F_SETFL, O_NONBLOCK);
  Rig rig(setup_for(server.address()));
  CaptureListener listener{.netns_cookie = 2, .workload_uid = "client"};
  listener.listener.reset(fcntl(ours.get(), F_DUPFD_CLOEXEC, 0));
  rig.worker().add_listener(std::move(listener));
  EXPECT_EQ(drain(rig, std::chrono::seconds(5)).wait_for(std::chrono::seconds(5)), std::future_status::ready);
  TestConnection waiting = TestConnection::to(address);
  ASSERT_TRUE(waiting.fd() >= 0) << "the descriptor we kept must still be listening";
  UniqueFd accepted;
  EXPECT_TRUE(rig.wait_for([&] {
    accepted.reset(accept4(ours.get(), nullptr, nullptr, SOCK_CLOEXEC));
    return accepted.valid();
  }));
}

TEST(WorkerTest, StopsAcceptingWhereAListenerIsRemovedButKeepsItsConnections) {
  Served t(always("ok"));
  auto& [server, rig, client] = t;
  client.send(kGetRoot);
  client.read_message();
  rig.worker().remove_listener(1);
  ASSERT_TRUE(rig.wait_for([&] { return TestConnection::to(rig.address()).fd() < 0; }));
  client.send(kGetRoot);
  EXPECT_EQ(client.read_message(), ok_response("ok"));
}

TEST(WorkerTest, RecordsExchangesThatItsEndInterrupts) {
  Served t([](TestConnection& c) { c.read_to_end(); });
  auto& [server, rig, client] = t;
  client.send(kGetRoot);
  ASSERT_TRUE(rig.wait_for([&] { return rig.worker().gauges().upstream_connections == 1; }));
  rig.stop();
  EXPECT_EQ(rig.sink().wait(1).at(0).outcome, Outcome::kDrained);
}

TEST(WorkerTest, CountsWhatIsOpen) {
  Served t(always("ok"));
  auto& [server, rig, client] = t;
  client.send(kGetRoot);
  client.read_message();
  EXPECT_TRUE(rig.wait_for([&] {
    const WorkerGauges gauges = rig.worker().gauges();
    return gauges.downstream_connections == 1 && gauges.upstream_connections == 1 &&
           gauges.upstream_idle == 1 && gauges.active_exchanges == 0 && gauges.loop_turns > 0;
  }));
  client.close();
  EXPECT_TRUE(rig.wait_for([&] { return rig.worker().gauges().downstream_connections == 0; }));
}

TEST(WorkerTest, ClosesAPooledConnectionThatTheServerEnds) {
  Served t([](TestConnection& c) {
    c.read_message();
    c.send(ok_response("ok"));
  });
  auto& [server, rig, client] = t;
  client.send(kGetRoot);
  client.read_message();
  EXPECT_TRUE(rig.wait_for([&] { return rig.worker().gauges().upstream_connections == 0; }));
  EXPECT_EQ(rig.worker().gauges().downstream_connections, 1u);
}

}  // namespace
}  // namespace weft::proxy
