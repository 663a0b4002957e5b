// Fuzz target of routing: path normalisation, authority check, compiled matches and route selection, for any
// request and any RouteSet that validation lets through. Looks for two spellings of one request that are
// matched differently, and for a path that still holds what its level removes.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "userspace-proxy/config/match_route.h"
#include "userspace-proxy/config/validate.h"
#include "userspace-proxy/http/authority.h"
#include "userspace-proxy/http/path.h"

namespace weft::proxy {
namespace {

namespace mesh = weft::mesh::v1;

void require(bool condition) {
  if (!condition) std::abort();
}

std::string text(FuzzedDataProvider& data) { return data.ConsumeRandomLengthString(64); }

void fill(FuzzedDataProvider& data, mesh::StringMatch* match) {
  switch (data.ConsumeIntegralInRange(0, 5)) {
    case 0:
      return match->set_exact(text(data));
    case 1:
      return match->set_prefix(text(data));
    case 2:
      return match->set_regex(text(data));
    case 3:
      return match->set_present(true);
    case 4:
      return match->set_segments(text(data));
    default:
      return;
  }
}

template <typename List>
void fill_named(FuzzedDataProvider& data, List* list) {
  for (int n = data.ConsumeIntegralInRange(0, 2); n > 0; --n) {
    mesh::HeaderMatch* match = list->Add();
    match->set_name(text(data));
    fill(data, match->mutable_value());
  }
}

mesh::RouteSet make_routes(FuzzedDataProvider& data) {
  mesh::RouteSet set;
  set.set_name("set");
  set.set_namespace_("ns");
  set.add_hosts("host");
  for (int routes = data.ConsumeIntegralInRange(0, 3); routes > 0; --routes) {
    mesh::HttpRoute* route = set.add_http();
    mesh::Destination* destination = route->add_destinations();
    destination->set_host("host");
    destination->set_weight(1);
    for (int matches = data.ConsumeIntegralInRange(0, 2); matches > 0; --matches) {
      mesh::HttpMatch* match = route->add_matches();
      fill(data, match->mutable_uri());
      match->set_ignore_uri_case(data.ConsumeBool());
      fill(data, match->mutable_method());
      fill(data, match->mutable_authority());
      fill_named(data, match->mutable_headers());
      fill_named(data, match->mutable_without_headers());
      fill_named(data, match->mutable_query_params());
      match->set_port(data.ConsumeIntegralInRange<uint32_t>(0, 2));
    }
  }
  return set;
}

bool is_unreserved(char c) {
  const bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  return alnum || c == '-' || c == '.' || c == '_' || c == '~';
}

// What normalise_path makes of it; false when it is refused.
bool normal(std::string_view path, PathNormalisation level, std::string* out) {
  const PathResult result = normalise_path(path, level, out);
  if (result == PathResult::kUnchanged) out->assign(path);
  return result != PathResult::kRefused;
}

// An escape of a character that needs none is another spelling of the same path.
void check_spellings(const std::string& path, PathNormalisation level, const std::string& expected) {
  constexpr char kHex[] = "0123456789abcdef";
  for (size_t i = 1; i < path.size(); ++i) {
    const bool in_escape = path[i - 1] == '%' || (i > 1 && path[i - 2] == '%');
    if (in_escape || !is_unreserved(path[i])) continue;
    std::string spelt = path.substr(0, i);
    spelt.append({'%', kHex[path[i] >> 4], kHex[path[i] & 15]});
    spelt.append(path.substr(i + 1));
    std::string again;
    require(normal(spelt, level, &again) && again == expected);
  }
}

void check_path(const std::string& path) {
  for (const PathNormalisation level : {PathNormalisation::kBase, PathNormalisation::kMergeSlashes,
                                        PathNormalisation::kDecodeAndMergeSlashes}) {
    std::string once, twice;
    if (!normal(path, level, &once)) {
      std::string other;
      require(normalise_path(path, PathNormalisation::kBase, &other) == PathResult::kRefused);
      continue;
    }
    require(once.front() == '/' && once.size() <= path.size());
    require(normalise_path(once, level, &twice) == PathResult::kUnchanged);
    const std::string closed = once + "/";
    require(closed.find("/./") == std::string::npos && closed.find("/../") == std::string::npos);
    require(once.find('\\') == std::string::npos);
    if (level >= PathNormalisation::kMergeSlashes) require(once.find("//") == std::string::npos);
    if (level == PathNormalisation::kDecodeAndMergeSlashes) {
      for (const char* escape : {"%2f", "%2F", "%5c", "%5C"}) require(once.find(escape) == std::string::npos);
    }
    check_spellings(path, level, once);
  }
}

// A host is one host, however its case, last dot and port are written.
void check_authority(const std::string& authority, const SocketAddress& dialled) {
  if (!valid_authority(authority)) return;
  require(authority.find_first_of("@/?#\\, %") == std::string::npos);
  Snapshot snapshot;
  snapshot.virtual_hosts.push_back(std::make_shared<const VirtualHost>());
  std::string host = authority.substr(0, authority.find(':'));
  if (authority.front() == '[' || host.back() == '.') return;
  std::transform(host.begin(), host.end(), host.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  snapshot.virtual_host_by_host[Snapshot::HostKey{.ns = "default", .port = 0, .host = host}] = 0;
  const bool found = snapshot.find_virtual_host(kNone, authority, dialled) != nullptr;
  for (const std::string& spelling : {host, host + ".", host + ":80", host + ".:80"})
    require((snapshot.find_virtual_host(kNone, spelling, dialled) != nullptr) == found);
}

bool holds(const Route& route, const RequestHead& head, const SourceView& source, uint16_t port) {
  if (route.matches.empty()) return true;
  for (const HttpMatcher& matcher : route.matches) {
    if (matcher.matches(head, source, port)) return true;
  }
  return false;
}

void check_route(const RouteSetSpec& set, const RequestHead& head, uint16_t port) {
  VirtualHost host;
  for (const RouteSpec& spec : set.routes)
    host.routes.push_back(Route{.name = spec.name, .matches = spec.matches});
  const SourceView source{.ns = "default", .labels = nullptr};
  const Route* chosen = match_route(host, head, source, port).route;
  for (const Route& route : host.routes) {
    if (&route == chosen) break;
    require(!holds(route, head, source, port));
  }
  require(chosen == nullptr || holds(*chosen, head, source, port));
  // The path that was matched is the path that goes upstream.
  const StringMatcher exact{.kind = StringMatcher::Kind::kExact, .text = std::string(head.path)};
  require(exact.matches(head.target.substr(0, head.target.find('?'))));
}

}  // namespace
}  // namespace weft::proxy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace weft::proxy;
  FuzzedDataProvider data(bytes, size);
  const std::string target = "/" + data.ConsumeRandomLengthString(256);
  const std::string method = text(data), authority = text(data);
  const std::string name = text(data), value = text(data);
  const auto level = static_cast<PathNormalisation>(data.ConsumeIntegralInRange(0, 3));
  const weft::SocketAddress dialled{*weft::IpAddress::parse("127.0.0.1"), 1};
  check_authority(authority, dialled);
  RequestHead head;
  head.method = method;
  head.target = target;
  head.authority = authority;
  head.headers.push_back(Header{name, value});
  if (!split_origin_form(target, &head)) return 0;
  check_path(std::string(head.path));
  std::string storage;
  if (!normalise_target(level, &storage, &head)) return 0;
  const auto set = validate(make_routes(data));
  if (set.ok()) check_route(*set, head, dialled.port);
  return 0;
}
