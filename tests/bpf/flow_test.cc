// What sockops counts: connects, failures, bytes, latency, destinations, the overflow row.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

#include "agent/dataplane/flow_sum.h"
#include "bpf/abi/constants.h"
#include "tests/bpf/flow_node.h"

namespace weft::agent {
namespace {

class FlowTest : public FlowNode {};

TEST_F(FlowTest, BytesOfACapturedConnectionAreExactAndCountedOnceByDestination) {
  ASSERT_TRUE(
      dataplane_->apply({.destinations = {{.address = address(kVipV4, 80), .id = kServiceId}}, .full = true})
          .ok());
  transfer(client_namespace_.listeners[0].get(),
           {.target = address(kVipV4, 80), .send = std::string(300'000, 'q')}, 2'000'000);
  const weft_flow row = closed_flow(kClientId, kServiceId, WEFT_DIRECTION_OUTBOUND);
  EXPECT_EQ(row.opened, 1u);
  EXPECT_EQ(row.closed, 1u);
  EXPECT_EQ(failed_connects(row), 0u);
  EXPECT_EQ(row.sent_bytes, 300'000u);
  EXPECT_EQ(row.received_bytes, 2'000'000u);
  EXPECT_GT(row.connect.sum_ns, 0u);
  EXPECT_EQ(samples(row.connect), 1u);
  EXPECT_EQ(dataplane_->flows()->size(), 4u)
      << "this row and three for the overflow: the listener's side is not measured";
}

TEST_F(FlowTest, WhatTheProxyAcceptsIsNotMeasuredThoughItsListenerIsInTheCapturedCgroup) {
  ASSERT_TRUE(dataplane_->unenroll(client_namespace_.netns_cookie, netns_path(client_)).ok());
  {
    const InCgroup as_the_agent_is(cgroup_);
    client_namespace_ = enroll_client();
  }
  ASSERT_EQ(client_namespace_.listeners.size(), 1u);
  transfer(client_namespace_.listeners[0].get(), {.target = address(kVipV4, 80), .send = "12345"}, 10);
  const weft_flow row = closed_flow(kClientId, WEFT_ID_UNKNOWN, WEFT_DIRECTION_OUTBOUND);
  EXPECT_EQ(row.closed, 1u);
  EXPECT_EQ(dataplane_->flows()->size(), 4u) << "this row and three for the overflow";
}

TEST_F(FlowTest, RefusedConnectIsCountedAsRefused) {
  NamespacePlan plan = client_plan();
  plan.exclude_ports = {9999};
  ASSERT_TRUE(dataplane_->enroll(plan).ok());
  ASSERT_TRUE(
      dataplane_
          ->apply({.destinations = {{.address = address(kServerV4, 9999), .id = kServiceId}}, .full = true})
          .ok());
  Dialer dialer(cgroup_, netns_path(client_), {.target = address(kServerV4, 9999)});
  EXPECT_EQ(dialer.result().error, ECONNREFUSED);
  const weft_flow row = closed_flow(kClientId, kServiceId, WEFT_DIRECTION_OUTBOUND);
  EXPECT_EQ(row.failed[WEFT_CONNECT_REFUSED], 1u);
  EXPECT_EQ(failed_connects(row), 1u);
  EXPECT_EQ(row.opened, 0u);
  EXPECT_EQ(row.closed, 0u);
}

TEST_F(FlowTest, WhatTheProxyDialsIsMeasuredApartSoADeadServerShows) {
  ASSERT_TRUE(
      dataplane_->apply({.destinations = {{.address = address(kServerV4, 0), .id = kServerId}}, .full = true})
          .ok());
  Dialer proxy(cgroup_, netns_path(client_), {.target = address(kServerV4, 9999), .wait = true});
  ASSERT_TRUE(dataplane_->set_proxy(static_cast<uint32_t>(proxy.pid())).ok());
  proxy.go();
  EXPECT_EQ(proxy.result().error, ECONNREFUSED);
  const weft_flow row = closed_flow(kClientId, kServerId, WEFT_DIRECTION_PROXY);
  EXPECT_EQ(row.failed[WEFT_CONNECT_REFUSED], 1u);
  EXPECT_EQ(failed_connects(row), 1u);
  EXPECT_EQ(row.opened, 0u);
}

TEST_F(FlowTest, ServerSideIsMeasuredInboundWithItsPeersWorkload) {
  ASSERT_TRUE(
      dataplane_->enroll({.netns_path = netns_path(server_), .workload_id = kServerId, .exclude_ports = {}})
          .ok());
  NamespacePlan plan = client_plan();
  plan.exclude_ports = {8080};
  ASSERT_TRUE(dataplane_->enroll(plan).ok());
  ASSERT_TRUE(dataplane_
                  ->apply({.destinations = {{.address = address(kClientV6, 0), .id = kClientId},
                                            {.address = address(kServerV6, 0), .id = kServerId}},
                           .full = true})
                  .ok());
  // The server must live in the cgroup: that is where sockops is attached.
  Child server(cgroup_, netns_path(server_), [](int control) {
    const UniqueFd listener = listen_in("/proc/self/ns/net", address(kServerV6, 8080));
    write_all(control, "r");
    Accepted accepted = accept_one(listener.get());
    const std::string got = read_all(accepted.socket.get());
    write_all(accepted.socket.get(), std::string(7'000, 'b'));
    return got.size() == 5'000 ? 0 : 1;
  });
  char ready = 0;
  ASSERT_EQ(::read(server.control(), &ready, 1), 1);
  Dialer dialer(cgroup_, netns_path(client_),
                {.target = address(kServerV6, 8080), .send = std::string(5'000, 'c')});
  EXPECT_EQ(dialer.result().received.size(), 7'000u);
  EXPECT_EQ(server.wait(), 0);
  const weft_flow inbound = closed_flow(kClientId, kServerId, WEFT_DIRECTION_INBOUND);
  EXPECT_EQ(inbound.opened, 1u);
  EXPECT_EQ(inbound.closed, 1u);
  EXPECT_EQ(inbound.received_bytes, 5'000u);
  EXPECT_EQ(inbound.sent_bytes, 7'000u);
  const weft_flow outbound = closed_flow(kClientId, kServerId, WEFT_DIRECTION_OUTBOUND);
  EXPECT_EQ(outbound.sent_bytes, 5'000u);
  EXPECT_EQ(outbound.received_bytes, 7'000u);
}

TEST_F(FlowTest, OpenConnectionReportsBeforeItCloses) {
  ASSERT_TRUE(
      dataplane_->apply({.destinations = {{.address = address(kVipV4, 80), .id = kServiceId}}, .full = true})
          .ok());
  Child client(cgroup_, netns_path(client_), [](int control) {
    sockaddr_storage storage{};
    const socklen_t length = address(kVipV4, 80).to_sockaddr(&storage);
    const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&storage), length) != 0) return 1;
    char command = 0;
    while (::read(control, &command, 1) == 1 && command == 's')
      write_all(socket.get(), std::string(1'000, 'x'));
    return 0;
  });
  const Accepted accepted = accept_one(client_namespace_.listeners[0].get());
  ASSERT_TRUE(accepted.socket.valid());
  weft_flow row{};
  // A report is due one second after the last, with the next acknowledgement: keep the conversation going.
  const Deadline deadline;
  std::string chunk(1'000, '\0');
  while (row.sent_bytes == 0 && !deadline.passed()) {
    write_all(client.control(), "s");
    ASSERT_EQ(::recv(accepted.socket.get(), chunk.data(), chunk.size(), MSG_WAITALL), 1'000);
    row = flow(kClientId, kServiceId, WEFT_DIRECTION_OUTBOUND);
  }
  EXPECT_GT(row.sent_bytes, 0u);
  EXPECT_EQ(row.sent_bytes % 1'000, 0u);
  EXPECT_EQ(row.closed, 0u);
  write_all(client.control(), "q");
  EXPECT_EQ(client.wait(), 0);
}

TEST_F(FlowTest, SocketThatDialsAgainIsMeasuredAnewAndUnderItsNewDestination) {
  ServiceEntry service{.key = {address(kVipV4, 80), IPPROTO_TCP}, .id = kServiceId};
  service.path = ServiceEntry::Path::kDirect;
  service.backends = {{.address = address(kServerV4, 8080), .id = kServerId, .weight = 1}};
  NamespacePlan plan = client_plan();
  plan.exclude_ports = {8081};
  ASSERT_TRUE(dataplane_->enroll(plan).ok());
  ASSERT_TRUE(dataplane_
                  ->apply({.destinations = {{.address = address(kServerV4, 8081), .id = kServerId}},
                           .services = {service},
                           .full = true})
                  .ok());
  const UniqueFd first = listen_in(netns_path(server_), address(kServerV4, 8080));
  const UniqueFd second = listen_in(netns_path(server_), address(kServerV4, 8081));
  Child client(cgroup_, netns_path(client_), [](int control) {
    const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    for (const auto& [target, bytes] :
         {std::pair(address(kVipV4, 80), 5'000), {address(kServerV4, 8081), 300}}) {
      sockaddr_storage storage{};
      const socklen_t length = target.to_sockaddr(&storage);
      if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&storage), length) != 0) return errno;
      write_all(socket.get(), std::string(static_cast<size_t>(bytes), 'x'));
      char received = 0;
      if (::read(control, &received, 1) != 1) return 1;
      const sockaddr nowhere{.sa_family = AF_UNSPEC, .sa_data = {}};
      if (connect(socket.get(), &nowhere, sizeof(nowhere)) != 0) return errno;
    }
    return 0;
  });
  for (const auto& [listener, bytes] : {std::pair(first.get(), 5'000), {second.get(), 300}}) {
    const Accepted accepted = accept_one(listener);
    std::string got(static_cast<size_t>(bytes), '\0');
    ASSERT_EQ(::recv(accepted.socket.get(), got.data(), got.size(), MSG_WAITALL), bytes);
    write_all(client.control(), "r");
    EXPECT_TRUE(read_all(accepted.socket.get()).empty());
  }
  EXPECT_EQ(client.wait(), 0);
  EXPECT_EQ(closed_flow(kClientId, kServiceId, WEFT_DIRECTION_OUTBOUND).sent_bytes, 5'000u);
  EXPECT_EQ(closed_flow(kClientId, kServerId, WEFT_DIRECTION_OUTBOUND).sent_bytes, 300u);
}

TEST_F(FlowTest, UnknownDestinationIsMeasuredUnderIdZero) {
  transfer(client_namespace_.listeners[0].get(), {.target = address(kVipV6, 80), .send = "12345"}, 10);
  const weft_flow row = closed_flow(kClientId, WEFT_ID_UNKNOWN, WEFT_DIRECTION_OUTBOUND);
  EXPECT_EQ(row.sent_bytes, 5u);
  EXPECT_EQ(row.received_bytes, 10u);
}

TEST_F(FlowTest, FullTableGoesToTheOverflowRowAndIsCounted) {
  const UniqueFd map(bpf_obj_get((pin_root() + "/maps/m_flow").c_str()));
  ASSERT_TRUE(map.valid());
  const std::vector<weft_flow> zero(static_cast<size_t>(libbpf_num_possible_cpus()));
  int error = 0;
  for (uint32_t i = 1; error == 0 && i <= WEFT_MAX_FLOWS; ++i) {
    const Deadline deadline;
    const weft_flow_key key{.source = 1'000'000 + i, .destination = 1, .direction = WEFT_DIRECTION_INBOUND};
    do {  // rows are made on demand: the kernel fetches memory in the background
      error = bpf_map_update_elem(map.get(), &key, zero.data(), BPF_NOEXIST) == 0 ? 0 : errno;
    } while (error == ENOMEM && !deadline.passed());
  }
  ASSERT_EQ(error, E2BIG) << "the table must be full";
  transfer(client_namespace_.listeners[0].get(), {.target = address(kVipV4, 80), .send = "12345"}, 10);
  const weft_flow row = closed_flow(WEFT_ID_OVERFLOW, WEFT_ID_OVERFLOW, WEFT_DIRECTION_OUTBOUND);
  EXPECT_EQ(row.opened, 1u);
  EXPECT_EQ(row.sent_bytes, 5u);
  EXPECT_GE(stat(WEFT_STAT_FLOW_OVERFLOW), 2u);
  dataplane_->forget(1);
  EXPECT_EQ(dataplane_->flows()->size(), 3u);
}

TEST_F(FlowTest, OnlyDifferencesOfDestinationsAreWritten) {
  ASSERT_TRUE(dataplane_
                  ->apply({.destinations = {{.address = address(kVipV4, 80), .id = 1},
                                            {.address = address(kVipV6, 80), .id = 2}},
                           .full = true})
                  .ok());
  kill_dataplane();
  open_dataplane();
  ASSERT_TRUE(
      dataplane_->apply({.destinations = {{.address = address(kVipV4, 80), .id = kServiceId}}, .full = true})
          .ok());
  EXPECT_EQ(dataplane_->maps()[2].entries, 1u) << "rows of the former agent are known and removed";
  transfer(client_namespace_.listeners[0].get(), {.target = address(kVipV4, 80), .send = "1"}, 1);
  EXPECT_EQ(closed_flow(kClientId, kServiceId, WEFT_DIRECTION_OUTBOUND).opened, 1u);
}

}  // namespace
}  // namespace weft::agent
