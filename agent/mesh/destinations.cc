// The destination map from the model; see destinations.h. Called by the reconciler after every change; no
// I/O.
#include "agent/mesh/destinations.h"

#include <map>

namespace weft::agent {
namespace {

using Table = std::map<SocketAddress, uint32_t>;

void claim(Table* table, const std::string& packed, uint32_t port, uint32_t id) {
  const std::optional<IpAddress> ip = IpAddress::from_packed(packed);
  if (!ip.has_value() || port == 0 || port > 65535 || id == 0) return;
  table->emplace(SocketAddress{*ip, static_cast<uint16_t>(port)}, id);
}

void claim_service(Table* table, const istio::workload::Service& service, uint32_t id) {
  for (const auto& address : service.addresses()) {
    // A CIDR is not an address that somebody listens at.
    if (address.has_length() && address.length() != address.address().size() * 8) continue;
    for (const auto& port : service.ports()) claim(table, address.address(), port.service_port(), id);
  }
}

void claim_workload(Table* table, const MeshModel& model, const istio::workload::Workload& workload,
                    uint32_t id) {
  for (const auto& [service_key, ports] : workload.services()) {
    for (const std::string& address : workload.addresses()) {
      for (const auto& port : ports.ports()) {
        claim(table, address, port.target_port() != 0 ? port.target_port() : port.service_port(), id);
      }
      const auto service = model.services().find(service_key);
      if (service == model.services().end()) continue;
      for (const auto& port : service->second.ports()) claim(table, address, target_port(ports, port), id);
    }
  }
}

}  // namespace

uint32_t target_port(const istio::workload::PortList& of_workload,
                     const istio::workload::Port& service_port) {
  for (const auto& port : of_workload.ports()) {
    if (port.service_port() == service_port.service_port() && port.target_port() != 0)
      return port.target_port();
  }
  return service_port.target_port() != 0 ? service_port.target_port() : service_port.service_port();
}

std::vector<DestinationEntry> destination_entries(const MeshModel& model, const IdRegistry& ids) {
  Table table;
  for (const auto& [key, service] : model.services()) {
    claim_service(&table, service, ids.find(Subject::Kind::kService, key));
  }
  for (const auto& [uid, workload] : model.workloads()) {
    claim_workload(&table, model, workload, ids.find(Subject::Kind::kWorkload, uid));
  }
  std::vector<DestinationEntry> out;
  out.reserve(table.size());
  for (const auto& [address, id] : table) out.push_back(DestinationEntry{address, id});
  return out;
}

}  // namespace weft::agent
