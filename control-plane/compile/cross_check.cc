// What is suspicious only when several objects are seen together; see compiler.h. Nothing here refuses
// anything: the parts of one change often arrive one after the other.
#include <algorithm>
#include <set>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/address.h"
#include "base/strings.h"
#include "base/suggest.h"
#include "control-plane/compile/authorization.h"
#include "control-plane/compile/compiler.h"
#include "control-plane/compile/gateway_checks.h"
#include "control-plane/compile/gateway_policies.h"
#include "control-plane/compile/route_backends.h"
#include "control-plane/compile/workload_facts.h"
#include "control-plane/resource/certificate_paths.h"
#include "control-plane/resource/finding_codes.h"
#include "control-plane/resource/host_name.h"

namespace weft::control_plane {
namespace {

class Checks {
 public:
  Checks(const Objects& objects, const WorkloadFacts& facts, const KindStamps& stamps, Remembered& remembered)
      : objects_(objects), facts_(facts), stamps_(stamps), remembered_(remembered) {}

  std::vector<Finding> run() {
    for_each<ServiceEntry>(objects_, [this](const ServiceEntry& e) {
      if (!e.hidden) entry_hosts_.insert(e.hosts.begin(), e.hosts.end());
    });
    for_each<DestinationRule>(objects_, [this](const DestinationRule& d) { rules_.push_back(&d); });
    for_each<DestinationRule>(objects_, [this](const DestinationRule& d) { check_rule(d); });
    for_each<VirtualService>(objects_, [this](const VirtualService& v) { add_owner(v); });
    for_each<VirtualService>(objects_, [this](const VirtualService& v) { check_routes(v); });
    for_each<AuthorizationPolicy>(objects_, [this](const AuthorizationPolicy& a) { check_policy(a); });
    for_each<RequestAuthentication>(objects_, [this](const RequestAuthentication& r) { check_tokens(r); });
    for_each<PeerAuthentication>(objects_, [this](const PeerAuthentication& p) { check_peers(p); });
    for_each<Sidecar>(objects_, [this](const Sidecar& s) { check_sidecar(s); });
    for_each<WorkloadEntry>(objects_, [this](const WorkloadEntry& w) { check_machine(w); });
    for_each<ServiceEntry>(objects_, [this](const ServiceEntry& e) { check_entry(e); });
    return std::move(findings_);
  }

 private:
  void warn(const char* code, const ObjectMeta& meta, uint32_t line, const std::string& field,
            std::string message, std::string remedy) {
    warn_about(meta, code, line, field, std::move(message), std::move(remedy), &findings_);
  }

  // Nobody takes over what another has.
  void check_entry(const ServiceEntry& entry) {
    if (entry.hidden) return;
    for (const std::string& host : entry.hosts) {
      if (const Service* service = find_service(objects_, host)) {
        warn(kHostTaken, entry.meta, entry.meta.line, "spec.hosts",
             str_cat("host ", host, " is Service ", service->meta.ns, "/", service->meta.name,
                     ": the entry adds nothing to it"),
             "use a host that is no Service's");
        continue;
      }
      const auto [row, first] = entry_of_.try_emplace({entry.meta.ns, host}, &entry);
      if (first) continue;
      warn(kHostTaken, entry.meta, entry.meta.line, "spec.hosts",
           str_cat("host ", host, " has the ports and addresses of ServiceEntry ", row->second->meta.ns, "/",
                   row->second->meta.name, ": this one adds its endpoints only"),
           "merge the two, or use another host");
    }
    for (const ServiceEntry::Endpoint& endpoint : entry.endpoints) check_endpoint(entry, endpoint);
  }

  // A machine is one workload, whoever names it.
  void check_endpoint(const ServiceEntry& entry, const ServiceEntry::Endpoint& endpoint) {
    const auto [first, fresh] = endpoints_.try_emplace(endpoint.address, &entry, &endpoint);
    const auto& [other, known] = first->second;
    if (fresh || other == &entry) return;
    const auto traits = [](const ServiceEntry::Endpoint& e) {
      return std::tie(e.labels, e.weight, e.locality, e.service_account);
    };
    if (traits(*known) == traits(endpoint)) return;
    warn(kWithoutEffect, entry.meta, entry.meta.line, "spec.endpoints",
         str_cat(endpoint.address, " has labels, weight, locality and serviceAccount of ServiceEntry ",
                 other->meta.ns, "/", other->meta.name),
         "give it the same in both");
  }

  void check_peers(const PeerAuthentication& object) {
    if (object.selector.empty() || object.meta.ns == kRootNamespace) return;
    if (facts_.any(object.meta.ns, object.selector)) return;
    warn(kPolicySelectsNothing, object.meta, object.meta.line, "spec.selector",
         "no pod has the selector's labels", "compare the selector with the pods' labels");
  }

  void check_tokens(const RequestAuthentication& object) {
    const std::map<std::string, std::string> selector(object.message.selector().begin(),
                                                      object.message.selector().end());
    if (!object.gateways.empty()) return check_targets(object.meta, object.gateways);
    if (selector.empty() || selects_gateway(object)) return;
    if (facts_.any(object.message.every_namespace() ? "" : object.meta.ns, selector)) return;
    warn(kPolicySelectsNothing, object.meta, object.meta.line, "spec.selector",
         "no pod and no gateway has the selector's labels",
         "compare the selector with the labels of pods, and with the selectors of Gateways");
  }

  template <typename T>
  bool selects_gateway(const T& object) const {
    bool any = false;
    for_each<Gateway>(objects_, [&](const Gateway& gateway) { any = any || selects(object, gateway); });
    return any;
  }

  // Gateways of the Gateway API, of the object's namespace.
  void check_targets(const ObjectMeta& meta, const std::vector<std::string>& gateways) {
    for (const std::string& name : gateways) {
      if (find_gateway(objects_, "Gateway", meta.ns, name) != nullptr) continue;
      warn(kReferenceMissing, meta, meta.line, "spec.targetRefs",
           str_cat("Gateway ", meta.ns, "/", name, " is unknown"), "add it, or correct the name");
    }
  }

  void check_sidecar(const Sidecar& object) {
    if (object.selector.empty()) {
      const auto [first, fresh] = sidecar_of_.try_emplace(object.meta.ns, &object);
      if (!fresh)
        warn(kWithoutEffect, object.meta, object.meta.line, "spec",
             str_cat("Sidecar ", first->second->meta.name,
                     " is for the whole namespace too: of the two the older counts, then the name"),
             "merge the two");
      return;
    }
    if (facts_.any(object.meta.ns, object.selector)) return;
    warn(kPolicySelectsNothing, object.meta, object.meta.line, "spec.workloadSelector",
         "no pod has the selector's labels", "compare the selector with the pods' labels");
  }

  // Is in nothing, or is somebody else.
  void check_machine(const WorkloadEntry& object) {
    const bool by_name = !IpAddress::parse(object.endpoint.address);
    bool wanted = false;
    const auto wants = [&](const ObjectMeta& meta, const std::map<std::string, std::string>& selector) {
      wanted = wanted || (meta.ns == object.meta.ns && selects(selector, object.endpoint.labels));
    };
    for_each<ServiceEntry>(objects_, [&](const ServiceEntry& e) {
      if (!by_name || e.resolves()) wants(e.meta, e.selector);
    });
    if (!by_name) for_each<Service>(objects_, [&](const Service& s) { wants(s.meta, s.selector); });
    if (!wanted) {
      warn(kWithoutEffect, object.meta, object.meta.line, "spec.labels",
           by_name ? "no ServiceEntry with resolution DNS selects the labels, and the address is a name"
                   : "no Service and no ServiceEntry selects the labels",
           "compare the labels with the selectors of its namespace");
    } else if (!by_name && !facts_.has_entry(object.meta)) {
      warn(kWithoutEffect, object.meta, object.meta.line, "spec.address",
           str_cat(object.endpoint.address, " is the address of a pod or of another WorkloadEntry, or of no ",
                   "single machine: that one counts"),
           "keep one of them");
    }
  }

  void check_policy(const AuthorizationPolicy& policy) {
    if (!policy.gateways.empty()) check_targets(policy.meta, policy.gateways);
    if (policy.selector.empty() && policy.services.empty()) return;
    if (!policy.selector.empty() && selects_gateway(policy)) return;
    if (selects_workload(policy)) return;
    if (!policy.services.empty()) {
      return warn(kPolicySelectsNothing, policy.meta, policy.meta.line, "spec.targetRefs",
                  "no pod is an endpoint of the Services that it names",
                  "compare the names with those of the namespace's Services");
    }
    warn(kPolicySelectsNothing, policy.meta, policy.meta.line, "spec.selector",
         "no pod and no gateway has the selector's labels",
         "compare the selector with the labels of pods, and with the selectors of Gateways");
  }

  bool selects_workload(const AuthorizationPolicy& policy) const {
    if (!policy.services.empty()) {
      return std::any_of(policy.services.begin(), policy.services.end(), [&](const std::string& service) {
        return facts_.any_of(target_key(policy, service), {});
      });
    }
    return policy.gateways.empty() &&
           facts_.any(policy.meta.ns == kRootNamespace ? "" : policy.meta.ns, policy.selector);
  }

  bool is_entry(const std::string& host) const {
    return std::any_of(entry_hosts_.begin(), entry_hosts_.end(),
                       [&host](const std::string& known) { return host_covers(known, host); });
  }

  bool is_service(const std::string& host) const { return service_of_host(objects_, host) != nullptr; }

  // False when it was reported. A wildcard needs no service.
  bool check_host(const ObjectMeta& meta, const HostReference& reference) {
    if (reference.host.starts_with("*") || is_service(reference.host) || is_entry(reference.host))
      return true;
    std::set<std::string> hosts;
    for_each<Service>(objects_,
                      [&hosts](const Service& s) { hosts.insert(service_host(s.meta.name, s.meta.ns)); });
    const auto guess = nearest(reference.host, std::vector<std::string_view>(hosts.begin(), hosts.end()));
    std::string field = reference.field;
    if (field.ends_with(".subset")) field.replace(field.size() - 6, 6, "host");
    warn(kReferenceMissing, meta, reference.line, field, str_cat("host ", reference.host, " is unknown"),
         guess ? str_cat("did you mean ", *guess, "?") : std::string("add its Service, or correct the name"));
    return false;
  }

  const Secret* secret(const std::string& ns, const std::string& name) const {
    const auto found = objects_.find(ObjectKey{"Secret", ns, name});
    return found == objects_.end() ? nullptr : &std::get<Secret>(*found->second);
  }

  // Where TLS to the destination cannot come about: connections to it are refused, not made in clear.
  void check_tls(const DestinationRule& rule, const DestinationRule::TlsUse& use) {
    const mesh::v1::ClientTls& tls = use.tls;
    const auto fails = [&](std::string message, std::string remedy) {
      warn(kTlsNotOriginated, rule.meta, use.line, use.field,
           str_cat(message, ": connections to ", rule.host.host, " fail"), std::move(remedy));
    };
    if (rule.host.host.starts_with("*") && tls.sni().empty() && tls.subject_alt_names().empty() &&
        !tls.insecure_skip_verify() && tls.mode() != mesh::v1::ClientTls::ISTIO_MUTUAL)
      fails("no server name is known for a host that is a wildcard", "give sni, or subjectAltNames");
    for_each<ServiceEntry>(objects_, [&](const ServiceEntry& entry) {
      const auto covers = [&](const std::string& host) { return host_covers(rule.host.host, host); };
      const auto is_range = [](const std::string& address) { return address.find('/') != std::string::npos; };
      if (std::any_of(entry.hosts.begin(), entry.hosts.end(), covers) &&
          std::any_of(entry.addresses.begin(), entry.addresses.end(), is_range))
        warn(kTlsNotOriginated, rule.meta, use.line, use.field,
             str_cat("connections to the address ranges of ServiceEntry ", entry.meta.ns, "/",
                     entry.meta.name, " pass as they are: no TLS is begun"),
             "give single addresses in the ServiceEntry");
    });
    if (tls.credential_name().empty()) return;
    const std::string name = secret_text(rule.meta.ns, tls.credential_name());
    const Secret* own = secret(rule.meta.ns, tls.credential_name());
    const Secret* beside = secret(rule.meta.ns, str_cat(tls.credential_name(), "-cacert"));
    const bool has_ca = (own != nullptr && !own->ca.empty()) || (beside != nullptr && !beside->ca.empty());
    if (own == nullptr && CertificatePaths::of(tls.credential_name()))
      return fails(str_cat(name, " are not read"), kFilesRemedy);
    if (own == nullptr && beside == nullptr)
      return fails(str_cat(name, " is unknown, or was refused"), kSecretRemedy);
    if (tls.mode() == mesh::v1::ClientTls::MUTUAL && (own == nullptr || own->certificate.empty()))
      return fails(str_cat(name, " has no certificate with its key"), "give tls.crt and tls.key");
    if (tls.mode() == mesh::v1::ClientTls::SIMPLE && !has_ca && !tls.insecure_skip_verify())
      fails(str_cat(name, " has no authority for the server's certificate"), "give ca.crt");
  }

  void check_rule(const DestinationRule& rule) {
    for (const DestinationRule::TlsUse& use : rule.tls) check_tls(rule, use);
    if (!check_host(rule.meta, rule.host)) return;
    const Service* const service = service_of_host(objects_, rule.host.host);
    if (service == nullptr) return;
    for (int i = 0; i < rule.policy.subsets_size(); ++i) {
      const auto& pairs = rule.policy.subsets(i).labels();
      const std::map<std::string, std::string> labels(pairs.begin(), pairs.end());
      if (facts_.any_of(service_key(service->meta), labels)) continue;
      const HostReference& subset = rule.subsets[static_cast<size_t>(i)];
      warn(kSubsetEmpty, rule.meta, subset.line, str_cat(subset.field, ".labels"),
           str_cat("subset ", subset.subset, " of ", rule.host.host, " has no endpoint"),
           "compare the subset's labels with the pods' labels");
    }
  }

  bool has_subset(const HostReference& reference) const {
    for (const DestinationRule* rule : rules_) {
      if (rule->hidden || !host_covers(rule->host.host, reference.host)) continue;
      for (const HostReference& subset : rule->subsets) {
        if (subset.subset == reference.subset) return true;
      }
    }
    return false;
  }

  void check_routes(const VirtualService& service) {
    Inputs inputs(Step::kReferences);
    inputs.object(service.meta);
    for (const char* kind : {"Service", "ServiceEntry", "DestinationRule"}) stamps_.add(kind, &inputs);
    const auto result = remembered_.get(inputs, [&](StepResult* made) {
      std::vector<Finding> others = std::exchange(findings_, {});
      check_references(service);
      made->findings = std::exchange(findings_, std::move(others));
    });
    findings_.insert(findings_.end(), result->findings.begin(), result->findings.end());
    check_owners(service);
    if (service.is_delegate()) check_delegate(service);
  }

  void check_references(const VirtualService& service) {
    std::set<std::string> reported;
    // The last that was found: the routes of one object mostly go to few hosts.
    const std::string* known = nullptr;
    for (const HostReference& reference : service.references) {
      if (known == nullptr || *known != reference.host) {
        if (is_service(reference.host))
          known = &reference.host;
        else if (reported.insert(reference.host).second)
          check_host(service.meta, reference);
      }
      if (!reference.subset.empty() && !has_subset(reference)) {
        warn(kReferenceMissing, service.meta, reference.line, reference.field,
             str_cat("no DestinationRule for ", reference.host, " defines subset ", reference.subset),
             "add the subset to a DestinationRule of that host");
      }
    }
  }

  void check_delegate(const VirtualService& service) {
    bool used = false;
    for_each<VirtualService>(objects_, [&](const VirtualService& root) {
      for (const VirtualService::Delegate& delegate : root.delegates)
        used = used || (delegate.name == service.meta.name && delegate.ns == service.meta.ns);
    });
    if (used) return;
    warn(kWithoutEffect, service.meta, service.meta.line, "spec.hosts",
         "without hosts it is a delegate, and no VirtualService delegates to it",
         "name the services whose requests are routed, or delegate to it");
  }

  void add_owner(const VirtualService& service) {
    if (service.hidden || !is_on_mesh(service)) return;
    for (const std::string& host : service.routes->hosts()) owners_[host].push_back(&service);
  }

  // The proxy takes the oldest RouteSet of a host (created_unix, then name, then namespace).
  void check_owners(const VirtualService& service) {
    if (service.hidden || !is_on_mesh(service)) return;
    for (const std::string& host : service.routes->hosts()) {
      for (const VirtualService* other : owners_[host]) {
        if (other == &service || !is_older(*other, service) || !share_clients(service, *other)) continue;
        warn(kHostTaken, service.meta, service.meta.line, "spec.hosts",
             str_cat("host ", host, " is routed by the older VirtualService ", other->meta.ns, "/",
                     other->meta.name, " already"),
             "merge the two, or separate them with exportTo");
      }
    }
  }

  // At gateways the lists of several are joined.
  static bool is_on_mesh(const VirtualService& service) {
    return std::find(service.gateways.begin(), service.gateways.end(), "mesh") != service.gateways.end();
  }

  static bool is_older(const VirtualService& a, const VirtualService& b) {
    return std::tie(a.meta.created_unix, a.meta.name, a.meta.ns) <
           std::tie(b.meta.created_unix, b.meta.name, b.meta.ns);
  }

  static bool share_clients(const VirtualService& a, const VirtualService& b) {
    if (a.routes->export_to_size() == 0 || b.routes->export_to_size() == 0) return true;
    for (const std::string& ns : a.routes->export_to()) {
      for (const std::string& other : b.routes->export_to()) {
        if (ns == other) return true;
      }
    }
    return false;
  }

  const Objects& objects_;
  const WorkloadFacts& facts_;
  const KindStamps& stamps_;
  Remembered& remembered_;
  std::set<std::string> entry_hosts_;
  std::map<std::string, std::pair<const ServiceEntry*, const ServiceEntry::Endpoint*>> endpoints_;
  // By namespace and host.
  std::map<std::pair<std::string, std::string>, const ServiceEntry*> entry_of_;
  std::map<std::string, const Sidecar*> sidecar_of_;  // by namespace
  std::vector<const DestinationRule*> rules_;
  // Of routes of the mesh, by host.
  std::map<std::string, std::vector<const VirtualService*>> owners_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> cross_check(const Objects& objects, const WorkloadFacts& facts, const KindStamps& stamps,
                                 Remembered& remembered) {
  return Checks(objects, facts, stamps, remembered).run();
}

}  // namespace weft::control_plane
