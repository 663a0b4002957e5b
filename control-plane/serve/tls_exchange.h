// One connection of TLS on a socket that does not block, with an end to its time: handshake, read, write. For
// a thread of its own.
#pragma once

#include <openssl/ssl.h>

#include <chrono>
#include <memory>
#include <string_view>

#include "base/fd.h"
#include "base/x509.h"

namespace weft::control_plane {

class TlsExchange {
 public:
  using Clock = std::chrono::steady_clock;

  // `stop`: readable when everything is to end. It and the context outlive this.
  TlsExchange(SSL_CTX* context, UniqueFd socket, int stop, Clock::time_point deadline);

  // False of each: the peer is gone or broke TLS, the time is over, or everything is to end.
  bool accept();
  // At least one byte into `to`; 0: nothing more comes.
  size_t read(char* to, size_t most);
  bool write(std::string_view bytes);
  // Says that nothing more comes.
  void close();

 private:
  // Waits until the socket is ready for what OpenSSL wants after `result`. False: it never will be.
  bool wait(int result);

  UniqueFd socket_;
  const int stop_;
  const Clock::time_point deadline_;
  std::unique_ptr<SSL, FreeWith<SSL_free>> ssl_;
};

}  // namespace weft::control_plane
