// See object_place.h.
#include "control-plane/kubernetes/object_place.h"

#include <string_view>

#include "base/strings.h"

namespace weft::control_plane {
namespace {

// Letters, digits, '-' and '.' behind the first only, as Kubernetes' names are.
bool is_name(std::string_view text) {
  return !text.empty() && text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-.") == text.npos &&
         text.front() != '.' && text.front() != '-';
}

}  // namespace

absl::StatusOr<ObjectPlace> parse_place(const std::string& flag, const std::string& text) {
  const size_t slash = text.find('/');
  ObjectPlace out{text.substr(0, slash), slash == text.npos ? "" : text.substr(slash + 1)};
  if (is_name(out.ns) && is_name(out.name)) return out;
  return absl::InvalidArgumentError(
      str_cat(flag, ": '", text, "' is not NAMESPACE/NAME; next: give both, as in weft-system/weft-agent"));
}

}  // namespace weft::control_plane
