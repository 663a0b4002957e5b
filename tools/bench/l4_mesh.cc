// See l4_mesh.h. The changes are what a control plane would send; everything behind them is the agent's own
// code.
#include "tools/bench/l4_mesh.h"

#include <netinet/in.h>
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>

#include "agent/pods/netns.h"
#include "base/clock.h"
#include "base/strings.h"

namespace weft::bench {
namespace {

// No proxy is needed: all services are direct.
class NoProxy final : public agent::ProxyFeed {
 public:
  void snapshot(uint64_t, std::vector<agent::Announcement>, std::vector<uint64_t>) override {}
  void add(agent::Announcement, Done done) override { done(absl::UnavailableError("no proxy")); }
  void remove(uint64_t, Done done) override { done(absl::UnavailableError("no proxy")); }
  absl::Status wait_served(uint64_t, std::chrono::milliseconds) override {
    return absl::UnavailableError("no proxy");
  }
};

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "weft-bench-l4: %s\n", what.c_str());
  std::exit(1);
}

// 10.128.0.0/9 for services, 10.0.0.0/9 above 10.64 for endpoints.
std::string packed(uint32_t base, uint32_t index) {
  const uint32_t ip = base + index;
  const char bytes[4] = {static_cast<char>(ip >> 24), static_cast<char>(ip >> 16), static_cast<char>(ip >> 8),
                         static_cast<char>(ip)};
  return std::string(bytes, 4);
}

// As long as the compiler's.
constexpr char kVersion[] = "00000000b0000001";

control_plane::Resource service(const std::string& name, const std::string& vip, uint32_t port) {
  istio::workload::Address address;
  auto* out = address.mutable_service();
  out->set_name(name);
  out->set_namespace_("bench");
  out->set_hostname(name + ".bench.svc.cluster.local");
  out->add_addresses()->set_address(vip);
  auto* p = out->add_ports();
  p->set_service_port(port);
  p->set_target_port(port);
  p->set_app_protocol(istio::workload::TCP);
  return {control_plane::kAddressType, "bench/" + out->hostname(), kVersion, address.SerializeAsString()};
}

control_plane::Resource workload(const std::string& name, const std::string& of, const std::string& ip,
                                 uint32_t port, const std::string& version = kVersion) {
  istio::workload::Address address;
  auto* out = address.mutable_workload();
  out->set_uid("Kubernetes//Pod/bench/" + name);
  out->set_name(name);
  out->set_namespace_("bench");
  out->set_service_account("default");
  out->set_node("node-" + std::to_string(name.size()));
  out->set_canonical_name(of);
  out->set_workload_name(of);
  out->add_addresses(ip);
  auto* p = (*out->mutable_services())["bench/" + of + ".bench.svc.cluster.local"].add_ports();
  p->set_service_port(port);
  p->set_target_port(port);
  return {control_plane::kAddressType, out->uid(), version, address.SerializeAsString()};
}

constexpr uint32_t kServices = 0x0a800000;
constexpr uint32_t kEndpoints = 0x0a400000;

control_plane::Resource numbered_workload(uint32_t index, uint32_t version) {
  return workload(str_cat("pod-", index), str_cat("svc-", index),
                  packed(kEndpoints + version * 0x00200000, index), 5432,
                  str_cat("00000000b000000", 1 + version));
}

double cpu_seconds() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto in_seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return in_seconds(used.ru_utime) + in_seconds(used.ru_stime);
}

double seconds(MonotonicNs since) {
  return static_cast<double>(SystemClock().now() - since) / static_cast<double>(kNsPerSecond);
}

}  // namespace

L4Mesh::L4Mesh(const Options& options) : options_(options), feed_(std::make_unique<NoProxy>()) {
  auto dataplane = agent::Dataplane::open({.pin_root = options.pin_root, .cgroup = options.cgroup});
  if (!dataplane.ok()) fail(std::string(dataplane.status().message()));
  dataplane_ = *std::move(dataplane);
  ads_ = control_plane::AdsService::create();
  reconciler_ = std::make_unique<agent::Reconciler>(
      agent::Reconciler::Options{.store_path = options.run_dir + "/enrollments.json", .node_name = "bench"},
      agent::Reconciler::Parts{
          .dataplane = *dataplane_,
          .feed = *feed_,
          .publish = [this](const control_plane::Change& change) { ads_->apply(change); },
          .probe = agent::probe_netns});
  const absl::Status started = reconciler_->start();
  if (!started.ok()) fail(std::string(started.message()));
  auto server = agent::GrpcUnixServer::start(options.run_dir + "/xds.sock", {}, {ads_->service()});
  if (!server.ok()) fail(std::string(server.status().message()));
  server_ = *std::move(server);
}

L4Mesh::~L4Mesh() {
  reconciler_->stop();
  ads_->shutdown();
  server_.reset();
}

void L4Mesh::wait() {
  reconciler_->read([](const agent::Reconciler::View& view) { return view.generation; });
}

L4Mesh::Spent L4Mesh::load(uint32_t services) {
  control_plane::Change change;
  change.generation = ++generation_;
  change.upserted.push_back(service("dialled", options_.vip.ip.packed(), options_.vip.port));
  change.upserted.push_back(
      workload("server", "dialled", options_.backend.ip.packed(), options_.backend.port));
  // The server listens at one port for both arms.
  for (uint32_t i = 0; i < services; ++i) {
    change.upserted.push_back(service(str_cat("svc-", i), packed(kServices, i), 5432));
    change.upserted.push_back(numbered_workload(i, 0));
  }
  const MonotonicNs start = SystemClock().now();
  const double cpu = cpu_seconds();
  reconciler_->apply(std::move(change));
  wait();
  const Spent spent{seconds(start), cpu_seconds() - cpu};
  const auto enrolled = reconciler_->enroll("bench/client", options_.netns_path, false);
  if (!enrolled.ok()) fail(std::string(enrolled.status().message()));
  return spent;
}

double L4Mesh::change(uint32_t index, uint32_t version) {
  control_plane::Change change;
  change.generation = ++generation_;
  change.upserted.push_back(numbered_workload(index, version % 2));
  const MonotonicNs start = SystemClock().now();
  reconciler_->apply(std::move(change));
  wait();
  return seconds(start) * 1000;
}

}  // namespace weft::bench
