// outlierDetection with real servers that answer with errors, hang, reset or refuse: who gets the requests,
// and when the endpoint comes back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>
#include <utility>

#include "base/strings.h"
#include "tests/unit/proxy-engine/route_rig.h"

namespace weft::proxy {
namespace {

using ::testing::HasSubstr;
using Clock = std::chrono::steady_clock;

TestServer::Handler answers(std::string response) {
  return [response = std::move(response)](TestConnection& c) {
    while (!c.read_message().empty() && c.send(response)) {
    }
  };
}

constexpr char kUnavailable[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nbad";
constexpr char kInternal[] = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 3\r\n\r\nbad";

std::shared_ptr<const ClusterPolicy> watches(OutlierSettings settings) {
  auto policy = std::make_shared<ClusterPolicy>();
  settings.max_ejection_percent = 100;
  policy->outlier = settings;
  return policy;
}

// A failing endpoint beside one that answers "good", in turns.
class EjectionTest : public ::testing::Test {
 protected:
  void begin(const SocketAddress& failing, const OutlierSettings& settings) {
    Rig::Setup setup = setup_for(failing);
    setup.clusters[0].endpoints.push_back(good_.address());
    setup.clusters[0].policy = watches(settings);
    rig_ = std::make_unique<Rig>(setup);
  }
  // How many of so many requests the good server answered.
  int good_answers(int count) {
    int out = 0;
    for (int i = 0; i < count; ++i) out += rig_->get().find("good") != std::string::npos ? 1 : 0;
    return out;
  }

  TestServer good_{always("good")};
  std::unique_ptr<Rig> rig_;
};

TEST_F(EjectionTest, AServerThatAnswersWithErrorsRests) {
  TestServer failing(answers(kInternal));
  begin(failing.address(), {.consecutive_5xx = 3});
  EXPECT_EQ(good_answers(6), 3);
  EXPECT_EQ(good_answers(20), 20);
}

TEST_F(EjectionTest, GatewayErrorsHaveTheirOwnThreshold) {
  TestServer failing(answers(kUnavailable));
  begin(failing.address(), {.consecutive_5xx = 0, .consecutive_gateway = 2});
  EXPECT_EQ(good_answers(4), 2);
  EXPECT_EQ(good_answers(20), 20);
}

TEST_F(EjectionTest, AServerThatResetsRests) {
  TestServer failing([](TestConnection& c) {
    c.read_message();
    c.reset();
  });
  begin(failing.address(), {.consecutive_5xx = 3});
  EXPECT_EQ(good_answers(6), 3);
  EXPECT_EQ(good_answers(20), 20);
}

// The good one comes later and without a timeout: on a loaded machine it would be too late at times.
TEST_F(EjectionTest, AServerThatHangsRests) {
  TestServer failing([](TestConnection& c) { c.read_to_end(); });
  Rig::Setup setup = setup_for(failing.address());
  setup.clusters[0].policy = watches({.consecutive_5xx = 2});
  rig_ = std::make_unique<Rig>(setup);
  rig_->use(with_routes(rig_->make_snapshot(setup.clusters, 2),
                        "http{timeout_ms:20 destinations{host:'v1' weight:1}}"));
  for (int i = 0; i < 2; ++i) EXPECT_THAT(rig_->get(), HasSubstr("504 Gateway Timeout"));
  setup.clusters[0].endpoints.push_back(good_.address());
  rig_->use(rig_->make_snapshot(setup.clusters, 3));
  EXPECT_EQ(good_answers(20), 20);
}

TEST_F(EjectionTest, AnEndpointThatTakesNoConnectionRests) {
  begin(refused_address(), {.split_local_origin = true, .consecutive_local_origin = 2});
  // Each goes on to the good one; what rests is not tried any more.
  EXPECT_EQ(good_answers(20), 20);
  const std::vector<SeenRecord> records = rig_->sink().wait(20);
  for (const SeenRecord& record : records) EXPECT_EQ(record.upstream, good_.address());
}

TEST_F(EjectionTest, GrpcErrorsInTrailersAloneCount) {
  TestServer failing(answers("HTTP/1.1 200 OK\r\ngrpc-status: 14\r\nContent-Length: 0\r\n\r\n"));
  begin(failing.address(), {.consecutive_5xx = 0, .consecutive_gateway = 2});
  EXPECT_EQ(good_answers(4), 2);
  EXPECT_EQ(good_answers(20), 20);
}

// An endpoint and what the process knows of it.
struct Watching {
  explicit Watching(const SocketAddress& endpoint, OutlierSettings settings,
                    Protocol protocol = Protocol::kHttp) {
    Rig::Setup setup = setup_for(endpoint, protocol);
    setup.clusters[0].policy = watches(settings);
    setup.options.clusters = clusters;
    setup.options.exchange_idle = std::chrono::milliseconds(20);
    rig = std::make_unique<Rig>(setup);
  }
  uint64_t ejections() const { return clusters->sums().ejections; }
  std::string send(std::string_view request) {
    TestConnection client = rig->connect();
    client.send(request);
    return client.read_until("\r\n\r\n");
  }

  std::shared_ptr<SharedClusters> clusters = std::make_shared<SharedClusters>();
  std::unique_ptr<Rig> rig;
};

TEST(SlowClientTest, AClientThatSendsItsBodyTooSlowlyEjectsNobody) {
  TestServer server([](TestConnection& c) { c.read_to_end(); });
  Watching watching(server.address(), {.consecutive_5xx = 2});
  for (int i = 0; i < 4; ++i)
    EXPECT_THAT(watching.send("POST / HTTP/1.1\r\nHost: service\r\nContent-Length: 9\r\n\r\nx"),
                HasSubstr("idle_timeout"));
  EXPECT_EQ(watching.ejections(), 0u);
  for (int i = 0; i < 2; ++i) EXPECT_THAT(watching.send(kGetRoot), HasSubstr("idle_timeout"));
  EXPECT_EQ(watching.ejections(), 1u) << "the server's silence counts";
}

TEST(SlowClientTest, ADeadlineThatAClientMadeTooShortEjectsNobody) {
  TestServer server([](TestConnection& c) { c.read_to_end(); });
  Watching watching(server.address(), {.consecutive_5xx = 2});
  for (int i = 0; i < 4; ++i)
    watching.send(
        "POST /a.B/C HTTP/1.1\r\nHost: service\r\nContent-Type: application/grpc\r\nTE: trailers\r\n"
        "grpc-timeout: 1m\r\nContent-Length: 0\r\n\r\n");
  for (const SeenRecord& record : watching.rig->sink().wait(4))
    EXPECT_EQ(record.outcome, Outcome::kDeadlineExceeded);
  EXPECT_EQ(watching.ejections(), 0u);
}

// Listens where nobody did before.
UniqueFd listen_at(const SocketAddress& address) {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int one = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  sockaddr_storage storage;
  const socklen_t length = address.to_sockaddr(&storage);
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), length) != 0 || listen(fd.get(), 8) != 0)
    fd.reset();
  return fd;
}

TEST(TcpEjectionTest, AConnectionThatIsTakenEndsTheRowOfThoseThatWereNot) {
  const SocketAddress address = refused_address();
  Watching watching(address, {.consecutive_5xx = 5}, Protocol::kTcp);
  const auto refused = [&](int times) {
    for (int i = 0; i < times; ++i) EXPECT_EQ(watching.rig->connect().read_end(), ECONNRESET);
  };
  refused(4);
  UniqueFd server = listen_at(address);
  ASSERT_GE(server.get(), 0);
  TestConnection client = watching.rig->connect();
  const UniqueFd taken(accept4(server.get(), nullptr, nullptr, SOCK_CLOEXEC));
  ASSERT_GE(taken.get(), 0);
  ASSERT_EQ(::send(taken.get(), "hi", 2, MSG_NOSIGNAL), 2);
  EXPECT_EQ(client.read(2), "hi");
  server.reset();
  refused(4);
  EXPECT_EQ(watching.ejections(), 0u);
  refused(1);
  EXPECT_EQ(watching.ejections(), 1u);
}

// What is asked is never later than what is judged, however long the machine lets either wait.
TEST_F(EjectionTest, ReturnsWhenTheTimeIsOver) {
  TestServer failing(answers(kInternal));
  constexpr auto kRest = std::chrono::milliseconds(1000);
  begin(failing.address(), {.consecutive_5xx = 2, .base_ejection_ms = 1000});
  const auto before = Clock::now();
  EXPECT_EQ(good_answers(4), 2);
  const auto ejected = Clock::now();
  // Sent before the last that was answered well, which may have been the good one's turn.
  Clock::time_point resting = ejected, last = ejected;
  for (auto sent = ejected; good_answers(1) == 1; sent = Clock::now()) {
    resting = std::exchange(last, sent);
    ASSERT_LT(resting, ejected + 2 * kRest);
  }
  EXPECT_GE(Clock::now() - before, kRest);
  EXPECT_LT(resting - ejected, kRest * 1.1);
}

}  // namespace
}  // namespace weft::proxy
