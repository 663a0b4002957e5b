// See workload_stage.h. The order of a step: what follows from objects at once (index, selectors of
// policies), which workloads that is about, these one by one, then what depends on them.
#include "control-plane/compile/workload_stage.h"

#include <algorithm>

#include "absl/hash/hash.h"
#include "base/address.h"
#include "base/courtesy.h"
#include "base/strings.h"
#include "control-plane/compile/local_pods.h"
#include "control-plane/compile/make_resource.h"
#include "proto/weft/mesh/v1/egress.pb.h"

namespace weft::control_plane {
namespace {

namespace pb = istio::workload;

Resource to_resource(const CompiledWorkload& compiled, const EgressModes& egress) {
  pb::Address address;
  *address.mutable_workload() = compiled.workload;
  mesh::v1::WorkloadLabels labels;
  for (const auto& [key, value] : compiled.labels) (*labels.mutable_labels())[key] = value;
  extend(*address.mutable_workload()->mutable_extensions(), "weft.mesh.v1.WorkloadLabels", labels);
  mesh::v1::EgressPolicy policy;
  policy.set_registry_only(egress.registry_only(compiled.workload.namespace_(), compiled.labels));
  policy.set_declared_by_services(compiled.declared_by_services);
  if (policy.registry_only() || policy.declared_by_services())
    extend(*address.mutable_workload()->mutable_extensions(), "weft.mesh.v1.EgressPolicy", policy);
  return make_resource(kAddressType, compiled.workload.uid(), address);
}

uint64_t hash_of(const LocalPod& pod) {
  // One name for each field: a new one does not compile here before it counts.
  const auto& [uid, ns, name, kubelet_uid, netns_path, wants_capture, exclude_ports, exclude_cidrs, fail_mode,
               confined, shortcut, node] = pod;
  return absl::HashOf(uid, ns, name, kubelet_uid, netns_path, wants_capture, exclude_ports, exclude_cidrs,
                      fail_mode, confined, shortcut, node);
}

bool has_named_datagram(const Service& service) {
  return std::any_of(service.datagram_ports.begin(), service.datagram_ports.end(),
                     [](const Service::Port& port) { return !port.target.name.empty(); });
}

}  // namespace

WorkloadStage::WorkloadStage(const Objects& objects, std::string node_name,
                             std::set<std::string> own_namespaces)
    : objects_(objects),
      node_name_(std::move(node_name)),
      index_(objects),
      peers_(objects),
      policies_(objects),
      egress_(objects),
      tunnel_nodes_(std::move(own_namespaces)) {}

void WorkloadStage::apply(const std::vector<ObjectChange>& changes, const ResolvedHosts& resolved,
                          Change* out) {
  StaleUnits stale(objects_, index_);
  for (const ObjectChange& change : changes) index_.take(change);
  for (const ObjectChange& change : changes) {
    stale.note(change);
    namespaces_due_ = namespaces_due_ || change.key.kind == kKindsOf<Namespace>.front();
  }
  stale.note_nodes(note_tunnels(changes));
  stale.add_pods_of_nodes();
  note_datagrams(changes);
  std::set<Unit> due = stale.units();
  renew(stale, resolved, &due);
  for (const Unit& unit : due) {
    give_way();
    compile(unit, out);
  }
  facts_.settle();
  checks_.apply(stale, objects_, facts_);
  tell_denials(stale.policies(), out);
  if (std::exchange(namespaces_due_, false)) set_mesh_namespaces();
}

void WorkloadStage::renew(const StaleUnits& stale, const ResolvedHosts& resolved, std::set<Unit>* due) {
  if (stale.peers()) peers_ = PeerModes(objects_);
  if (stale.selectors()) policies_ = PolicySelectors(objects_);
  if (stale.egress()) egress_ = EgressModes(objects_);
  std::set<std::string> addresses = stale.addresses();
  DeclaredServices before;
  if (stale.declared() || resolved != resolved_) {
    resolved_ = resolved;
    before = std::exchange(declared_, DeclaredServices(objects_, resolved_));
    const DeclaredServices::Difference difference = declared_.compare(before);
    addresses.insert(difference.addresses.begin(), difference.addresses.end());
    due->insert(difference.entries.begin(), difference.entries.end());
    for (const std::string& ns : difference.namespaces) add_rows(facts_.in_namespace(ns), due);
  }
  add_addresses(addresses, before, due);
  for (const std::string& ns : stale.namespaces()) add_rows(facts_.in_namespace(ns), due);
  for (const std::string& key : stale.endpoints_of()) add_rows(facts_.endpoints(key), due);
  if (!stale.everything()) return;
  for (const auto& [unit, row] : rows_) due->insert(unit);
}

void WorkloadStage::add_addresses(const std::set<std::string>& addresses,
                                  const DeclaredServices& old_declared, std::set<Unit>* due) const {
  for (const std::string& address : addresses) {
    due->insert(unit_of_address(address));
    for (Unit& unit : index_.holders(address)) due->insert(std::move(unit));
    if (!declared_.names(address) && !old_declared.names(address)) continue;
    due->insert({Unit::Kind::kDeclared, "", address});
    // Whoever has it by a slice's word.
    for (const EndpointSlice* slice : index_.naming(unit_of_address(address))) {
      for (const EndpointSlice::Endpoint& endpoint : slice->endpoints) {
        if (!endpoint.pod_name.empty()) due->insert({Unit::Kind::kPod, endpoint.pod_ns, endpoint.pod_name});
      }
    }
  }
}

void WorkloadStage::add_rows(const WorkloadFacts::Rows& rows, std::set<Unit>* due) const {
  for (const WorkloadFacts::Row* row : rows) due->insert(*row->unit);
}

void WorkloadStage::compile(const Unit& unit, Change* out) {
  std::optional<CompiledWorkload> workload = compile_workload(unit, objects_, index_);
  declared_.add(unit, index_, &workload);
  const Pod* pod = unit.kind == Unit::Kind::kPod ? find<Pod>(objects_, unit.ns, unit.name) : nullptr;
  if (workload && pod != nullptr && tunnel_nodes_.takes(*pod, wants_capture(*pod, objects_)))
    workload->workload.set_tunnel_protocol(pb::HBONE);
  if (workload) return put(unit, *std::move(workload), out);
  if (const auto row = rows_.find(unit); row != rows_.end()) drop(row, out);
}

void WorkloadStage::put(const Unit& unit, CompiledWorkload workload, Change* out) {
  const auto [at, fresh] = rows_.try_emplace(unit);
  Row& row = at->second;
  if (fresh)
    row.denial = denials_.end();
  else
    facts_.forget(&row.facts);
  const auto denial = peers_.denial_for(workload.workload.namespace_(), workload.labels);
  set_denial(denial, row);
  if (row.denial != denials_.end()) workload.workload.add_authorization_policies(row.denial->first);
  policies_.add_to(workload);
  Resource resource = to_resource(workload, egress_);
  const bool renamed = row.resource && row.resource->name() != resource.name();
  if (renamed) out->removed.emplace_back(kAddressType, std::string(row.resource->name()));
  if (renamed || !row.resource || row.resource->version() != resource.version())
    out->upserted.push_back(resource);
  row.resource = std::move(resource);
  set_facts(at->first, workload, row);
  facts_.learn(&row.facts);
  if (unit.kind == Unit::Kind::kPod) tell_pod(unit, row, out);
}

void WorkloadStage::set_facts(const Unit& unit, const CompiledWorkload& workload, Row& row) {
  row.facts.unit = &unit;
  row.facts.ns = workload.workload.namespace_();
  row.facts.tunnels = workload.workload.tunnel_protocol() == pb::HBONE;
  row.facts.services.clear();
  for (const auto& [key, ports] : workload.workload.services()) row.facts.services.push_back(key);
  row.facts.services.shrink_to_fit();
  // The pod's own, which is there as long as the row: not another copy of each.
  if (const Pod* pod = unit.kind == Unit::Kind::kPod ? find<Pod>(objects_, unit.ns, unit.name) : nullptr)
    row.facts.labels = {std::shared_ptr<const void>(), &pod->meta.labels};
  else
    row.facts.labels = std::make_shared<const WorkloadFacts::Labels>(workload.labels);
}

void WorkloadStage::set_denial(const std::optional<istio::security::Authorization>& policy, Row& row) {
  const auto before = row.denial;
  row.denial = denials_.end();
  if (policy) {
    const std::string name = str_cat(policy->namespace_(), "/", policy->name());
    row.denial = denials_.try_emplace(name).first;
    ++row.denial->second.users;
    if (made_denials_.insert(name).second)
      row.denial->second.now = make_resource(kAuthorizationType, name, *policy);
    touched_denials_.insert(name);
  }
  if (before == denials_.end()) return;
  --before->second.users;
  touched_denials_.insert(before->first);
}

void WorkloadStage::drop(Rows::iterator at, Change* out) {
  Row& row = at->second;
  facts_.forget(&row.facts);
  set_denial(std::nullopt, row);
  count_captured(row, false);
  out->removed.emplace_back(kAddressType, std::string(row.resource->name()));
  if (row.pod != 0 && node_name_ == kAllNodes) out->gone_pods.emplace_back(row.resource->name());
  if (at->first.kind == Unit::Kind::kPod) local_pods_.erase({at->first.ns, at->first.name});
  rows_.erase(at);
}

void WorkloadStage::tell_pod(const Unit& unit, Row& row, Change* out) {
  const Pod& pod = *find<Pod>(objects_, unit.ns, unit.name);
  LocalPod local = local_pod(pod, objects_, egress_);
  count_captured(row, local.wants_capture);
  if (node_name_ != kAllNodes) {
    if (pod.node.empty() || pod.node == node_name_)
      local_pods_.insert_or_assign({unit.ns, unit.name}, std::move(local));
    else
      local_pods_.erase({unit.ns, unit.name});
    return;
  }
  // 0: nothing was told yet.
  const uint64_t hash = std::max<uint64_t>(hash_of(local), 1);
  if (std::exchange(row.pod, hash) != hash) out->changed_pods.push_back(std::move(local));
}

void WorkloadStage::count_captured(Row& row, bool captured) {
  if (std::exchange(row.captured, captured) == captured) return;
  // A pod's workload is in its namespace.
  size_t& count = captured_[row.facts.ns];
  const size_t now = captured ? ++count : --count;
  if (now == 0) captured_.erase(row.facts.ns);
  if (now <= 1) namespaces_due_ = true;
}

void WorkloadStage::tell_denials(const std::set<std::string>& policies, Change* out) {
  for (const std::string& name : policies) {
    if (denials_.contains(name)) touched_denials_.insert(name);
  }
  made_denials_.clear();
  for (const std::string& name : std::exchange(touched_denials_, {})) {
    const auto at = denials_.find(name);
    Denial& denial = at->second;
    const size_t slash = name.find('/');
    // A policy of that very name is told by who compiles policies.
    const bool taken =
        find<AuthorizationPolicy>(objects_, name.substr(0, slash), name.substr(slash + 1)) != nullptr;
    if (denial.users == 0 || taken) {
      if (denial.told && !taken) out->removed.emplace_back(kAuthorizationType, name);
      denial.told.reset();
    } else if (!denial.told || denial.told->version() != denial.now->version()) {
      denial.told = denial.now;
      out->upserted.push_back(*denial.now);
    }
    if (denial.users == 0) denials_.erase(at);
  }
}

void WorkloadStage::begin_asking() {
  news_ = false;
  facts_.begin_asking();
}

std::vector<LocalPod> WorkloadStage::local_pods() const {
  std::vector<LocalPod> out;
  for (const auto& [name, pod] : local_pods_) out.push_back(pod);
  return out;
}

void WorkloadStage::set_mesh_namespaces() {
  std::set<std::string> out;
  for_each<Namespace>(objects_, [&out](const Namespace& ns) {
    if (wants_capture(&ns)) out.insert(ns.meta.name);
  });
  for (const auto& [ns, pods] : captured_) out.insert(ns);
  mesh_namespaces_ = {out.begin(), out.end()};
}

std::set<std::string> WorkloadStage::note_tunnels(const std::vector<ObjectChange>& changes) {
  const auto pod_of = [](const Object* object) {
    return object == nullptr ? nullptr : std::get_if<Pod>(object);
  };
  std::set<std::string> out;
  for (const ObjectChange& change : changes) {
    if (change.key.kind == kKindsOf<Pod>.front())
      tunnel_nodes_.note(pod_of(change.before), pod_of(change.now), &out);
  }
  return out;
}

// Such a port of a Service is what the first of its pods says.
void WorkloadStage::note_datagrams(const std::vector<ObjectChange>& changes) {
  const auto is = [](const ObjectChange& change, const char* kind) { return change.key.kind == kind; };
  if (std::any_of(changes.begin(), changes.end(),
                  [&](const auto& change) { return is(change, "Service"); })) {
    named_datagrams_.clear();
    for_each<Service>(objects_, [this](const Service& service) {
      if (has_named_datagram(service)) named_datagrams_.insert(service.meta.ns);
    });
  }
  if (named_datagrams_.empty()) return;
  news_ = news_ || std::any_of(changes.begin(), changes.end(), [&](const ObjectChange& change) {
            return is(change, "Pod") && named_datagrams_.contains(change.key.ns);
          });
}

}  // namespace weft::control_plane
