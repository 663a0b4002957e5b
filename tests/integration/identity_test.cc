// What applications see of capture: nothing. The client's peer is the address it dialled, the server's peer
// is the client's pod.
#include <gmock/gmock.h>

#include "tests/harness/mesh_test.h"

namespace weft::harness {
namespace {

using ::testing::HasSubstr;
using IdentityTest = MeshTest;

ServiceSpec whoami_service() {
  return {.name = "whoami",
          .ip4 = "10.96.0.20",
          .ip6 = "fd96::20",
          .ports = {{.name = "tcp-whoami", .port = 7000, .target_port = 7002}}};
}

class WhoamiTest : public MeshTest {
 protected:
  void SetUp() override {
    MeshTest::SetUp();
    if (HasFatalFailure()) return;
    auto pod = add_service(whoami_service());
    ASSERT_TRUE(pod.ok()) << pod.status();
    server_ = *pod;
    auto process = start_peer(server_, "whoami", 7002);
    ASSERT_TRUE(process.ok()) << process.status();
    servers_.push_back(std::move(*process));
    ASSERT_TRUE(wait_until(milliseconds(20'000), [&] {
      return peer(client_, {"dial", "10.96.0.20:7000"}).output.find("\npeer=") != std::string::npos;
    })) << mesh_->log();
  }
  Pod server_;
};

TEST_F(WhoamiTest, ClientSeesTheServiceAddressAsItsPeerInEveryFamily) {
  EXPECT_THAT(peer(client_, {"dial", "10.96.0.20:7000"}).output, HasSubstr("peer=10.96.0.20:7000 "));
  EXPECT_THAT(peer(client_, {"dial", "[fd96::20]:7000"}).output, HasSubstr("peer=[fd96::20]:7000 "));
  EXPECT_THAT(peer(client_, {"dial-mapped", "10.96.0.20:7000"}).output, HasSubstr("peer=10.96.0.20:7000 "));
}

TEST_F(WhoamiTest, ServerSeesTheAddressOfTheClientPod) {
  EXPECT_THAT(peer(client_, {"dial", "10.96.0.20:7000"}).output,
              HasSubstr("\npeer=" + client_.ip4.to_string() + ":"));
  EXPECT_THAT(peer(client_, {"dial", "10.96.0.20:7000"}).output,
              HasSubstr(" local=" + server_.v4(7002).to_string()));
}

TEST_F(WhoamiTest, PodsThatAreNotEnrolledAreLeftAlone) {
  // v1 runs on node2, where no agent is: the service address leads nowhere, the pod address works.
  EXPECT_NE(peer(v1_, {"dial", "10.96.0.20:7000"}).exit_code, 0);
  EXPECT_THAT(peer(v1_, {"dial", server_.v4(7002).to_string()}).output,
              HasSubstr("\npeer=" + v1_.ip4.to_string()));
}

TEST_F(IdentityTest, LoopbackTrafficOfAnEnrolledPodIsNotCaptured) {
  auto local = start_peer(client_, "whoami", 7009);
  ASSERT_TRUE(local.ok()) << local.status();
  EXPECT_THAT(peer(client_, {"dial", "127.0.0.1:7009"}).output, HasSubstr("\npeer=127.0.0.1:"));
}

TEST_F(IdentityTest, CapturePortCannotBeReachedFromAnotherPod) {
  EXPECT_NE(curl(v1_, {"--max-time", "2", "http://" + client_.v4(15001).to_string() + "/"}).exit_code, 0);
}

}  // namespace
}  // namespace weft::harness
