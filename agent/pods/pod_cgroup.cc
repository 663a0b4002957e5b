// See pod_cgroup.h. The names: kubernetes.io/docs/concepts/architecture/cgroups and the kubelet's pod
// container manager.
#include "agent/pods/pod_cgroup.h"

#include <algorithm>
#include <array>

namespace weft::agent {
namespace {

constexpr std::string_view kSlice = ".slice";
constexpr std::string_view kPod = "pod";

// A UID of the API (36 characters with dashes), or the hash of a static pod (32 digits).
bool is_uid(std::string_view text) {
  const bool digits = std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || c == '-';
  });
  return digits && (text.size() == 36 || text.size() == 32);
}

}  // namespace

std::optional<std::string> pod_uid_of_cgroup(std::string_view name) {
  std::string uid;
  if (name.ends_with(kSlice)) {
    name.remove_suffix(kSlice.size());
    const size_t begin = name.rfind("-pod");
    if (begin == std::string_view::npos || name.find("kubepods") == std::string_view::npos)
      return std::nullopt;
    uid = name.substr(begin + 1 + kPod.size());
    std::replace(uid.begin(), uid.end(), '_', '-');
  } else if (name.starts_with(kPod)) {
    uid = name.substr(kPod.size());
  }
  if (!is_uid(uid)) return std::nullopt;
  return uid;
}

bool holds_pods(std::string_view name) {
  constexpr std::array<std::string_view, 3> kPlain{"kubepods", "burstable", "besteffort"};
  if (std::find(kPlain.begin(), kPlain.end(), name) != kPlain.end()) return true;
  constexpr std::array<std::string_view, 3> kSlices{"kubepods.slice", "kubepods-burstable.slice",
                                                    "kubepods-besteffort.slice"};
  return std::any_of(kSlices.begin(), kSlices.end(), [name](std::string_view slice) {
    if (!name.ends_with(slice)) return false;
    return name.size() == slice.size() || name[name.size() - slice.size() - 1] == '-';
  });
}

}  // namespace weft::agent
