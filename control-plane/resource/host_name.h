// Host names as Istio resources write them: short names expand in the namespace of the object that uses them.
#pragma once

#include <string>
#include <string_view>

namespace weft::control_plane {

// "cart" in shop -> "cart.shop.svc.cluster.local"; anything with a dot, or a wildcard, is only put in lower
// case.
std::string expand_host(std::string_view host, std::string_view ns);

// "cart.shop.svc.cluster.local".
std::string service_host(std::string_view name, std::string_view ns);

// A DNS name, or "*." and a DNS name.
bool is_host_name(std::string_view host);

// RFC 1123 label, as Kubernetes demands for names of namespaces and services.
bool is_dns_label(std::string_view name);

// True when `pattern` (a name, or "*.suffix") covers `host`.
bool host_covers(std::string_view pattern, std::string_view host);

}  // namespace weft::control_plane
