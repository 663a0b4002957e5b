// Lists of field_rules.h, looked up by length first: most names fail there.
#include "userspace-proxy/http/field_rules.h"

#include <algorithm>

#include "userspace-proxy/http/http1_head.h"

namespace weft::proxy {

bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_token_char);
}

bool reads_as(std::string_view sent, std::string_view name) {
  const auto same = [](char a, char b) {
    return equals_ignore_case({&a, 1}, {&b, 1}) || (a == '_' && b == '-') || (a == '-' && b == '_');
  };
  return sent.size() == name.size() && std::equal(sent.begin(), sent.end(), name.begin(), same);
}

// Declared in http1_head.h.
bool has_token(std::string_view list, std::string_view token) {
  while (!list.empty()) {
    const size_t comma = list.find(',');
    std::string_view item = list.substr(0, comma);
    while (!item.empty() && (item.front() == ' ' || item.front() == '\t')) item.remove_prefix(1);
    while (!item.empty() && (item.back() == ' ' || item.back() == '\t')) item.remove_suffix(1);
    if (equals_ignore_case(item, token)) return true;
    if (comma == std::string_view::npos) return false;
    list.remove_prefix(comma + 1);
  }
  return false;
}

bool is_connection_field(std::string_view name) {
  switch (name.size()) {
    case 2:
      return equals_ignore_case(name, "te");
    case 7:
      return equals_ignore_case(name, "upgrade");
    case 10:
      return equals_ignore_case(name, "connection") || equals_ignore_case(name, "keep-alive");
    case 14:
      return equals_ignore_case(name, "http2-settings");
    case 16:
      return equals_ignore_case(name, "proxy-connection");
    case 17:
      return equals_ignore_case(name, "transfer-encoding");
    default:
      return false;
  }
}

bool listed_in_connection(const std::vector<Header>& headers, std::string_view name) {
  if (equals_ignore_case(name, "host") || equals_ignore_case(name, "content-length")) return false;
  for (const Header& header : headers) {
    if (equals_ignore_case(header.name, "connection") && has_token(header.value, name)) return true;
  }
  return false;
}

bool forbidden_in_trailer(std::string_view name) {
  for (const std::string_view forbidden :
       {"content-length", "transfer-encoding", "host", "connection", "trailer", "te", "upgrade", "keep-alive",
        "proxy-connection", "authorization", "proxy-authorization", "cookie", "content-type",
        "content-encoding", "content-range", "set-cookie", "expect", "range", "max-forwards"}) {
    if (equals_ignore_case(name, forbidden)) return true;
  }
  return false;
}

}  // namespace weft::proxy
