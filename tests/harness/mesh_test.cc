// See mesh_test.h.
#include "tests/harness/mesh_test.h"

#include "base/status_macros.h"
#include "base/strings.h"

namespace weft::harness {

void MeshTest::SetUp() {
  const absl::Status status = build();
  ASSERT_TRUE(status.ok()) << status << (mesh_ ? mesh_->log() : "");
  const ::testing::AssertionResult flows = reachable(kProductV4);
  ASSERT_TRUE(flows) << flows.message() << "\n" << mesh_->log() << mesh_->cli({"status"}).output;
}

absl::Status MeshTest::build() {
  ASSIGN_OR_RETURN(sandbox_, Sandbox::create());
  ASSIGN_OR_RETURN(topology_, Topology::create(*sandbox_, 2));
  ASSIGN_OR_RETURN(client_, topology_->add_pod(1, "client"));
  ASSIGN_OR_RETURN(v1_, topology_->add_pod(2, "product-v1"));
  ASSIGN_OR_RETURN(v2_, topology_->add_pod(2, "product-v2"));
  for (const Pod* pod : {&v1_, &v2_}) {
    const std::string version = pod == &v1_ ? "v1" : "v2";
    ASSIGN_OR_RETURN(auto server,
                     start_nginx(*sandbox_, *pod, 8080, version, pod == &v1_ ? uint64_t{1} << 30 : 0));
    servers_.push_back(std::move(server));
  }
  mesh_ = std::make_unique<Mesh>(*sandbox_);
  const ServiceSpec product{.name = "product-service",
                            .ip4 = kProductIp4,
                            .ip6 = kProductIp6,
                            .ports = {{.name = "http", .port = 80, .target_port = 8080}}};
  mesh_->manifests().write("pods.yaml",
                           pod_yaml(client_, {{"app", "client"}}, true) +
                               pod_yaml(v1_, {{"app", "product-service"}, {"version", "v1"}}, false) +
                               pod_yaml(v2_, {{"app", "product-service"}, {"version", "v2"}}, false) +
                               service_yaml(product));
  mesh_->manifests().write("canary.yaml", canary_yaml(95, 5));
  RETURN_IF_ERROR(mesh_->start_agent());
  return mesh_->start_proxy();
}

void MeshTest::TearDown() {
  if (!mesh_) return;
  EXPECT_EQ(mesh_->stop_proxy(), 0) << mesh_->log();
  EXPECT_EQ(mesh_->stop_agent(), 0) << mesh_->log();
  EXPECT_EQ(mesh_->sanitizer_reports(), "");
  mesh_.reset();
}

absl::StatusOr<Pod> MeshTest::add_service(const ServiceSpec& spec) {
  ASSIGN_OR_RETURN(const Pod pod, topology_->add_pod(2, spec.name));
  mesh_->manifests().write(spec.name + ".yaml",
                           pod_yaml(pod, {{"app", spec.name}}, false) + service_yaml(spec));
  return pod;
}

::testing::AssertionResult MeshTest::reachable(const std::string& address) {
  CommandResult last;
  const bool good = wait_until(milliseconds(20'000), [&] {
    last = curl(client_, {"--max-time", "2", "--fail", "http://" + address + "/"});
    return last.exit_code == 0;
  });
  if (good) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << address << " does not answer through the mesh: " << last.errors << last.output;
}

::testing::AssertionResult MeshTest::listeners_shared() {
  const std::string line = str_cat(" proxy_connected pid=", mesh_->proxy().pid(), " ");
  if (wait_until(milliseconds(20'000),
                 [&] { return mesh_->agent().output().find(line) != std::string::npos; }))
    return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "the agent never wrote '" << line << "': " << mesh_->log();
}

::testing::AssertionResult MeshTest::cli_shows(const std::vector<std::string>& arguments,
                                               const std::string& text) {
  CommandResult last;
  const bool good = wait_until(milliseconds(20'000), [&] {
    last = mesh_->cli(arguments);
    return last.exit_code == 0 && last.output.find(text) != std::string::npos;
  });
  if (good) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << "weft " << arguments.front() << " never showed '" << text << "': " << last.output << last.errors;
}

}  // namespace weft::harness
