// See client_hello.h. A reader that remembers whether it ever ran short keeps every length check in one
// place.
#include "userspace-proxy/http/client_hello.h"

#include <algorithm>

namespace weft::proxy {
namespace {

constexpr uint8_t kHandshakeRecord = 22;
constexpr uint8_t kClientHello = 1;
constexpr uint16_t kServerNameExtension = 0;
constexpr uint8_t kHostName = 0;
constexpr size_t kRecordHeader = 5;
constexpr size_t kHandshakeHeader = 4;
constexpr size_t kMaxRecord = 16 * 1024;
constexpr size_t kMaxNameBytes = 255;

// Reads big-endian numbers and counted texts; after the first that is not there everything is empty or zero.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  uint32_t number(size_t bytes) {
    uint32_t out = 0;
    for (const char c : text(bytes)) out = (out << 8) | static_cast<unsigned char>(c);
    return out;
  }
  std::string_view text(size_t bytes) {
    if (bytes > rest_.size()) {
      short_ = true;
      bytes = rest_.size();
      rest_ = {};
      return {};
    }
    const std::string_view out = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return out;
  }
  // Preceded by its length in `length_bytes`.
  std::string_view counted(size_t length_bytes) { return text(number(length_bytes)); }
  bool empty() const { return rest_.empty(); }
  // All was there, and nothing is left.
  bool whole() const { return !short_ && rest_.empty(); }
  bool ran_short() const { return short_; }

 private:
  std::string_view rest_;
  bool short_ = false;
};

// Names are in lower case here, as everywhere. False: no host name.
bool take_name(std::string_view name, std::string* out) {
  if (name.ends_with('.')) name.remove_suffix(1);
  if (name.empty() || name.size() > kMaxNameBytes || name.front() == '.' || name.ends_with('.')) return false;
  if (name.find("..") != std::string_view::npos) return false;
  out->assign(name);
  for (char& c : *out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
    const bool good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
    if (!good) return false;
  }
  return true;
}

// One name: RFC 6066 allows no second of a type, and there is only one type.
bool take_server_name(std::string_view extension, std::string* out) {
  Reader reader(extension);
  Reader list(reader.counted(2));
  if (!reader.whole()) return false;
  const uint32_t type = list.number(1);
  const std::string_view name = list.counted(2);
  return list.whole() && type == kHostName && take_name(name, out);
}

bool take_extensions(std::string_view extensions, std::string* out) {
  Reader reader(extensions);
  bool named = false;
  while (!reader.empty()) {
    const uint32_t type = reader.number(2);
    const std::string_view body = reader.counted(2);
    if (reader.ran_short()) return false;
    if (type != kServerNameExtension) continue;
    if (named || !take_server_name(body, out)) return false;
    named = true;
  }
  return true;
}

HelloStatus read_hello(std::string_view body, std::string* server_name) {
  Reader reader(body);
  reader.text(2 + 32);  // version, random
  const std::string_view session = reader.counted(1);
  const std::string_view ciphers = reader.counted(2);
  const std::string_view compressions = reader.counted(1);
  if (reader.ran_short() || session.size() > 32 || ciphers.empty() || ciphers.size() % 2 != 0 ||
      compressions.empty())
    return HelloStatus::kNotTls;
  // Before TLS 1.3 a hello may end here.
  if (reader.empty()) return HelloStatus::kComplete;
  const std::string_view extensions = reader.counted(2);
  if (!reader.whole() || !take_extensions(extensions, server_name)) return HelloStatus::kNotTls;
  return HelloStatus::kComplete;
}

// The handshake message begins with its type and length.
HelloStatus read_handshake(std::string_view handshake, std::string* server_name) {
  if (!handshake.empty() && static_cast<uint8_t>(handshake.front()) != kClientHello)
    return HelloStatus::kNotTls;
  if (handshake.size() < kHandshakeHeader) return HelloStatus::kNeedMore;
  Reader header(handshake.substr(1, 3));
  const uint32_t length = header.number(3);
  if (length > kMaxHelloBytes - kHandshakeHeader) return HelloStatus::kNotTls;
  if (handshake.size() - kHandshakeHeader < length) return HelloStatus::kNeedMore;
  return read_hello(handshake.substr(kHandshakeHeader, length), server_name);
}

}  // namespace

HelloStatus read_client_hello(std::string_view bytes, std::string* server_name) {
  server_name->clear();
  // Messages may be split over records; most are not, and are read where they are.
  std::string joined;
  std::string_view handshake;
  while (!bytes.empty()) {
    if (static_cast<uint8_t>(bytes[0]) != kHandshakeRecord) return HelloStatus::kNotTls;
    // Every version of TLS writes 3 here (RFC 8446 §5.1).
    if (bytes.size() > 1 && bytes[1] != 3) return HelloStatus::kNotTls;
    if (bytes.size() < kRecordHeader) break;
    const size_t length = Reader(bytes.substr(3, 2)).number(2);
    if (length == 0 || length > kMaxRecord) return HelloStatus::kNotTls;
    const std::string_view fragment = bytes.substr(kRecordHeader, length);
    if (handshake.empty()) {
      handshake = fragment;
    } else {
      if (joined.empty()) joined = handshake;
      joined.append(fragment);
      handshake = joined;
    }
    const HelloStatus status = read_handshake(handshake, server_name);
    if (status != HelloStatus::kNeedMore) return status;
    if (handshake.size() > kMaxHelloBytes) return HelloStatus::kNotTls;
    bytes.remove_prefix(std::min(bytes.size(), kRecordHeader + length));
  }
  return HelloStatus::kNeedMore;
}

}  // namespace weft::proxy
