// See review.h.
#include "control-plane/admission/review.h"

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/strings.h"
#include "control-plane/kubernetes/kinds.h"
#include "control-plane/kubernetes/server_text.h"
#include "control-plane/resource/parse_file.h"

namespace weft::control_plane {
namespace {

using Json = nlohmann::json;

// Nobody reads them, and they are most of a review.
constexpr std::array<std::string_view, 6> kLeftOut = {
    "request.object.metadata.managedFields",
    "request.object.status",
    "request.oldObject.metadata",
    "request.oldObject.status",
    "request.options",
    "request.userInfo",
};
constexpr size_t kMaxUid = 128;
// API servers cut the warnings of a request after 4096 bytes, and clients show each on one line.
constexpr size_t kMaxWarnings = 16;
constexpr size_t kMaxWarning = 250;
constexpr size_t kMaxMessage = 4096;
constexpr int kUnprocessable = 422;

// Null: not read.
const KubernetesKind* kind_of(const YamlNode& request) {
  const std::string_view group = json_text(request, "kind.group"), name = json_text(request, "kind.kind");
  for (const KubernetesKind& kind : kubernetes_kinds()) {
    if (kind.group == group && kind.kind == name) return &kind;
  }
  return nullptr;
}

YamlNode* field(YamlNode& map, std::string_view name) {
  for (YamlField& each : map.fields) {
    if (each.name == name) return &each.value;
  }
  return nullptr;
}

// Of a new object the API server makes the name after it was admitted.
void set_generated_name(YamlNode& object) {
  const std::string_view prefix = json_text(object, "metadata.generateName");
  YamlNode* const meta = field(object, "metadata");
  if (meta == nullptr || prefix.empty() || !json_text(object, "metadata.name").empty()) return;
  YamlNode name{.kind = YamlNode::Kind::kScalar};
  name.scalar = str_cat(prefix, "0");
  meta->fields.push_back({.name = "name", .line = 0, .value = std::move(name)});
}

// What of an object is its content, by the names of its fields. Not all kinds have a spec.
std::map<std::string, uint64_t> content_of(const YamlNode& object) {
  constexpr std::array<std::string_view, 4> kNoContent = {"apiVersion", "kind", "metadata", "status"};
  std::map<std::string, uint64_t> out;
  for (const YamlField& each : object.fields) {
    if (std::find(kNoContent.begin(), kNoContent.end(), each.name) == kNoContent.end())
      out.emplace(each.name, digest_of(each.value));
  }
  return out;
}

bool same_content(const YamlNode& request, const YamlNode& object) {
  const YamlNode* const old = request.find("oldObject");
  return old != nullptr && old->kind == YamlNode::Kind::kMap && content_of(*old) == content_of(object);
}

std::string answer(std::string_view uid, bool allowed, const std::string& message,
                   const std::vector<std::string>& warnings) {
  Json response{{"uid", uid}, {"allowed", allowed}};
  if (!allowed) response["status"] = {{"code", kUnprocessable}, {"reason", "Invalid"}, {"message", message}};
  if (!warnings.empty()) response["warnings"] = warnings;
  const Json out{{"apiVersion", "admission.k8s.io/v1"}, {"kind", "AdmissionReview"}, {"response", response}};
  return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

ReviewAnswer judge(const KubernetesKind& kind, const YamlNode& request, YamlNode object) {
  const bool unchanged = same_content(request, object);
  set_generated_name(object);
  const std::string place = str_cat(kind.name, " ", json_text(object, "metadata.namespace"), "/",
                                    json_text(object, "metadata.name"));
  const ParsedFile parsed = parse_object(server_text(place), object);
  std::string message;
  std::vector<std::string> warnings;
  for (const Finding& finding : parsed.findings) {
    const std::string line = server_text(to_string(finding), kMaxMessage);
    if (finding.level == Finding::Level::kError && !unchanged) {
      if (message.size() + line.size() < kMaxMessage) str_append(&message, message.empty() ? "" : "; ", line);
    } else if (warnings.size() < kMaxWarnings) {
      warnings.push_back(server_text(line, kMaxWarning));
    }
  }
  const bool refused =
      !unchanged && std::any_of(parsed.findings.begin(), parsed.findings.end(),
                                [](const Finding& f) { return f.level == Finding::Level::kError; });
  return {.allowed = !refused, .body = answer(json_text(request, "uid"), !refused, message, warnings)};
}

}  // namespace

absl::StatusOr<ReviewAnswer> review(std::string_view body) {
  absl::StatusOr<YamlNode> tree = parse_json(body, kLeftOut);
  if (!tree.ok()) return tree.status();
  YamlNode* const request = field(*tree, "request");
  const std::string_view uid = request == nullptr ? "" : json_text(*request, "uid");
  if (json_text(*tree, "kind") != "AdmissionReview" ||
      json_text(*tree, "apiVersion") != "admission.k8s.io/v1" || uid.empty() || uid.size() > kMaxUid)
    return absl::InvalidArgumentError("no AdmissionReview of admission.k8s.io/v1 with a request");
  const std::string_view operation = json_text(*request, "operation");
  const KubernetesKind* const kind = kind_of(*request);
  YamlNode* const object = field(*request, "object");
  const bool looked_at = kind != nullptr && object != nullptr && object->kind == YamlNode::Kind::kMap &&
                         (operation == "CREATE" || operation == "UPDATE") &&
                         json_text(*request, "subResource").empty() &&
                         json_text(*object, "metadata.deletionTimestamp").empty();
  if (!looked_at) return ReviewAnswer{.allowed = true, .body = answer(uid, true, "", {})};
  return judge(*kind, *request, std::move(*object));
}

}  // namespace weft::control_plane
