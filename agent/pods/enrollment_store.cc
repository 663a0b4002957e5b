// The enrolment file as JSON; see enrollment_store.h. Called by the reconciler; never leaves a half-written
// file in place.
#include "agent/pods/enrollment_store.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "agent/replace_file.h"
#include "base/status_macros.h"

namespace weft::agent {

absl::StatusOr<StoredPods> EnrollmentStore::load() const {
  std::ifstream file(path_);
  if (!file.is_open()) return StoredPods{};
  std::stringstream text;
  text << file.rdbuf();
  const nlohmann::json root = nlohmann::json::parse(text.str(), nullptr, /*allow_exceptions=*/false);
  if (!root.is_object() || !root.contains("enrollments") || !root["enrollments"].is_array()) {
    return absl::DataLossError(str_cat(path_, " is not an enrolment file; next: remove it and enroll again"));
  }
  StoredPods out;
  for (const auto& row : root["enrollments"]) {
    const auto text_of = [&row](const char* key) -> std::string {
      return row.is_object() && row.contains(key) && row[key].is_string() ? row[key].get<std::string>() : "";
    };
    Enrollment enrollment{text_of("namespace"), text_of("name"), text_of("netns")};
    if (enrollment.ns.empty() || enrollment.name.empty() || enrollment.netns_path.empty()) {
      return absl::DataLossError(str_cat(path_, " has an incomplete row; next: remove it and enroll again"));
    }
    out.enrollments.push_back(std::move(enrollment));
  }
  const nlohmann::json captured = root.value("captured", nlohmann::json::array());
  for (const auto& row : captured) {
    if (!row.is_object() || !row.contains("cookie") || !row["cookie"].is_number_unsigned() ||
        !row.contains("netns"))
      continue;
    if (!row["netns"].is_string()) continue;
    out.captured.push_back(CapturedNamespace{row["cookie"].get<uint64_t>(), row["netns"].get<std::string>()});
  }
  return out;
}

absl::Status EnrollmentStore::save(const StoredPods& pods) const {
  nlohmann::json rows = nlohmann::json::array();
  for (const Enrollment& e : pods.enrollments)
    rows.push_back({{"namespace", e.ns}, {"name", e.name}, {"netns", e.netns_path}});
  nlohmann::json captured = nlohmann::json::array();
  for (const CapturedNamespace& c : pods.captured)
    captured.push_back({{"cookie", c.netns_cookie}, {"netns", c.netns_path}});
  const std::string text = nlohmann::json{{"enrollments", rows}, {"captured", captured}}.dump(2) + "\n";
  return replace_file(path_, text, 0600);
}

}  // namespace weft::agent
