// See edge_list.h. A connection through the proxy is counted at three sockets: the client's, to the service
// that it dialled; the proxy's, to the endpoint; the server's. The client's row makes the edge, the proxy's
// says which way it went, and the server's counts only where the client is not on this node.
#include "agent/admin/edge_list.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "agent/admin/admin_service.h"
#include "agent/policy/l4_policy.h"
#include "agent/policy/token_rules.h"
#include "base/strings.h"
#include "bpf/abi/constants.h"

namespace weft::agent {
namespace {

using Edge = admin::v1::Edge;
using Security = admin::v1::Edge::Security;

constexpr std::chrono::milliseconds kMetricsDeadline{1000};

std::string name_of(uint32_t id, const IdRegistry& ids) {
  if (id == WEFT_ID_OVERFLOW) return "overflow";
  const std::optional<Subject> subject = ids.subject(id);
  return subject ? str_cat(subject->ns, "/", subject->name) : "unknown";
}

// What is known of a workload that is an end of an edge.
struct End {
  std::string node;
  std::string identity;
  bool tunnels = false;
  const MeshWorkload* workload = nullptr;
};

End end_of(const MeshWorkload& workload) {
  const istio::workload::Workload message = whole(workload);
  return {message.node(), identity_of(message).principal(), workload.tunnels && !workload.host_network,
          &workload};
}

class Edges {
 public:
  Edges(const IdRegistry& ids, const MeshModel& model, const std::string& node)
      : ids_(ids), model_(model), node_(node) {}

  void add(const FlowRow& row) {
    const weft_flow_key& key = row.key;
    if (row.total.opened == 0 && row.total.sent_bytes == 0 && row.total.received_bytes == 0) return;
    if (key.direction == WEFT_DIRECTION_PROXY) {
      dialled_[key.source].insert(key.destination);
      return;
    }
    const bool inbound = key.direction == WEFT_DIRECTION_INBOUND;
    // Its client's own row has it.
    if (inbound && is_here(key.source)) return;
    Row& edge = rows_[{name_of(key.source, ids_), name_of(key.destination, ids_), inbound}];
    edge.source = key.source;
    edge.destination = key.destination;
    edge.connections += row.total.opened;
    edge.sent += row.total.sent_bytes;
    edge.received += row.total.received_bytes;
  }

  // Requests are counted under the service, whoever dialled which address of it.
  void add(const proxy::v1::RequestSeries& series) {
    requests_[{str_cat(series.source_namespace(), "/", series.source_workload()),
               str_cat(series.destination_namespace(), "/", series.destination_service())}] +=
        series.requests();
  }

  std::vector<Edge> take() const {
    std::vector<Edge> out;
    for (const auto& [key, row] : rows_) {
      const auto& [source, destination, inbound] = key;
      Edge edge;
      edge.set_source(source);
      edge.set_destination(destination);
      edge.set_connections(row.connections);
      edge.set_sent_bytes(row.sent);
      edge.set_received_bytes(row.received);
      const auto requests = requests_.find({source, destination});
      if (!inbound && requests != requests_.end()) edge.set_requests(requests->second);
      secure(row, inbound, requests != requests_.end(), edge);
      out.push_back(std::move(edge));
    }
    return out;
  }

 private:
  struct Row {
    uint32_t source = 0, destination = 0;
    uint64_t connections = 0, sent = 0, received = 0;
  };

  std::optional<End> workload(uint32_t id) const {
    const std::optional<Subject> subject = ids_.subject(id);
    if (!subject || subject->kind != Subject::Kind::kWorkload) return std::nullopt;
    const MeshWorkload* known = model_.workload(subject->key);
    return known == nullptr ? std::nullopt : std::optional(end_of(*known));
  }

  bool is_here(uint32_t id) const {
    const std::optional<End> end = workload(id);
    return end && !end->node.empty() && end->node == node_;
  }

  // The workloads behind what was dialled, by id: itself, or a service's members.
  std::vector<std::pair<uint32_t, End>> behind(uint32_t id) const {
    if (const std::optional<End> end = workload(id)) return {{id, *end}};
    std::vector<std::pair<uint32_t, End>> out;
    const std::string key(ids_.service_key(id));
    const MeshService* service = key.empty() ? nullptr : model_.service(key);
    if (service == nullptr) return out;
    for (const MeshWorkload* member : service->members)
      out.emplace_back(ids_.find(Subject::Kind::kWorkload, member->uid()), end_of(*member));
    return out;
  }

  // Pods of its own node reach it by tunnels, as they do from other nodes: weft.dev/same-node asks for that,
  // or a policy that judges requests, which it does at a tunnel's end.
  bool takes_tunnels_of_node(const MeshWorkload& workload) const {
    if (workload.encrypts_same_node) return true;
    const istio::workload::Workload message = whole(workload);
    if (any_selects(model_.token_rules(), message)) return true;
    return std::ranges::any_of(select_policies(message, model_.authorizations()).policies,
                               [](const auto* policy) { return asks_about_requests(*policy); });
  }

  // By the rule that the proxy dials by (choose_tunnel of userspace-proxy/exchange/context.h). The kernel
  // begins no TLS.
  Security security_of(const End& from, const End& to, bool proxied) const {
    const bool near = !from.node.empty() && from.node == to.node;
    const bool tunnelled = proxied && to.tunnels && from.workload != to.workload;
    if (!near) return tunnelled ? Edge::MUTUAL_TLS : Edge::PLAIN;
    return tunnelled && from.tunnels && takes_tunnels_of_node(*to.workload) ? Edge::MUTUAL_TLS
                                                                            : Edge::SAME_NODE;
  }

  // `proxied`: the proxy has seen requests of it.
  void secure(const Row& row, bool inbound, bool proxied, Edge& edge) const {
    const std::optional<End> from = workload(row.source);
    std::set<uint32_t> reached;
    if (const auto dialled = dialled_.find(row.source); dialled != dialled_.end()) reached = dialled->second;
    std::set<Security> all, used;
    const auto members = behind(row.destination);
    for (const auto& [id, to] : members) proxied = proxied || reached.contains(id);
    for (const auto& [id, to] : members) {
      if (!from) continue;
      // What comes in from another node's pod came as that node's proxy dials.
      const Security security = security_of(*from, to, inbound ? from->tunnels : proxied);
      all.insert(security);
      if (reached.contains(id)) used.insert(security);
    }
    if (all.empty()) all.insert(Edge::PLAIN);
    edge.set_path(inbound ? "inbound" : proxied ? "proxy" : "direct");
    for (const Security security : used.empty() ? all : used) edge.add_security(security);
    const bool known = std::none_of(edge.security().begin(), edge.security().end(),
                                    [](int security) { return security == Edge::PLAIN; });
    if (from && known) edge.set_identity(from->identity);
  }

  const IdRegistry& ids_;
  const MeshModel& model_;
  const std::string& node_;
  // By source, destination and whether it came in from elsewhere.
  std::map<std::tuple<std::string, std::string, bool>, Row> rows_;
  std::map<std::pair<std::string, std::string>, uint64_t> requests_;  // by source and service
  std::map<uint32_t, std::set<uint32_t>> dialled_;                    // by the proxy, for each source
};

bool is_in(const std::string& name, const std::string& ns) { return name.starts_with(str_cat(ns, "/")); }

}  // namespace

std::vector<Edge> edges_of(const std::vector<FlowRow>& flows, const proxy::v1::Metrics& metrics,
                           const IdRegistry& ids, const MeshModel& model, const std::string& node) {
  Edges edges(ids, model, node);
  for (const proxy::v1::RequestSeries& series : metrics.requests()) edges.add(series);
  for (const FlowRow& row : flows) edges.add(row);
  return edges.take();
}

grpc::Status EdgeList::List(grpc::ServerContext*, const admin::v1::ListEdgesRequest* request,
                            admin::v1::EdgeList* reply) {
  const auto flows = dataplane_.flows();
  if (!flows.ok()) return to_grpc(flows.status());
  const auto metrics = proxy_.metrics(kMetricsDeadline);
  reply->set_proxy_answers(metrics.has_value());
  const auto edges = reconciler_.read([&](const Reconciler::View& view) {
    return edges_of(*flows, metrics.value_or(proxy::v1::Metrics()), view.ids, view.model, node_name_);
  });
  if (!edges) return grpc::Status(grpc::StatusCode::UNAVAILABLE, "the agent is stopping; next: weft status");
  for (const Edge& edge : *edges) {
    const std::string& ns = request->namespace_();
    if (ns.empty() || is_in(edge.source(), ns) || is_in(edge.destination(), ns)) *reply->add_edges() = edge;
  }
  return grpc::Status::OK;
}

}  // namespace weft::agent
