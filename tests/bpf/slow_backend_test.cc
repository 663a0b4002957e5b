// How long connects to a backend take, as sockops smooths it, and when a slow one is reported.
#include <bpf/bpf.h>
#include <netinet/in.h>

#include "base/strings.h"
#include "bpf/abi/constants.h"
#include "bpf/abi/service.h"
#include "tests/bpf/child.h"
#include "tests/bpf/scratch_node.h"

namespace weft::agent {
namespace {

constexpr uint32_t kServiceId = 77;
constexpr uint16_t kPort = 15432;

class SlowBackendTest : public OpenNode {
 protected:
  void SetUp() override {
    OpenNode::SetUp();
    if (HasFatalFailure()) return;
    enroll_client();
    ServiceEntry service{.key = {address(kVipV4, 80), IPPROTO_TCP}, .id = kServiceId};
    service.path = ServiceEntry::Path::kDirect;
    service.eject_after = 5;
    service.backends = {{.address = address(kServerV4, kPort), .id = kServerId, .weight = 1}};
    ASSERT_TRUE(dataplane_->apply({.services = {service}}).ok());
    listener_ = listen_in(netns_path(server_), address(kServerV4, kPort));
    ASSERT_TRUE(listener_.valid());
    health_.reset(bpf_obj_get((pin_root() + "/maps/m_health").c_str()));
    ASSERT_TRUE(health_.valid());
  }
  void dial() {
    Dialer dialer(cgroup_, netns_path(client_), {.target = address(kVipV4, 80)});
    EXPECT_TRUE(accept_one(listener_.get()).socket.valid());
    EXPECT_EQ(dialer.result().error, 0);
  }
  uint32_t latency_us() const {
    const std::vector<BackendLatency> rows = dataplane_->connect_latencies(kServiceId);
    if (rows.size() != 1) return 0;
    EXPECT_EQ(rows[0].address, address(kServerV4, kPort));
    return rows[0].latency_us;
  }
  // The only service's only backend is the first row.
  weft_health health() const {
    const uint32_t index = 0;
    weft_health row{};
    EXPECT_EQ(bpf_map_lookup_elem(health_.get(), &index, &row), 0);
    return row;
  }
  void set_health(const weft_health& row) const {
    const uint32_t index = 0;
    EXPECT_EQ(bpf_map_update_elem(health_.get(), &index, &row, BPF_ANY), 0);
  }
  std::vector<FailingBackend> reports() { return dataplane_->wait_failing(std::chrono::milliseconds(0)); }

  UniqueFd listener_;
  UniqueFd health_;
};

TEST_F(SlowBackendTest, OneConnectWithALostSynDoesNotMakeABackendSlow) {
  EXPECT_EQ(latency_us(), 0u) << "never connected to";
  dial();
  const uint32_t usual = latency_us();
  EXPECT_GT(usual, 0u);
  EXPECT_LT(usual, WEFT_SLOW_US);
  // The first SYN goes to a hardware address that is nobody's, the second a second later to the server.
  EXPECT_EQ(ip(client_, str_cat("neigh replace ", kServerV4, " lladdr 02:00:00:00:00:98 dev eth0")), "");
  Child client(cgroup_, netns_path(client_), [](int control) {
    sockaddr_storage to{};
    const socklen_t length = address(kVipV4, 80).to_sockaddr(&to);
    const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&to), length) == 0 || errno != EINPROGRESS)
      return 1;
    write_all(control, "s");
    char byte = 0;
    return ::read(control, &byte, 1) == 1 ? 0 : 2;
  });
  char sent = 0;
  ASSERT_EQ(::read(client.control(), &sent, 1), 1);
  EXPECT_EQ(ip(client_, str_cat("neigh del ", kServerV4, " dev eth0")), "");
  EXPECT_TRUE(accept_one(listener_.get()).socket.valid());
  write_all(client.control(), "e");
  EXPECT_EQ(client.wait(), 0);
  EXPECT_GT(latency_us(), usual);
  EXPECT_LT(latency_us(), WEFT_SLOW_US) << "a second counts for a little";
  EXPECT_EQ(health().slow_since_s, 0u);
  EXPECT_TRUE(reports().empty());
}

TEST_F(SlowBackendTest, BackendThatIsSlowForLongIsReportedOnceASecondUntilItIsForgivenOrFastAgain) {
  dial();
  const weft_health usual = health();
  // As if it had been slow since the machine booted.
  set_health(
      {.generation = usual.generation, .failures_in_a_row = 0, .latency_us = 8'000'000, .slow_since_s = 1});
  dial();
  const std::vector<FailingBackend> slow = reports();
  ASSERT_EQ(slow.size(), 1u);
  EXPECT_EQ(slow[0].service, kServiceId);
  EXPECT_EQ(slow[0].address, address(kServerV4, kPort));
  EXPECT_EQ(slow[0].failures, 0u);
  EXPECT_EQ(slow[0].latency_us, latency_us());
  EXPECT_GT(slow[0].latency_us, 6'900'000u);
  const uint32_t moved = health().slow_since_s;
  EXPECT_GT(moved, 1u) << "so that the next report comes a second later";
  EXPECT_LT(moved, SystemClock().now() / kNsPerSecond);
  dataplane_->forgive(kServiceId, address(kServerV4, kPort));
  EXPECT_EQ(latency_us(), 0u);
  dial();
  EXPECT_LT(latency_us(), WEFT_SLOW_US);
  set_health({.generation = usual.generation,
              .failures_in_a_row = 0,
              .latency_us = WEFT_SLOW_US,
              .slow_since_s = 1});
  dial();
  EXPECT_EQ(health().slow_since_s, 0u) << "no longer slow";
  EXPECT_TRUE(reports().empty());
}

TEST_F(SlowBackendTest, SlowForAMomentIsNotReported) {
  dial();
  set_health({.generation = health().generation,
              .failures_in_a_row = 0,
              .latency_us = 8'000'000,
              .slow_since_s = 0});
  dial();
  EXPECT_GT(health().slow_since_s, 0u);
  EXPECT_TRUE(reports().empty());
}

}  // namespace
}  // namespace weft::agent
