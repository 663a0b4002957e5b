// See weight_edit.h. yaml-cpp's exceptions end here.
#include "tools/weft/weight_edit.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "absl/status/status.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace weft::cli {
namespace {

template <typename... T>
absl::Status unusable(const T&... parts) {
  return absl::InvalidArgumentError(str_cat(parts...));
}

std::string text_of(const YAML::Node& node) { return node && node.IsScalar() ? node.Scalar() : ""; }

uint32_t line_of(const YAML::Node& node) { return static_cast<uint32_t>(node.Mark().line + 1); }

// How a kind spells its routes and their destinations.
struct Form {
  std::string_view kind;
  const char* routes;        // of spec
  const char* destinations;  // of a route
  bool istio;
};
constexpr Form kForms[] = {{"VirtualService", "http", "route", true},
                           {"HTTPRoute", "rules", "backendRefs", false},
                           {"GRPCRoute", "rules", "backendRefs", false}};

// nullptr: it is no kind that has weights.
const Form* form_of(const YAML::Node& document) {
  if (!document.IsMap()) return nullptr;
  const std::string kind = text_of(document["kind"]);
  for (const Form& form : kForms) {
    if (form.kind == kind) return &form;
  }
  return nullptr;
}

bool is_called(const std::string& name, const std::string& host) {
  return name == host || name.substr(0, name.find('.')) == host;
}

bool names_host(const Form& form, const YAML::Node& spec, const std::string& host) {
  if (host.empty()) return true;
  for (const YAML::Node& one : spec[form.istio ? "hosts" : "hostnames"]) {
    if (is_called(text_of(one), host)) return true;
  }
  if (form.istio) return false;
  for (const YAML::Node& parent : spec["parentRefs"]) {
    if (text_of(parent["name"]) == host) return true;
  }
  return false;
}

// Host and subset, without a weight.
WeightPlace read_target(const Form& form, const YAML::Node& item) {
  WeightPlace out;
  if (form.istio) {
    const YAML::Node destination = item["destination"];
    out.host = text_of(destination["host"]);
    out.subset = text_of(destination["subset"]);
    return out;
  }
  out.host = text_of(item["name"]);
  const std::string ns = text_of(item["namespace"]);
  if (!ns.empty()) str_append(&out.host, ".", ns);
  return out;
}

absl::StatusOr<WeightPlace> read_destination(const std::string& text, const Form& form,
                                             const YAML::Node& item) {
  WeightPlace out = read_target(form, item);
  const YAML::Node weight = item["weight"];
  if (!weight)
    return unusable("line ", line_of(item), ": destination ", out.label(),
                    " has no weight; next: give each destination of the route one");
  out.line = line_of(weight);
  const auto number = parse_integer<uint32_t>(text_of(weight));
  out.offset = static_cast<size_t>(weight.Mark().pos);
  out.length = text_of(weight).size();
  // What is written there must be these digits, not an alias or a number in another spelling.
  if (!number || out.offset + out.length > text.size() ||
      text.compare(out.offset, out.length, text_of(weight)) != 0)
    return unusable("line ", out.line, ": the weight of ", out.label(),
                    " is not written as digits; next: write it so");
  out.weight = *number;
  return out;
}

absl::StatusOr<RoutePlace> read_route(const std::string& text, const Form& form, const YAML::Node& document,
                                      const YAML::Node& route, size_t index) {
  RoutePlace out;
  const YAML::Node meta = document["metadata"];
  out.kind = form.kind;
  out.name = text_of(meta["name"]);
  out.ns = text_of(meta["namespace"]);
  if (out.ns.empty()) out.ns = "default";
  out.route = text_of(route["name"]);
  if (out.route.empty()) out.route = str_cat(form.routes, "[", index, "]");
  out.line = line_of(route);
  std::set<size_t> offsets;
  for (const YAML::Node& item : route[form.destinations]) {
    ASSIGN_OR_RETURN(WeightPlace place, read_destination(text, form, item));
    if (!offsets.insert(place.offset).second)
      return unusable("line ", place.line, ": two destinations share one weight; next: write each its own");
    out.destinations.push_back(std::move(place));
  }
  return out;
}

// The destinations that `to` names.
std::vector<size_t> indices_of(const Form& form, const YAML::Node& destinations, const std::string& to) {
  std::vector<size_t> out;
  for (size_t i = 0; i < destinations.size(); ++i) {
    const WeightPlace target = read_target(form, destinations[i]);
    if (target.subset == to || (target.subset.empty() && is_called(target.host, to))) out.push_back(i);
  }
  return out;
}

// "cart:8080 on line 7": with what tells it from another of the same name.
std::string place_of(const Form& form, const YAML::Node& item) {
  const YAML::Node port = form.istio ? item["destination"]["port"]["number"] : item["port"];
  const WeightPlace target = read_target(form, item);
  return str_cat(target.host, text_of(port).empty() ? "" : ":", text_of(port),
                 target.subset.empty() ? "" : " subset ", target.subset, " on line ", line_of(item));
}

absl::StatusOr<RoutePlace> find_in(const std::string& text, const RouteQuery& query) {
  std::vector<RoutePlace> found;
  std::string seen;
  for (const YAML::Node& document : YAML::LoadAll(text)) {
    const Form* const form = form_of(document);
    if (form == nullptr) continue;
    const YAML::Node spec = document["spec"];
    if (!spec || !spec[form->routes]) continue;
    const YAML::Node routes = spec[form->routes];
    for (size_t i = 0; i < routes.size(); ++i) {
      const YAML::Node destinations = routes[i][form->destinations];
      const std::string name = text_of(routes[i]["name"]);
      str_append(&seen, seen.empty() ? "" : ", ", name.empty() ? str_cat(form->routes, "[", i, "]") : name);
      const bool wanted = names_host(*form, spec, query.host) && (query.route.empty() || name == query.route);
      // A route that redirects has none.
      if (!wanted || !destinations || destinations.size() < 2) continue;
      const std::vector<size_t> named = indices_of(*form, destinations, query.to);
      if (named.empty()) continue;
      if (named.size() > 1)
        return unusable("route ", name.empty() ? str_cat(form->routes, "[", i, "]") : name, ": ", query.to,
                        " is ", named.size(), " of its destinations, ",
                        place_of(*form, destinations[named[0]]), " and ",
                        place_of(*form, destinations[named[1]]),
                        "; next: write the weights by hand, or give each version a name of its own");
      ASSIGN_OR_RETURN(RoutePlace place, read_route(text, *form, document, routes[i], i));
      place.canary = named.front();
      found.push_back(std::move(place));
    }
  }
  if (found.size() == 1) return found.front();
  if (found.empty())
    return unusable("no route", query.route.empty() ? "" : " ", query.route, " has ", query.to,
                    " among several destinations; there are: ", seen.empty() ? "none" : seen,
                    "; next: correct --to, --route or --host");
  return unusable(found.size(), " routes have ", query.to, " among their destinations, the first on lines ",
                  found[0].line, " and ", found[1].line, "; next: name one with --route");
}

}  // namespace

absl::StatusOr<RoutePlace> find_route(const std::string& text, const RouteQuery& query) {
  try {
    return find_in(text, query);
  } catch (const YAML::Exception& problem) {
    return unusable("no YAML: ", std::string(problem.what()), "; next: weft analyze FILE");
  }
}

std::vector<uint32_t> shifted_weights(const RoutePlace& place, uint32_t percent) {
  const size_t count = place.destinations.size();
  std::vector<uint64_t> base(count, 1);
  uint64_t sum = 0;
  for (size_t i = 0; i < count; ++i) sum += i == place.canary ? 0 : place.destinations[i].weight;
  for (size_t i = 0; i < count && sum > 0; ++i) base[i] = place.destinations[i].weight;
  if (sum == 0) sum = count - 1;
  const uint64_t rest = 100 - percent;
  std::vector<uint32_t> out(count, percent);
  uint64_t given = 0, seen = 0;
  // Each takes what is due up to and with it, less what was given: no rounding is lost.
  for (size_t i = 0; i < count; ++i) {
    if (i == place.canary) continue;
    seen += base[i];
    out[i] = static_cast<uint32_t>(rest * seen / sum - given);
    given += out[i];
  }
  return out;
}

std::string with_weights(const std::string& text, const RoutePlace& place,
                         const std::vector<uint32_t>& weights) {
  std::vector<size_t> order(place.destinations.size());
  std::iota(order.begin(), order.end(), size_t{0});
  // From the end, so that offsets before stay true.
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return place.destinations[a].offset > place.destinations[b].offset; });
  std::string out = text;
  for (const size_t i : order)
    out.replace(place.destinations[i].offset, place.destinations[i].length, str_cat(weights[i]));
  return out;
}

std::string weights_text(const RoutePlace& place, const std::vector<uint32_t>& weights) {
  std::string out;
  for (size_t i = 0; i < weights.size(); ++i)
    str_append(&out, out.empty() ? "" : ", ", place.destinations[i].label(), " ", weights[i]);
  return out;
}

}  // namespace weft::cli
