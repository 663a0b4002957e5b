// See host_name.h.
#include "control-plane/resource/host_name.h"

#include "absl/strings/ascii.h"
#include "base/strings.h"

namespace weft::control_plane {
namespace {

constexpr std::string_view kClusterDomain = "svc.cluster.local";

// As is_dns_label(), in any case. Underscores occur in the DNS names of real services outside Kubernetes.
bool is_label(std::string_view name) {
  if (name.empty() || name.size() > 63) return false;
  for (char c : name) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_') return false;
  }
  return name.front() != '-' && name.back() != '-';
}

}  // namespace

std::string service_host(std::string_view name, std::string_view ns) {
  return str_cat(name, ".", ns, ".", kClusterDomain);
}

std::string expand_host(std::string_view host, std::string_view ns) {
  const std::string lower = absl::AsciiStrToLower(to_absl(host));
  if (lower.find('.') != std::string::npos || lower.find('*') != std::string::npos) return lower;
  return service_host(lower, ns);
}

bool is_dns_label(std::string_view name) {
  if (name.empty() || name.size() > 63) return false;
  for (char c : name) {
    if (!absl::ascii_islower(c) && !absl::ascii_isdigit(c) && c != '-') return false;
  }
  return name.front() != '-' && name.back() != '-';
}

bool is_host_name(std::string_view host) {
  if (host.substr(0, 2) == "*.") host.remove_prefix(2);
  if (host.empty() || host.size() > 253) return false;
  while (true) {
    const size_t dot = host.find('.');
    if (!is_label(host.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    host.remove_prefix(dot + 1);
  }
}

bool host_covers(std::string_view pattern, std::string_view host) {
  if (pattern == host) return true;
  if (pattern.substr(0, 2) != "*.") return false;
  const std::string_view suffix = pattern.substr(1);
  return host.size() > suffix.size() && host.substr(host.size() - suffix.size()) == suffix;
}

}  // namespace weft::control_plane
