// Two connections of one thread shake hands, with nothing between them but memory. For tests only.
#pragma once

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

namespace weft::test {

// Whether they did. What comes behind a handshake, a ticket, is not read yet.
inline bool shake_hands(SSL* client, SSL* server) {
  BIO *left = nullptr, *right = nullptr;
  EXPECT_EQ(BIO_new_bio_pair(&left, 64 * 1024, &right, 64 * 1024), 1);
  SSL_set_bio(client, left, left);
  SSL_set_bio(server, right, right);
  bool done = false;
  for (int turn = 0; turn < 4 && !done; ++turn) {
    const bool ours = SSL_do_handshake(client) == 1;
    done = (SSL_do_handshake(server) == 1) && ours;
  }
  ERR_clear_error();
  return done;
}

}  // namespace weft::test
