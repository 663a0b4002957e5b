// Look-ups in a snapshot. Called by the data path for every connection and request; never allocates, never
// changes anything.
#include "userspace-proxy/config/snapshot.h"

#include <algorithm>
#include <array>

#include "userspace-proxy/config/host_index.h"

namespace weft::proxy {
namespace {

// RFC 1035 §2.3.4 allows 253 characters; longer names are no host of ours.
constexpr size_t kMaxHostBytes = 255;
using HostBuffer = std::array<char, kMaxHostBytes>;

bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }

std::string_view without_port(std::string_view authority) {
  const size_t colon = authority.rfind(':');
  if (colon == std::string_view::npos) return authority;
  const std::string_view port = authority.substr(colon + 1);
  const bool digits = std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; });
  return digits ? authority.substr(0, colon) : authority;
}

// The authority as the tables spell hosts: no port, no trailing dot, lower case. Copies into `buffer` only
// when there is something to lower. Empty when it cannot be a host name (an IPv6 literal, too long).
std::string_view normalised_host(std::string_view authority, HostBuffer* buffer) {
  if (authority.empty() || authority.front() == '[') return {};
  std::string_view host = without_port(authority);
  if (!host.empty() && host.back() == '.') host.remove_suffix(1);
  if (host.size() > kMaxHostBytes) return {};
  if (std::none_of(host.begin(), host.end(), is_upper)) return host;
  std::transform(host.begin(), host.end(), buffer->begin(),
                 [](char c) { return is_upper(c) ? static_cast<char>(c + ('a' - 'A')) : c; });
  return {buffer->data(), host.size()};
}

// The row of the name, else of the longest wildcard that covers it, which stands for at least one label;
// nullptr: of neither. `row_of` gives what a table has for a spelling.
template <typename RowOf>
auto find_name(std::string_view host, RowOf row_of) -> decltype(row_of(host)) {
  if (host.empty() || host.front() == '.') return nullptr;
  if (const auto exact = row_of(host)) return exact;
  for (size_t dot = host.find('.'); dot != std::string_view::npos; dot = host.find('.', dot + 1)) {
    if (const auto wildcard = row_of(host.substr(dot))) return wildcard;
  }
  return nullptr;
}

}  // namespace

const ServicePort* Snapshot::find_service_port(uint32_t source, const SocketAddress& dialled) const {
  const auto found = service_port_by_address.find(dialled);
  if (found == service_port_by_address.end()) return nullptr;
  const std::string_view ns = namespace_of(source);
  const ServicePort* of_others = nullptr;
  for (uint32_t i = found->second; i != kNone; i = service_ports[i].next) {
    const ServicePort& port = service_ports[i];
    if (!visible_in(port, ns)) continue;
    if (!port.entry || port.ns == ns) return &port;
    if (of_others == nullptr) of_others = &port;
  }
  return of_others;
}

uint32_t Snapshot::find_source(std::string_view workload_uid) const {
  const auto found = source_by_uid.find(to_absl(workload_uid));
  return found == source_by_uid.end() ? kNone : found->second;
}

uint32_t Snapshot::find_cluster(std::string_view name) const {
  const auto found = cluster_by_name.find(to_absl(name));
  return found == cluster_by_name.end() ? kNone : found->second;
}

bool Snapshot::is_undeclared(uint32_t source, const SocketAddress& dialled) const {
  return source < sources.size() && sources[source].registry_only && !is_declared(source, dialled);
}

bool Snapshot::is_declared(uint32_t source, const SocketAddress& dialled) const {
  if (find_service_port(source, dialled) != nullptr) return true;
  if (declared_workloads.contains(SocketAddress{dialled.ip, 0})) return true;
  return std::any_of(declared_ranges.begin(), declared_ranges.end(), [&](const DeclaredRange& declared) {
    return declared.range.contains(dialled.ip) && visible_in(declared, namespace_of(source)) &&
           std::find(declared.ports.begin(), declared.ports.end(), dialled.port) != declared.ports.end();
  });
}

uint32_t Snapshot::find_named_cluster(uint32_t source, std::string_view server_name, uint16_t port) const {
  const auto by_host = [&](std::string_view host) -> const uint32_t* {
    const auto found = named_cluster_by_host.find(HostRef{namespace_of(source), port, host});
    return found == named_cluster_by_host.end() ? nullptr : &found->second;
  };
  HostBuffer buffer;
  const uint32_t* found = find_name(normalised_host(server_name, &buffer), by_host);
  return found == nullptr ? kNone : *found;
}

std::string_view Snapshot::namespace_of(uint32_t source) const {
  return source < sources.size() ? std::string_view(sources[source].ns) : "default";
}

const L4Host* Snapshot::find_l4_host(uint32_t source, const SocketAddress& dialled) const {
  const auto found = l4_host_by_address.find(AddressRef{namespace_of(source), dialled});
  return found == l4_host_by_address.end() ? nullptr : &l4_hosts[found->second];
}

uint32_t Snapshot::find_tcp_cluster(uint32_t source, const SocketAddress& dialled,
                                    const ServicePort& port) const {
  if (tcp_cluster_by_address.empty()) return port.tcp_cluster;
  const auto found = tcp_cluster_by_address.find(AddressRef{namespace_of(source), dialled});
  if (found == tcp_cluster_by_address.end()) return port.tcp_cluster;
  // Services may share an address: the row is of one of them.
  const Cluster& cluster = clusters[found->second];
  return cluster.service == port.service && cluster.ns == port.ns ? found->second : port.tcp_cluster;
}

const GatewayPort* Snapshot::find_gateway_port(uint16_t port) const {
  const auto found = gateway_ports.find(port);
  return found == gateway_ports.end() ? nullptr : &found->second;
}

namespace {

// The index of a name of a gateway's port, or of the most specific wildcard over it, or of all others.
template <typename Map>
uint32_t find_by_name(const Map& map, std::string_view owner, std::string_view authority, uint16_t port) {
  const auto by_host = [&](std::string_view host) -> const uint32_t* {
    const auto found = map.find(Snapshot::HostRef{owner, port, host});
    return found == map.end() ? nullptr : &found->second;
  };
  HostBuffer buffer;
  const uint32_t* found = find_name(normalised_host(authority, &buffer), by_host);
  if (found == nullptr) found = by_host("");
  return found == nullptr ? kNone : *found;
}

}  // namespace

const VirtualHost* Snapshot::find_gateway_host(std::string_view authority, uint16_t port,
                                               const GatewayServer* server) const {
  const bool encrypted = server != nullptr && server->tls != nullptr;
  const std::string_view owner = encrypted ? std::string_view(server->tls->name) : std::string_view();
  const uint32_t index = find_by_name(gateway_host_by_host, owner, authority, port);
  return index == kNone ? nullptr : virtual_hosts[index].get();
}

const GatewayServer* Snapshot::find_gateway_server(std::string_view server_name, uint16_t port) const {
  const uint32_t index = find_by_name(gateway_server_by_name, "", server_name, port);
  return index == kNone ? nullptr : &gateway_servers[index];
}

const VirtualHost* Snapshot::find_virtual_host(uint32_t source, std::string_view authority,
                                               const SocketAddress& dialled) const {
  const std::string_view ns = namespace_of(source);
  if (!routed_host_by_address.empty()) {
    const auto routed = routed_host_by_address.find(AddressRef{ns, dialled});
    if (routed != routed_host_by_address.end()) return virtual_hosts[routed->second].get();
  }
  const auto by_host = [&](std::string_view host) -> const VirtualHost* {
    auto found = virtual_host_by_host.find(HostRef{ns, dialled.port, host});
    if (found == virtual_host_by_host.end()) found = virtual_host_by_host.find(HostRef{ns, 0, host});
    return found == virtual_host_by_host.end() ? nullptr : virtual_hosts[found->second].get();
  };
  HostBuffer buffer;
  if (const VirtualHost* named = find_name(normalised_host(authority, &buffer), by_host)) return named;
  const auto found = virtual_host_by_address.find(AddressRef{ns, dialled});
  return found == virtual_host_by_address.end() ? nullptr : virtual_hosts[found->second].get();
}

std::shared_ptr<const ExternalProvider> Snapshot::find_provider(std::string_view name) const {
  const auto found = providers.find(to_absl(name));
  return found == providers.end() ? nullptr : found->second;
}

uint32_t Snapshot::find_provider_cluster(std::string_view ns, std::string_view name) const {
  const auto found = provider_clusters.find(HostRef{ns, 0, name});
  return found == provider_clusters.end() ? kNone : found->second;
}

}  // namespace weft::proxy
