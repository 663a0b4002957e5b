// See parse_traffic_policy.h: loadBalancer with consistent hashing, warm-up and locality.
#include <array>
#include <set>

#include "absl/strings/ascii.h"
#include "base/strings.h"
#include "control-plane/resource/measure_fields.h"
#include "control-plane/resource/parse_traffic_policy.h"

namespace weft::control_plane {
namespace {

using Names = std::string_view;
using mesh::v1::HashKey;
using mesh::v1::LoadBalancing;
using mesh::v1::LocalityBalancing;

constexpr std::array<Names, 5> kBalancerRead = {"simple", "consistentHash", "localityLbSetting", "warmup",
                                                "warmupDurationSecs"};
constexpr std::array<Names, 1> kBalancerKnown = {"zoneAwareLbSetting"};
constexpr std::array<Names, 7> kHashRead = {"httpHeaderName",         "httpCookie", "useSourceIp",
                                            "httpQueryParameterName", "ringHash",   "maglev",
                                            "minimumRingSize"};
constexpr std::array<Names, 4> kCookieRead = {"name", "path", "ttl", "attributes"};
constexpr std::array<Names, 2> kAttributeRead = {"name", "value"};
constexpr std::array<Names, 1> kRingRead = {"minimumRingSize"};
constexpr std::array<Names, 1> kMaglevRead = {"tableSize"};
constexpr std::array<Names, 3> kWarmupRead = {"duration", "minimumPercent", "aggression"};
constexpr std::array<Names, 4> kLocalityRead = {"enabled", "distribute", "failover", "failoverPriority"};
constexpr std::array<Names, 2> kFromTo = {"from", "to"};

constexpr int64_t kRingSize = 1024, kMaglevSize = 65'537;
// What Istio takes, and what a table has at most here: a worker builds it between two requests. The last is
// the largest prime below.
constexpr int64_t kMaxTableSize = 8'388'608, kMaxPoints = 131'072, kMaxPrime = 131'071;

LoadBalancing::Algorithm algorithm_of(const FieldReader& balancer) {
  const std::string simple = balancer.text("simple").value_or("UNSPECIFIED");
  if (simple == "UNSPECIFIED") return LoadBalancing::ALGORITHM_UNSPECIFIED;
  if (simple == "ROUND_ROBIN") return LoadBalancing::ROUND_ROBIN;
  if (simple == "RANDOM") return LoadBalancing::RANDOM;
  if (simple == "LEAST_REQUEST" || simple == "LEAST_CONN") return LoadBalancing::LEAST_REQUEST;
  if (simple == "PASSTHROUGH") return LoadBalancing::PASSTHROUGH;
  balancer.error_at("simple", kValueRejected, str_cat("\"", simple.substr(0, 32), "\" is no load balancer"),
                    "use ROUND_ROBIN, RANDOM, LEAST_REQUEST or PASSTHROUGH");
  return LoadBalancing::ALGORITHM_UNSPECIFIED;
}

bool is_token(std::string_view text) {
  return !text.empty() && text.find_first_of(" \t\r\n;,=\"()<>@:\\/[]?{}") == std::string_view::npos;
}

bool is_attribute_text(std::string_view text) {
  return text.find_first_of("\r\n;") == std::string_view::npos;
}

void parse_cookie(const FieldReader& hash, HashKey& out) {
  const auto cookie = hash.child("httpCookie");
  if (!cookie || !cookie->expect_map({.read = kCookieRead, .known = {}})) return;
  HashKey::Cookie& to = *out.mutable_cookie();
  to.set_name(cookie->required_text("name", "the cookie's name"));
  if (!to.name().empty() && !is_token(to.name()))
    cookie->error_at("name", kValueRejected, "not a cookie name", "use letters, digits, '-' and '_'");
  to.set_path(cookie->text("path").value_or(""));
  if (!is_attribute_text(to.path()))
    cookie->error_at("path", kValueRejected, "not a path", "write it as /shop, without ';'");
  constexpr uint32_t kMostMs = 40u * 24 * 3600 * 1000;
  if (const auto ttl = duration_ms(*cookie, "ttl", 0, kMostMs)) to.set_ttl_seconds(*ttl / 1000);
  for (const FieldReader& item : cookie->items("attributes")) {
    if (!item.expect_map({.read = kAttributeRead, .known = {}})) continue;
    const std::string name = item.required_text("name", "the attribute, such as SameSite");
    const std::string value = item.text("value").value_or("");
    if (name.empty()) continue;
    if (!is_token(name) || !is_attribute_text(value))
      item.error(kValueRejected, "not a cookie attribute", "write {name: SameSite, value: Lax}");
    to.add_attributes(value.empty() ? name : str_cat(name, "=", value));
  }
}

bool is_prime(int64_t number) {
  for (int64_t i = 2; i * i <= number; ++i) {
    if (number % i == 0) return false;
  }
  return number > 1;
}

// Points of a table; more than it can have are said and not made.
int64_t points_of(const FieldReader& table, Names name, int64_t low, int64_t otherwise, int64_t most) {
  const int64_t size = table.integer(name, low, kMaxTableSize).value_or(otherwise);
  if (size <= most) return size;
  table.warning(kWithoutEffect, str_cat(name, " ", size, " is more than a table has here: it gets ", most),
                str_cat("use at most ", most));
  return most;
}

void parse_table(const FieldReader& hash, LoadBalancing& out) {
  out.set_algorithm(LoadBalancing::RING_HASH);
  int64_t size = points_of(hash, "minimumRingSize", 1, kRingSize, kMaxPoints);
  const auto ring = hash.child("ringHash");
  if (ring && ring->expect_map({.read = kRingRead, .known = {}}))
    size = points_of(*ring, "minimumRingSize", 1, kRingSize, kMaxPoints);
  const auto maglev = hash.child("maglev");
  if (maglev && maglev->expect_map({.read = kMaglevRead, .known = {}})) {
    out.set_algorithm(LoadBalancing::MAGLEV);
    const int64_t wanted = maglev->integer("tableSize", 2, kMaxTableSize).value_or(kMaglevSize);
    if (!is_prime(wanted))
      maglev->error_at("tableSize", kValueRejected, str_cat(wanted, " is no prime"),
                       "use a prime such as 65537");
    size = points_of(*maglev, "tableSize", 2, kMaglevSize, kMaxPrime);
  }
  if (ring && maglev)
    hash.error_at("maglev", kValueRejected, "ringHash and maglev exclude one another", "keep one of the two");
  out.set_table_size(static_cast<uint32_t>(size));
}

void parse_hash(const FieldReader& hash, LoadBalancing& out) {
  if (!hash.expect_map({.read = kHashRead, .known = {}})) return;
  HashKey& key = *out.mutable_hash();
  int keys = 0;
  if (const auto header = hash.text("httpHeaderName")) {
    ++keys;
    key.set_header(absl::AsciiStrToLower(*header));
    if (!is_token(key.header()) && key.header() != ":authority")
      hash.error_at("httpHeaderName", kValueRejected, "not a header name", "use a name such as x-user");
  }
  if (hash.has("httpCookie")) {
    ++keys;
    parse_cookie(hash, key);
  }
  if (hash.boolean("useSourceIp").value_or(false)) {
    ++keys;
    key.set_source_ip(true);
  }
  if (hash.has("httpQueryParameterName")) {
    ++keys;
    key.set_query_parameter(hash.required_text("httpQueryParameterName", "the parameter"));
  }
  if (keys != 1)
    hash.error(kValueRejected, keys == 0 ? "no key to hash" : "several keys to hash",
               "use one of httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName");
  parse_table(hash, out);
}

void parse_warmup(const FieldReader& balancer, LoadBalancing& out) {
  const auto warmup = balancer.child("warmup");
  const auto old = duration_ms(balancer, "warmupDurationSecs", 1);
  if (!warmup && !old) return;
  mesh::v1::Warmup& to = *out.mutable_warmup();
  constexpr double kMinimumPercent = 10, kAggression = 1, kMaxAggression = 1000;
  to.set_minimum_percent(kMinimumPercent);
  to.set_aggression(kAggression);
  to.set_duration_ms(old.value_or(0));
  if (warmup && warmup->expect_map({.read = kWarmupRead, .known = {}})) {
    if (old) balancer.error_at("warmupDurationSecs", kValueRejected, "warmup says it already", "keep warmup");
    if (!warmup->has("duration"))
      warmup->error_at("duration", kFieldMissing, "the field is required", "give a duration such as 60s");
    to.set_duration_ms(duration_ms(*warmup, "duration", 1).value_or(0));
    to.set_minimum_percent(number(*warmup, "minimumPercent", 0, 100).value_or(kMinimumPercent));
    to.set_aggression(number(*warmup, "aggression", 1, kMaxAggression).value_or(kAggression));
  }
  const bool grows = out.algorithm() == LoadBalancing::ROUND_ROBIN ||
                     out.algorithm() == LoadBalancing::LEAST_REQUEST ||
                     out.algorithm() == LoadBalancing::ALGORITHM_UNSPECIFIED;
  if (!grows)
    balancer.warning(kWithoutEffect, "only ROUND_ROBIN and LEAST_REQUEST warm endpoints up",
                     "use one of the two, or remove the warm-up");
}

// Whether a place may be covered by both, "region/zone/subzone", its first parts, or "*" at their end.
bool overlap(std::string_view a, std::string_view b) {
  const auto prefix = [](std::string_view pattern) {
    if (pattern.ends_with('*')) pattern.remove_suffix(1);
    return pattern.empty() || pattern.ends_with('/') ? std::string(pattern) : str_cat(pattern, "/");
  };
  const std::string one = prefix(a), other = prefix(b);
  return one.starts_with(other) || other.starts_with(one);
}

void check_overlaps(const FieldReader& item, const LocalityBalancing::Distribute& row) {
  for (const auto& [place, share] : row.to()) {
    for (const auto& [other, other_share] : row.to()) {
      if (place < other && overlap(place, other))
        item.error_at("to", kValueRejected,
                      str_cat("\"", place, "\" and \"", other, "\" overlap: whose share is it?"),
                      "name places of which none is in another");
    }
  }
}

void parse_distribute(const FieldReader& locality, LocalityBalancing& out) {
  std::set<std::string> seen;
  for (const FieldReader& item : locality.items("distribute")) {
    if (!item.expect_map({.read = kFromTo, .known = {}})) continue;
    auto& to = *out.add_distribute();
    to.set_from(item.required_text("from", "a place such as region/zone/*"));
    if (!seen.insert(to.from()).second)
      item.error_at("from", kValueRejected, str_cat("\"", to.from(), "\" is given twice"),
                    "keep one of them");
    const auto shares = item.child("to");
    int64_t sum = 0;
    if (shares && shares->node().kind == YamlNode::Kind::kMap) {
      for (const YamlField& field : shares->node().fields) {
        const int64_t share = shares->integer(field.name, 0, 100).value_or(0);
        sum += share;
        (*to.mutable_to())[field.name] = static_cast<uint32_t>(share);
      }
    }
    if (sum != 100)
      item.error_at("to", kValueRejected, str_cat("the shares add up to ", sum), "let them add up to 100");
    check_overlaps(item, to);
  }
}

}  // namespace

bool parse_locality(const FieldReader& owner, LocalityBalancing& to) {
  const auto locality = owner.child("localityLbSetting");
  if (!locality || !locality->expect_map({.read = kLocalityRead, .known = {}})) return false;
  to.set_disabled(!locality->boolean("enabled").value_or(true));
  parse_distribute(*locality, to);
  for (const FieldReader& item : locality->items("failover")) {
    if (!item.expect_map({.read = kFromTo, .known = {}})) continue;
    auto& row = *to.add_failover();
    row.set_from_region(item.required_text("from", "a region"));
    row.set_to_region(item.required_text("to", "a region"));
    if (row.from_region() == row.to_region() && !row.to_region().empty())
      item.error_at("to", kValueRejected, "a region cannot fail over to itself", "name another region");
  }
  for (std::string& label : locality->texts("failoverPriority")) to.add_failover_priority(std::move(label));
  if (to.distribute_size() > 0 && (to.failover_size() > 0 || to.failover_priority_size() > 0))
    locality->error_at("distribute", kValueRejected, "distribute excludes failover and failoverPriority",
                       "keep one of them");
  if (to.failover_size() > 0 && to.failover_priority_size() > 0)
    locality->error_at("failover", kValueRejected, "failover and failoverPriority exclude one another",
                       "keep one of them");
  return true;
}

bool parse_load_balancer(const FieldReader& policy, LoadBalancing& out) {
  const auto balancer = policy.child("loadBalancer");
  if (!balancer || !balancer->expect_map({.read = kBalancerRead, .known = kBalancerKnown})) return false;
  out.set_algorithm(algorithm_of(*balancer));
  if (const auto hash = balancer->child("consistentHash")) {
    if (balancer->has("simple"))
      balancer->error_at("consistentHash", kValueRejected, "simple and consistentHash exclude one another",
                         "keep one of the two");
    parse_hash(*hash, out);
  }
  parse_warmup(*balancer, out);
  LocalityBalancing locality;
  if (parse_locality(*balancer, locality)) *out.mutable_locality() = std::move(locality);
  return true;
}

}  // namespace weft::control_plane
