// See gateway_status.h.
#include "control-plane/compile/gateway_status.h"

#include <algorithm>
#include <array>

#include "base/strings.h"
#include "control-plane/compile/gateway_port.h"
#include "control-plane/compile/route_backends.h"

namespace weft::control_plane {
namespace {

using Condition = GatewayApiStatus::Condition;

// Everything that attachment and references depend on.
constexpr std::array<const char*, 10> kKinds = {"Gateway",        "IstioGateway", "HTTPRoute", "GRPCRoute",
                                                "TLSRoute",       "TCPRoute",     "Service",   "Namespace",
                                                "ReferenceGrant", "Secret"};

Condition holds(const char* type, const char* reason) { return {type, true, reason, ""}; }

Condition accepted_at(const GatewayRoute::Parent& parent, Fit fit) {
  const std::string named = str_cat(parent.service ? "Service " : "Gateway ", parent.ns, "/", parent.name);
  switch (fit) {
    case Fit::kAccepted:
      return holds("Accepted", "Accepted");
    case Fit::kConflict:
      return {"Accepted", false, "RouteConflict",
              str_cat("a route of another kind has this place of ", named,
                      " already; next: use another port or host name, or one kind")};
    case Fit::kNoHostname:
      return {"Accepted", false, "NoMatchingListenerHostname",
              str_cat("no host name of this route is one of a listener of ", named,
                      "; next: compare hostnames with the listeners")};
    case Fit::kNotAllowed:
      return {"Accepted", false, "NotAllowedByListeners",
              str_cat("the listeners or ports of ", named,
                      " that are meant take no such route; next: compare its kind and namespace with their "
                      "protocol and allowedRoutes")};
    case Fit::kNoParent:
      break;
  }
  return {"Accepted", false, "NoMatchingParent",
          str_cat(named,
                  " is not there, or has nothing that this refers to, or does not serve it; next: "
                  "correct name, sectionName and port")};
}

Condition resolved(const RefusedReference& refused) {
  using Why = RefusedReference::Why;
  if (refused.why == Why::kNone) return holds("ResolvedRefs", "ResolvedRefs");
  const char* const reason = refused.why == Why::kNotPermitted  ? "RefNotPermitted"
                             : refused.why == Why::kInvalidKind ? "InvalidKind"
                                                                : "BackendNotFound";
  return {"ResolvedRefs", false, reason,
          str_cat(refused.finding.field, ": ", refused.finding.message, "; next: ", refused.finding.remedy)};
}

std::vector<std::string> kinds_of(Routing routing) {
  if (routing == Routing::kRequests) return {"HTTPRoute", "GRPCRoute"};
  return {routing == Routing::kServerNames ? "TLSRoute" : "TCPRoute"};
}

class Statuses {
 public:
  Statuses(const Objects& objects, const GatewayFacts& facts) : objects_(objects), facts_(facts) {}

  GatewayApiStatus run() {
    add_routes();
    for_each<Gateway>(objects_, [this](const Gateway& gateway) {
      // Without listeners it is somebody else's.
      if (!gateway.istio && !gateway.listeners.empty()) out_.gateways.emplace(key_of(gateway), of(gateway));
    });
    return std::move(out_);
  }

 private:
  void add_routes() {
    std::map<const GatewayRoute::Parent*, GatewayFacts::Attachment> best;
    for (const GatewayFacts::Attachment& one : facts_.attachments) {
      const auto [row, inserted] = best.try_emplace(one.parent, one);
      if (!inserted) row->second.fit = std::max(row->second.fit, one.fit);
    }
    for_each<GatewayRoute>(objects_, [&](const GatewayRoute& route) {
      GatewayApiStatus::Route status{.generation = route.meta.generation, .parents = {}};
      for (const GatewayRoute::Parent& parent : route.parents) {
        const auto noted = best.find(&parent);
        if (noted == best.end()) continue;
        status.parents.push_back(
            {.index = static_cast<size_t>(&parent - route.parents.data()),
             .conditions = {accepted_at(parent, noted->second.fit), resolved(references_of(route, parent))}});
      }
      if (!status.parents.empty()) out_.routes.emplace(key_of(route), std::move(status));
    });
  }

  RefusedReference references_of(const GatewayRoute& route, const GatewayRoute::Parent& parent) const {
    const Grants grants = parent.service ? Grants::kNotNeeded : Grants::kNeeded;
    const auto known = facts_.references.find({&route, grants});
    if (known != facts_.references.end()) return known->second;
    // It is attached nowhere.
    std::vector<Finding> reported;
    RefusedReference out;
    resolve_rules(route, objects_, grants, &reported, &out);
    return out;
  }

  GatewayApiStatus::Gateway of(const Gateway& gateway) const {
    GatewayApiStatus::Gateway out{.generation = gateway.meta.generation, .conditions = {}, .listeners = {}};
    size_t served = 0, whole = 0;
    for (const Gateway::Listener& listener : gateway.listeners) {
      const auto noted = facts_.listeners.find(&listener);
      const GatewayFacts::Listener facts =
          noted != facts_.listeners.end() ? noted->second : GatewayFacts::Listener();
      out.listeners.push_back(of(gateway, listener, facts));
      served += facts.conflict == nullptr ? 1 : 0;
      whole += facts.problem.empty() ? 1 : 0;
    }
    const bool all = whole == gateway.listeners.size();
    out.conditions.push_back(
        {"Accepted", served > 0, all ? "Accepted" : "ListenersNotValid",
         all ? "" : "a listener is not served as it is written; its conditions say why"});
    out.conditions.push_back({"Programmed", whole > 0, whole > 0 ? "Programmed" : "Invalid",
                              whole > 0 ? "" : "no listener can be served; their conditions say why"});
    return out;
  }

  GatewayApiStatus::Listener of(const Gateway& gateway, const Gateway::Listener& listener,
                                const GatewayFacts::Listener& facts) const {
    const bool conflicted = facts.conflict != nullptr;
    GatewayApiStatus::Listener out{
        .name = listener.name, .attached_routes = facts.attached, .kinds = {}, .conditions = {}};
    const std::vector<std::string> possible = kinds_of(routing_of(listener));
    std::string other;
    for (const std::string& kind : listener.kinds.empty() ? possible : listener.kinds) {
      const bool fits = std::find(possible.begin(), possible.end(), kind) != possible.end();
      if (fits) out.kinds.push_back(kind);
      if (!fits && other.empty()) other = kind.substr(0, 63);
    }
    out.conditions.push_back(conflicted ? Condition{"Accepted", false, facts.conflict, facts.problem}
                                        : holds("Accepted", "Accepted"));
    out.conditions.push_back(conflicted ? Condition{"Conflicted", true, facts.conflict, facts.problem}
                                        : Condition{"Conflicted", false, "NoConflicts", ""});
    const bool tls_refused = !conflicted && !facts.problem.empty();
    if (!other.empty()) {
      out.conditions.push_back({"ResolvedRefs", false, "InvalidRouteKinds",
                                str_cat("kind ", other,
                                        " cannot attach to a listener of this protocol; next: "
                                        "correct allowedRoutes.kinds")});
    } else if (tls_refused) {
      out.conditions.push_back({"ResolvedRefs", false,
                                is_permitted(gateway, listener) ? "InvalidCertificateRef" : "RefNotPermitted",
                                facts.problem});
    } else {
      out.conditions.push_back(holds("ResolvedRefs", "ResolvedRefs"));
    }
    out.conditions.push_back(facts.problem.empty()
                                 ? holds("Programmed", "Programmed")
                                 : Condition{"Programmed", false, "Invalid", facts.problem});
    return out;
  }

  // To refer to each of its certificates.
  bool is_permitted(const Gateway& gateway, const Gateway::Listener& listener) const {
    if (!listener.tls) return true;
    return std::all_of(
        listener.tls->certificates.begin(), listener.tls->certificates.end(),
        [&](const TlsTermination::SecretRef& ref) {
          return ref.ns == gateway.meta.ns ||
                 is_granted({gateway.meta.kind, gateway.meta.ns, "", "Secret", ref.ns, ref.name}, objects_);
        });
  }

  const Objects& objects_;
  const GatewayFacts& facts_;
  GatewayApiStatus out_;
};

}  // namespace

std::shared_ptr<const GatewayApiStatus> gateway_api_status(const Objects& objects, const KindStamps& stamps,
                                                           Remembered& remembered,
                                                           const GatewayFacts& facts) {
  Inputs inputs(Step::kGatewayStatus);
  for (const char* kind : kKinds) stamps.add(kind, &inputs);
  return remembered
      .get(inputs,
           [&](StepResult* made) {
             made->gateway_api = std::make_shared<const GatewayApiStatus>(Statuses(objects, facts).run());
           })
      ->gateway_api;
}

}  // namespace weft::control_plane
