// Manifests as an API server would hold them: YAML documents to JSON objects, with the namespace that is
// implied. For tests only.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "control-plane/kubernetes/kinds.h"
#include "control-plane/resource/field_reader.h"
#include "control-plane/resource/yaml_document.h"
#include "tests/unit/kubernetes/fake_api_server.h"

namespace weft::control_plane::test {

inline Json to_json(const YamlNode& node) {
  if (node.kind == YamlNode::Kind::kNull) return nullptr;
  if (node.kind == YamlNode::Kind::kSequence) {
    Json out = Json::array();
    for (const YamlNode& item : node.items) out.push_back(to_json(item));
    return out;
  }
  if (node.kind == YamlNode::Kind::kMap) {
    Json out = Json::object();
    for (const YamlField& field : node.fields) out[field.name] = to_json(field.value);
    return out;
  }
  if (resolves_to_string(node)) return node.scalar;
  const Json plain = Json::parse(node.scalar, nullptr, false);
  return plain.is_discarded() ? Json(node.scalar) : plain;
}

inline std::vector<Json> objects_of(std::string_view manifests) {
  std::vector<Json> out;
  for (const YamlDocument& document : parse_yaml(manifests)) {
    Json object = to_json(document.root);
    const std::string kind = object.value("kind", "");
    Json& meta = object["metadata"];
    if (kind != "Namespace" && kind != "Node" && !meta.contains("namespace")) meta["namespace"] = "default";
    out.push_back(std::move(object));
  }
  return out;
}

// Where a server that has the newest version of each API keeps the object, which becomes one of that version;
// "" for a kind that Weft does not read.
inline std::string collection_of(Json& object) {
  const std::string version = object.at("apiVersion");
  const std::string group =
      version.find('/') == std::string::npos ? "" : version.substr(0, version.find('/'));
  for (const KubernetesKind& kind : kubernetes_kinds()) {
    if (object.at("kind") != kind.kind || group != kind.group) continue;
    object["apiVersion"] = kind.api_version(0);
    return kind.path(0);
  }
  for (const KubernetesKind& kind : mesh_config_kinds()) {
    if (object.at("kind") == kind.kind && object.at("metadata").value("namespace", "") == kind.in_namespace)
      return kind.path(0);
  }
  return "";
}

}  // namespace weft::control_plane::test
