// See service_entries.h.
#include "control-plane/compile/service_entries.h"

#include "base/address.h"
#include "base/strings.h"
#include "control-plane/compile/protocol.h"

namespace weft::control_plane {
namespace {

namespace pb = istio::workload;
using Resolution = ServiceEntry::Resolution;

mesh::v1::Protocol declared_protocol(const ServiceEntry::Port& port) {
  return protocol_of(port.protocol, port.name, port.number);
}

}  // namespace

pb::PortList ports_for(const ServiceEntry& entry, const std::map<std::string, uint16_t>& own) {
  pb::PortList out;
  for (const ServiceEntry::Port& port : entry.ports) {
    const auto target = own.find(port.name);
    pb::Port& to = *out.add_ports();
    to.set_service_port(port.number);
    to.set_target_port(target != own.end() ? target->second : port.target != 0 ? port.target : port.number);
    to.set_app_protocol(to_istio(declared_protocol(port)));
  }
  return out;
}

std::string service_key(const ServiceEntry& entry, const std::string& host) {
  return str_cat(entry.meta.ns, "/", host);
}

std::vector<std::string> hosts_of(const ServiceEntry& entry, const Objects& objects) {
  std::vector<std::string> out;
  for (const std::string& host : entry.hosts) {
    if (find_service(objects, host) == nullptr) out.push_back(host);
  }
  return out;
}

std::set<std::string> hosts_to_resolve(const Objects& objects) {
  std::set<std::string> out;
  for_each<ServiceEntry>(objects, [&](const ServiceEntry& entry) {
    if (!entry.resolves() || entry.hidden) return;
    if (!entry.selector.empty()) {
      for_each_in<WorkloadEntry>(objects, entry.meta.ns, [&](const WorkloadEntry& machine) {
        if (selects(entry.selector, machine.endpoint.labels) && !IpAddress::parse(machine.endpoint.address))
          out.insert(machine.endpoint.address);
      });
      return;
    }
    if (entry.endpoints.empty()) {
      for (std::string& host : hosts_of(entry, objects)) out.insert(std::move(host));
    }
    for (const ServiceEntry::Endpoint& endpoint : entry.endpoints) {
      if (!IpAddress::parse(endpoint.address)) out.insert(endpoint.address);
    }
  });
  return out;
}

pb::Service to_service(const ServiceEntry& entry, const std::string& host) {
  pb::Service out;
  out.set_name(entry.meta.name);
  out.set_namespace_(entry.meta.ns);
  out.set_hostname(host);
  for (const std::string& text : entry.addresses) {
    const size_t slash = text.find('/');
    pb::NetworkAddress& address = *out.add_addresses();
    address.set_address(IpAddress::parse(text.substr(0, slash))->packed());
    if (slash != std::string::npos)
      address.set_length(*parse_integer<uint32_t>(std::string_view(text).substr(slash + 1)));
  }
  for (const ServiceEntry::Port& port : entry.ports) {
    pb::Port& to = *out.add_ports();
    to.set_service_port(port.number);
    to.set_target_port(port.target != 0 ? port.target : port.number);
    // There is nothing to balance in the kernel: the proxy sends it to where it was dialled.
    if (entry.resolution != Resolution::kNone) to.set_app_protocol(to_istio(declared_protocol(port)));
  }
  return out;
}

mesh::v1::ServicePorts ports_of(const ServiceEntry& entry) {
  mesh::v1::ServicePorts out;
  for (const ServiceEntry::Port& port : entry.ports) {
    mesh::v1::ServicePorts::Port& to = *out.add_ports();
    to.set_number(port.number);
    to.set_name(port.name);
    to.set_protocol(declared_protocol(port));
  }
  out.set_passthrough(entry.resolution == Resolution::kNone);
  for (const std::string& ns : entry.export_to) out.add_export_to(ns);
  return out;
}

}  // namespace weft::control_plane
