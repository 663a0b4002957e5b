// See kind_objects.h.
#include "control-plane/kubernetes/kind_objects.h"

#include <functional>
#include <set>
#include <utility>
#include <variant>

#include "absl/hash/hash.h"
#include "base/strings.h"
#include "control-plane/kubernetes/json_tree.h"
#include "control-plane/resource/finding_codes.h"
#include "control-plane/resource/parse_file.h"

namespace weft::control_plane {
namespace {

// The text of metadata.resourceVersion, taken out: it changes when nothing that we read does.
std::string take_version(YamlNode& object) {
  for (YamlField& field : object.fields) {
    if (field.name != "metadata") continue;
    for (auto inner = field.value.fields.begin(); inner != field.value.fields.end(); ++inner) {
      if (inner->name != "resourceVersion") continue;
      std::string version = std::move(inner->value.scalar);
      field.value.fields.erase(inner);
      return version;
    }
  }
  return "";
}

void set_missing(YamlNode& object, const char* name, std::string_view text) {
  if (object.find(name) != nullptr) return;
  YamlNode value{.kind = YamlNode::Kind::kScalar};
  value.scalar = text;
  object.fields.push_back({.name = name, .line = 0, .value = std::move(value)});
}

// As KindObjects::Known has it; in whatever order they are named.
uint32_t subsets_of(const ParsedFile& file) {
  std::set<std::pair<std::string_view, std::string_view>> named;
  for (const Object& object : file.objects) {
    const auto* const routes = std::get_if<VirtualService>(&object);
    if (routes == nullptr) continue;
    for (const HostReference& reference : routes->references) {
      if (!reference.subset.empty()) named.emplace(reference.host, reference.subset);
    }
  }
  if (named.empty()) return 0;
  return static_cast<uint32_t>(absl::HashOf(named)) | 1;
}

}  // namespace

std::string KindObjects::place_of(const YamlNode& object) const {
  return place_of(json_text(object, "metadata.namespace"), json_text(object, "metadata.name"));
}

std::string KindObjects::place_of(std::string_view ns, std::string_view name) const {
  if (name.empty()) return "";
  return ns.empty() ? str_cat(kind_.name, " ", name) : str_cat(kind_.name, " ", ns, "/", name);
}

bool KindObjects::without_part(const YamlNode& object) const {
  if (kind_.name != "Pod") return false;
  const std::string_view phase = json_text(object, "status.phase");
  return json_text(object, "spec.nodeName").empty() || phase == "Succeeded" || phase == "Failed";
}

void KindObjects::begin_list() {
  listed_.clear();
  listing_ = true;
  list_unreadable_ = false;
}

void KindObjects::end_list() {
  listing_ = false;
  if (list_unreadable_) return listed_.clear();
  std::vector<std::string> gone;
  for (const auto& [place, known] : known_) {
    if (!listed_.contains(place)) gone.push_back(place);
  }
  for (const std::string& place : gone) forget(place);
  if (std::exchange(has_finding_, false)) changes_[std::string(kind_.name)] = std::nullopt;
  listed_.clear();
}

bool KindObjects::put(YamlNode object, const std::string& api_version) {
  const std::string place = place_of(object);
  if (place.empty()) return false;
  if (without_part(object)) {
    forget(place);
    return true;
  }
  if (listing_) listed_.insert(place);
  std::string version = take_version(object);
  const auto known = known_.find(place);
  if (known != known_.end() && !version.empty() && known->second.version == version) return true;
  const uint64_t digest = digest_of(object);
  const size_t uid = std::hash<std::string_view>()(json_text(object, "metadata.uid"));
  const bool same = known != known_.end() && known->second.digest == digest;
  if (is_another(place, known == known_.end() ? nullptr : &known->second, uid)) replaced_.insert(place);
  const bool ending = !json_text(object, "metadata.deletionTimestamp").empty();
  const uint32_t subsets_before = known == known_.end() ? 0 : known->second.subsets;
  Known& now = known_[place];
  now = {.version = std::move(version),
         .digest = digest,
         .uid = uid,
         .ending = ending,
         .subsets = subsets_before};
  if (same) return true;
  set_missing(object, "apiVersion", api_version);
  set_missing(object, "kind", kind_.kind);
  ++parsed_;
  ParsedFile file = parse_object(place, object);
  // The last good version of an object that is gone is not this one's.
  if (replaced_.contains(place)) {
    file.refused.clear();
    file.unknown_documents = false;
  }
  // Of one that is refused the last good version's routes stay.
  if (!file.objects.empty()) now.subsets = subsets_of(file);
  may_lack_subsets_ |= now.subsets != 0 && now.subsets != subsets_before;
  changes_[place] = std::move(file);
  return true;
}

bool KindObjects::is_another(const std::string& place, const Known* was, size_t uid) const {
  if (was != nullptr) return was->uid != uid;
  const auto pending = changes_.find(place);
  return pending != changes_.end() && !pending->second.has_value();
}

bool KindObjects::put_too_large(const ObjectIdentity& object, std::string message) {
  const std::string place = place_of(object.ns, object.name);
  if (place.empty()) return false;
  if (listing_) listed_.insert(place);
  const auto known = known_.find(place);
  const Known* was = known == known_.end() ? nullptr : &known->second;
  const bool same_uid = was != nullptr && object.uid.empty();
  const size_t uid = same_uid ? was->uid : std::hash<std::string_view>()(object.uid);
  if (is_another(place, was, uid)) replaced_.insert(place);
  // Without a version or digest: the next one that can be read is another.
  known_[place] = {.version = "",
                   .digest = 0,
                   .uid = uid,
                   .ending = was != nullptr && was->ending,
                   .subsets = was == nullptr ? 0 : was->subsets};
  ParsedFile file;
  if (!replaced_.contains(place)) file.refused.push_back({std::string(kind_.name), object.ns, object.name});
  file.findings.push_back({kOverLimit, Finding::Level::kError, place, 0, place, "", std::move(message),
                           "make it smaller; what was read of it before stays in force"});
  changes_[place] = std::move(file);
  return true;
}

void KindObjects::remove(const YamlNode& object) { forget(place_of(object)); }

void KindObjects::remove(const ObjectIdentity& object) { forget(place_of(object.ns, object.name)); }

void KindObjects::forget(const std::string& place) {
  if (known_.erase(place) > 0) changes_[place] = std::nullopt;
}

void KindObjects::remove_all() {
  for (const auto& [place, known] : known_) changes_[place] = std::nullopt;
  known_.clear();
  if (std::exchange(has_finding_, false)) changes_[std::string(kind_.name)] = std::nullopt;
}

void KindObjects::unreadable(const char* code, std::string message) {
  list_unreadable_ = true;
  has_finding_ = true;
  const std::string place(kind_.name);
  ParsedFile file{.unknown_documents = true};
  file.findings.push_back({code, Finding::Level::kError, place, 0, "", "", std::move(message),
                           str_cat("find it with kubectl get ", kind_.resource(),
                                   " -A; what was read of it before stays in force")});
  changes_[place] = std::move(file);
}

}  // namespace weft::control_plane
