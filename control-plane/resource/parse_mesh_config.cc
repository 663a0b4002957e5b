// MeshConfig: the text under `mesh` in the ConfigMap `istio`. What Weft does not go by is said once for each
// field, and the rest counts: the same ConfigMap configures Istio beside it.
#include <algorithm>
#include <array>
#include <set>

#include "base/spiffe_id.h"
#include "base/strings.h"
#include "control-plane/resource/measure_fields.h"
#include "control-plane/resource/parse_external_provider.h"
#include "control-plane/resource/parse_object.h"
#include "control-plane/resource/parse_retries.h"
#include "control-plane/resource/parse_traffic_policy.h"

namespace weft::control_plane {
namespace {

namespace pb = weft::mesh::v1;
using Names = std::string_view;

constexpr char kKey[] = "mesh";
constexpr std::array<Names, 8> kRead = {
    "outboundTrafficPolicy", "extensionProviders", "defaultHttpRetryPolicy", "localityLbSetting",
    "pathNormalization",     "connectTimeout",     "rootNamespace",          "trustDomain"};
constexpr std::array<Names, 1> kPolicyRead = {"mode"};
constexpr std::array<Names, 1> kPathRead = {"normalization"};

void parse_outbound(const FieldReader& mesh, MeshConfig& out) {
  const auto policy = mesh.child("outboundTrafficPolicy");
  if (!policy || !policy->expect_map({.read = kPolicyRead, .known = {}})) return;
  // The mode that is not written is the first one of Istio's list.
  const std::string mode = policy->text("mode").value_or("REGISTRY_ONLY");
  out.registry_only = mode == "REGISTRY_ONLY";
  if (*out.registry_only || mode == "ALLOW_ANY") return;
  policy->error_at("mode", kValueRejected, str_cat("\"", mode.substr(0, 32), "\" is no mode that Weft has"),
                   "use ALLOW_ANY or REGISTRY_ONLY");
}

void parse_path(const FieldReader& mesh, MeshConfig& out) {
  const auto path = mesh.child("pathNormalization");
  if (!path || !path->expect_map({.read = kPathRead, .known = {}})) return;
  const std::string level = path->text("normalization").value_or("DEFAULT");
  using Config = pb::MeshConfig;
  constexpr std::array<std::pair<Names, Config::PathNormalization>, 5> kLevels = {
      {{"DEFAULT", Config::PATH_BASE},
       {"NONE", Config::PATH_NONE},
       {"BASE", Config::PATH_BASE},
       {"MERGE_SLASHES", Config::PATH_MERGE_SLASHES},
       {"DECODE_AND_MERGE_SLASHES", Config::PATH_DECODE_AND_MERGE_SLASHES}}};
  for (const auto& [word, value] : kLevels) {
    if (word == level) return out.message.set_path_normalization(value);
  }
  path->error_at("normalization", kValueRejected, str_cat("\"", level.substr(0, 32), "\" is no level"),
                 "use NONE, BASE, MERGE_SLASHES or DECODE_AND_MERGE_SLASHES");
}

void parse_providers(const FieldReader& mesh, MeshConfig& out) {
  std::set<std::string> names;
  for (const FieldReader& entry : mesh.items("extensionProviders")) {
    if (entry.node().kind != YamlNode::Kind::kMap) {
      entry.error(kWrongType, "a provider is a map", "write {name: NAME, envoyExtAuthzGrpc: {…}}");
      continue;
    }
    const std::string name = entry.required_text("name", "the name by which policies call it");
    pb::ExternalProvider provider;
    // A service that says no namespace is where the ConfigMap is.
    if (!parse_external_provider(entry, out.meta.ns, provider)) {
      entry.warning(kMeshFieldIgnored, str_cat("provider \"", name.substr(0, 64), "\" is none of ext_authz"),
                    "nothing to do if it is for Istio alone");
      continue;
    }
    if (!names.insert(name).second)
      entry.error_at("name", kValueRejected, str_cat("\"", name.substr(0, 64), "\" is given twice"),
                     "give each provider a name of its own");
    provider.set_name(name);
    out.places.push_back({name, entry.path(), entry.line()});
    *out.message.add_providers() = std::move(provider);
  }
}

// Both are what they are; a ConfigMap that says otherwise is for another mesh.
void check_fixed(const FieldReader& mesh) {
  const auto root = mesh.child("rootNamespace");
  if (root && root->as_text().value_or(kRootNamespace) != kRootNamespace)
    root->warning(kMeshFieldIgnored, str_cat("the root namespace is always ", kRootNamespace),
                  str_cat("write what is for the whole mesh in ", kRootNamespace));
  const auto domain = mesh.child("trustDomain");
  if (domain && domain->as_text().value_or(kDefaultTrustDomain) != kDefaultTrustDomain)
    domain->warning(kMeshFieldIgnored, str_cat("workloads are of the trust domain ", kDefaultTrustDomain),
                    str_cat("write ", kDefaultTrustDomain, " in policies"));
}

void warn_of_others(const FieldReader& mesh) {
  for (const YamlField& field : mesh.node().fields) {
    if (std::find(kRead.begin(), kRead.end(), field.name) != kRead.end()) continue;
    if (const auto value = mesh.child(field.name))
      value->warning(kMeshFieldIgnored, "Weft does not go by this field",
                     "see docs/traffic.md for the fields that it goes by; nothing to do if it is for Istio");
  }
}

void parse_mesh(const FieldReader& mesh, MeshConfig& out) {
  if (mesh.node().kind != YamlNode::Kind::kMap) {
    mesh.error(kWrongType, "a MeshConfig is a map", "write fields such as \"connectTimeout: 5s\"");
    return;
  }
  parse_outbound(mesh, out);
  parse_providers(mesh, out);
  parse_path(mesh, out);
  check_fixed(mesh);
  out.message.set_connect_timeout_ms(duration_ms(mesh, "connectTimeout", 1).value_or(0));
  if (pb::LocalityBalancing locality; parse_locality(mesh, locality))
    *out.message.mutable_locality() = std::move(locality);
  if (const auto retries = mesh.child("defaultHttpRetryPolicy"))
    parse_retry_policy(*retries, *out.message.mutable_default_retries());
  warn_of_others(mesh);
}

}  // namespace

MeshConfig parse_mesh_config(const FieldReader& root, ObjectMeta meta) {
  MeshConfig out{.meta = std::move(meta), .message = {}, .places = {}, .registry_only = {}};
  const auto data = root.child("data");
  const auto field = data ? data->child(kKey) : std::nullopt;
  const auto text = field ? field->as_text() : std::nullopt;
  if (!text) {
    if (!field)
      root.error_at("data", kFieldMissing, "there is no MeshConfig", "give data.mesh, a text in YAML");
    return out;
  }
  std::vector<YamlDocument> documents = parse_yaml(*text);
  if (documents.empty()) return out;
  if (documents.size() != 1 || !documents.front().error.empty()) {
    field->error(kYamlSyntax, str_cat("the text is no YAML map: ", documents.front().error),
                 "write the fields of a MeshConfig");
    return out;
  }
  YamlNode& mesh = documents.front().root;
  // A block's first line follows its key.
  const uint32_t line = data->line_of(kKey);
  shift_lines(text->find('\n') == std::string::npos ? line - 1 : line, &mesh);
  parse_mesh(field->inside(mesh), out);
  return out;
}

}  // namespace weft::control_plane
