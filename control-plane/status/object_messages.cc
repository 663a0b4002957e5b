// See object_messages.h.
#include "control-plane/status/object_messages.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "base/strings.h"
#include "control-plane/kubernetes/json_fields.h"

namespace weft::control_plane {
namespace {

using Json = nlohmann::json;

// Codes of ours begin so; istiod's begin with IST.
constexpr std::string_view kOurs = "WF";
// An Event's note may have 1024 bytes.
constexpr size_t kLongestNote = 1000;

// istio.analysis.v1alpha1.AnalysisMessageBase has no field for words but the type's name.
Json message_of(const Finding& finding) {
  return {{"type", {{"code", finding.code}, {"name", text_of(finding)}}},
          {"level", finding.level == Finding::Level::kError ? "ERROR" : "WARNING"}};
}

bool is_ours(const Json& message) {
  if (!message.is_object() || !message.contains("type") || !message["type"].is_object()) return false;
  const auto code = message["type"].find("code");
  return code != message["type"].end() && code->is_string() &&
         code->get_ref<const std::string&>().starts_with(kOurs);
}

// FNV-1a, 64 bits.
std::string short_hash(const std::string& text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const unsigned char c : text) hash = (hash ^ c) * 0x100000001b3;
  return absl::StrFormat("%016x", hash);
}

}  // namespace

std::string text_of(const Finding& finding) {
  return str_cat(finding.field, finding.field.empty() ? "" : ": ", finding.message,
                 finding.remedy.empty() ? "" : " (next: ", finding.remedy, finding.remedy.empty() ? "" : ")");
}

bool has_status(const KubernetesKind& kind) {
  return kind.is_of_istio() || (kind.is_of_gateway_api() && kind.name != "ReferenceGrant");
}

std::optional<ObjectName> object_of(const ObjectKey& key) {
  for (const KubernetesKind& kind : kubernetes_kinds()) {
    if (kind.name == key.kind && has_status(kind))
      return ObjectName{.kind = &kind, .ns = key.ns, .name = key.name};
  }
  return std::nullopt;
}

std::string ObjectName::path(size_t version) const {
  return str_cat("/apis/", kind->group, "/", kind->versions[version], "/namespaces/", ns, "/", kind->plural,
                 "/", name);
}

std::optional<ObjectName> object_of(const Finding& finding) {
  const size_t space = finding.object.find(' ');
  if (space == std::string::npos) return std::nullopt;
  const size_t slash = finding.object.find('/', space);
  if (slash == std::string::npos) return std::nullopt;
  return object_of(ObjectKey{finding.object.substr(0, space),
                             finding.object.substr(space + 1, slash - space - 1),
                             finding.object.substr(slash + 1)});
}

ObjectFindings by_object(const std::vector<Finding>& findings) {
  ObjectFindings out;
  for (const Finding& finding : findings) {
    if (const auto name = object_of(finding)) out[*name].push_back(finding);
  }
  return out;
}

std::optional<Json> messages_for(const Json& status, const std::vector<Finding>& findings) {
  const Json before = array_at(status, "validationMessages");
  Json after = Json::array();
  for (const Json& message : before) {
    if (!is_ours(message)) after.push_back(message);
  }
  for (const Finding& finding : findings) after.push_back(message_of(finding));
  if (after == before) return std::nullopt;
  return after;
}

Json event_for(const Json& object, const Finding& finding, const std::string& now) {
  const Json meta = object_at(object, "metadata");
  const std::string ns = text_at(meta, "namespace"), name = text_at(meta, "name"), uid = text_at(meta, "uid");
  const std::string words = text_of(finding);
  // Names are at most 253 bytes.
  const std::string event_name =
      str_cat(name.substr(0, 200), ".", short_hash(str_cat(uid, "\n", finding.code, "\n", words)));
  return {{"apiVersion", "v1"},
          {"kind", "Event"},
          {"metadata", {{"namespace", ns}, {"name", event_name}}},
          {"involvedObject",
           {{"apiVersion", text_at(object, "apiVersion")},
            {"kind", text_at(object, "kind")},
            {"namespace", ns},
            {"name", name},
            {"uid", uid},
            {"resourceVersion", text_at(meta, "resourceVersion")}}},
          {"type", "Warning"},
          {"reason", finding.code},
          {"message", words.substr(0, kLongestNote)},
          {"source", {{"component", "weft-control"}}},
          {"firstTimestamp", now},
          {"lastTimestamp", now},
          {"count", 1}};
}

}  // namespace weft::control_plane
