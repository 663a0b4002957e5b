// A scratch node with an enrolled client, and how to read what was measured of it. Used by the suites about
// m_flow.
#pragma once

#include <numeric>
#include <string>

#include "agent/dataplane/flow_sum.h"
#include "tests/bpf/child.h"
#include "tests/bpf/scratch_node.h"

namespace weft::agent {

class FlowNode : public OpenNode {
 protected:
  static constexpr uint32_t kServiceId = 21;

  void SetUp() override {
    OpenNode::SetUp();
    if (HasFatalFailure()) return;
    client_namespace_ = enroll_client();
    ASSERT_EQ(client_namespace_.listeners.size(), 1u);
  }

  weft_flow flow(uint32_t source, uint32_t destination, uint32_t direction) const {
    const auto rows = dataplane_->flows();
    EXPECT_TRUE(rows.ok()) << rows.status();
    for (const FlowRow& row : *rows) {
      if (row.key.source == source && row.key.destination == destination && row.key.direction == direction)
        return row.total;
    }
    return {};
  }
  // The row once `ready` holds of it, else as it is at the deadline.
  template <typename Ready>
  weft_flow flow_when(uint32_t source, uint32_t destination, uint32_t direction, Ready ready) const {
    const Deadline deadline;
    weft_flow row{};
    do {
      row = flow(source, destination, direction);
    } while (!ready(row) && !deadline.passed());
    return row;
  }
  // The last event of a socket may come a moment after both ends have closed.
  weft_flow closed_flow(uint32_t source, uint32_t destination, uint32_t direction) const {
    return flow_when(source, destination, direction,
                     [](const weft_flow& row) { return row.closed + failed_connects(row) > 0; });
  }
  static uint64_t samples(const weft_histogram& histogram) {
    return std::accumulate(std::begin(histogram.bucket), std::end(histogram.bucket), uint64_t{0});
  }
  // The client dials, sends and closes; the test's side answers with `answer_bytes`.
  void transfer(int listener, const Dial& dial, size_t answer_bytes) {
    Dialer dialer(cgroup_, netns_path(client_), dial);
    Accepted accepted = accept_one(listener);
    ASSERT_TRUE(accepted.socket.valid());
    EXPECT_EQ(read_all(accepted.socket.get()).size(), dial.send.size());
    write_all(accepted.socket.get(), std::string(answer_bytes, 'a'));
    accepted.socket.reset();
    const ConnectResult result = dialer.result();
    EXPECT_EQ(result.error, 0);
    EXPECT_EQ(result.received.size(), answer_bytes);
  }

  EnrolledNamespace client_namespace_;
};

}  // namespace weft::agent
