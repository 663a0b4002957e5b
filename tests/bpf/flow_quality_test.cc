// How connections went, as sockops counts it: causes of failure, round trips, first bytes, retransmissions,
// connections that only receive, and rows of ids that are gone.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "base/strings.h"
#include "bpf/abi/constants.h"
#include "tests/bpf/flow_node.h"

namespace weft::agent {
namespace {

constexpr uint16_t kPort = 8080;  // excluded from capture: the client's socket sees the server itself
constexpr char kNobody[] = "10.57.1.98";
constexpr char kSilent[] = "10.57.1.99";
constexpr uint32_t kNobodyId = 31;
constexpr uint32_t kSilentId = 32;

UniqueFd dial(const SocketAddress& target, int flags = 0) {
  sockaddr_storage storage{};
  const socklen_t length = target.to_sockaddr(&storage);
  UniqueFd socket(::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
  const int tries = 1;
  setsockopt(socket.get(), IPPROTO_TCP, TCP_SYNCNT, &tries, sizeof(tries));
  const int error =
      connect(socket.get(), reinterpret_cast<const sockaddr*>(&storage), length) == 0 ? 0 : errno;
  if (error != 0 && error != EINPROGRESS) socket.reset();
  errno = error;
  return socket;
}

void close_with_reset(UniqueFd socket) {
  const linger now{.l_onoff = 1, .l_linger = 0};
  setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

// Sends a kilobyte whenever told to ('s'), reads a byte of answer, until told to end.
int converse(int control, const SocketAddress& server, int user_timeout_ms) {
  const UniqueFd socket = dial(server);
  if (!socket.valid()) return errno;
  setsockopt(socket.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof(user_timeout_ms));
  char command = 0;
  while (::read(control, &command, 1) == 1 && command == 's') {
    write_all(socket.get(), std::string(1'000, 'x'));
    if (::read(socket.get(), &command, 1) != 1) return errno;
  }
  return 0;
}

uint64_t slower_than_25ms(const weft_histogram& histogram) {
  return std::accumulate(std::begin(histogram.bucket) + 9, std::end(histogram.bucket), uint64_t{0});
}

class FlowQualityTest : public FlowNode {
 protected:
  void SetUp() override {
    FlowNode::SetUp();
    if (HasFatalFailure()) return;
    NamespacePlan plan = client_plan();
    plan.exclude_ports = {kPort};
    ASSERT_TRUE(dataplane_->enroll(plan).ok());
    ASSERT_TRUE(dataplane_
                    ->apply({.destinations = {{.address = address(kServerV4, kPort), .id = kServiceId},
                                              {.address = address(kNobody, kPort), .id = kNobodyId},
                                              {.address = address(kSilent, kPort), .id = kSilentId},
                                              {.address = address(kClientV4, 0), .id = kClientId},
                                              {.address = address(kServerV4, 0), .id = kServerId}},
                             .full = true})
                    .ok());
    listener_ = listen_in(netns_path(server_), address(kServerV4, kPort));
    ASSERT_TRUE(listener_.valid());
  }
  template <typename Ready>
  weft_flow row_when(Ready ready) const {
    return flow_when(kClientId, kServiceId, WEFT_DIRECTION_OUTBOUND, ready);
  }
  weft_flow row_closed() const { return closed_flow(kClientId, kServiceId, WEFT_DIRECTION_OUTBOUND); }
  Child client(const std::function<int(int)>& body) const {
    return Child(cgroup_, netns_path(client_), body);
  }
  // What the client sends to the server arrives at a wrong hardware address, from now on and at once.
  void lose_server() const {
    EXPECT_EQ(ip(client_, str_cat("neigh replace ", kServerV4, " lladdr 02:00:00:00:00:98 dev eth0")), "");
  }
  void find_server() const { EXPECT_EQ(ip(client_, str_cat("neigh del ", kServerV4, " dev eth0")), ""); }
  // A received kilobyte is answered by a byte.
  static bool answer(int socket) {
    std::string chunk(1'000, '\0');
    if (::recv(socket, chunk.data(), chunk.size(), MSG_WAITALL) != 1'000) return false;
    write_all(socket, "a");
    return true;
  }

  UniqueFd listener_;
};

TEST_F(FlowQualityTest, ConnectsThatFailAreCountedByTheirCause) {
  // One neighbour exists but never answers a SYN, the other does not exist.
  EXPECT_EQ(ip(client_, str_cat("neigh add ", kSilent, " lladdr 02:00:00:00:00:99 dev eth0")), "");
  EXPECT_EQ(ip(client_, "ntable change name arp_cache dev eth0 mcast_probes 1 retrans 100"), "");
  const auto connect_to = [](const char* ip) {
    return [ip](int) { return dial(address(ip, kPort)).valid() ? 0 : errno; };
  };
  Child timeout = client(connect_to(kSilent));
  Child unreachable = client(connect_to(kNobody));
  Child abandoned = client([](int) {
    dial(address(kSilent, kPort), SOCK_NONBLOCK).reset();
    return 0;
  });
  EXPECT_EQ(abandoned.wait(), 0);
  EXPECT_EQ(closed_flow(kClientId, kSilentId, WEFT_DIRECTION_OUTBOUND).failed[WEFT_CONNECT_ABANDONED], 1u);
  EXPECT_EQ(unreachable.wait(), EHOSTUNREACH);
  const weft_flow nobody = closed_flow(kClientId, kNobodyId, WEFT_DIRECTION_OUTBOUND);
  EXPECT_EQ(nobody.failed[WEFT_CONNECT_UNREACHABLE], 1u);
  EXPECT_EQ(failed_connects(nobody), 1u);
  EXPECT_EQ(timeout.wait(), ETIMEDOUT);
  const weft_flow silent = flow(kClientId, kSilentId, WEFT_DIRECTION_OUTBOUND);
  EXPECT_EQ(silent.failed[WEFT_CONNECT_TIMEOUT], 1u);
  EXPECT_EQ(failed_connects(silent), 2u);
  EXPECT_GE(silent.retransmits, 1u) << "the second SYN; tcp_syn_linear_timeouts makes it two";
  EXPECT_EQ(samples(silent.connect) + samples(silent.rtt) + silent.opened, 0u);
}

TEST_F(FlowQualityTest, ResetOfThePeerIsCountedAsReset) {
  Child reader = client([](int) {
    const UniqueFd socket = dial(address(kServerV4, kPort));
    char byte = 0;
    return ::read(socket.get(), &byte, 1) < 0 ? errno : 0;
  });
  close_with_reset(std::move(accept_one(listener_.get()).socket));
  EXPECT_EQ(reader.wait(), ECONNRESET);
  const weft_flow row = row_closed();
  EXPECT_EQ(row.broken[WEFT_BREAK_RESET], 1u);
  EXPECT_EQ(row.broken[WEFT_BREAK_TIMEOUT] + row.broken[WEFT_BREAK_ABORTED], 0u);
  EXPECT_EQ(row.closed, 1u);
  EXPECT_EQ(failed_connects(row), 0u);
}

TEST_F(FlowQualityTest, ResetAfterThePeersFinIsCountedAsReset) {
  Child reader = client([](int) {
    const UniqueFd socket = dial(address(kServerV4, kPort));
    if (!read_all(socket.get()).empty()) return 1;
    // The peer has closed the socket altogether: this is answered by RST.
    write_all(socket.get(), "late");
    pollfd event{.fd = socket.get(), .events = 0, .revents = 0};
    return poll(&event, 1, kTimeoutSeconds * 1000) == 1 ? 0 : 2;
  });
  accept_one(listener_.get()).socket.reset();
  EXPECT_EQ(reader.wait(), 0);
  EXPECT_EQ(row_closed().broken[WEFT_BREAK_RESET], 1u);
}

TEST_F(FlowQualityTest, ResetOfThisEndIsCountedAsAborted) {
  Child dialer = client([](int) {
    UniqueFd socket = dial(address(kServerV4, kPort));
    const bool valid = socket.valid();
    close_with_reset(std::move(socket));
    return valid ? 0 : 1;
  });
  const Accepted accepted = accept_one(listener_.get());
  EXPECT_EQ(dialer.wait(), 0);
  const weft_flow row = row_closed();
  EXPECT_EQ(row.broken[WEFT_BREAK_ABORTED], 1u);
  EXPECT_EQ(row.broken[WEFT_BREAK_RESET] + row.broken[WEFT_BREAK_TIMEOUT], 0u);
}

TEST_F(FlowQualityTest, CleanCloseIsNotBroken) {
  transfer(listener_.get(), {.target = address(kServerV4, kPort), .send = "12345"}, 10);
  const weft_flow row = row_closed();
  EXPECT_EQ(row.closed, 1u);
  for (const uint64_t broken : row.broken) EXPECT_EQ(broken, 0u);
  EXPECT_EQ(row.retransmits, 0u);
}

TEST_F(FlowQualityTest, RetransmitsAreCountedWhileThePeerIsAway) {
  Child talker = client([](int control) { return converse(control, address(kServerV4, kPort), 0); });
  Accepted accepted = accept_one(listener_.get());
  ASSERT_TRUE(accepted.socket.valid());
  lose_server();
  write_all(talker.control(), "s");
  const weft_flow away = row_when([](const weft_flow& row) { return row.retransmits > 0; });
  EXPECT_GT(away.retransmits, 0u);
  EXPECT_EQ(away.closed, 0u);
  find_server();
  EXPECT_TRUE(answer(accepted.socket.get()));
  write_all(talker.control(), "q");
  EXPECT_EQ(talker.wait(), 0);
  accepted.socket.reset();
  const weft_flow row = row_closed();
  EXPECT_GE(row.retransmits, away.retransmits);
  EXPECT_EQ(row.sent_bytes, 1'000u) << "sent twice, counted once";
  EXPECT_EQ(row.broken[WEFT_BREAK_TIMEOUT], 0u);
}

TEST_F(FlowQualityTest, PeerThatStopsAnsweringIsCountedAsTimeout) {
  Child talker = client([](int control) { return converse(control, address(kServerV4, kPort), 300); });
  const Accepted accepted = accept_one(listener_.get());
  ASSERT_TRUE(accepted.socket.valid());
  lose_server();
  write_all(talker.control(), "s");
  EXPECT_EQ(talker.wait(), ETIMEDOUT);
  const weft_flow row = row_closed();
  EXPECT_EQ(row.broken[WEFT_BREAK_TIMEOUT], 1u);
  EXPECT_EQ(row.closed, 1u);
}

TEST_F(FlowQualityTest, RoundTripIsSampledAtTheHandshakeAndThenOnceASecond) {
  Child talker = client([](int control) { return converse(control, address(kServerV4, kPort), 0); });
  const Accepted accepted = accept_one(listener_.get());
  ASSERT_TRUE(accepted.socket.valid());
  const weft_flow fresh = row_when([](const weft_flow& row) { return row.opened == 1; });
  EXPECT_EQ(samples(fresh.rtt), 1u);
  EXPECT_EQ(slower_than_25ms(fresh.rtt), 0u);
  // A kilobyte now takes 50 ms to leave the client, once the burst is used up.
  const std::string shape = str_cat("ip netns exec ", client_,
                                    " tc qdisc add dev eth0 root tbf rate 160kbit burst 1600 limit 100000");
  ASSERT_EQ(std::system(shape.c_str()), 0);
  const MonotonicNs start = SystemClock().now();
  weft_flow row{};
  const Deadline deadline;
  while (samples(row.rtt) < 3 && !deadline.passed()) {
    write_all(talker.control(), "s");
    ASSERT_TRUE(answer(accepted.socket.get()));
    row = flow(kClientId, kServiceId, WEFT_DIRECTION_OUTBOUND);
  }
  EXPECT_EQ(slower_than_25ms(row.rtt), 2u);
  EXPECT_EQ(samples(row.rtt), 3u);
  EXPECT_GE(SystemClock().now() - start, kNsPerSecond)
      << "about twenty acknowledgements a second, one sample";
  EXPECT_GE(row.rtt.sum_ns, 50'000'000u);
  write_all(talker.control(), "q");
  EXPECT_EQ(talker.wait(), 0);
}

// Says nothing for a while: true when nothing came from the other side either.
bool stays_quiet(int socket, int ms) {
  pollfd event{.fd = socket, .events = POLLIN, .revents = 0};
  return poll(&event, 1, ms) == 0;
}

TEST_F(FlowQualityTest, FirstByteOfAClientIsTheFirstItReceives) {
  Child asker = client([](int control) {
    const UniqueFd socket = dial(address(kServerV4, kPort));
    write_all(control, "c");
    write_all(socket.get(), "question");
    return read_all(socket.get()) == "answer" ? 0 : 1;
  });
  Accepted accepted = accept_one(listener_.get());
  ASSERT_TRUE(accepted.socket.valid());
  char connected = 0;
  ASSERT_EQ(::read(asker.control(), &connected, 1), 1);
  const MonotonicNs established = SystemClock().now();
  std::string question(8, '\0');
  ASSERT_EQ(::recv(accepted.socket.get(), question.data(), question.size(), MSG_WAITALL), 8);
  // Long enough for the question to be acknowledged alone, so that the answer acknowledges nothing.
  EXPECT_TRUE(stays_quiet(accepted.socket.get(), 120));
  EXPECT_EQ(samples(row_when([](const weft_flow&) { return true; }).first_byte), 0u);
  const MonotonicNs sent = SystemClock().now();
  write_all(accepted.socket.get(), "answer");
  const weft_flow row = row_when([](const weft_flow& r) { return samples(r.first_byte) > 0; });
  EXPECT_EQ(samples(row.first_byte), 1u) << "seen before the connection closes";
  EXPECT_EQ(row.closed, 0u);
  EXPECT_GE(row.first_byte.sum_ns, sent - established);
  EXPECT_LT(row.first_byte.sum_ns, sent - established + 40'000'000u) << "a delayed acknowledgement late";
  accepted.socket.reset();
  EXPECT_EQ(asker.wait(), 0);
  EXPECT_EQ(samples(row_closed().first_byte), 1u);
}

TEST_F(FlowQualityTest, FirstByteIsSeenAfterALongQuestion) {
  Child asker = client([](int) {
    const UniqueFd socket = dial(address(kServerV4, kPort));
    // A packet for each, and so many that the watch of the handshake has ended.
    const int at_once = 1;
    setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof(at_once));
    for (int i = 0; i < 40; ++i) write_all(socket.get(), std::string(1'000, 'q'));
    return read_all(socket.get()) == "answer" ? 0 : 1;
  });
  Accepted accepted = accept_one(listener_.get());
  ASSERT_TRUE(accepted.socket.valid());
  const MonotonicNs established = SystemClock().now();
  std::string question(40'000, '\0');
  ASSERT_EQ(::recv(accepted.socket.get(), question.data(), question.size(), MSG_WAITALL), 40'000);
  EXPECT_TRUE(stays_quiet(accepted.socket.get(), 120));
  const MonotonicNs sent = SystemClock().now();
  write_all(accepted.socket.get(), "answer");
  const weft_flow row = row_when([](const weft_flow& r) { return samples(r.first_byte) > 0; });
  EXPECT_EQ(samples(row.first_byte), 1u)
      << "opened " << row.opened << ", sent " << row.sent_bytes << ", received " << row.received_bytes
      << ", retransmits " << row.retransmits << ", round trips " << samples(row.rtt);
  EXPECT_GE(row.first_byte.sum_ns, sent - established);
  accepted.socket.reset();
  EXPECT_EQ(asker.wait(), 0);
}

TEST_F(FlowQualityTest, FirstByteOfAServerIsTheFirstItSends) {
  ASSERT_TRUE(
      dataplane_->enroll({.netns_path = netns_path(server_), .workload_id = kServerId, .exclude_ports = {}})
          .ok());
  listener_.reset();
  Child server(cgroup_, netns_path(server_), [](int control) {
    const UniqueFd listener = listen_in("/proc/self/ns/net", address(kServerV4, kPort));
    write_all(control, "r");
    const Accepted accepted = accept_one(listener.get());
    if (!stays_quiet(accepted.socket.get(), 60)) return 1;
    write_all(accepted.socket.get(), "hello");
    write_all(accepted.socket.get(), "again");
    return read_all(accepted.socket.get()).empty() ? 0 : 2;
  });
  char ready = 0;
  ASSERT_EQ(::read(server.control(), &ready, 1), 1);
  const MonotonicNs before = SystemClock().now();
  Child reader = client([](int) {
    const UniqueFd socket = dial(address(kServerV4, kPort));
    std::string got(10, '\0');
    return ::recv(socket.get(), got.data(), got.size(), MSG_WAITALL) == 10 ? 0 : 1;
  });
  EXPECT_EQ(reader.wait(), 0);
  EXPECT_EQ(server.wait(), 0);
  const weft_flow row = closed_flow(kClientId, kServerId, WEFT_DIRECTION_INBOUND);
  EXPECT_EQ(samples(row.first_byte), 1u);
  EXPECT_GE(row.first_byte.sum_ns, 55'000'000u);
  EXPECT_LT(row.first_byte.sum_ns, SystemClock().now() - before);
  EXPECT_EQ(samples(row.rtt), 1u) << "of the handshake";
}

TEST_F(FlowQualityTest, ConnectionThatOnlyReceivesReportsBeforeItCloses) {
  Child reader = client([](int) {
    const UniqueFd socket = dial(address(kServerV4, kPort));
    // As a TLS client does: some packets first, some after the first answer, then silence.
    for (int i = 0; i < 3; ++i) {
      char byte = 0;
      write_all(socket.get(), "hello");
      if (::read(socket.get(), &byte, 1) != 1) return 1;
    }
    return read_all(socket.get()).size() > 1'000 ? 0 : 2;
  });
  Accepted accepted = accept_one(listener_.get());
  ASSERT_TRUE(accepted.socket.valid());
  for (int i = 0; i < 3; ++i) {
    std::string hello(5, '\0');
    ASSERT_EQ(::recv(accepted.socket.get(), hello.data(), hello.size(), MSG_WAITALL), 5);
    write_all(accepted.socket.get(), "a");
  }
  weft_flow row{};
  const Deadline deadline;
  while (row.received_bytes <= 3 && !deadline.passed()) {
    // At the pace of the reader: its window is what makes this block.
    write_all(accepted.socket.get(), std::string(100'000, 'x'));
    row = flow(kClientId, kServiceId, WEFT_DIRECTION_OUTBOUND);
  }
  EXPECT_GT(row.received_bytes, 3u);
  EXPECT_EQ(row.closed, 0u);
  accepted.socket.reset();
  EXPECT_EQ(reader.wait(), 0);
  EXPECT_EQ(row_closed().received_bytes % 100'000, 3u);
}

TEST_F(FlowQualityTest, RowsOfAForgottenServiceGoAndAnOpenConnectionDoesNotBringThemBack) {
  Child talker = client([](int control) { return converse(control, address(kServerV4, kPort), 0); });
  Accepted accepted = accept_one(listener_.get());
  ASSERT_TRUE(accepted.socket.valid());
  EXPECT_EQ(row_when([](const weft_flow& row) { return row.opened == 1; }).opened, 1u);
  dataplane_->forget(kServiceId);
  EXPECT_EQ(dataplane_->flows()->size(), 3u) << "only the overflow rows";
  write_all(talker.control(), "q");
  EXPECT_EQ(talker.wait(), 0);
  accepted.socket.reset();
  // The close has made a row again, with an id that means nothing any more.
  const UniqueFd map(bpf_obj_get((pin_root() + "/maps/m_flow").c_str()));
  const weft_flow_key key{.source = kClientId, .destination = kServiceId, .direction = 0};
  std::vector<weft_flow> values(static_cast<size_t>(libbpf_num_possible_cpus()));
  const auto in_map = [&] { return bpf_map_lookup_elem(map.get(), &key, values.data()) == 0; };
  const Deadline deadline;
  while (!in_map() && !deadline.passed()) continue;
  EXPECT_TRUE(in_map());
  EXPECT_EQ(dataplane_->flows()->size(), 3u);
  EXPECT_FALSE(in_map()) << "removed by the reading";
  ASSERT_TRUE(
      dataplane_
          ->apply({.destinations = {{.address = address(kServerV4, kPort), .id = kServiceId}}, .full = true})
          .ok());
  transfer(listener_.get(), {.target = address(kServerV4, kPort), .send = "12345"}, 10);
  EXPECT_EQ(row_closed().opened, 1u) << "the id is in use again";
}

TEST_F(FlowQualityTest, ProgramRunsAreReadWhileTheKernelCountsThem) {
  const UniqueFd counting(bpf_enable_stats(BPF_STATS_RUN_TIME));
  ASSERT_TRUE(counting.valid());
  transfer(listener_.get(), {.target = address(kServerV4, kPort), .send = "12345"}, 10);
  const std::vector<ProgramRuns> programs = dataplane_->program_runs();
  for (const char* name : {"mesh_sockops", "mesh_connect4"}) {
    const auto program = std::find_if(programs.begin(), programs.end(),
                                      [name](const ProgramRuns& runs) { return runs.name == name; });
    ASSERT_NE(program, programs.end()) << name;
    EXPECT_GT(program->runs, 0u) << name;
    EXPECT_GT(program->run_ns, 0u) << name;
  }
  EXPECT_TRUE(std::any_of(programs.begin(), programs.end(),
                          [](const ProgramRuns& runs) { return runs.name == "mesh_lookup"; }));
}

}  // namespace
}  // namespace weft::agent
