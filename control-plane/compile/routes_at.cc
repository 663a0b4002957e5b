// See routes_at.h.
#include "control-plane/compile/routes_at.h"

#include <algorithm>
#include <set>
#include <vector>

#include "control-plane/resource/host_name.h"

namespace weft::control_plane {
namespace {

bool is_place(const google::protobuf::RepeatedPtrField<std::string>& places, const std::string& place,
              const std::vector<std::string>& otherwise) {
  if (places.empty()) return std::find(otherwise.begin(), otherwise.end(), place) != otherwise.end();
  return std::find(places.begin(), places.end(), place) != places.end();
}

// False: none of its matches holds there.
template <typename Route>
bool keep_matches(const std::string& place, const std::vector<std::string>& otherwise, Route* route) {
  if (route->matches().empty())
    return std::find(otherwise.begin(), otherwise.end(), place) != otherwise.end();
  auto& matches = *route->mutable_matches();
  for (int i = matches.size() - 1; i >= 0; --i) {
    if (!is_place(matches[i].gateways(), place, otherwise)) matches.DeleteSubrange(i, 1);
  }
  for (auto& match : matches) {
    match.clear_gateways();
    if (place == "mesh") continue;
    match.clear_source_labels();
    match.clear_source_namespace();
  }
  return !matches.empty();
}

template <typename List>
void keep_routes(const std::string& place, const std::vector<std::string>& gateways, List* routes) {
  for (int i = routes->size() - 1; i >= 0; --i) {
    if (!keep_matches(place, gateways, routes->Mutable(i))) routes->DeleteSubrange(i, 1);
  }
}

}  // namespace

mesh::v1::RouteSet routes_at(const VirtualService& service, const mesh::v1::RouteSet& routes,
                             const std::string& place) {
  mesh::v1::RouteSet out = routes;
  keep_routes(place, service.gateways, out.mutable_http());
  keep_routes(place, service.gateways, out.mutable_tls());
  keep_routes(place, service.gateways, out.mutable_tcp());
  return out;
}

bool holds_on_mesh(const VirtualService& service, const mesh::v1::RouteSet& routes) {
  const auto names_gateways = [](const auto& route) {
    return std::any_of(route.matches().begin(), route.matches().end(),
                       [](const auto& match) { return !match.gateways().empty(); });
  };
  const auto none = [&](const auto& list) { return std::none_of(list.begin(), list.end(), names_gateways); };
  return std::find(service.gateways.begin(), service.gateways.end(), "mesh") != service.gateways.end() &&
         none(routes.http()) && none(routes.tls()) && none(routes.tcp());
}

std::optional<std::string> common_host(const std::string& a, const std::string& b) {
  if (a == "*" || (b != "*" && host_covers(a, b))) return b;
  if (b == "*" || host_covers(b, a)) return a;
  return std::nullopt;
}

bool keep_names(const std::string& ns, const Gateway::Listener& listener, mesh::v1::L4Route* route) {
  auto& matches = *route->mutable_matches();
  for (int i = matches.size() - 1; i >= 0; --i) {
    std::set<std::string> names;
    for (const auto& server : listener.hosts) {
      if (server.ns != "*" && server.ns != ns) continue;
      for (const std::string& name : matches[i].sni_hosts()) {
        if (const auto common = common_host(server.name, name)) names.insert(*common);
      }
    }
    const bool of_port = matches[i].port() == 0 || matches[i].port() == listener.port;
    if (names.empty() || !of_port) {
      matches.DeleteSubrange(i, 1);
      continue;
    }
    matches[i].mutable_sni_hosts()->Assign(names.begin(), names.end());
  }
  return !matches.empty();
}

}  // namespace weft::control_plane
