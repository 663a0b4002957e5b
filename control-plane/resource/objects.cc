// Identity and small shared parts of objects; see objects.h and parse_object.h.
#include "control-plane/resource/objects.h"

#include <array>

#include "base/strings.h"
#include "control-plane/resource/host_name.h"
#include "control-plane/resource/parse_object.h"

namespace weft::control_plane {

std::string ObjectKey::to_string() const {
  return ns.empty() ? str_cat(kind, " ", name) : str_cat(kind, " ", ns, "/", name);
}

const ObjectMeta& meta_of(const Object& object) {
  return std::visit([](const auto& o) -> const ObjectMeta& { return o.meta; }, object);
}

ObjectMeta& meta_of(Object& object) {
  return std::visit([](auto& o) -> ObjectMeta& { return o.meta; }, object);
}

bool is_mesh_config(std::string_view ns, std::string_view name) {
  return name == MeshConfig::kName && (ns == kRootNamespace || ns == kOwnNamespace);
}

ObjectKey key_of(const Object& object) {
  const ObjectMeta& meta = meta_of(object);
  return {meta.kind, meta.ns, meta.name};
}

mesh::v1::Origin origin_of(const ObjectMeta& meta) {
  mesh::v1::Origin origin;
  origin.set_kind(meta.kind);
  origin.set_namespace_(meta.ns);
  origin.set_name(meta.name);
  origin.set_file(meta.file);
  origin.set_line(meta.line);
  return origin;
}

const FieldTable& root_table() {
  static constexpr std::array<std::string_view, 4> kRead = {"apiVersion", "kind", "metadata", "spec"};
  // "status" is written by clusters; EndpointSlice and Secret have their content at the root.
  static constexpr std::array<std::string_view, 8> kKnown = {
      "status", "addressType", "endpoints", "ports", "type", "data", "stringData", "immutable"};
  static const FieldTable table{.read = kRead, .known = kKnown, .strict = false};
  return table;
}

std::vector<std::string> parse_export_to(const FieldReader& spec, const std::string& ns, bool& hidden) {
  std::vector<std::string> out;
  bool all = false;
  const std::vector<FieldReader> items = spec.items("exportTo");
  for (const FieldReader& item : items) {
    const auto text = item.as_text();
    if (!text) continue;
    if (*text == "*") {
      all = true;
    } else if (*text == "~") {
      hidden = true;
      if (items.size() > 1)
        item.error(kValueRejected, "\"~\" stands alone", "remove the other entries or \"~\"");
    } else if (*text == ".") {
      out.push_back(ns);
    } else if (is_dns_label(*text)) {
      out.push_back(*text);
    } else {
      item.error(kValueRejected, str_cat("\"", text->substr(0, 64), "\" is no namespace"),
                 "use \".\", \"*\", \"~\" or the name of a namespace");
    }
  }
  if (all) out.clear();
  return out;
}

std::string parse_host(const FieldReader& host, const std::string& ns) {
  const auto text = host.as_view();
  if (!text) return "";
  if (*text == "*") {
    host.error(kValueRejected, "\"*\" is refused on the mesh: it would catch every host", "name the hosts");
    return "";
  }
  if (!is_host_name(*text)) {
    host.error(kValueRejected, str_cat("\"", text->substr(0, 64), "\" is no host name"),
               "use a service name, a DNS name, or \"*.\" and a DNS name");
    return "";
  }
  return expand_host(*text, ns);
}

}  // namespace weft::control_plane
