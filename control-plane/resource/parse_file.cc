// See parse_file.h.
#include "control-plane/resource/parse_file.h"

#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <limits>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/time/time.h"
#include "base/courtesy.h"
#include "base/strings.h"
#include "base/suggest.h"
#include "control-plane/resource/field_reader.h"
#include "control-plane/resource/host_name.h"
#include "control-plane/resource/parse_object.h"

namespace weft::control_plane {
namespace {

constexpr std::array<std::string_view, 7> kMetaRead = {
    "name", "namespace", "labels", "annotations", "creationTimestamp", "deletionTimestamp", "generation"};
constexpr std::array<std::string_view, 8> kMetaKnown = {
    "generateName", "ownerReferences", "uid",      "resourceVersion",
    "finalizers",   "managedFields",   "selfLink", "deletionGracePeriodSeconds"};
constexpr std::array<std::string_view, 6> kWeftKeys = {"weft.dev/mesh",      "weft.dev/netns",
                                                       "weft.dev/fail-mode", "weft.dev/rate-limit",
                                                       "weft.dev/same-node", "weft.dev/shortcut"};
// Annotations, and a kind that each is for; empty: any.
constexpr std::array<std::pair<std::string_view, std::string_view>, 8> kWeftAnnotations = {
    {{"weft.dev/netns", ""},
     {"weft.dev/fail-mode", "Pod"},
     {"weft.dev/same-node", "PeerAuthentication"},
     {"weft.dev/shortcut", "Pod"},
     {"weft.dev/shortcut", "Namespace"},
     {"weft.dev/rate-limit", "VirtualService"},
     {"weft.dev/rate-limit", "HTTPRoute"},
     {"weft.dev/rate-limit", "GRPCRoute"}}};
constexpr std::array<std::string_view, 1> kCoreVersions = {"v1"};
constexpr std::array<std::string_view, 1> kDiscoveryVersions = {"discovery.k8s.io/v1"};
constexpr std::array<std::string_view, 3> kIstioVersions = {
    "networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3"};
constexpr std::array<std::string_view, 2> kSecurityVersions = {"security.istio.io/v1",
                                                               "security.istio.io/v1beta1"};
constexpr std::array<std::string_view, 2> kGatewayVersions = {"gateway.networking.k8s.io/v1",
                                                              "gateway.networking.k8s.io/v1beta1"};
constexpr std::array<std::string_view, 3> kLayer4Versions = {"gateway.networking.k8s.io/v1",
                                                             "gateway.networking.k8s.io/v1alpha3",
                                                             "gateway.networking.k8s.io/v1alpha2"};

struct KindRow {
  std::string_view kind;  // and, where two API groups have it, what it is called here
  std::span<const std::string_view> versions;
  Object (*parse)(const FieldReader&, ObjectMeta);
  std::string_view identity = {};

  std::string_view name() const { return identity.empty() ? kind : identity; }
  bool has(std::string_view version) const {
    return std::find(versions.begin(), versions.end(), version) != versions.end();
  }
};

const std::array<KindRow, 22> kKinds = {{
    {"Namespace", kCoreVersions,
     [](const FieldReader& r, ObjectMeta m) -> Object { return parse_namespace(r, std::move(m)); }},
    {"Pod", kCoreVersions,
     [](const FieldReader& r, ObjectMeta m) -> Object { return parse_pod(r, std::move(m)); }},
    {"Service", kCoreVersions,
     [](const FieldReader& r, ObjectMeta m) -> Object { return parse_service(r, std::move(m)); }},
    {"EndpointSlice", kDiscoveryVersions,
     [](const FieldReader& r, ObjectMeta m) -> Object { return parse_endpoint_slice(r, std::move(m)); }},
    {"VirtualService", kIstioVersions,
     [](const FieldReader& r, ObjectMeta m) -> Object { return parse_virtual_service(r, std::move(m)); }},
    {"DestinationRule", kIstioVersions,
     [](const FieldReader& r, ObjectMeta m) -> Object { return parse_destination_rule(r, std::move(m)); }},
    {"ServiceEntry", kIstioVersions,
     [](const FieldReader& r, ObjectMeta m) -> Object { return parse_service_entry(r, std::move(m)); }},
    {"WorkloadEntry", kIstioVersions,
     [](const FieldReader& r, ObjectMeta m) -> Object { return parse_workload_entry(r, std::move(m)); }},
    {"Sidecar", kIstioVersions,
     [](const FieldReader& r, ObjectMeta m) -> Object { return parse_sidecar(r, std::move(m)); }},
    {"Node", kCoreVersions, [](const FieldReader&, ObjectMeta m) -> Object { return Node{std::move(m)}; }},
    {"AuthorizationPolicy", kSecurityVersions,
     [](const FieldReader& r, ObjectMeta m) -> Object {
       return parse_authorization_policy(r, std::move(m));
     }},
    {"HTTPRoute", kGatewayVersions,
     [](const FieldReader& r, ObjectMeta m) -> Object { return parse_http_route(r, std::move(m)); }},
    {"GRPCRoute", kGatewayVersions,
     [](const FieldReader& r, ObjectMeta m) -> Object { return parse_grpc_route(r, std::move(m)); }},
    {"TLSRoute", kLayer4Versions,
     [](const FieldReader& r, ObjectMeta m) -> Object { return parse_tls_route(r, std::move(m)); }},
    {"TCPRoute", kLayer4Versions,
     [](const FieldReader& r, ObjectMeta m) -> Object { return parse_tcp_route(r, std::move(m)); }},
    {"Gateway", kGatewayVersions,
     [](const FieldReader& r, ObjectMeta m) -> Object { return parse_api_gateway(r, std::move(m)); }},
    {"Gateway", kIstioVersions,
     [](const FieldReader& r, ObjectMeta m) -> Object { return parse_istio_gateway(r, std::move(m)); },
     "IstioGateway"},
    {"ReferenceGrant", kGatewayVersions,
     [](const FieldReader& r, ObjectMeta m) -> Object { return parse_reference_grant(r, std::move(m)); }},
    {"PeerAuthentication", kSecurityVersions,
     [](const FieldReader& r, ObjectMeta m) -> Object { return parse_peer_authentication(r, std::move(m)); }},
    {"RequestAuthentication", kSecurityVersions,
     [](const FieldReader& r, ObjectMeta m) -> Object {
       return parse_request_authentication(r, std::move(m));
     }},
    // Of one name; see object().
    {"ConfigMap", kCoreVersions,
     [](const FieldReader& r, ObjectMeta m) -> Object { return parse_mesh_config(r, std::move(m)); }},
    {"Secret", kCoreVersions,
     [](const FieldReader& r, ObjectMeta m) -> Object { return parse_secret(r, std::move(m)); }},
}};

bool is_cluster_scoped(std::string_view kind) { return kind == "Namespace" || kind == "Node"; }

// True when the annotation is one of ours, whether it has an effect here or not.
bool known_annotation(const FieldReader& value, std::string_view name, std::string_view kind) {
  std::string_view wanted;
  for (const auto& [known, on] : kWeftAnnotations) {
    if (known != name) continue;
    if (on.empty() || on == kind) return true;
    if (wanted.empty()) wanted = on;
  }
  if (wanted.empty()) return false;
  value.warning(kAnnotationIgnored, str_cat("the annotation has no effect on a ", kind),
                str_cat("put it on a ", wanted));
  return true;
}

// Whether the value is checked here: enabled or disabled.
bool is_switch(std::string_view name, std::string_view map) {
  return (name == "weft.dev/mesh" && map == "labels") ||
         (name == "weft.dev/shortcut" && map == "annotations");
}

void check_switch(const FieldReader& value, std::string_view what) {
  const std::string& word = value.node().scalar;
  if (word == "enabled" || word == "disabled") return;
  value.error(kValueRejected, str_cat("\"", word.substr(0, 64), "\" ", what), "use enabled or disabled");
}

void check_weft_keys(const FieldReader& meta, std::string_view map, std::string_view kind) {
  const auto keys = meta.child(map);
  if (!keys) return;
  for (const YamlField& f : keys->node().fields) {
    if (!f.name.starts_with("weft.dev/")) continue;
    const auto value = keys->child(f.name);
    if (value && is_switch(f.name, map))
      check_switch(*value, map == "labels" ? "is no mesh mode" : "switches nothing on or off");
    if (f.name == "weft.dev/mesh" && map == "labels") continue;
    if (value && !(map == "annotations" && known_annotation(*value, f.name, kind))) {
      const auto guess = nearest(f.name, kWeftKeys);
      value->warning(kUnknownWeftKey,
                     str_cat("Weft knows no such ", map == "labels" ? "label" : "annotation"),
                     guess ? str_cat("did you mean the ",
                                     *guess == "weft.dev/mesh" ? "label " : "annotation ", *guess, "?")
                           : std::string("remove it"));
    }
  }
}

ObjectMeta read_meta(const FieldReader& root, std::string_view kind, const std::string& file, uint32_t line) {
  ObjectMeta out{.kind = std::string(kind), .file = file, .line = line};
  const auto meta = root.child("metadata");
  if (!meta || !meta->expect_map({.read = kMetaRead, .known = kMetaKnown, .strict = false})) return out;
  out.name = meta->required_text("name", "the object's name");
  if (!is_cluster_scoped(kind)) {
    out.ns = meta->text("namespace").value_or("");
    if (out.ns.empty()) out.ns = "default";
    if (!is_dns_label(out.ns)) {
      meta->error_at("namespace", kValueRejected, "not a namespace name",
                     "use lower-case letters, digits and '-'");
    }
  }
  if (out.name.find_first_of("/ \n\t") != std::string::npos || out.name.size() > 253) {
    meta->error_at("name", kValueRejected, "not an object name",
                   "use lower-case letters, digits, '-' and '.'");
  }
  out.generation =
      static_cast<uint32_t>(meta->integer("generation", 0, std::numeric_limits<uint32_t>::max()).value_or(0));
  out.labels = meta->text_map("labels");
  out.annotations = meta->text_map("annotations");
  check_weft_keys(*meta, "labels", kind);
  check_weft_keys(*meta, "annotations", kind);
  if (meta->has("creationTimestamp")) {
    absl::Time created;
    std::string problem;
    const std::string text = meta->child("creationTimestamp")->node().scalar;
    if (absl::ParseTime(absl::RFC3339_full, text, &created, &problem)) {
      out.created_unix = absl::ToUnixSeconds(created);
    } else {
      meta->error_at("creationTimestamp", kValueRejected, "not a time", "write it as 2026-01-31T12:00:00Z");
    }
  }
  return out;
}

class FileParser {
 public:
  FileParser(const std::string& file, ParsedFile& out) : file_(file), out_(out) {}

  void document(const YamlDocument& document) {
    if (!document.error.empty()) {
      Diagnostics diagnostics(file_, out_.findings);
      const bool known = document.over_limit && refuse(document.root, diagnostics);
      diagnostics.error(
          document.over_limit ? kOverLimit : kYamlSyntax, document.error_line, "", document.error,
          document.over_limit ? "split it into several documents with ---" : "correct the YAML");
      if (!known) out_.unknown_documents = true;
      return;
    }
    object(document.root, document.line, "", true);
  }

  void object(const YamlNode& node, uint32_t line, const std::string& path, bool list_allowed) {
    Diagnostics diagnostics(file_, out_.findings);
    const FieldReader root(diagnostics, node, path, line);
    const YamlNode* kind_node = node.find("kind");
    const YamlNode* version_node = node.find("apiVersion");
    if (kind_node == nullptr || version_node == nullptr || kind_node->scalar.empty()) {
      root.error(kNotAnObject, "not a Kubernetes object: apiVersion and kind are needed",
                 "begin the document with apiVersion, kind and metadata");
      out_.unknown_documents = true;
      return;
    }
    const std::string& kind = kind_node->scalar;
    const std::string& version = version_node->scalar;
    if (list_allowed && kind.ends_with("List")) return list(root);
    if (kind == "ConfigMap" && !names_mesh_config(root))
      return unknown_kind(root, kind, version, diagnostics);
    for (const bool any_version : {false, true}) {
      for (const KindRow& row : kKinds) {
        if (row.kind == kind && (any_version || row.has(version)))
          return known_kind(row, root, version, diagnostics, line);
      }
    }
    unknown_kind(root, kind, version, diagnostics);
  }

 private:
  void list(const FieldReader& root) {
    for (const FieldReader& item : root.items("items")) object(item.node(), item.line(), item.path(), false);
  }

  void unknown_kind(const FieldReader& root, const std::string& kind, const std::string& version,
                    Diagnostics& diagnostics) {
    std::vector<std::string_view> names;
    for (const KindRow& row : kKinds) {
      if (row.kind != kind) names.push_back(row.kind);
    }
    const auto guess = nearest(kind, names);
    const YamlNode* meta = root.node().find("metadata");
    const YamlNode* name = meta != nullptr ? meta->find("name") : nullptr;
    diagnostics.set_object(str_cat(kind.substr(0, 64), " ", name != nullptr ? name->scalar : "?"));
    // A near miss in one of our API groups is a typing error; other kinds live in the same folders with good
    // reason.
    diagnostics.warning(
        kKindIgnored, root.line_of("kind"), "kind",
        str_cat(version.substr(0, 64), " ", kind.substr(0, 64), " is ignored: Weft does not read this kind"),
        guess ? str_cat("did you mean \"", *guess, "\"?") : "nothing to do if that was not meant for Weft");
  }

  void known_kind(const KindRow& row, const FieldReader& root, const std::string& version,
                  Diagnostics& diagnostics, uint32_t line) {
    if (!row.has(version)) {
      diagnostics.set_object(std::string(row.kind));
      root.error_at("apiVersion", kApiVersion,
                    str_cat("\"", version.substr(0, 64), "\" has no kind ", row.kind),
                    str_cat("use ", row.versions.front()));
      out_.unknown_documents = true;
      return;
    }
    identify(row.name(), root, diagnostics);
    root.expect_map(root_table());
    ObjectMeta meta = read_meta(root, row.name(), file_, line);
    if (meta.name.empty()) {
      if (diagnostics.errors() == 0)
        root.error_at("metadata", kFieldMissing, "metadata.name is required", "give the object a name");
      out_.unknown_documents = true;
      return;
    }
    const ObjectKey key{meta.kind, meta.ns, meta.name};
    Object parsed = row.parse(root, std::move(meta));
    if (diagnostics.errors() > 0) {
      out_.refused.push_back(key);
    } else {
      out_.objects.push_back(std::move(parsed));
    }
  }

  // Of a document of which no more is known than what it calls itself; false: not that either.
  bool refuse(const YamlNode& named, Diagnostics& diagnostics) {
    const auto text = [&named](const char* outer, const char* inner) -> std::string_view {
      const YamlNode* node = named.find(outer);
      if (node != nullptr && inner != nullptr) node = node->find(inner);
      return node == nullptr ? std::string_view() : std::string_view(node->scalar);
    };
    const std::string_view kind = text("kind", nullptr), name = text("metadata", "name");
    const auto row = std::find_if(kKinds.begin(), kKinds.end(), [&](const KindRow& one) {
      return one.kind == kind && one.has(text("apiVersion", nullptr));
    });
    if (row == kKinds.end() || name.empty()) return false;
    ObjectKey key{std::string(row->name()), "", std::string(name)};
    if (!is_cluster_scoped(row->name())) {
      const std::string_view ns = text("metadata", "namespace");
      key.ns = ns.empty() ? "default" : ns;
    }
    diagnostics.set_object(key.to_string());
    out_.refused.push_back(std::move(key));
    return true;
  }

  static bool names_mesh_config(const FieldReader& root) {
    const YamlNode* meta = root.node().find("metadata");
    const YamlNode* name = meta != nullptr ? meta->find("name") : nullptr;
    const YamlNode* ns = meta != nullptr ? meta->find("namespace") : nullptr;
    return name != nullptr && ns != nullptr && is_mesh_config(ns->scalar, name->scalar);
  }

  // Findings name their object even when its metadata is the problem.
  static void identify(std::string_view kind, const FieldReader& root, Diagnostics& diagnostics) {
    const YamlNode* meta = root.node().find("metadata");
    const YamlNode* name = meta != nullptr ? meta->find("name") : nullptr;
    const YamlNode* ns = meta != nullptr ? meta->find("namespace") : nullptr;
    const std::string prefix =
        is_cluster_scoped(kind) ? "" : str_cat(ns != nullptr ? ns->scalar : "default", "/");
    diagnostics.set_object(str_cat(kind, " ", prefix, name != nullptr ? name->scalar : "?"));
  }

  const std::string& file_;
  ParsedFile& out_;
};

bool over_limit(const std::string& file, std::string_view text, ParsedFile& out) {
  if (text.size() <= kMaxFileBytes) return false;
  Diagnostics(file, out.findings)
      .error(kOverLimit, 0, "", str_cat("a file of ", text.size(), " bytes; the limit is ", kMaxFileBytes),
             "split it into several files");
  out.unknown_documents = true;
  return true;
}

std::array<uint8_t, 32> sha256(std::string_view text) {
  std::array<uint8_t, 32> out{};
  SHA256(reinterpret_cast<const uint8_t*>(text.data()), text.size(), out.data());
  return out;
}

// Two documents define the same object.
bool names_twice(const ParsedFile& file) {
  std::set<ObjectKey> seen(file.kept.begin(), file.kept.end());
  bool twice = seen.size() < file.kept.size();
  for (const Object& object : file.objects) twice = !seen.insert(key_of(object)).second || twice;
  return twice;
}

}  // namespace

ParsedFile parse_file(const std::string& file, std::string_view text) {
  ParsedFile out;
  if (over_limit(file, text, out)) return out;
  FileParser parser(file, out);
  for (const YamlDocument& document : parse_yaml(text)) parser.document(document);
  return out;
}

ParsedFile FileVersions::read(const std::string& file, std::string_view text, const Documents& before,
                              Documents& now) {
  ParsedFile out;
  for (const YamlChunk& chunk : cut_documents(text)) {
    const Version version{chunk.line, sha256(chunk.text)};
    if (const auto known = before.find(version); known != before.end()) {
      const Document& same = known->second;
      out.kept.insert(out.kept.end(), same.objects.begin(), same.objects.end());
      out.refused.insert(out.refused.end(), same.refused.begin(), same.refused.end());
      out.findings.insert(out.findings.end(), same.findings.begin(), same.findings.end());
      out.unknown_documents = out.unknown_documents || same.unknown;
      now.emplace(version, same);
      continue;
    }
    give_way();
    ParsedFile part;
    FileParser(file, part).document(parse_document(chunk));
    Document& made = now[version];
    for (const Object& object : part.objects) made.objects.push_back(key_of(object));
    std::move(part.objects.begin(), part.objects.end(), std::back_inserter(out.objects));
    out.refused.insert(out.refused.end(), part.refused.begin(), part.refused.end());
    out.findings.insert(out.findings.end(), part.findings.begin(), part.findings.end());
    out.unknown_documents = out.unknown_documents || part.unknown_documents;
    made.refused = std::move(part.refused);
    made.unknown = part.unknown_documents;
    made.findings = std::move(part.findings);
  }
  return out;
}

ParsedFile FileVersions::parse(const std::string& file, std::string_view text) {
  ParsedFile out;
  if (over_limit(file, text, out)) return out;
  Documents now;
  out = read(file, text, last_, now);
  if (names_twice(out)) {
    // Which of two documents an object in force came from is not known the next time.
    now.clear();
    out = read(file, text, {}, now);
    now.clear();
  }
  last_ = std::move(now);
  return out;
}

ParsedFile parse_object(const std::string& place, const YamlNode& root) {
  ParsedFile out;
  FileParser(place, out).object(root, root.line, "", false);
  return out;
}

}  // namespace weft::control_plane
