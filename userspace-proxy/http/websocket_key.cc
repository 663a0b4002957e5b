// Key and accept of websocket_key.h, with OpenSSL's digest, base64 and generator.
#include "userspace-proxy/http/websocket_key.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <string>

namespace weft::proxy {
namespace {

template <size_t kText>
std::array<char, kText> base64(const unsigned char* bytes, int size) {
  // EVP_EncodeBlock adds a NUL.
  std::array<unsigned char, kText + 1> text;
  EVP_EncodeBlock(text.data(), bytes, size);
  std::array<char, kText> out;
  std::copy_n(text.begin(), kText, out.begin());
  return out;
}

}  // namespace

WebSocketKey make_websocket_key() {
  std::array<unsigned char, 16> nonce{};
  RAND_bytes(nonce.data(), static_cast<int>(nonce.size()));
  return base64<24>(nonce.data(), static_cast<int>(nonce.size()));
}

WebSocketAccept websocket_accept(std::string_view key) {
  const std::string text = std::string(key).append("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha1(), nullptr);
  return base64<28>(digest.data(), static_cast<int>(size));
}

}  // namespace weft::proxy
