// See route_mesh.h.
#include "tools/bench/route_mesh.h"

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "base/strings.h"
#include "control-plane/resource/parse_file.h"
#include "proto/istio/workload.pb.h"

namespace weft::bench {
namespace {

using Clock = std::chrono::steady_clock;
namespace cp = control_plane;

double ms_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

// Manifests may not name loopback addresses, where the benchmark's client and upstream are: the first service
// and its endpoint are made here, in place of what the compiler makes of the manifest.
cp::Resource dialled_service(const SocketAddress& dialled) {
  istio::workload::Address address;
  istio::workload::Service& service = *address.mutable_service();
  service.set_name("shop-0");
  service.set_namespace_("default");
  service.set_hostname(RouteMesh::host_of(0));
  service.add_addresses()->set_address(dialled.ip.packed());
  istio::workload::Port& port = *service.add_ports();
  port.set_service_port(dialled.port);
  port.set_target_port(dialled.port);
  port.set_app_protocol(istio::workload::HTTP11);
  return {cp::kAddressType, str_cat("default/", RouteMesh::host_of(0)), "1", address.SerializeAsString()};
}

cp::Resource dialled_endpoint(const SocketAddress& dialled, const SocketAddress& endpoint) {
  istio::workload::Address address;
  istio::workload::Workload& workload = *address.mutable_workload();
  workload.set_uid("Kubernetes//Pod/default/shop-0");
  workload.set_name("shop-0");
  workload.set_namespace_("default");
  workload.add_addresses(endpoint.ip.packed());
  istio::workload::Port& port =
      *(*workload.mutable_services())[str_cat("default/", RouteMesh::host_of(0))].add_ports();
  port.set_service_port(dialled.port);
  port.set_target_port(endpoint.port);
  return {cp::kAddressType, workload.uid(), "1", address.SerializeAsString()};
}

std::string address_of(uint32_t set) { return str_cat("10.96.", set / 256, ".", set % 256); }

std::string service_manifest(uint32_t set) {
  return str_cat("apiVersion: v1\nkind: Service\nmetadata: {name: shop-", set,
                 ", namespace: default}\nspec: {clusterIP: ", address_of(set),
                 ", ports: [{name: http, port: 80, targetPort: 8080}]}\n---\n");
}

std::string file_of(uint32_t set) { return str_cat("shop-", set, ".yaml"); }

}  // namespace

std::string RouteMesh::host_of(uint32_t set) { return str_cat("shop-", set, ".default.svc.cluster.local"); }

uint32_t RouteMesh::weight_of(uint32_t version) { return 50 + version % 50; }

SocketAddress RouteMesh::dialled(uint32_t set) const {
  return set == 0 ? options_.dialled : *SocketAddress::parse(str_cat(address_of(set), ":80"));
}

// By prefix or exact path, in turn; two destinations, of which the weights change.
std::string RouteMesh::manifest(uint32_t set, uint32_t version) const {
  std::string text = service_manifest(set);
  str_append(&text, "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: shop-", set,
             ", namespace: default}\nspec:\n  hosts: [", host_of(set), "]\n  http:\n");
  const uint32_t each = std::max(options_.routes / options_.sets, 1u);
  for (uint32_t i = 0; i < each; ++i) {
    str_append(&text, "  - name: route-", i, "\n    match: [{uri: {",
               i % 2 == 0 ? "prefix: /item-" : "exact: /item-", i, i % 2 == 0 ? "/" : "",
               "}}]\n    route:\n    - {destination: {host: ", host_of(set),
               "}, weight: ", weight_of(version), "}\n    - {destination: {host: ", host_of(set),
               "}, weight: ", 100 - weight_of(version), "}\n");
  }
  return text;
}

RouteMesh::RouteMesh(const Options& options, proxy::ConfigClient::Publish publish)
    : options_(options), files_(options.sets) {
  socket_ = str_cat("/tmp/weft-bench-route-", ::getpid(), ".sock");
  ads_ = cp::AdsService::create();
  grpc::ServerBuilder builder;
  builder.AddListeningPort(str_cat("unix:", socket_), grpc::InsecureServerCredentials());
  builder.RegisterService(ads_->service());
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) {
    std::fprintf(stderr, "weft-bench-route: cannot listen at %s; is /tmp writable?\n", socket_.c_str());
    std::exit(1);
  }
  pipeline_ =
      std::make_unique<cp::Pipeline>("node", nullptr, [this](const cp::Change& change) { forward(change); });
  cp::Store::Changes all;
  for (uint32_t set = 0; set < options_.sets; ++set)
    all.emplace(file_of(set), files_[set].parse(file_of(set), manifest(set, 0)));
  pipeline_->update(std::move(all));
  proxy::ConfigClient::Options client;
  client.target = str_cat("unix:", socket_);
  client.node_id = "node";
  client_ = proxy::ConfigClient::start(std::move(client), std::move(publish));
}

// The client first: a server waits for its calls to end.
RouteMesh::~RouteMesh() {
  client_.reset();
  pipeline_.reset();
  ads_->shutdown();
  server_->Shutdown(std::chrono::system_clock::now());
}

void RouteMesh::forward(cp::Change change) {
  if (std::exchange(first_, false)) {
    change.upserted.push_back(dialled_service(options_.dialled));
    change.upserted.push_back(dialled_endpoint(options_.dialled, options_.endpoint));
  }
  ads_->apply(change);
}

// As the control plane of a folder does it.
RouteMesh::Spent RouteMesh::change(uint32_t set, const std::string& text) {
  const Courtesy courtesy;
  Clock::time_point begin = Clock::now();
  cp::Store::Changes changes;
  changes.emplace(file_of(set), files_[set].parse(file_of(set), text));
  Spent spent{.parse_ms = ms_since(begin)};
  begin = Clock::now();
  pipeline_->update(std::move(changes));
  spent.compile_ms = ms_since(begin);
  return spent;
}

}  // namespace weft::bench
