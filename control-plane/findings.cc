// The one-line form of a finding, and the order in which they are shown.
#include "base/strings.h"
#include "control-plane/control_plane.h"

namespace weft::control_plane {

std::string to_string(const Finding& finding) {
  std::string out = finding.file;
  if (finding.line > 0) str_append(&out, ":", finding.line);
  str_append(&out, ": ", finding.level == Finding::Level::kError ? "error" : "warning", " ", finding.code);
  // An object of a cluster is its own place.
  if (!finding.object.empty() && finding.object != finding.file) str_append(&out, " ", finding.object);
  if (!finding.field.empty()) str_append(&out, " ", finding.field);
  str_append(&out, ": ", finding.message);
  if (!finding.remedy.empty()) str_append(&out, " (", finding.remedy, ")");
  return out;
}

}  // namespace weft::control_plane
