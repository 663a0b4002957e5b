// PeerAuthentication of Istio's security API: the mode of mutual TLS that a workload asks of its callers, as
// a whole and by port.
#include <array>

#include "base/strings.h"
#include "control-plane/resource/parse_object.h"
#include "control-plane/resource/policy_terms.h"

namespace weft::control_plane {
namespace {

using Names = std::string_view;
using Mode = PeerAuthentication::Mode;

constexpr std::array<Names, 3> kSpecRead = {"selector", "mtls", "portLevelMtls"};
constexpr std::array<Names, 1> kSelectorRead = {"matchLabels"};
constexpr std::array<Names, 1> kModeRead = {"mode"};
constexpr char kSameNode[] = "weft.dev/same-node";
constexpr Names kEncrypt = "encrypt";

Mode parse_mode(const FieldReader& mtls) {
  if (!mtls.expect_map({.read = kModeRead, .known = {}})) return Mode::kUnset;
  const std::string mode = mtls.text("mode").value_or("UNSET");
  if (mode == "STRICT") return Mode::kStrict;
  if (mode == "PERMISSIVE" || mode == "DISABLE") return Mode::kPermissive;
  if (mode != "UNSET")
    mtls.error_at("mode", kValueRejected, str_cat("\"", mode.substr(0, 32), "\" is no mode"),
                  "use STRICT, PERMISSIVE, DISABLE or UNSET");
  return Mode::kUnset;
}

void parse_selector(const FieldReader& spec, PeerAuthentication& out) {
  const auto selector = spec.child("selector");
  if (!selector) return;
  if (!expect_full_map(*selector, {.read = kSelectorRead, .known = {}})) return;
  out.selector = selector->text_map("matchLabels");
  if (out.selector.empty()) {
    selector->error(kFieldMissing, "the selector has no labels",
                    "give matchLabels, or remove the selector to reach every pod of the namespace");
  } else if (out.meta.ns == kRootNamespace) {
    selector->warning(kWithoutEffect, "a selector in the root namespace selects nothing, as in Istio",
                      "move the object into the namespace of its pods");
  }
}

void parse_ports(const FieldReader& spec, PeerAuthentication& out) {
  const auto ports = spec.child("portLevelMtls");
  if (!ports) return;
  if (out.selector.empty())
    ports->error(kFieldMissing, "ports are of workloads, and there is no selector",
                 "add selector.matchLabels, or use mtls for all ports");
  for (const YamlField& field : ports->node().fields) {
    const auto port = parse_integer<uint16_t>(field.name);
    const auto mtls = ports->child(field.name);
    if (!port || *port == 0) {
      ports->error_at(field.name, kValueRejected, str_cat("\"", field.name.substr(0, 32), "\" is no port"),
                      "use the number of a port of the pod");
    } else if (mtls) {
      out.ports[*port] = parse_mode(*mtls);
    }
  }
}

void check_same_node(const FieldReader& root, const PeerAuthentication& object) {
  const auto meta = root.child("metadata");
  const auto annotations = meta ? meta->child("annotations") : std::nullopt;
  const auto value = annotations ? annotations->child(kSameNode) : std::nullopt;
  if (!value) return;
  if (value->node().scalar != kEncrypt) {
    value->error(kValueRejected, str_cat("\"", value->node().scalar.substr(0, 32), "\" is nothing to do"),
                 str_cat("use \"", kEncrypt, "\", or remove the annotation"));
  } else if (object.mode != Mode::kStrict) {
    value->warning(kWithoutEffect, "without mtls.mode STRICT nothing has to be encrypted",
                   "set mtls.mode to STRICT, or remove the annotation");
  }
}

}  // namespace

PeerAuthentication parse_peer_authentication(const FieldReader& root, ObjectMeta meta) {
  PeerAuthentication out{.meta = std::move(meta)};
  out.same_node = out.meta.annotations.contains(kSameNode);
  const auto spec = root.child("spec");
  if (!spec) return out;
  if (!spec->expect_map({.read = kSpecRead, .known = {}})) return out;
  parse_selector(*spec, out);
  if (const auto mtls = spec->child("mtls")) out.mode = parse_mode(*mtls);
  parse_ports(*spec, out);
  check_same_node(root, out);
  return out;
}

}  // namespace weft::control_plane
