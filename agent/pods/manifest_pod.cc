// See manifest_pod.h. Called by the pod table whenever the manifests change.
#include "agent/pods/manifest_pod.h"

#include <optional>
#include <string>

#include "base/log.h"
#include "base/strings.h"

namespace weft::agent {
namespace {

std::optional<CidrExclusion> parse_cidr(const std::string& text) {
  const size_t slash = text.find('/');
  const std::optional<IpAddress> ip = IpAddress::parse(std::string_view(text).substr(0, slash));
  if (!ip.has_value()) return std::nullopt;
  const uint32_t most = ip->is_v4() ? 32 : 128;
  if (slash == std::string::npos) return CidrExclusion{*ip, most};
  const auto length = parse_integer<uint32_t>(std::string_view(text).substr(slash + 1));
  if (!length.has_value() || *length > most) return std::nullopt;
  return CidrExclusion{*ip, *length};
}

}  // namespace

Pod pod_from_manifest(const control_plane::LocalPod& local) {
  Pod pod{.ns = local.ns, .name = local.name, .uid = local.uid, .netns_path = local.netns_path};
  pod.fail_mode = local.fail_mode;
  pod.confined = local.confined;
  pod.shortcut = local.shortcut;
  pod.exclude_ports = local.exclude_ports;
  for (const std::string& text : local.exclude_cidrs) {
    const std::optional<CidrExclusion> cidr = parse_cidr(text);
    if (cidr.has_value())
      pod.exclude_cidrs.push_back(*cidr);
    else
      log::warn("exclusion_not_understood", {{"pod", pod.key()}, {"cidr", text}});
  }
  return pod;
}

}  // namespace weft::agent
