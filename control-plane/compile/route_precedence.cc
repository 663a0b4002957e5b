// See route_precedence.h.
#include "control-plane/compile/route_precedence.h"

#include <algorithm>
#include <tuple>

namespace weft::control_plane {
namespace {

using mesh::v1::HttpMatch;
using mesh::v1::HttpRoute;
using mesh::v1::L4Route;
using mesh::v1::StringMatch;

// Larger is more specific, the first difference decides.
using Rank = std::tuple<int, size_t, size_t, int, int, int>;

struct Entry {
  const ResolvedRoute* whose = nullptr;
  size_t rule = 0;
  const HttpMatch* match = nullptr;
  Rank rank;
  size_t written = 0;  // the place among all
};

// A match on the header Host is one on the authority here.
int headers_of(const HttpMatch& match) { return match.headers_size() + (match.has_authority() ? 1 : 0); }

Rank http_rank(const HttpMatch& match) {
  const StringMatch& uri = match.uri();
  const int method = match.has_method() ? 1 : 0;
  const auto named = std::tuple(method, headers_of(match), match.query_params_size());
  const auto ranked = [&](int kind, size_t length) {
    return std::tuple_cat(std::tuple(kind, length, size_t{0}), named);
  };
  switch (uri.kind_case()) {
    case StringMatch::kExact:
      return ranked(3, uri.exact().size());
    case StringMatch::kRegex:
      return ranked(2, uri.regex().size());
    case StringMatch::kSegments:
      return ranked(1, uri.segments().size() - (uri.segments().ends_with('/') ? 1 : 0));
    default:
      return ranked(0, 0);
  }
}

// The path says service and method: "/service/method", "/service/", or a regular expression of either.
Rank grpc_rank(const HttpMatch& match) {
  const StringMatch& uri = match.uri();
  const bool regex = uri.kind_case() == StringMatch::kRegex;
  const std::string& path = uri.has_exact() ? uri.exact() : uri.has_prefix() ? uri.prefix() : uri.regex();
  const size_t slash = std::min(path.find('/', 1), path.size());
  const bool any_service = path.starts_with("/[^/]+/");
  const size_t service = path.empty() || any_service ? 0 : slash - 1;
  const size_t method =
      path.empty() ? 0 : path.size() - std::min(any_service ? size_t{7} : slash + 1, path.size());
  return {uri.kind_case() == StringMatch::KIND_NOT_SET ? 0 : (regex && !any_service ? 1 : 2),
          service,
          method,
          0,
          match.headers_size(),
          0};
}

bool comes_first(const Entry& a, const Entry& b) {
  if (a.rank != b.rank) return a.rank > b.rank;
  if (a.whose != b.whose) return is_older(a.whose->route->meta, b.whose->route->meta);
  return a.written < b.written;
}

const HttpRoute& rule_of(const Entry& entry) { return (*entry.whose->rules)[entry.rule]; }

void take_rule(const ResolvedRoute& whose, const HttpRoute& rule, L4Route* out) {
  out->set_dials_as(whose.dials_as);
  out->set_name(rule.name());
  *out->mutable_origin() = rule.origin();
  *out->mutable_destinations() = rule.destinations();
}

}  // namespace

bool is_older(const ObjectMeta& a, const ObjectMeta& b) {
  return std::tie(a.created_unix, a.ns, a.name) < std::tie(b.created_unix, b.ns, b.name);
}

std::vector<HttpRoute> in_precedence(const std::vector<ResolvedRoute>& routes) {
  std::vector<Entry> entries;
  for (const ResolvedRoute& resolved : routes) {
    const bool grpc = resolved.route->kind == GatewayRoute::Kind::kGrpc;
    for (size_t rule = 0; rule < resolved.rules->size(); ++rule) {
      for (const HttpMatch& match : (*resolved.rules)[rule].matches())
        entries.push_back(
            {&resolved, rule, &match, grpc ? grpc_rank(match) : http_rank(match), entries.size()});
    }
  }
  std::sort(entries.begin(), entries.end(), comes_first);
  std::vector<HttpRoute> out;
  const Entry* last = nullptr;
  for (const Entry& entry : entries) {
    // Matches of one rule that follow one another stay one route.
    if (last == nullptr || last->whose != entry.whose || last->rule != entry.rule) {
      out.push_back(rule_of(entry));
      out.back().clear_matches();
      out.back().set_dials_as(entry.whose->dials_as);
    }
    *out.back().add_matches() = *entry.match;
    last = &entry;
  }
  return out;
}

std::vector<L4Route> tls_in_precedence(const std::vector<NamedRoute>& routes) {
  struct Named {
    const NamedRoute* whose;
    std::string name;
    size_t written;
  };
  std::vector<Named> all;
  for (const NamedRoute& route : routes) {
    for (const std::string& name : route.names) all.push_back({&route, name, all.size()});
  }
  std::sort(all.begin(), all.end(), [](const Named& a, const Named& b) {
    const bool a_exact = !a.name.starts_with('*'), b_exact = !b.name.starts_with('*');
    if (a_exact != b_exact) return a_exact;
    if (a.name.size() != b.name.size()) return a.name.size() > b.name.size();
    if (a.whose != b.whose) return is_older(a.whose->resolved.route->meta, b.whose->resolved.route->meta);
    return a.written < b.written;
  });
  std::vector<L4Route> out;
  for (const Named& named : all) {
    for (const HttpRoute& rule : *named.whose->resolved.rules) {
      take_rule(named.whose->resolved, rule, &out.emplace_back());
      out.back().add_matches()->add_sni_hosts(named.name);
    }
  }
  return out;
}

std::vector<L4Route> tcp_in_precedence(const std::vector<ResolvedRoute>& routes) {
  std::vector<ResolvedRoute> sorted = routes;
  std::sort(sorted.begin(), sorted.end(), [](const ResolvedRoute& a, const ResolvedRoute& b) {
    return is_older(a.route->meta, b.route->meta);
  });
  std::vector<L4Route> out;
  for (const ResolvedRoute& resolved : sorted) {
    for (const HttpRoute& rule : *resolved.rules) take_rule(resolved, rule, &out.emplace_back());
  }
  return out;
}

}  // namespace weft::control_plane
