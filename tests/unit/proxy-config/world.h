// Builds mesh resources in a line each and folds them through the same door as ADS, for the tests of
// snapshots and clients.
#pragma once

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <vector>

#include "userspace-proxy/config/match_route.h"
#include "userspace-proxy/config/resource_store.h"
#include "userspace-proxy/config/snapshot_builder.h"
#include "userspace-proxy/config/validate.h"

namespace weft::proxy {

namespace xds = envoy::service::discovery::v3;

inline xds::Resource make_resource(const std::string& name, const google::protobuf::Message& message,
                                   const std::string& version = "1") {
  xds::Resource out;
  out.set_name(name);
  out.set_version(version);
  out.mutable_resource()->PackFrom(message);
  return out;
}

template <typename Message>
Message parse(const std::string& text) {
  Message out;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &out)) << text;
  return out;
}

struct PortSpec {
  uint32_t number;
  uint32_t target;
  weft::mesh::v1::Protocol protocol = weft::mesh::v1::PROTOCOL_HTTP;
};

inline istio::workload::Address service_address(const std::string& ns, const std::string& name,
                                                const std::vector<std::string>& ips,
                                                const std::vector<PortSpec>& ports, std::string host = "") {
  istio::workload::Address address;
  istio::workload::Service& service = *address.mutable_service();
  service.set_name(name);
  service.set_namespace_(ns);
  service.set_canonical(host.empty());
  service.set_hostname(host.empty() ? name + "." + ns + ".svc.cluster.local" : host);
  for (const std::string& ip : ips) service.add_addresses()->set_address(IpAddress::parse(ip)->packed());
  weft::mesh::v1::ServicePorts extension;
  for (const PortSpec& port : ports) {
    istio::workload::Port* p = service.add_ports();
    p->set_service_port(port.number);
    p->set_target_port(port.target);
    extension.add_ports()->set_number(port.number);
    extension.mutable_ports(extension.ports_size() - 1)->set_protocol(port.protocol);
  }
  istio::workload::Extension* e = service.add_extensions();
  e->set_name("weft.mesh.v1.ServicePorts");
  e->mutable_config()->PackFrom(extension);
  return address;
}

inline istio::workload::Address workload_address(const std::string& ns, const std::string& name,
                                                 const std::vector<std::string>& ips,
                                                 const std::vector<std::string>& services = {},
                                                 const std::map<std::string, std::string>& labels = {}) {
  istio::workload::Address address;
  istio::workload::Workload& workload = *address.mutable_workload();
  workload.set_uid("cluster/" + ns + "/" + name);
  workload.set_name(name);
  workload.set_namespace_(ns);
  for (const std::string& ip : ips) workload.add_addresses(IpAddress::parse(ip)->packed());
  for (const std::string& service : services) (*workload.mutable_services())[service];
  weft::mesh::v1::WorkloadLabels extension;
  extension.mutable_labels()->insert(labels.begin(), labels.end());
  istio::workload::Extension* e = workload.add_extensions();
  e->set_name("weft.mesh.v1.WorkloadLabels");
  e->mutable_config()->PackFrom(extension);
  return address;
}

// A small mesh: whatever the test adds.
class World {
 public:
  void service(const std::string& ns, const std::string& name, const std::vector<std::string>& ips,
               const std::vector<PortSpec>& ports, const std::string& host = "") {
    address(ns + "/" + name, service_address(ns, name, ips, ports, host));
  }
  // `services` are "<ns>/<host>" or "<ns>/<name>" of a service in the usual domain.
  void workload(const std::string& ns, const std::string& name, const std::vector<std::string>& ips,
                std::vector<std::string> services = {},
                const std::map<std::string, std::string>& labels = {}) {
    for (std::string& key : services) {
      const size_t slash = key.find('/');
      if (key.find('.') == std::string::npos) key += "." + key.substr(0, slash) + ".svc.cluster.local";
    }
    const auto message = workload_address(ns, name, ips, services, labels);
    address(message.workload().uid(), message);
  }
  void address(const std::string& name, const istio::workload::Address& message) {
    EXPECT_EQ(store.apply(kAddressType, make_resource(name, message)), absl::OkStatus());
  }
  void routes(const std::string& text) {
    const auto set = parse<weft::mesh::v1::RouteSet>(text);
    EXPECT_EQ(store.apply(kRouteSetType, make_resource(set.namespace_() + "/" + set.name(), set)),
              absl::OkStatus());
  }
  void policy(const std::string& text) {
    const auto p = parse<weft::mesh::v1::DestinationPolicy>(text);
    EXPECT_EQ(store.apply(kDestinationPolicyType, make_resource(p.namespace_() + "/" + p.name(), p)),
              absl::OkStatus());
  }
  SnapshotPtr build() { return build_snapshot(store.resources(), 1); }

  ResourceStore store;
};

// What a request from `ns` to `authority`, dialled at `dialled`, gets. The client is the workload "client" of
// that namespace.
struct Asked {
  const Snapshot& snapshot;
  const VirtualHost* host;
  const Route* route;

  // The names of the clusters, "-" for none; "no host" and "no route" for those.
  std::string clusters() const {
    if (host == nullptr) return "no host";
    if (route == nullptr) return "no route";
    std::string out;
    for (const WeightedCluster& c : route->clusters) {
      if (!out.empty()) out += ", ";
      out += c.cluster == kNone ? "-" : snapshot.clusters[c.cluster].name;
      if (route->clusters.size() > 1) out += " " + std::to_string(c.weight);
    }
    return out;
  }
  // "10.0.0.1:80" of all endpoints of the first cluster.
  std::string endpoints() const {
    std::string out;
    if (route == nullptr || route->clusters.front().cluster == kNone) return out;
    for (const Endpoint& e : snapshot.clusters[route->clusters.front().cluster].endpoints) {
      if (!out.empty()) out += " ";
      out += e.address.to_string();
    }
    return out;
  }
};

inline Asked ask(const Snapshot& snapshot, const std::string& ns, std::string_view authority,
                 const std::string& dialled, std::string_view path = "/") {
  const uint32_t source = snapshot.find_source("cluster/" + ns + "/client");
  const SocketAddress address = *SocketAddress::parse(dialled);
  RequestHead head;
  head.method = "GET";
  head.path = path;
  head.authority = authority;
  const VirtualHost* host = snapshot.find_virtual_host(source, authority, address);
  const Route* route =
      host == nullptr ? nullptr : match_route(*host, head, source_view(snapshot, source), address.port).route;
  return Asked{snapshot, host, route};
}

}  // namespace weft::proxy
