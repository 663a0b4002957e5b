// The fixture of the integration tests: a sandbox, two nodes, a client pod on node1 that is enrolled,
// product-service v1 and v2 on node2, agent and proxy, waiting until traffic flows. At the end nothing may be
// left and no sanitizer may have spoken.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/harness/mesh.h"
#include "tests/harness/topology.h"
#include "tests/harness/wait.h"
#include "tests/harness/workloads.h"

namespace weft::harness {

inline constexpr char kProductIp4[] = "10.96.0.10";
inline constexpr char kProductIp6[] = "fd96::10";
inline constexpr char kProductV4[] = "10.96.0.10:80";
inline constexpr char kProductV6[] = "[fd96::10]:80";

class MeshTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  // Adds a service with one pod on node2 selected by app=NAME; the manifest is written at once.
  absl::StatusOr<Pod> add_service(const ServiceSpec& spec);
  // Until the agent and proxy serve what the folder says: an HTTP answer of `address` in the client pod.
  ::testing::AssertionResult reachable(const std::string& address);
  // Until the agent that runs has exchanged listeners with the proxy that runs: either may die now.
  ::testing::AssertionResult listeners_shared();
  // Until `weft get SUBJECT` prints `text`.
  ::testing::AssertionResult cli_shows(const std::vector<std::string>& arguments, const std::string& text);

  std::unique_ptr<Sandbox> sandbox_;
  std::unique_ptr<Topology> topology_;
  std::unique_ptr<Mesh> mesh_;
  Pod client_, v1_, v2_;
  std::vector<std::unique_ptr<Process>> servers_;

 private:
  absl::Status build();
};

}  // namespace weft::harness
