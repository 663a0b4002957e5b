// backendRefs of the Gateway API's routes, and the references of mirrors. What a reference leads to is
// decided when all objects are there.
#include <array>

#include "base/strings.h"
#include "control-plane/resource/gateway_route_parts.h"

namespace weft::control_plane {
namespace {

using Names = std::string_view;

constexpr std::array<Names, 5> kReferenceRead = {"group", "kind", "name", "namespace", "port"};
constexpr std::array<Names, 2> kBackendMore = {"weight", "filters"};
constexpr std::array<Names, 1> kBackendMoreLayer4 = {"weight"};
constexpr size_t kMaxBackends = 16;
constexpr int64_t kMaxWeight = 1'000'000;

class BackendFilterParser {
 public:
  // `alone`: the rule sends to nobody else.
  BackendFilterParser(const std::string& ns, bool alone, GatewayRoute::Backend& out, GatewayRoute::Rule& rule)
      : ns_(ns), alone_(alone), out_(out), rule_(rule) {}

  void parse(const FieldReader& filter) {
    const std::string type = filter.required_text("type", "the filter's type");
    mesh::v1::Destination& destination = out_.destination;
    if (type == "RequestHeaderModifier") {
      parse_header_modifier(filter, "requestHeaderModifier", *destination.mutable_request_headers(),
                            destination.mutable_authority());
    } else if (type == "ResponseHeaderModifier") {
      parse_header_modifier(filter, "responseHeaderModifier", *destination.mutable_response_headers(),
                            nullptr);
    } else if (type == "RequestMirror" && (alone_ || destination.weight() == 0)) {
      mirror(filter);
    } else {
      const bool one_of_several = type == "RequestMirror";
      filter.error_at("type", kNotSupportedYet,
                      str_cat("filter ", type.substr(0, 64), " is not supported for one backend",
                              one_of_several ? " of several" : ""),
                      one_of_several ? "give the backend a rule of its own, or move the filter to the rule"
                                     : "move it to the rule");
    }
  }

 private:
  // What gets nothing has nothing to copy; its mirror is read all the same.
  void mirror(const FieldReader& filter) {
    GatewayRoute::Rule unused;
    parse_mirror(filter, ns_, out_.destination.weight() == 0 ? unused : rule_);
  }

  const std::string& ns_;
  const bool alone_;
  GatewayRoute::Backend& out_;
  GatewayRoute::Rule& rule_;
};

}  // namespace

GatewayRoute::Backend parse_backend(const FieldReader& item, const std::string& ns,
                                    std::span<const Names> more) {
  GatewayRoute::Backend out;
  std::vector<Names> read(kReferenceRead.begin(), kReferenceRead.end());
  read.insert(read.end(), more.begin(), more.end());
  if (!item.expect_map({.read = read, .known = {}})) return out;
  out.line = item.line();
  out.field = item.path();
  out.name = item.required_text("name", "the backend's name");
  out.ns = item.text("namespace").value_or(ns);
  const std::string group = item.text("group").value_or("");
  const std::string kind = item.text("kind").value_or("Service");
  const bool service = (group.empty() || group == "core") && kind == "Service";
  if (!service)
    out.unusable = str_cat("kind ", kind.substr(0, 64), group.empty() ? "" : " of ", group.substr(0, 64));
  out.port = static_cast<uint16_t>(item.integer("port", 1, 65535).value_or(0));
  if (service && out.port == 0)
    item.error_at("port", kFieldMissing, "a Service is referred to with its port", "give the port's number");
  out.destination.set_weight(1);
  return out;
}

void parse_backends(const FieldReader& rule, BackendFilters filters, const std::string& ns,
                    GatewayRoute::Rule& out) {
  const std::vector<FieldReader> items = rule.items("backendRefs");
  if (items.size() > kMaxBackends)
    rule.error_at("backendRefs", kValueRejected, str_cat(items.size(), " backends"),
                  str_cat("use at most ", kMaxBackends, " in one rule"));
  const bool http = filters == BackendFilters::kHttp;
  size_t used = 0;
  for (const FieldReader& item : items) {
    GatewayRoute::Backend backend = parse_backend(
        item, ns, http ? std::span<const Names>(kBackendMore) : std::span<const Names>(kBackendMoreLayer4));
    backend.destination.set_weight(static_cast<uint32_t>(item.integer("weight", 0, kMaxWeight).value_or(1)));
    used += backend.destination.weight() > 0 ? 1 : 0;
    out.backends.push_back(std::move(backend));
  }
  for (size_t i = 0; i < items.size() && http; ++i) {
    BackendFilterParser parser(ns, used == 1, out.backends[i], out);
    for (const FieldReader& filter : items[i].items("filters")) parser.parse(filter);
  }
}

}  // namespace weft::control_plane
