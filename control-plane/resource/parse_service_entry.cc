// ServiceEntry (Istio's networking API): hosts outside the mesh, or services made of addresses.
#include <algorithm>
#include <array>
#include <set>

#include "absl/strings/ascii.h"
#include "base/address.h"
#include "base/strings.h"
#include "control-plane/resource/endpoint_address.h"
#include "control-plane/resource/host_name.h"
#include "control-plane/resource/parse_object.h"

namespace weft::control_plane {
namespace {

using Names = std::string_view;
using Resolution = ServiceEntry::Resolution;

constexpr std::array<Names, 9> kSpecRead = {"hosts",    "addresses",        "ports",
                                            "location", "resolution",       "endpoints",
                                            "exportTo", "workloadSelector", "subjectAltNames"};
constexpr std::array<Names, 4> kPortRead = {"number", "name", "protocol", "targetPort"};
constexpr std::array<Names, 7> kEndpointRead = {"address",  "ports",  "labels",        "network",
                                                "locality", "weight", "serviceAccount"};
constexpr std::array<Names, 1> kSelectorRead = {"labels"};
constexpr size_t kMaxWeight = 1'000'000;

bool is_range(const std::string& text) { return text.find('/') != std::string::npos; }

bool is_address(const std::string& text) {
  const size_t slash = text.find('/');
  const auto ip = IpAddress::parse(text.substr(0, slash));
  if (!ip) return false;
  if (slash == std::string::npos) return true;
  const auto length = parse_integer<uint32_t>(std::string_view(text).substr(slash + 1));
  return length && *length <= (ip->is_v4() ? 32u : 128u);
}

Resolution resolution_of(const FieldReader& spec) {
  const std::string text = spec.text("resolution").value_or("NONE");
  if (text == "NONE") return Resolution::kNone;
  if (text == "STATIC") return Resolution::kStatic;
  if (text == "DNS") return Resolution::kDns;
  if (text == "DNS_ROUND_ROBIN") return Resolution::kDnsRoundRobin;
  const bool later = text == "DYNAMIC_DNS";
  spec.error_at("resolution", later ? kNotSupportedYet : kValueRejected,
                str_cat("\"", text.substr(0, 32), later ? "\" is not supported yet" : "\" is no resolution"),
                "use NONE, STATIC, DNS or DNS_ROUND_ROBIN");
  return Resolution::kNone;
}

void parse_hosts(const FieldReader& spec, ServiceEntry& out) {
  std::set<std::string> seen;
  for (const FieldReader& item : spec.items("hosts")) {
    const auto text = item.as_text();
    if (!text) continue;
    const std::string host = absl::AsciiStrToLower(*text);
    if (host == "*" || !is_host_name(host)) {
      item.error(kValueRejected, str_cat("\"", host.substr(0, 64), "\" is no host name"),
                 "use a name such as api.example.com or *.example.com");
    } else if (!seen.insert(host).second) {
      item.error(kValueRejected, str_cat("host ", host, " is given twice"), "keep one of them");
    } else {
      if (host.starts_with("*.") && out.resolves() && !spec.has("endpoints"))
        item.error(kValueRejected, "a wildcard has no address that could be resolved",
                   "use resolution NONE, or give endpoints");
      out.hosts.push_back(host);
    }
  }
  if (out.hosts.empty())
    spec.error_at("hosts", kFieldMissing, "the field is required", "name the hosts of the service");
}

void parse_addresses(const FieldReader& spec, ServiceEntry& out) {
  for (const FieldReader& item : spec.items("addresses")) {
    const auto text = item.as_text();
    if (!text) continue;
    if (!is_address(*text)) {
      item.error(kValueRejected, "not an address", "use an address such as 240.0.0.1, or a range");
    } else if (is_range(*text) && out.resolves()) {
      item.error(kValueRejected, "a range needs resolution NONE or STATIC", "use single addresses");
    }
    out.addresses.push_back(*text);
  }
}

void parse_ports(const FieldReader& spec, ServiceEntry& out) {
  std::set<std::string> names;
  std::set<uint16_t> numbers;
  for (const FieldReader& item : spec.items("ports")) {
    if (!item.expect_map({.read = kPortRead, .known = {}})) continue;
    ServiceEntry::Port port;
    if (!item.has("number"))
      item.error_at("number", kFieldMissing, "the field is required", "give the port that clients dial");
    port.number = static_cast<uint16_t>(item.integer("number", 1, 65535).value_or(0));
    port.name = item.required_text("name", "the port's name");
    port.protocol = item.text("protocol").value_or("");
    port.target = static_cast<uint16_t>(item.integer("targetPort", 1, 65535).value_or(0));
    if (!numbers.insert(port.number).second || !names.insert(port.name).second)
      item.error(kValueRejected, "a port is given twice", "give each port its own number and name");
    out.ports.push_back(std::move(port));
  }
  if (out.ports.empty())
    spec.error_at("ports", kFieldMissing, "the field is required", "give the ports that clients dial");
}

void parse_endpoint_ports(const FieldReader& item, const ServiceEntry& entry, ServiceEntry::Endpoint& out) {
  const auto ports = item.child("ports");
  if (!ports || ports->node().kind != YamlNode::Kind::kMap) return;
  for (const YamlField& field : ports->node().fields) {
    const bool known = std::any_of(entry.ports.begin(), entry.ports.end(),
                                   [&](const auto& port) { return port.name == field.name; });
    if (!known)
      ports->error_at(field.name, kValueRejected, str_cat("the entry has no port named ", field.name),
                      "use a name of spec.ports");
    out.ports[field.name] = static_cast<uint16_t>(ports->integer(field.name, 1, 65535).value_or(0));
  }
}

void parse_endpoints(const FieldReader& spec, ServiceEntry& out) {
  std::set<std::string> addresses;
  for (const FieldReader& item : spec.items("endpoints")) {
    if (!item.expect_map({.read = kEndpointRead, .known = {}})) continue;
    ServiceEntry::Endpoint endpoint;
    endpoint.address = item.required_text("address", "an address, or a name that is resolved");
    const auto ip = IpAddress::parse(endpoint.address);
    if (ip && !is_endpoint_address(*ip))
      item.warning(kWithoutEffect,
                   str_cat(endpoint.address, " is another machine for every client: it is left out"),
                   "give an address that means the same everywhere");
    if (!addresses.insert(endpoint.address).second)
      item.warning(kWithoutEffect, str_cat(endpoint.address, " is given twice: the first stands"),
                   "keep one of them, or make the second an entry with a host of its own");
    if (!endpoint.address.empty() && !ip && !(out.resolves() && is_host_name(endpoint.address)))
      item.error_at("address", kValueRejected, "not an address",
                    out.resolves() ? "use an address or a host name" : "use an address, or resolution DNS");
    parse_endpoint_ports(item, out, endpoint);
    endpoint.labels = item.text_map("labels");
    endpoint.locality = item.text("locality").value_or("");
    endpoint.weight = static_cast<uint32_t>(item.integer("weight", 0, kMaxWeight).value_or(1));
    endpoint.service_account = item.text("serviceAccount").value_or("");
    out.endpoints.push_back(std::move(endpoint));
  }
}

// Of what is neither HTTP nor TLS nothing says which of the hosts is meant; where it was dialled needs no
// host.
void check_hosts_apart(const FieldReader& spec, const ServiceEntry& out) {
  static constexpr std::array<Names, 4> kNameless = {"TCP", "MONGO", "MYSQL", "REDIS"};
  if (out.hosts.size() < 2 || out.resolution == Resolution::kNone) return;
  for (const ServiceEntry::Port& port : out.ports) {
    const std::string protocol = absl::AsciiStrToUpper(port.protocol);
    if (std::find(kNameless.begin(), kNameless.end(), protocol) == kNameless.end()) continue;
    spec.error_at(
        "hosts", kValueRejected,
        str_cat("port ", port.number, " is ", protocol, ", which does not name the host that is meant"),
        "make each host an entry of its own, or use resolution NONE");
    return;
  }
}

void check_together(const FieldReader& spec, const ServiceEntry& out) {
  if (!out.selector.empty() && !out.endpoints.empty())
    spec.error_at("endpoints", kValueRejected, "endpoints and workloadSelector exclude one another",
                  "keep one of the two");
  if (out.resolution == Resolution::kNone && (!out.endpoints.empty() || !out.selector.empty()))
    spec.error_at("endpoints", kValueRejected, "resolution NONE sends to where the client wanted to",
                  "use STATIC or DNS, or remove the endpoints");
  if (out.resolution == Resolution::kStatic && out.endpoints.empty() && out.selector.empty())
    spec.error_at("endpoints", kFieldMissing, "resolution STATIC needs endpoints",
                  "give endpoints or a workloadSelector");
  if (out.resolution == Resolution::kDnsRoundRobin && out.endpoints.size() > 1)
    spec.error_at("endpoints", kValueRejected, "DNS_ROUND_ROBIN has one endpoint at most", "use DNS");
  if (!spec.items("subjectAltNames").empty())
    spec.warning(kTlsNotOriginated, "subjectAltNames of a ServiceEntry are not checked",
                 "give them in tls of a DestinationRule for the host");
}

}  // namespace

ServiceEntry parse_service_entry(const FieldReader& root, ObjectMeta meta) {
  ServiceEntry out{.meta = std::move(meta)};
  const auto spec = root.child("spec");
  if (!spec) {
    root.error_at("spec", kFieldMissing, "the field is required", "give hosts, ports and resolution");
    return out;
  }
  if (!spec->expect_map({.read = kSpecRead, .known = {}})) return out;
  out.resolution = resolution_of(*spec);
  const std::string location = spec->text("location").value_or("MESH_EXTERNAL");
  // The two make no difference: whether a connection is a tunnel is decided by what the endpoint takes.
  if (location != "MESH_EXTERNAL" && location != "MESH_INTERNAL")
    spec->error_at("location", kValueRejected, str_cat("\"", location.substr(0, 32), "\" is no location"),
                   "use MESH_EXTERNAL or MESH_INTERNAL");
  parse_hosts(*spec, out);
  parse_addresses(*spec, out);
  parse_ports(*spec, out);
  parse_endpoints(*spec, out);
  const auto selector = spec->child("workloadSelector");
  if (selector && selector->expect_map({.read = kSelectorRead, .known = {}})) {
    out.selector = selector->text_map("labels");
    if (out.selector.empty())
      selector->error_at("labels", kFieldMissing, "the field is required", "give the pods' labels");
  }
  out.export_to = parse_export_to(*spec, out.meta.ns, out.hidden);
  check_together(*spec, out);
  check_hosts_apart(*spec, out);
  return out;
}

}  // namespace weft::control_plane
