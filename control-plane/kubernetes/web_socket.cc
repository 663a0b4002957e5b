// See web_socket.h.
#include "control-plane/kubernetes/web_socket.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <array>
#include <utility>

#include "base/strings.h"

namespace weft::control_plane {
namespace {

// RFC 6455, 1.3.
constexpr char kGuid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
constexpr uint8_t kLast = 0x80, kMasked = 0x80, kReserved = 0x70, kControl = 0x08;
constexpr uint8_t kLength16 = 126, kLength64 = 127;
// Of a control frame.
constexpr size_t kMaxControl = 125;

std::string base64(const unsigned char* bytes, size_t size) {
  std::string out((size + 2) / 3 * 4 + 1, '\0');
  out.resize(static_cast<size_t>(
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), bytes, static_cast<int>(size))));
  return out;
}

struct Head {
  uint8_t first = 0;
  size_t size = 0;  // of itself
  uint64_t length = 0;

  bool is_last() const { return (first & kLast) != 0; }
  bool is_control() const { return (first & kControl) != 0; }
  FrameKind kind() const { return static_cast<FrameKind>(first & 0x0f); }
};

uint8_t byte_at(std::string_view text, size_t at) { return static_cast<uint8_t>(text[at]); }

// nullopt: it is not all there.
std::optional<Head> read_head(std::string_view bytes) {
  if (bytes.size() < 2) return std::nullopt;
  Head out{.first = byte_at(bytes, 0), .size = 2, .length = byte_at(bytes, 1)};
  const size_t more = out.length == kLength16 ? 2 : out.length == kLength64 ? 8 : 0;
  if (bytes.size() < 2 + more) return std::nullopt;
  if (more == 0) return out;
  out.size += more;
  out.length = 0;
  for (size_t i = 0; i < more; ++i) out.length = out.length << 8 | byte_at(bytes, 2 + i);
  return out;
}

}  // namespace

std::string web_socket_key() {
  std::array<unsigned char, 16> bytes{};
  // It need not be secret: it shows that the answer is to this request.
  static_cast<void>(RAND_bytes(bytes.data(), static_cast<int>(bytes.size())));
  return base64(bytes.data(), bytes.size());
}

std::string web_socket_accept(std::string_view key) {
  const std::string text = str_cat(key, kGuid);
  std::array<unsigned char, SHA_DIGEST_LENGTH> digest{};
  SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return base64(digest.data(), digest.size());
}

void append_frame(FrameKind kind, std::string_view payload, uint32_t mask, std::string& out) {
  out.push_back(static_cast<char>(kLast | static_cast<uint8_t>(kind)));
  const size_t size = payload.size();
  const int more = size < kLength16 ? 0 : size <= 0xffff ? 2 : 8;
  const size_t length = more == 0 ? size : more == 2 ? kLength16 : kLength64;
  out.push_back(static_cast<char>(kMasked | length));
  for (int i = more - 1; i >= 0; --i) out.push_back(static_cast<char>(size >> (8 * i)));
  std::array<char, 4> key{};
  for (size_t i = 0; i < key.size(); ++i) out.push_back(key[i] = static_cast<char>(mask >> (8 * i)));
  for (size_t i = 0; i < size; ++i) out.push_back(static_cast<char>(payload[i] ^ key[i % key.size()]));
}

absl::StatusOr<std::optional<FrameReader::Message>> FrameReader::next() {
  while (true) {
    const std::string_view left = std::string_view(input_).substr(used_);
    const std::optional<Head> head = read_head(left);
    if (!head) break;
    const size_t held = begun_ ? begun_->payload.size() : 0;
    if ((head->first & kReserved) != 0 || (byte_at(left, 1) & kMasked) != 0 ||
        head->length > kMaxMessage - held || (head->is_control() && head->length > kMaxControl))
      return absl::InvalidArgumentError("the server sends what is no frame of WebSocket");
    if (left.size() < head->size + head->length) break;
    std::string payload(left.substr(head->size, head->length));
    used_ += head->size + head->length;
    // Between the fragments of a message.
    if (head->is_control()) return Message{head->kind(), std::move(payload)};
    if ((head->kind() == FrameKind::kContinued) != begun_.has_value())
      return absl::InvalidArgumentError("the server sends a fragment of no message of WebSocket");
    if (!begun_)
      begun_ = Message{head->kind(), std::move(payload)};
    else
      begun_->payload += payload;
    if (head->is_last()) return std::exchange(begun_, std::nullopt);
  }
  input_.erase(0, std::exchange(used_, 0));
  return std::nullopt;
}

}  // namespace weft::control_plane
