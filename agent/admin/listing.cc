// From protobuf resources to table rows; see listing.h. Called by the admin service; decides nothing.
#include "agent/admin/listing.h"

#include <algorithm>
#include <map>
#include <set>

#include "agent/mesh/kernel_plan.h"
#include "agent/policy/token_rules.h"
#include "base/strings.h"

namespace weft::agent {
namespace {

using istio::workload::Service;
using istio::workload::Workload;

// The request's name may carry a namespace of its own: "shop/cart".
struct Filter {
  std::string ns;
  std::string name;

  explicit Filter(const admin::v1::ListRequest& request) : ns(request.namespace_()), name(request.name()) {
    const size_t slash = name.find('/');
    if (slash == std::string::npos) return;
    ns = name.substr(0, slash);
    name = name.substr(slash + 1);
  }
  bool accepts(const std::string& row_ns, const std::string& row_name,
               const std::string& row_host = "") const {
    if (!ns.empty() && ns != row_ns) return false;
    return name.empty() || name == row_name || name == row_host;
  }
};

std::string ip_text(const std::string& packed) {
  const std::optional<IpAddress> ip = IpAddress::from_packed(packed);
  return ip.has_value() ? ip->to_string() : "?";
}

std::string protocol_text(const Service& service, const istio::workload::Port& port) {
  for (const auto& extension : service.extensions()) {
    mesh::v1::ServicePorts ports;
    if (extension.name() != "weft.mesh.v1.ServicePorts" || !extension.config().UnpackTo(&ports)) continue;
    for (const auto& declared : ports.ports()) {
      if (declared.number() != port.service_port() || declared.protocol() == mesh::v1::PROTOCOL_UNSPECIFIED)
        continue;
      return mesh::v1::Protocol_Name(declared.protocol()).substr(9);
    }
  }
  if (port.app_protocol() == istio::workload::UNKNOWN) return "auto";
  return port.app_protocol() == istio::workload::HTTP11
             ? "HTTP"
             : istio::workload::AppProtocol_Name(port.app_protocol());
}

std::string string_match_text(const mesh::v1::StringMatch& match) {
  if (match.has_exact()) return str_cat("=", match.exact());
  if (match.has_prefix()) return str_cat("=", match.prefix(), "*");
  if (match.has_regex()) return str_cat("~", match.regex());
  return " present";
}

std::string match_text(const mesh::v1::HttpMatch& match) {
  std::vector<std::string> parts;
  if (match.has_uri()) {
    const auto& uri = match.uri();
    if (uri.has_prefix())
      parts.push_back(str_cat("prefix ", uri.prefix()));
    else if (uri.has_regex())
      parts.push_back(str_cat("regex ", uri.regex()));
    else if (uri.has_segments())
      parts.push_back(str_cat("below ", uri.segments()));
    else
      parts.push_back(str_cat("path ", uri.exact()));
  }
  if (match.has_scheme()) parts.push_back(str_cat("scheme", string_match_text(match.scheme())));
  if (match.has_method()) parts.push_back(str_cat("method", string_match_text(match.method())));
  if (match.has_authority()) parts.push_back(str_cat("host", string_match_text(match.authority())));
  for (const auto& h : match.headers())
    parts.push_back(str_cat("header ", h.name(), string_match_text(h.value())));
  for (const auto& h : match.without_headers())
    parts.push_back(str_cat("without ", h.name(), string_match_text(h.value())));
  for (const auto& q : match.query_params())
    parts.push_back(str_cat("query ", q.name(), string_match_text(q.value())));
  if (match.port() != 0) parts.push_back(str_cat("port ", match.port()));
  if (!match.source_namespace().empty()) parts.push_back(str_cat("from ", match.source_namespace()));
  for (const auto& [key, value] : match.source_labels()) parts.push_back(str_cat("from ", key, "=", value));
  std::string out;
  for (const std::string& part : parts) str_append(&out, out.empty() ? "" : ", ", part);
  return out.empty() ? "any" : out;
}

std::string match_text(const mesh::v1::L4Match& match) {
  std::vector<std::string> parts;
  for (const std::string& name : match.sni_hosts()) parts.push_back(str_cat("server ", name));
  for (const std::string& subnet : match.destination_subnets()) parts.push_back(str_cat("to ", subnet));
  if (match.port() != 0) parts.push_back(str_cat("port ", match.port()));
  if (!match.source_namespace().empty()) parts.push_back(str_cat("from ", match.source_namespace()));
  for (const auto& [key, value] : match.source_labels()) parts.push_back(str_cat("from ", key, "=", value));
  std::string out;
  for (const std::string& part : parts) str_append(&out, out.empty() ? "" : ", ", part);
  return out.empty() ? "any" : out;
}

std::string shares_text(const google::protobuf::RepeatedPtrField<mesh::v1::Destination>& destinations) {
  uint64_t total = 0;
  for (const auto& d : destinations) total += d.weight();
  std::string out;
  for (const auto& d : destinations) {
    const std::string name = d.subset().empty() ? d.host().substr(0, d.host().find('.')) : d.subset();
    str_append(&out, out.empty() ? "" : ", ", d.invalid() ? "invalid" : name);
    if (total != 0) str_append(&out, " ", d.weight() * 100 / total, "%");
  }
  return out.empty() ? "none" : out;
}

std::string destinations_text(const mesh::v1::HttpRoute& route) {
  if (route.has_redirect()) return str_cat("redirect ", route.redirect().code());
  if (route.has_direct_response()) return str_cat("answer ", route.direct_response().status());
  return shares_text(route.destinations());
}

std::string destinations_text(const mesh::v1::L4Route& route) { return shares_text(route.destinations()); }

// Of HTTP, of TLS or of TCP.
template <typename Route>
void add_route(const std::string& resource, const mesh::v1::RouteSet& set, const Route& route,
               admin::v1::RouteList& out) {
  admin::v1::RouteRow* row = out.add_routes();
  row->set_resource(resource);
  row->set_namespace_(set.namespace_());
  row->set_name(route.name().empty() ? set.name() : str_cat(set.name(), "/", route.name()));
  for (const std::string& host : set.hosts()) row->add_hosts(host);
  std::string matches;
  for (const auto& match : route.matches())
    str_append(&matches, matches.empty() ? "" : " or ", match_text(match));
  row->set_match(matches.empty() ? "any" : matches);
  row->set_destinations(destinations_text(route));
  *row->mutable_origin() = route.has_origin() ? route.origin() : set.origin();
}

// One set is made of all Gateway API routes of a Service's port, and is called as the Service.
bool comes_from(const mesh::v1::RouteSet& set, const Filter& filter) {
  const auto is_named = [&](const auto& route) {
    return filter.accepts(route.origin().namespace_(), route.origin().name());
  };
  return !filter.name.empty() && (std::any_of(set.http().begin(), set.http().end(), is_named) ||
                                  std::any_of(set.tls().begin(), set.tls().end(), is_named) ||
                                  std::any_of(set.tcp().begin(), set.tcp().end(), is_named));
}

// The lists of workloads tell ports apart by number, UDP or not.
uint32_t datagram_target(const istio::workload::PortList& of_workload,
                         const mesh::v1::ServicePorts::DatagramPort& port) {
  istio::workload::Port out;
  out.set_service_port(port.number());
  out.set_target_port(port.target_port());
  return target_port(of_workload, out);
}

void add_endpoints(const std::string& key, const Service& service, const Workload& workload,
                   admin::v1::EndpointList* out) {
  const auto member = workload.services().find(key);
  if (member == workload.services().end()) return;
  // A target that several ports share, as TCP and UDP of a name server, is one endpoint.
  std::set<uint32_t> targets;
  for (const auto& port : service.ports()) targets.insert(target_port(member->second, port));
  const auto extension = service_extension(service);
  for (const auto& port : extension.datagram_ports()) targets.insert(datagram_target(member->second, port));
  for (const uint32_t target : targets) {
    for (const std::string& packed : workload.addresses()) {
      const std::optional<IpAddress> ip = IpAddress::from_packed(packed);
      if (!ip.has_value()) continue;
      admin::v1::EndpointRow* row = out->add_endpoints();
      row->set_namespace_(service.namespace_());
      row->set_service(service.name());
      row->set_address(SocketAddress{*ip, static_cast<uint16_t>(target)}.to_string());
      row->set_workload(workload.name());
      row->set_node(workload.node());
      row->set_weight(workload.has_capacity() ? workload.capacity().value() : 1);
      row->set_state(workload.status() == istio::workload::HEALTHY ? "ready" : "unhealthy");
      for (const auto& [label, value] : labels_of(workload)) (*row->mutable_labels())[label] = value;
    }
  }
}

void describe_capture(const Pod* pod, admin::v1::WorkloadRow* row) {
  if (pod == nullptr) {
    row->set_capture("not enrolled");
    return;
  }
  row->set_capture(pod->state == Pod::State::kCaptured ? "captured" : str_cat("pending: ", pod->reason));
  row->set_netns_cookie(pod->netns_cookie);
  row->set_netns_path(pod->netns_path);
}

}  // namespace

std::string match_text(const mesh::v1::HttpRoute& route) {
  std::string out;
  for (const auto& match : route.matches()) str_append(&out, out.empty() ? "" : " or ", match_text(match));
  return out.empty() ? "any" : out;
}

admin::v1::ServiceList list_services(const Reconciler::View& view, const admin::v1::ListRequest& request) {
  const Filter filter(request);
  admin::v1::ServiceList out;
  for (const MeshService* known : view.model.services()) {
    const Service service = whole(*known);
    if (!filter.accepts(service.namespace_(), service.name(), service.hostname())) continue;
    admin::v1::ServiceRow* row = out.add_services();
    row->set_namespace_(service.namespace_());
    row->set_name(service.name());
    row->set_hostname(service.hostname());
    for (const auto& address : service.addresses()) row->add_addresses(ip_text(address.address()));
    for (const auto& port : service.ports()) {
      const uint32_t target = port.target_port() != 0 ? port.target_port() : port.service_port();
      row->add_ports(str_cat(port.service_port(), "/", protocol_text(service, port), "->", target));
    }
    const auto extension = service_extension(service);
    for (const auto& port : extension.datagram_ports()) {
      const uint32_t target = port.target_port() != 0 ? port.target_port() : port.number();
      row->add_ports(str_cat(port.number(), "/UDP->", target));
    }
    row->set_endpoints(static_cast<uint32_t>(known->members.size()));
  }
  return out;
}

admin::v1::EndpointList list_endpoints(const Reconciler::View& view, const admin::v1::ListRequest& request) {
  const Filter filter(request);
  admin::v1::EndpointList out;
  for (const MeshService* known : view.model.services()) {
    const Service service = whole(*known);
    if (!filter.accepts(service.namespace_(), service.name(), service.hostname())) continue;
    for (const MeshWorkload* member : known->members)
      add_endpoints(known->key(), service, whole(*member), &out);
  }
  return out;
}

admin::v1::WorkloadList list_workloads(const Reconciler::View& view, const admin::v1::ListRequest& request) {
  const Filter filter(request);
  admin::v1::WorkloadList out;
  std::set<std::string> listed;
  for (const MeshWorkload* known : view.model.workloads()) {
    const Workload workload = whole(*known);
    listed.insert(str_cat(workload.namespace_(), "/", workload.name()));
    if (!filter.accepts(workload.namespace_(), workload.name())) continue;
    admin::v1::WorkloadRow* row = out.add_workloads();
    row->set_namespace_(workload.namespace_());
    row->set_name(workload.name());
    row->set_uid(known->uid());
    for (const std::string& packed : workload.addresses()) row->add_addresses(ip_text(packed));
    row->set_node(workload.node());
    row->set_service_account(workload.service_account().empty() ? "default" : workload.service_account());
    describe_capture(view.pods.find(str_cat(workload.namespace_(), "/", workload.name())), row);
  }
  // Pods that only the CLI knows.
  for (const auto& [key, pod] : view.pods.pods()) {
    if (listed.contains(key) || !filter.accepts(pod.ns, pod.name)) continue;
    admin::v1::WorkloadRow* row = out.add_workloads();
    row->set_namespace_(pod.ns);
    row->set_name(pod.name);
    row->set_uid(pod.uid);
    describe_capture(&pod, row);
  }
  return out;
}

admin::v1::RouteList list_routes(const Reconciler::View& view, const admin::v1::ListRequest& request) {
  const Filter filter(request);
  admin::v1::RouteList out;
  for (const auto& [key, set] : view.model.routes()) {
    bool accepted = filter.accepts(set.namespace_(), set.name());
    for (const std::string& host : set.hosts())
      accepted = accepted || filter.accepts(set.namespace_(), host.substr(0, host.find('.')), host);
    accepted = accepted || comes_from(set, filter);
    if (!accepted) continue;
    for (const auto& route : set.http()) add_route(key, set, route, out);
    for (const auto& route : set.tls()) add_route(key, set, route, out);
    for (const auto& route : set.tcp()) add_route(key, set, route, out);
  }
  return out;
}

}  // namespace weft::agent
