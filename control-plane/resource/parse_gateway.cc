// Gateway of Istio's networking API and of the Gateway API: ports of the node with the hosts that are served
// there. What the proxy cannot serve is a finding, and the other listeners of the object stand.
#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "base/strings.h"
#include "bpf/abi/constants.h"
#include "control-plane/resource/gateway_api.h"
#include "control-plane/resource/gateway_route_parts.h"
#include "control-plane/resource/host_name.h"
#include "control-plane/resource/parse_gateway_tls.h"
#include "control-plane/resource/parse_object.h"

namespace weft::control_plane {
namespace {

using Names = std::string_view;
using Listener = Gateway::Listener;

constexpr std::array<Names, 2> kIstioSpecRead = {"selector", "servers"};
constexpr std::array<Names, 4> kServerRead = {"port", "hosts", "name", "tls"};
constexpr std::array<Names, 2> kServerKnown = {"bind", "defaultEndpoint"};
constexpr std::array<Names, 4> kPortRead = {"number", "name", "protocol", "targetPort"};
// Of tls.mode: TLS ends here.
constexpr std::array<Names, 4> kEnding = {"SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL", "ISTIO_MUTUAL"};
constexpr char kModes[] = "use SIMPLE, MUTUAL, OPTIONAL_MUTUAL, ISTIO_MUTUAL or PASSTHROUGH";
constexpr std::array<Names, 2> kTlsRead = {"mode", "httpsRedirect"};
constexpr std::array<Names, 15> kTlsKnown = {"serverCertificate",     "privateKey",
                                             "caCertificates",        "credentialName",
                                             "credentialNames",       "tlsCertificates",
                                             "caCertCredentialName",  "caCrl",
                                             "subjectAltNames",       "verifyCertificateSpki",
                                             "verifyCertificateHash", "minProtocolVersion",
                                             "maxProtocolVersion",    "cipherSuites",
                                             "insecureSkipVerify"};
constexpr std::array<Names, 2> kApiSpecRead = {"gatewayClassName", "listeners"};
constexpr std::array<Names, 4> kApiSpecKnown = {"addresses", "infrastructure", "allowedListeners", "tls"};
constexpr std::array<Names, 6> kListenerRead = {"name",     "hostname", "port",
                                                "protocol", "tls",      "allowedRoutes"};
constexpr std::array<Names, 4> kListenerTlsRead = {"mode", "certificateRefs", "options",
                                                   "frontendValidation"};
constexpr std::array<Names, 2> kAllowedRead = {"namespaces", "kinds"};
constexpr std::array<Names, 2> kNamespacesRead = {"from", "selector"};
constexpr std::array<Names, 2> kSelectorRead = {"matchLabels", "matchExpressions"};
constexpr std::array<Names, 2> kKindRead = {"group", "kind"};
// What the pods of a Gateway are labelled with where it has some (Gateway API, GEP-1762).
constexpr char kGatewayNameLabel[] = "gateway.networking.k8s.io/gateway-name";
// Capture, tunnels, metrics and health of Weft itself.
constexpr std::array<uint16_t, 5> kOwnPorts = {WEFT_PORT_OUTBOUND, WEFT_PORT_INBOUND, WEFT_PORT_HBONE, 15020,
                                               15021};

// False: reported.
bool check_port(const FieldReader& reader, Names field, uint16_t port) {
  if (std::find(kOwnPorts.begin(), kOwnPorts.end(), port) == kOwnPorts.end()) return true;
  reader.error_at(field, kValueRejected, str_cat("port ", port, " is one of Weft's own"), "use another port");
  return false;
}

// "ns/host", "./host", "*/host", "host"; the host may be "*".
void parse_server_host(const FieldReader& item, const std::string& ns, Listener& out) {
  const auto text = item.as_text();
  if (!text) return;
  const size_t slash = text->find('/');
  Listener::Host host{.ns = "*", .name = absl::AsciiStrToLower(*text)};
  if (slash != std::string::npos) {
    host.ns = text->substr(0, slash);
    host.name = absl::AsciiStrToLower(text->substr(slash + 1));
  }
  if (host.ns == ".") host.ns = ns;
  if ((host.ns != "*" && !is_dns_label(host.ns)) || (host.name != "*" && !is_host_name(host.name))) {
    item.error(
        kValueRejected, str_cat("\"", text->substr(0, 64), "\" is no host"),
        "write it as host, */host, ./host or namespace/host; the host may be \"*\" or begin with \"*.\"");
    return;
  }
  out.hosts.push_back(std::move(host));
}

bool is_one_of(const auto& names, Names name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Nobody is to believe that a plain port is protected.
void refuse_tls_of_plain(const FieldReader& tls, const std::string& protocol) {
  for (const YamlField& field : tls.node().fields) {
    const bool redirects = field.name == "httpsRedirect" && protocol != "TCP";
    if (redirects || (!is_one_of(kTlsRead, field.name) && !is_one_of(kTlsKnown, field.name))) continue;
    tls.error_at(field.name, kValueRejected, str_cat("a server of protocol ", protocol, " speaks no TLS"),
                 "remove it, or use the protocol HTTPS or TLS");
  }
}

// Who passes TLS through has no certificates.
void warn_of_idle_settings(const FieldReader& tls) {
  for (const YamlField& field : tls.node().fields) {
    const auto setting = is_one_of(kTlsKnown, field.name) ? tls.child(field.name) : std::nullopt;
    if (setting)
      setting->warning(kWithoutEffect, "TLS is passed through: the servers behind it decide",
                       "remove it, or know it");
  }
}

// False: not served.
bool parse_server_tls(const FieldReader& server, const std::string& protocol, const std::string& ns,
                      Listener& out) {
  const auto tls = server.child("tls");
  const bool https = protocol == "HTTPS" || protocol == "TLS";
  if (!tls) {
    if (https) server.error_at("tls", kFieldMissing, "a server of this protocol needs tls", "give tls.mode");
    return !https;
  }
  const bool known = tls->expect_map({.read = kTlsRead, .known = {}, .strict = false});
  for (const YamlField& field : tls->node().fields) {
    if (!is_one_of(kTlsRead, field.name) && !is_one_of(kTlsKnown, field.name))
      tls->error_at(field.name, kUnknownField, "unknown field", "correct or remove it");
  }
  if (!known) return false;
  out.https_redirect = tls->boolean("httpsRedirect").value_or(false);
  if (out.https_redirect && https)
    tls->error_at("httpsRedirect", kValueRejected, "it redirects plain HTTP",
                  "move it to the server of protocol HTTP");
  if (!https) {
    refuse_tls_of_plain(*tls, protocol);
    return true;
  }
  const std::string mode = tls->text("mode").value_or("PASSTHROUGH");
  if (mode == "PASSTHROUGH") {
    warn_of_idle_settings(*tls);
    return true;
  }
  out.tls.emplace().opaque = protocol == "TLS";
  if (is_one_of(kEnding, mode)) {
    parse_server_termination(server, *tls, mode, ns, *out.tls);
    return true;
  }
  if (mode == "AUTO_PASSTHROUGH") {
    refuse_handshakes(server, str_cat("tls.mode ", mode), kModes, *out.tls);
    return true;
  }
  tls->error_at("mode", kValueRejected, str_cat("\"", mode.substr(0, 32), "\" is no mode"), kModes);
  return false;
}

// False: not served.
bool parse_server(const FieldReader& server, const std::string& ns, Listener& out) {
  if (!server.expect_map({.read = kServerRead, .known = kServerKnown})) return false;
  const auto port = server.child("port");
  if (!port) {
    server.error_at("port", kFieldMissing, "the field is required", "give number, name and protocol");
    return false;
  }
  if (!port->expect_map({.read = kPortRead, .known = {}})) return false;
  if (!port->has("number"))
    port->error_at("number", kFieldMissing, "the field is required", "give the port's number");
  out.port = static_cast<uint16_t>(port->integer("number", 1, 65535).value_or(0));
  if (!check_port(*port, "number", out.port)) return false;
  out.name = port->required_text("name", "a name of the port");
  const std::string protocol = port->required_text("protocol", "HTTP, HTTP2, GRPC, HTTPS, TLS or TCP");
  for (const FieldReader& item : server.items("hosts")) parse_server_host(item, ns, out);
  if (out.hosts.empty())
    server.error_at("hosts", kFieldMissing, "a server needs at least one host",
                    "give hosts, for example \"*\"");
  if (protocol == "HTTP" || protocol == "HTTP2" || protocol == "GRPC") {
    out.kind = Listener::Kind::kHttp;
  } else if (protocol == "TLS" || protocol == "HTTPS") {
    out.kind = Listener::Kind::kTls;
  } else if (protocol == "TCP") {
    out.kind = Listener::Kind::kTcp;
  } else {
    port->error_at("protocol", kValueRejected, str_cat("\"", protocol.substr(0, 32), "\" is not served"),
                   "use HTTP, HTTP2, GRPC, HTTPS, TLS or TCP");
    return false;
  }
  return parse_server_tls(server, protocol, ns, out);
}

void parse_namespaces(const FieldReader& allowed, Listener& out) {
  const auto namespaces = allowed.child("namespaces");
  if (!namespaces || !namespaces->expect_map({.read = kNamespacesRead, .known = {}})) return;
  const std::string from = namespaces->text("from").value_or("Same");
  if (from == "All") out.from = Listener::From::kAll;
  if (from == "Selector") out.from = Listener::From::kSelector;
  if (from != "All" && from != "Selector" && from != "Same")
    namespaces->error_at("from", kValueRejected,
                         str_cat("\"", from.substr(0, 32), "\" is none of its values"),
                         "use Same, All or Selector");
  const auto selector = namespaces->child("selector");
  if (!selector || !selector->expect_map({.read = kSelectorRead, .known = {}})) return;
  out.selector = selector->text_map("matchLabels");
  if (selector->has("matchExpressions"))
    selector->error_at("matchExpressions", kNotSupportedYet, "expressions are not supported yet",
                       "use matchLabels");
}

// False: not served.
bool parse_listener(const FieldReader& item, const std::string& ns, Listener& out) {
  if (!item.expect_map({.read = kListenerRead, .known = {}})) return false;
  out.name = item.required_text("name", "the listener's name");
  out.port = static_cast<uint16_t>(item.integer("port", 1, 65535).value_or(0));
  if (!check_port(item, "port", out.port)) return false;
  if (!item.has("port"))
    item.error_at("port", kFieldMissing, "the field is required", "give the port's number");
  const std::string hostname = item.text("hostname").value_or("");
  if (!hostname.empty() && !is_host_name(hostname))
    item.error_at("hostname", kValueRejected, str_cat("\"", hostname.substr(0, 64), "\" is no host name"),
                  "use a DNS name, or \"*.\" and a DNS name");
  out.hosts.push_back({.ns = "*", .name = hostname.empty() ? "*" : absl::AsciiStrToLower(hostname)});
  const auto allowed = item.child("allowedRoutes");
  if (allowed && allowed->expect_map({.read = kAllowedRead, .known = {}})) {
    parse_namespaces(*allowed, out);
    for (const FieldReader& kind : allowed->items("kinds")) {
      if (kind.expect_map({.read = kKindRead, .known = {}}))
        out.kinds.push_back(kind.required_text("kind", "a kind of routes"));
    }
  }
  const std::string protocol = item.required_text("protocol", "HTTP, HTTPS, TLS or TCP");
  const auto tls = item.child("tls");
  const bool known = !tls || tls->expect_map({.read = kListenerTlsRead, .known = {}});
  const std::string mode = tls && known ? tls->text("mode").value_or("Terminate") : "Terminate";
  if (tls && (protocol == "HTTP" || protocol == "TCP"))
    item.error_at("tls", kValueRejected, str_cat("a listener of protocol ", protocol, " speaks no TLS"),
                  "remove it, or use the protocol TLS");
  if (protocol == "HTTP") return true;
  if (protocol == "TCP") {
    out.kind = Listener::Kind::kTcp;
    return true;
  }
  out.kind = Listener::Kind::kTls;
  if (protocol == "TLS" && mode == "Passthrough") {
    for (const Names idle : {"certificateRefs", "options", "frontendValidation"}) {
      const auto setting = known ? tls->child(idle) : std::nullopt;
      if (setting)
        setting->warning(kWithoutEffect, "TLS is passed through: the servers behind it decide",
                         "remove it, or know it");
    }
    return true;
  }
  const bool ends = (protocol == "HTTPS" || protocol == "TLS") && mode == "Terminate";
  if (ends || protocol == "HTTPS") {
    out.tls.emplace().opaque = protocol == "TLS";
    if (ends)
      parse_listener_termination(item, ns, *out.tls);
    else
      refuse_handshakes(item, str_cat("protocol HTTPS with mode ", mode.substr(0, 32)),
                        "use the mode Terminate", *out.tls);
    return true;
  }
  item.error_at("protocol", kValueRejected, str_cat("\"", protocol.substr(0, 32), "\" is not served"),
                "use HTTP, HTTPS, TCP or TLS");
  return false;
}

}  // namespace

Gateway parse_istio_gateway(const FieldReader& root, ObjectMeta meta) {
  Gateway out{.meta = std::move(meta), .istio = true, .labels = {}, .listeners = {}};
  const auto spec = root.child("spec");
  if (!spec) {
    root.error_at("spec", kFieldMissing, "the field is required", "give servers");
    return out;
  }
  if (!spec->expect_map({.read = kIstioSpecRead, .known = {}})) return out;
  if (spec->has("selector"))
    spec->warning(kWithoutEffect,
                  "selector chooses no pods: every node that has gateways serves this one; only policies are "
                  "compared with it",
                  "remove it where no policy selects these labels, or know it");
  out.labels = spec->text_map("selector");
  if (spec->items("servers").empty())
    spec->error_at("servers", kFieldMissing, "at least one server is required", "add a port with hosts");
  for (const FieldReader& server : spec->items("servers")) {
    Listener listener;
    listener.line = server.line();
    listener.field = server.path();
    if (parse_server(server, out.meta.ns, listener)) out.listeners.push_back(std::move(listener));
  }
  return out;
}

Gateway parse_api_gateway(const FieldReader& root, ObjectMeta meta) {
  Gateway out{.meta = std::move(meta), .istio = false, .labels = {}, .listeners = {}};
  out.labels.emplace(kGatewayNameLabel, out.meta.name);
  const auto spec = root.child("spec");
  if (!spec) {
    root.error_at("spec", kFieldMissing, "the field is required", "give gatewayClassName and listeners");
    return out;
  }
  const std::string name = spec->required_text("gatewayClassName", "\"weft\" for a Gateway of Weft");
  if (name.empty()) return out;
  if (name != kGatewayClass) {
    spec->warning(kKindIgnored, str_cat("class ", name.substr(0, 64), ": this Gateway is somebody else's"),
                  "nothing to do, or use the class weft");
    return out;
  }
  if (!spec->expect_map({.read = kApiSpecRead, .known = kApiSpecKnown})) return out;
  if (spec->items("listeners").empty())
    spec->error_at("listeners", kFieldMissing, "at least one listener is required",
                   "add a name, a port and a protocol");
  for (const FieldReader& item : spec->items("listeners")) {
    Listener listener;
    listener.line = item.line();
    listener.field = item.path();
    if (parse_listener(item, out.meta.ns, listener)) out.listeners.push_back(std::move(listener));
  }
  return out;
}

}  // namespace weft::control_plane
