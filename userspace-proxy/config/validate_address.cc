// Checks workloads and services (istio.workload.Address). Called through validate.h; never looks at other
// resources.
#include <algorithm>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "proto/weft/mesh/v1/egress.pb.h"
#include "userspace-proxy/config/validate.h"

namespace weft::proxy {
namespace {

constexpr uint32_t kMaxPort = 65535;
constexpr char kServicePorts[] = "weft.mesh.v1.ServicePorts";
constexpr char kWorkloadLabels[] = "weft.mesh.v1.WorkloadLabels";
constexpr char kEgressPolicy[] = "weft.mesh.v1.EgressPolicy";

template <typename... T>
absl::Status invalid(const T&... parts) {
  return absl::InvalidArgumentError(str_cat(parts...));
}

// The named extension unpacked; an empty message when absent.
template <typename Message, typename Extensions>
absl::StatusOr<Message> extension(const Extensions& extensions, std::string_view name) {
  Message out;
  for (const istio::workload::Extension& e : extensions) {
    if (e.name() != name) continue;
    if (!e.config().UnpackTo(&out)) return invalid("extension ", name, ": not a message of that type");
  }
  return out;
}

Protocol protocol_of(weft::mesh::v1::Protocol declared) {
  switch (declared) {
    case weft::mesh::v1::PROTOCOL_HTTP:
      return Protocol::kHttp;
    case weft::mesh::v1::PROTOCOL_TCP:
      return Protocol::kTcp;
    case weft::mesh::v1::PROTOCOL_TLS:
      return Protocol::kTls;
    case weft::mesh::v1::PROTOCOL_HTTP2:
    case weft::mesh::v1::PROTOCOL_GRPC:
      return Protocol::kHttp2;
    default:
      return Protocol::kSniff;
  }
}

// What a control plane without our extension says.
Protocol protocol_of(istio::workload::AppProtocol declared) {
  switch (declared) {
    case istio::workload::HTTP11:
      return Protocol::kHttp;
    case istio::workload::HTTP2:
    case istio::workload::GRPC:
      return Protocol::kHttp2;
    case istio::workload::TCP:
    case istio::workload::TLS:
      return Protocol::kTcp;
    default:
      return Protocol::kSniff;
  }
}

absl::StatusOr<std::vector<ServiceSpec::Port>> validate_ports(const istio::workload::Service& service,
                                                              const weft::mesh::v1::ServicePorts& declared) {
  std::vector<ServiceSpec::Port> out;
  for (const istio::workload::Port& port : service.ports()) {
    if (port.service_port() == 0 || port.service_port() > kMaxPort || port.target_port() > kMaxPort) {
      return invalid("ports: ", port.service_port(), "->", port.target_port(),
                     " is not a port, expected 1-65535");
    }
    ServiceSpec::Port spec;
    spec.number = static_cast<uint16_t>(port.service_port());
    spec.target = static_cast<uint16_t>(port.target_port());
    spec.protocol = protocol_of(port.app_protocol());
    for (const auto& d : declared.ports()) {
      if (d.number() == port.service_port()) spec.protocol = protocol_of(d.protocol());
    }
    const auto same = [&](const ServiceSpec::Port& p) { return p.number == spec.number; };
    if (std::any_of(out.begin(), out.end(), same)) return invalid("ports: ", spec.number, " is there twice");
    out.push_back(spec);
  }
  return out;
}

absl::StatusOr<WorkloadSpec::Ports> validate_targets(const std::string& service,
                                                     const istio::workload::PortList& list) {
  WorkloadSpec::Ports out;
  for (const istio::workload::Port& port : list.ports()) {
    if (port.service_port() == 0 || port.service_port() > kMaxPort || port.target_port() > kMaxPort) {
      return invalid("services[", service, "]: ", port.service_port(), "->", port.target_port(),
                     " is not a port, expected 1-65535");
    }
    out.emplace_back(static_cast<uint16_t>(port.service_port()), static_cast<uint16_t>(port.target_port()));
  }
  return out;
}

// Istio lower-cases nothing; we compare host names in lower case everywhere.
absl::StatusOr<std::string> service_key(std::string_view text) {
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos || slash == 0 || slash + 1 == text.size()) {
    return invalid("services: \"", text, "\" is not <namespace>/<hostname>");
  }
  ASSIGN_OR_RETURN(const std::string host, normalise_host(text.substr(slash + 1), true));
  return str_cat(text.substr(0, slash), "/", host);
}

}  // namespace

absl::StatusOr<ServiceSpec> validate(const istio::workload::Service& service) {
  ServiceSpec out;
  out.name = service.name();
  out.ns = service.namespace_();
  if (out.ns.empty()) return invalid("namespace: empty");
  ASSIGN_OR_RETURN(out.host, normalise_host(service.hostname(), true));
  out.key = str_cat(out.ns, "/", out.host);
  if (out.name.empty()) out.name = out.host;
  for (const istio::workload::NetworkAddress& address : service.addresses()) {
    const auto ip = IpAddress::from_packed(address.address());
    if (!ip) return invalid("addresses: ", address.address().size(), " bytes, expected 4 or 16");
    const auto range = IpRange::from_packed(address.address(), address.length());
    // A service entry for a whole range has no single address to dial.
    if (!address.has_length() || address.length() == (ip->is_v4() ? 32u : 128u)) {
      out.addresses.push_back(*ip);
    } else if (range) {
      out.ranges.push_back(*range);
    } else {
      return invalid("addresses: ", ip->to_string(), " has no prefix of ", address.length(), " bits");
    }
  }
  ASSIGN_OR_RETURN(const auto declared,
                   extension<weft::mesh::v1::ServicePorts>(service.extensions(), kServicePorts));
  ASSIGN_OR_RETURN(out.ports, validate_ports(service, declared));
  out.passthrough = declared.passthrough();
  out.entry = !service.canonical();
  // Headless Services are not: their pods are dialled past all rules.
  out.by_endpoint = service.addresses().empty() && out.entry;
  out.export_to.assign(declared.export_to().begin(), declared.export_to().end());
  switch (service.ip_families()) {
    case istio::workload::IPV4_ONLY:
      break;
    case istio::workload::IPV6_ONLY:
      out.prefer_v6 = true;
      break;
    default:
      out.prefer_v6 = !out.addresses.empty() && !out.addresses.front().is_v4();
  }
  return out;
}

absl::StatusOr<WorkloadSpec> validate(const istio::workload::Workload& workload) {
  WorkloadSpec out;
  out.uid = workload.uid();
  if (out.uid.empty()) return invalid("uid: empty");
  out.name = workload.name().empty() ? workload.uid() : workload.name();
  out.ns = workload.namespace_();
  if (out.ns.empty()) return invalid("namespace: empty");
  for (const std::string& packed : workload.addresses()) {
    const auto ip = IpAddress::from_packed(packed);
    if (!ip) return invalid("addresses: ", packed.size(), " bytes, expected 4 or 16");
    std::optional<IpAddress>& slot = ip->is_v4() ? out.v4 : out.v6;
    if (!slot) slot = *ip;
  }
  out.healthy = workload.status() == istio::workload::HEALTHY;
  out.weight = workload.has_capacity() ? workload.capacity().value() : 1;
  ASSIGN_OR_RETURN(const auto labels,
                   extension<weft::mesh::v1::WorkloadLabels>(workload.extensions(), kWorkloadLabels));
  out.labels.assign(labels.labels().begin(), labels.labels().end());
  std::sort(out.labels.begin(), out.labels.end());
  ASSIGN_OR_RETURN(const auto egress,
                   extension<weft::mesh::v1::EgressPolicy>(workload.extensions(), kEgressPolicy));
  out.registry_only = egress.registry_only();
  out.declared_by_services = egress.declared_by_services();
  const auto or_default = [](const std::string& text, const char* otherwise) {
    return text.empty() ? std::string(otherwise) : text;
  };
  out.identity = {or_default(workload.trust_domain(), kDefaultTrustDomain), out.ns,
                  or_default(workload.service_account(), "default")};
  out.node = workload.node();
  out.hbone = workload.tunnel_protocol() == istio::workload::HBONE;
  out.host_network = workload.network_mode() == istio::workload::HOST_NETWORK;
  if (workload.tunnel_protocol() == istio::workload::LEGACY_ISTIO_MTLS)
    return invalid("tunnel_protocol: LEGACY_ISTIO_MTLS is not spoken here, expected NONE or HBONE");
  out.policies.assign(workload.authorization_policies().begin(), workload.authorization_policies().end());
  out.locality =
      Locality{workload.locality().region(), workload.locality().zone(), workload.locality().subzone()};
  for (const auto& [service, list] : workload.services()) {
    ASSIGN_OR_RETURN(const std::string key, service_key(service));
    ASSIGN_OR_RETURN(out.services[key], validate_targets(service, list));
  }
  return out;
}

}  // namespace weft::proxy
