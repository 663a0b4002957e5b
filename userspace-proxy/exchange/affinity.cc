// Affinity of affinity.h.
#include "userspace-proxy/exchange/affinity.h"

#include "absl/strings/str_format.h"
#include "base/strings.h"
#include "userspace-proxy/upstream/xx_hash.h"

namespace weft::proxy {
namespace {

// The next "name=value" of a list; takes it out.
std::pair<std::string_view, std::string_view> next_pair(std::string_view* list, char separator) {
  const size_t end = std::min(list->find(separator), list->size());
  std::string_view item = list->substr(0, end);
  list->remove_prefix(std::min(end + 1, list->size()));
  while (!item.empty() && (item.front() == ' ' || item.front() == '\t')) item.remove_prefix(1);
  const size_t equals = std::min(item.find('='), item.size());
  return {item.substr(0, equals), item.substr(std::min(equals + 1, item.size()))};
}

std::optional<std::string_view> find_in(std::string_view list, char separator, std::string_view name) {
  while (!list.empty()) {
    const auto [key, value] = next_pair(&list, separator);
    if (key == name) return value;
  }
  return std::nullopt;
}

std::optional<std::string_view> cookie_of(const RequestHead& request, std::string_view name) {
  for (const Header& header : request.headers) {
    if (!equals_ignore_case(header.name, "cookie")) continue;
    std::optional<std::string_view> value = find_in(header.value, ';', name);
    if (!value) continue;
    if (value->size() > 1 && value->front() == '"' && value->back() == '"')
      value = value->substr(1, value->size() - 2);
    if (!value->empty()) return value;
  }
  return std::nullopt;
}

std::optional<std::string_view> text_of(const HashKey& key, const RequestHead& request) {
  switch (key.kind) {
    case HashKey::Kind::kHeader:
      if (key.name == ":authority" || key.name == "host") return request.authority;
      return request.find(key.name);
    case HashKey::Kind::kCookie:
      return cookie_of(request, key.name);
    case HashKey::Kind::kQueryParameter:
      return find_in(request.query, '&', key.name);
    case HashKey::Kind::kSourceIp:
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

std::optional<uint64_t> affinity_of(const HashKey& key, const RequestHead& request,
                                    const SocketAddress& client) {
  if (key.kind == HashKey::Kind::kSourceIp) return affinity_of(key, client);
  const auto text = text_of(key, request);
  return text ? std::optional(XxHash64::of(*text)) : std::nullopt;
}

std::optional<uint64_t> affinity_of(const HashKey& key, const SocketAddress& client) {
  if (key.kind != HashKey::Kind::kSourceIp) return std::nullopt;
  const auto& bytes = client.ip.bytes;
  const std::string_view all(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return XxHash64::of(client.ip.is_v4() ? all.substr(12) : all);
}

std::string new_cookie(const HashKey& key, Random& random, uint64_t* hash) {
  const std::string value = absl::StrFormat("%016x", random.next());
  *hash = XxHash64::of(value);
  return str_cat(key.name, "=\"", value, "\"", key.attributes);
}

}  // namespace weft::proxy
