// ServiceEntries to services and the workloads behind them. Pure; called by the compiler, with the addresses
// that names were resolved to.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "control-plane/compile/workloads.h"

namespace weft::control_plane {

// Addresses by host name, sorted.
using ResolvedHosts = std::map<std::string, std::vector<std::string>>;

// Those of the entry's hosts that are its own: what is called as a Service is remains the Service's.
std::vector<std::string> hosts_of(const ServiceEntry& entry, const Objects& objects);

// Names whose addresses the entries need.
std::set<std::string> hosts_to_resolve(const Objects& objects);

// Where the ports of the entry are at an endpoint that has some of its own, by their names.
istio::workload::PortList ports_for(const ServiceEntry& entry, const std::map<std::string, uint16_t>& own);

// One of the entry's hosts.
istio::workload::Service to_service(const ServiceEntry& entry, const std::string& host);
mesh::v1::ServicePorts ports_of(const ServiceEntry& entry);
// "<ns>/<host>".
std::string service_key(const ServiceEntry& entry, const std::string& host);

}  // namespace weft::control_plane
