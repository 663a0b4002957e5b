// See parse_rate_limit.h. The annotation's value is YAML (or JSON) itself, as strict as a field would be, and
// its findings name its lines.
#include "control-plane/resource/parse_rate_limit.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "base/strings.h"
#include "control-plane/resource/measure_fields.h"

namespace weft::control_plane {
namespace {

constexpr char kAnnotation[] = "weft.dev/rate-limit";
constexpr std::array<std::string_view, 7> kRead = {"route",   "requests",       "per", "burst", "by",
                                                   "maxKeys", "responseHeaders"};
constexpr std::string_view kByHeader = "header:";
constexpr int64_t kMaxRequests = 1'000'000'000;
constexpr int64_t kMaxPerSecond = 1'000'000;
constexpr int64_t kMaxBurst = 1'000'000;
constexpr int64_t kDefaultKeys = 10'000;
constexpr int64_t kMaxKeys = 1'000'000;  // of all limits of an object too: sixteen bytes each, on every node
constexpr size_t kMaxLimits = 16;
constexpr uint32_t kDefaultPeriodMs = 1000;

bool is_header_name(std::string_view name) {
  return !name.empty() && name.size() <= 128 && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
  });
}

void parse_by(const FieldReader& item, mesh::v1::RateLimit& limit) {
  const auto by = item.text("by");
  if (!by) return;
  std::string header = by->starts_with(kByHeader) ? by->substr(kByHeader.size()) : std::string();
  header.erase(0, header.find_first_not_of(' '));
  std::transform(header.begin(), header.end(), header.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; });
  if (*by == "source") {
    limit.set_by_source(true);
  } else if (is_header_name(header)) {
    limit.set_by_header(header);
  } else {
    item.error_at("by", kValueRejected, str_cat("\"", by->substr(0, 64), "\" is nothing to count by"),
                  "use source, or header:NAME, or leave it out for one bucket");
  }
}

mesh::v1::RateLimit parse_limit(const FieldReader& item) {
  mesh::v1::RateLimit out;
  if (!item.has("requests"))
    item.error_at("requests", kFieldMissing, "the field is required", "say how many requests pass");
  const int64_t requests = item.integer("requests", 1, kMaxRequests).value_or(1);
  out.set_requests(static_cast<uint32_t>(requests));
  out.set_period_ms(duration_ms(item, "per", 1).value_or(kDefaultPeriodMs));
  if (requests * 1000 > kMaxPerSecond * out.period_ms())
    item.error_at("requests", kValueRejected, "more than a million a second", "leave the limit out");
  out.set_burst(static_cast<uint32_t>(
      item.integer("burst", 1, kMaxBurst).value_or(std::clamp<int64_t>(requests, 1, kMaxBurst))));
  parse_by(item, out);
  const bool keyed = out.by_source() || !out.by_header().empty();
  if (item.has("maxKeys") && !keyed)
    item.error_at("maxKeys", kValueRejected, "there is one bucket only", "remove it, or say by:");
  out.set_max_keys(keyed ? static_cast<uint32_t>(item.integer("maxKeys", 1, kMaxKeys).value_or(kDefaultKeys))
                         : 0);
  out.set_response_headers(item.boolean("responseHeaders").value_or(false));
  return out;
}

// To the route of that name, or to all.
void give(const FieldReader& item, const mesh::v1::RateLimit& limit,
          const std::vector<LimitedRoute>& routes) {
  const auto wanted = item.text("route");
  bool found = false;
  for (const LimitedRoute& route : routes) {
    if (wanted && route.name != *wanted) continue;
    *route.http->add_rate_limits() = limit;
    found = true;
  }
  if (wanted && !found)
    item.error_at("route", kReferenceMissing,
                  str_cat("no HTTP route is called \"", wanted->substr(0, 64), "\""),
                  "give the name of one of the object's routes, or leave it out for all");
}

// The annotation's list. Errors are reported, and leave it empty.
std::vector<FieldReader> read_list(const FieldReader& annotations, std::vector<YamlDocument>* documents) {
  const auto annotation = annotations.child(kAnnotation);
  const auto text = annotation ? annotation->as_text() : std::nullopt;
  if (!text) return {};
  *documents = parse_yaml(*text);
  if (documents->size() != 1 || !documents->front().error.empty()) {
    annotation->error(kYamlSyntax,
                      documents->empty() ? "the annotation is empty" : "the annotation is no YAML list",
                      "write a list of limits, as in examples/rate-limit");
    return {};
  }
  YamlNode& list = documents->front().root;
  // A block's first line follows its key.
  const uint32_t line = annotations.line_of(kAnnotation);
  shift_lines(text->find('\n') == std::string::npos ? line - 1 : line, &list);
  return annotation->inside(list).as_items();
}

}  // namespace

void parse_rate_limits(const FieldReader& root, const ObjectMeta& meta,
                       const std::vector<LimitedRoute>& routes) {
  const auto metadata = root.child("metadata");
  const auto annotations = metadata ? metadata->child("annotations") : std::nullopt;
  if (!annotations) return;
  std::vector<YamlDocument> documents;
  // A limit is called by what it is for, not by its place in the list: others may come before it, and its
  // buckets stay.
  std::map<std::string, uint32_t> names;
  size_t limits = 0;
  int64_t keys = 0;
  for (const FieldReader& item : read_list(*annotations, &documents)) {
    if (!item.expect_map({.read = kRead, .known = {}})) continue;
    mesh::v1::RateLimit limit = parse_limit(item);
    const std::string name = str_cat(meta.kind, " ", meta.ns, "/", meta.name, " ",
                                     item.text("route").value_or("*"), " ", item.text("by").value_or("*"));
    limit.set_name(str_cat(name, " ", names[name]++));
    keys += limit.max_keys();
    if (++limits > kMaxLimits)
      return item.error(kValueRejected, str_cat("more than ", kMaxLimits, " limits"), "leave some out");
    if (keys > kMaxKeys)
      return item.error_at("maxKeys", kValueRejected, "more than a million keys with the limits before it",
                           "use smaller numbers: a key costs each node sixteen bytes");
    give(item, limit, routes);
  }
}

}  // namespace weft::control_plane
