// A scratch node for the bpf suites: two namespaces joined by a veth pair, a cgroup, a bpffs, in a sandbox of
// the test's own. So programs and namespaces go with the process, also when it is killed; its empty cgroup
// goes when the next one begins. Never touches the root cgroup or /sys/fs/bpf.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "agent/dataplane/dataplane.h"
#include "base/fd.h"
#include "tests/harness/sandbox.h"

namespace weft::agent {

inline constexpr char kClientV4[] = "10.57.1.2";
inline constexpr char kServerV4[] = "10.57.1.3";
inline constexpr char kClientV6[] = "fd57:1::2";
inline constexpr char kServerV6[] = "fd57:1::3";
// Service addresses that no route leads to.
inline constexpr char kVipV4[] = "10.99.0.1";
inline constexpr char kVipV6[] = "fd99::1";

class ScratchNode : public testing::Test {
 protected:
  static constexpr uint32_t kClientId = 11;
  static constexpr uint32_t kServerId = 12;

  void SetUp() override;
  void TearDown() override;

  void open_dataplane(uint32_t listeners = 1);
  // As after SIGKILL: descriptors close, pins stay.
  void kill_dataplane() { dataplane_.reset(); }
  EnrolledNamespace enroll_client();
  NamespacePlan client_plan() const { return {.netns_path = netns_path(client_), .workload_id = kClientId}; }

  static std::string netns_path(const std::string& name) { return "/run/netns/" + name; }
  std::string pin_root() const { return bpffs_ + "/weft"; }
  uint64_t stat(weft_stat which) const { return dataplane_->stats()[which]; }
  // Output of `ip -n NS ARGS` for the assertions on rules and routes.
  static std::string ip(const std::string& netns, const std::string& arguments);

  bool shortcut_ = false;  // of what open_dataplane() opens
  std::string client_;
  std::string server_;
  std::string cgroup_;
  std::string bpffs_;
  std::unique_ptr<harness::Sandbox> sandbox_;
  std::unique_ptr<Dataplane> dataplane_;
};

// With its dataplane.
class OpenNode : public ScratchNode {
 protected:
  void SetUp() override {
    ScratchNode::SetUp();
    if (!HasFatalFailure()) open_dataplane();
  }
};

}  // namespace weft::agent
