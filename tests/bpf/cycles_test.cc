// Nothing grows: after many connects and many enrolments the maps, descriptors and memory are where they
// were. WEFT_CONNECT_CYCLES and WEFT_ENROLL_CYCLES set how many; the defaults keep CI short.
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/strings.h"
#include "tests/bpf/child.h"
#include "tests/bpf/scratch_node.h"

namespace weft::agent {
namespace {

// AddressSanitizer keeps what was freed, 256 MiB at the most.
#if !defined(__has_feature)
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
constexpr double kSlackMib = 300;
#else
constexpr double kSlackMib = 4;
#endif

uint32_t cycles(const char* variable, uint32_t fallback) {
  const char* text = std::getenv(variable);
  return text == nullptr ? fallback : parse_integer<uint32_t>(text).value_or(fallback);
}

struct Usage {
  size_t descriptors = 0;
  size_t links = 0;  // pinned
  double mib = 0;
  std::string maps;  // name and entries of each
};

class CyclesTest : public ScratchNode {
 protected:
  void SetUp() override {
    ScratchNode::SetUp();
    if (HasFatalFailure()) return;
    open_dataplane();
  }

  Usage usage() const {
    Usage out;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
      ++out.descriptors;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(pin_root() + "/links"))
      ++out.links;
    std::ifstream statm("/proc/self/statm");
    uint64_t size = 0, resident = 0;
    statm >> size >> resident;
    out.mib = static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 20);
    for (const MapStatus& map : dataplane_->maps()) str_append(&out.maps, map.name, "=", map.entries, " ");
    return out;
  }

  static void expect_back(const Usage& before, const Usage& after) {
    EXPECT_EQ(after.descriptors, before.descriptors);
    EXPECT_EQ(after.links, before.links);
    EXPECT_EQ(after.maps, before.maps);
    EXPECT_LE(after.mib, before.mib + kSlackMib);
  }
};

TEST_F(CyclesTest, ConnectAndCloseLeavesNothing) {
  const uint32_t count = cycles("WEFT_CONNECT_CYCLES", 5000);
  enroll_client();
  const SocketAddress vip = address(kVipV4, 80);
  ServiceEntry service{.key = {vip, IPPROTO_TCP}, .id = 5};
  service.path = ServiceEntry::Path::kDirect;
  service.affinity_seconds = 60;
  service.backends = {{.address = address(kServerV4, 8080), .id = kServerId, .weight = 1}};
  ASSERT_TRUE(dataplane_->apply({.services = {service}}).ok());
  const UniqueFd server = listen_in(netns_path(server_), address(kServerV4, 8080));
  ASSERT_EQ(::listen(server.get(), 4096), 0);
  const auto run = [&](uint32_t times) {
    Child client(cgroup_, netns_path(client_), [vip, times](int) {
      for (uint32_t i = 0; i < times; ++i) {
        sockaddr_storage to{};
        const socklen_t length = vip.to_sockaddr(&to);
        const UniqueFd socket(::socket(AF_INET, SOCK_STREAM, 0));
        if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&to), length) != 0) return errno;
        // No TIME_WAIT: ports would run out.
        const linger reset{1, 0};
        ::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
      }
      return 0;
    });
    // What was reset leaves the accept queue only when it is taken out.
    for (uint32_t i = 0; i < times; ++i) ::close(::accept4(server.get(), nullptr, nullptr, SOCK_CLOEXEC));
    EXPECT_EQ(client.wait(), 0);
  };
  run(100);  // rows of the flow table and of the affinity are made once
  const Usage before = usage();
  run(count);
  expect_back(before, usage());
  EXPECT_EQ(stat(WEFT_STAT_DIRECT), count + 100);
  EXPECT_EQ(stat(WEFT_STAT_STORAGE_FAILED), 0u);
}

TEST_F(CyclesTest, EnrolAndUnenrolLeavesNothing) {
  const uint32_t count = cycles("WEFT_ENROLL_CYCLES", 20);
  PolicyTable table;
  table.fixed.other_ip.word[0] = table.fixed.other_port.word[0] = table.fixed.other_workload.word[0] = 1;
  table.fixed.deny.word[0] = 1;
  table.cidrs = {{.ip = *IpAddress::parse("10.0.0.0"), .prefix_length = 104, .rules = {}}};
  const auto cycle = [&] {
    const EnrolledNamespace pod = enroll_client();
    ASSERT_TRUE(dataplane_->set_policy(pod.netns_cookie, {.rules = table}).ok());
    ASSERT_TRUE(dataplane_->unenroll(pod.netns_cookie, netns_path(client_)).ok());
  };
  cycle();
  const Usage before = usage();
  for (uint32_t i = 0; i < count; ++i) cycle();
  expect_back(before, usage());
}

}  // namespace
}  // namespace weft::agent
