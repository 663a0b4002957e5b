// outlierDetection with real servers that answer with errors, hang, reset or refuse: who gets the requests,
// and when the endpoint comes back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

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
  void begin(const SocketAddress& failing, const OutlierSettings& settings, const std::string& route = "") {
    Rig::Setup setup = setup_for(failing);
    setup.clusters[0].endpoints.push_back(good_.address());
    setup.clusters[0].policy = watches(settings);
    rig_ = std::make_unique<Rig>(setup);
    if (!route.empty()) rig_->use(with_routes(rig_->make_snapshot(setup.clusters, 2), route));
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

TEST_F(EjectionTest, AServerThatHangsRests) {
  TestServer failing([](TestConnection& c) { c.read_to_end(); });
  begin(failing.address(), {.consecutive_5xx = 2}, "http{timeout_ms:20 destinations{host:'v1' weight:1}}");
  EXPECT_EQ(good_answers(4), 2);
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

// Ten per cent is what is promised; a turn of a loaded machine's loop is all that lies between.
TEST_F(EjectionTest, ReturnsWhenTheTimeIsOver) {
  TestServer failing(answers(kInternal));
  constexpr auto kRest = std::chrono::milliseconds(1000);
  begin(failing.address(), {.consecutive_5xx = 2, .base_ejection_ms = 1000});
  EXPECT_EQ(good_answers(4), 2);
  const auto ejected = Clock::now();
  while (good_answers(1) == 1 && Clock::now() < ejected + 2 * kRest) {
  }
  const auto rested = std::chrono::duration<double>(Clock::now() - ejected) / kRest;
  EXPECT_GT(rested, 0.9);
  EXPECT_LT(rested, 1.1);
}

}  // namespace
}  // namespace weft::proxy
