// Two nodes with an agent and a proxy each, whose authorities share a root, and pods that take tunnels.
#pragma once

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "base/strings.h"
#include "tests/harness/mesh.h"
#include "tests/harness/topology.h"
#include "tests/harness/wait.h"
#include "tests/harness/workloads.h"
#include "tests/unit/identity/pki.h"

namespace weft::harness {

// The distribution's, which has its package python3-h2.
inline constexpr char kPython[] = "/usr/bin/python3";
inline constexpr char kScript[] = "tests/harness/hbone_peer.py";
inline constexpr char kAnswer[] = "the-answer-nobody-may-read";
inline constexpr char kDefaultId[] = "spiffe://cluster.local/ns/default/sa/default";

// Tells other nodes that the pod takes tunnels, as whoever captures it does in Istio.
inline std::string with_tunnels(std::string yaml) {
  const std::string key = "  annotations:\n";
  const size_t at = yaml.find(key);
  EXPECT_NE(at, std::string::npos) << yaml;
  return yaml.insert(at + key.size(), "    ambient.istio.io/redirection: enabled\n");
}

class HboneTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const absl::Status status = build();
    ASSERT_TRUE(status.ok()) << status << logs();
    ASSERT_TRUE(answers(client_, "10.96.0.10:80")) << logs();
  }

  void TearDown() override {
    for (const auto& node : {&node1_, &node2_}) {
      if (*node == nullptr) continue;
      EXPECT_EQ((*node)->stop_proxy(), 0) << (*node)->log();
      EXPECT_EQ((*node)->stop_agent(), 0) << (*node)->log();
      EXPECT_EQ((*node)->sanitizer_reports(), "");
    }
    EXPECT_THAT(logs(), ::testing::Not(::testing::HasSubstr("PRIVATE KEY")));
  }

  absl::Status build() {
    ASSIGN_OR_RETURN(sandbox_, Sandbox::create());
    ASSIGN_OR_RETURN(topology_, Topology::create(*sandbox_, 2));
    ASSIGN_OR_RETURN(client_, add_pod(1, "client"));
    ASSIGN_OR_RETURN(server_, add_pod(2, "product"));
    ASSIGN_OR_RETURN(neighbour_, add_pod(2, "neighbour"));
    ASSIGN_OR_RETURN(stranger_, topology_->add_pod(1, "stranger"));
    ASSIGN_OR_RETURN(auto nginx, start_nginx(*sandbox_, server_, 8080, kAnswer));
    servers_.push_back(std::move(nginx));
    ASSIGN_OR_RETURN(auto whoami, start_peer(server_, "whoami", 7002));
    servers_.push_back(std::move(whoami));
    node1_ = std::make_unique<Mesh>(*sandbox_, 1, "n1");
    node2_ = std::make_unique<Mesh>(*sandbox_, 2, "n2");
    for (Mesh* node : {node1_.get(), node2_.get()}) authorize(*node);
    describe();
    for (Mesh* node : {node1_.get(), node2_.get()}) {
      RETURN_IF_ERROR(node->start_agent());
      RETURN_IF_ERROR(node->start_proxy());
    }
    return absl::OkStatus();
  }

  // In the cgroup that its node's agent watches.
  absl::StatusOr<Pod> add_pod(uint32_t node, const std::string& name) {
    ASSIGN_OR_RETURN(Pod pod, topology_->add_pod(node, name));
    RETURN_IF_ERROR(sandbox_->sub_cgroup(str_cat("n", node)).status());
    ASSIGN_OR_RETURN(pod.cgroup, sandbox_->sub_cgroup(str_cat("n", node, "/pod-", name)));
    return pod;
  }

  // Before its agent starts: who signs for its pods.
  virtual void authorize(Mesh& node) { give_authority(node.run_dir()); }

  // An intermediate of the common root.
  void give_authority(const std::string& run_dir) {
    const test::Authority own = test::make_authority("node", &root_);
    const std::string folder = run_dir + "/ca";
    ASSERT_EQ(::mkdir(folder.c_str(), 0700), 0);
    write(folder + "/ca.crt", to_pem(own.certificate.get()));
    write(folder + "/ca.key", test::key_pem(own.key.get()));
    write(folder + "/roots.crt", to_pem(root_.certificate.get()));
  }
  static void write(const std::string& path, const std::string& text) {
    std::ofstream(path) << text;
    ASSERT_EQ(::chmod(path.c_str(), 0600), 0);
  }

  void describe() {
    node1_->manifests().write(
        "mesh.yaml",
        with_tunnels(pod_yaml(client_, {{"app", "client"}}, true)) +
            with_tunnels(pod_yaml(server_, {{"app", "product"}}, true)) +
            with_tunnels(pod_yaml(neighbour_, {{"app", "neighbour"}}, true)) +
            service_yaml({.name = "product",
                          .ip4 = "10.96.0.10",
                          .ip6 = "",
                          .ports = {{.name = "http", .port = 80, .target_port = 8080},
                                    {.name = "tcp-whoami", .port = 7000, .target_port = 7002}}}));
  }

  static bool answers(const Pod& from, const std::string& address) {
    return wait_until(milliseconds(30'000), [&] {
      return curl(from, {"--max-time", "3", "--fail", "http://" + address + "/"}).exit_code == 0;
    });
  }
  // A certificate of the common root, in files for the script.
  std::vector<std::string> credentials(const std::string& name, const std::string& id,
                                       bool of_the_mesh = true) {
    const test::Authority other = test::make_authority("other");
    const test::Leaf leaf = test::make_leaf(of_the_mesh ? root_ : other, {.names = {{GEN_URI, id}}});
    const std::string base = sandbox_->directory() + "/" + name;
    write(base + ".crt", to_pem(leaf.certificate.get()));
    write(base + ".key", test::key_pem(leaf.key.get()));
    write(base + ".roots", to_pem(root_.certificate.get()));
    return {base + ".crt", base + ".key", base + ".roots"};
  }
  CommandResult tunnel(const std::vector<std::string>& credentials, const std::string& authority,
                       const std::string& request) {
    std::vector<std::string> argv = {kPython, kScript, "call"};
    argv.insert(argv.end(), credentials.begin(), credentials.end());
    argv.insert(argv.end(), {server_.v4(15008).to_string(), authority, kDefaultId, request});
    return run(in_pod(stranger_, std::move(argv)));
  }

  std::string logs() const {
    std::string out;
    for (const auto& node : {&node1_, &node2_}) {
      if (*node != nullptr) out += (*node)->log();
    }
    return out;
  }

  const test::Authority root_ = test::make_authority("root");
  std::unique_ptr<Sandbox> sandbox_;
  std::unique_ptr<Topology> topology_;
  std::unique_ptr<Mesh> node1_, node2_;
  Pod client_, server_, neighbour_, stranger_;
  std::vector<std::unique_ptr<Process>> servers_;
};

}  // namespace weft::harness
