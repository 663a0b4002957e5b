// http2_settings_of of h2c_upgrade.h.
#include "userspace-proxy/http/h2c_upgrade.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "userspace-proxy/http/http1_head.h"

namespace weft::proxy {
namespace {

// Bytes of one setting in the payload (RFC 9113 §6.5.1), and more of them than any client sends.
constexpr size_t kSettingBytes = 6;
constexpr size_t kMaxSettings = 32;

// RFC 4648 §5, without what a lenient decoder would leave out.
bool is_base64url(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '=';
  });
}

}  // namespace

std::optional<std::string> http2_settings_of(const RequestHead& head) {
  const auto upgrade = head.find("upgrade");
  if (!upgrade || !has_token(*upgrade, "h2c")) return std::nullopt;
  if (head.minor_version == 0 || head.body != BodyKind::kNone || head.method == "CONNECT")
    return std::nullopt;
  bool upgrade_listed = false, settings_listed = false;
  std::optional<std::string_view> settings;
  for (const Header& header : head.headers) {
    if (equals_ignore_case(header.name, "connection")) {
      upgrade_listed = upgrade_listed || has_token(header.value, "upgrade");
      settings_listed = settings_listed || has_token(header.value, "http2-settings");
    } else if (equals_ignore_case(header.name, "http2-settings")) {
      if (settings) return std::nullopt;
      settings = header.value;
    }
  }
  std::string payload;
  if (!upgrade_listed || !settings_listed || !settings || !is_base64url(*settings) ||
      !absl::WebSafeBase64Unescape(absl::string_view(settings->data(), settings->size()), &payload))
    return std::nullopt;
  if (payload.size() % kSettingBytes != 0 || payload.size() > kMaxSettings * kSettingBytes)
    return std::nullopt;
  return payload;
}

}  // namespace weft::proxy
