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

bool names_host(const YAML::Node& spec, const std::string& host) {
  if (host.empty()) return true;
  for (const YAML::Node& one : spec["hosts"]) {
    const std::string text = text_of(one);
    if (text == host || text.substr(0, text.find('.')) == host) return true;
  }
  return false;
}

absl::StatusOr<WeightPlace> read_destination(const std::string& text, const YAML::Node& item) {
  WeightPlace out;
  const YAML::Node destination = item["destination"];
  out.host = text_of(destination["host"]);
  out.subset = text_of(destination["subset"]);
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

absl::StatusOr<RoutePlace> read_route(const std::string& text, const YAML::Node& document,
                                      const YAML::Node& http, size_t index) {
  RoutePlace out;
  const YAML::Node meta = document["metadata"];
  out.name = text_of(meta["name"]);
  out.ns = text_of(meta["namespace"]);
  if (out.ns.empty()) out.ns = "default";
  out.route = text_of(http["name"]);
  if (out.route.empty()) out.route = str_cat("http[", index, "]");
  out.line = line_of(http);
  std::set<size_t> offsets;
  for (const YAML::Node& item : http["route"]) {
    ASSIGN_OR_RETURN(WeightPlace place, read_destination(text, item));
    if (!offsets.insert(place.offset).second)
      return unusable("line ", place.line, ": two destinations share one weight; next: write each its own");
    out.destinations.push_back(std::move(place));
  }
  return out;
}

// The destination that `to` names; the number of them when there is none.
size_t index_of(const YAML::Node& route, const std::string& to) {
  for (size_t i = 0; i < route.size(); ++i) {
    const YAML::Node destination = route[i]["destination"];
    const std::string host = text_of(destination["host"]), subset = text_of(destination["subset"]);
    if (subset == to || (subset.empty() && (host == to || host.substr(0, host.find('.')) == to))) return i;
  }
  return route.size();
}

absl::StatusOr<RoutePlace> find_in(const std::string& text, const RouteQuery& query) {
  std::vector<RoutePlace> found;
  std::string seen;
  for (const YAML::Node& document : YAML::LoadAll(text)) {
    if (!document.IsMap() || text_of(document["kind"]) != "VirtualService") continue;
    const YAML::Node spec = document["spec"];
    const YAML::Node http = spec["http"];
    for (size_t i = 0; i < http.size(); ++i) {
      const YAML::Node route = http[i]["route"];
      const std::string name = text_of(http[i]["name"]);
      str_append(&seen, seen.empty() ? "" : ", ", name.empty() ? str_cat("http[", i, "]") : name);
      const bool wanted = names_host(spec, query.host) && (query.route.empty() || name == query.route);
      if (!wanted || route.size() < 2 || index_of(route, query.to) == route.size()) continue;
      ASSIGN_OR_RETURN(RoutePlace place, read_route(text, document, http[i], i));
      place.canary = index_of(route, query.to);
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
