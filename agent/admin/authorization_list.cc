// AuthorizationList of authorization_list.h.
#include "agent/admin/authorization_list.h"

#include <algorithm>
#include <charconv>

#include "agent/admin/admin_service.h"
#include "agent/policy/token_rules.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "userspace-proxy/config/explain_policy.h"

namespace weft::agent {
namespace {

constexpr uint16_t kDefaultPort = 80;

// "shop/cart-1:8080" without its port.
absl::StatusOr<uint16_t> take_port(std::string* name) {
  const size_t colon = name->rfind(':');
  if (colon == std::string::npos) return kDefaultPort;
  uint16_t port = 0;
  const char* const end = name->data() + name->size();
  const auto read = std::from_chars(name->data() + colon + 1, end, port);
  if (read.ec != std::errc() || read.ptr != end || port == 0)
    return absl::InvalidArgumentError(str_cat("\"", *name, "\" has no port; expected NAMESPACE/NAME:PORT"));
  name->resize(colon);
  return port;
}

// The first address of the family that the other end has, too.
std::optional<std::pair<IpAddress, IpAddress>> ends_of(const istio::workload::Workload& client,
                                                       const istio::workload::Workload& server) {
  for (const std::string& from : client.addresses()) {
    for (const std::string& to : server.addresses()) {
      const auto source = IpAddress::from_packed(from), destination = IpAddress::from_packed(to);
      if (source && destination && source->is_v4() == destination->is_v4())
        return std::pair(*source, *destination);
    }
  }
  return std::nullopt;
}

void write(const proxy::ExplainedPolicyRule& rule, admin::v1::AuthorizationRule* out) {
  out->set_policy(rule.policy);
  out->set_action(rule.action);
  out->set_dry_run(rule.dry_run);
  out->set_rule(rule.index);
  out->set_matched(rule.matched);
  out->set_file(rule.file);
  out->set_line(rule.line);
}

absl::Status answer(const MeshModel& model, const std::string& node,
                    const admin::v1::AuthorizationRequest& request, admin::v1::AuthorizationReport* out) {
  std::string to = request.to();
  ASSIGN_OR_RETURN(const uint16_t port, take_port(&to));
  ASSIGN_OR_RETURN(const auto from_name, parse_workload_name(request.from()));
  ASSIGN_OR_RETURN(const auto to_name, parse_workload_name(to));
  const auto client = model.find_workload(from_name.first, from_name.second);
  const auto server = model.find_workload(to_name.first, to_name.second);
  out->set_from(str_cat(from_name.first, "/", from_name.second));
  out->set_to(str_cat(to_name.first, "/", to_name.second));
  if (!server)
    return absl::NotFoundError(str_cat("no workload ", out->to(), "; next: weft get workloads -A"));
  if (!client)
    return absl::NotFoundError(str_cat("no workload ", out->from(), "; next: weft get workloads -A"));
  const auto ends = ends_of(*client, *server);
  if (!ends)
    return absl::FailedPreconditionError(str_cat(
        out->from(), " and ", out->to(), " have no addresses of one family; next: weft get workloads"));
  proxy::PolicyQuestion question{
      .connection = {.source = ends->first, .identity = {}, .destination = {ends->second, port}},
      .method = request.method(),
      .target = request.target(),
      .authority = str_cat(to_name.second, ".", to_name.first),
      .headers = {},
      .server_name = request.server_name(),
      .claims = request.claims(),
      .token_rules = rules_for(model.token_rules(), *server)};
  for (const auto& header : request.headers()) question.headers.emplace_back(header.name(), header.value());
  PolicyConnection& connection = question.connection;
  const bool one_node = !server->node().empty() && server->node() == client->node();
  if (one_node || server->tunnel_protocol() == istio::workload::HBONE)
    connection.identity = identity_of(*client);
  else
    out->add_notes(str_cat(out->from(), " is on another node and ", out->to(),
                           " takes no tunnels: nothing proves who it is"));
  if (server->native_tunnel())
    out->add_notes(str_cat(out->to(), " takes tunnels itself: what comes by one its own server judges"));
  if (server->node() != node)
    out->add_notes(str_cat(out->to(), " is on another node, whose agent decides by the same rules"));
  const SelectedPolicies selected = select_policies(*server, model.authorizations());
  ASSIGN_OR_RETURN(const proxy::PolicyExplanation check, proxy::explain_policy(selected, question));
  if (connection.identity) out->set_identity(connection.identity->principal());
  out->set_source(connection.source.to_string());
  out->set_destination(connection.destination.to_string());
  out->set_allowed(check.allowed);
  out->set_verdict(check.verdict);
  for (const proxy::ExplainedPolicyRule& rule : check.rules) write(rule, out->add_rules());
  if (check.rule) write(check.rules[*check.rule], out->mutable_decided());
  for (const std::string& note : check.notes) out->add_notes(note);
  for (const std::string& name : selected.missing) out->add_notes(str_cat("there is no policy ", name));
  return absl::OkStatus();
}

}  // namespace

grpc::Status AuthorizationList::Check(grpc::ServerContext*, const admin::v1::AuthorizationRequest* request,
                                      admin::v1::AuthorizationReport* reply) {
  const auto status = parts_.reconciler.read(
      [&](const Reconciler::View& view) { return answer(view.model, parts_.node_name, *request, reply); });
  if (!status) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "the agent is stopping; next: weft status");
  return to_grpc(*status);
}

}  // namespace weft::agent
