// Why a TLS connection did not come to be, or ended: one closed list, for the log and for the counters.
#pragma once

#include <cstdint>
#include <string_view>

namespace weft::proxy {

// X(kName, "label", "what the peer did or had")
#define WEFT_TLS_FAULTS(X)                                                                               \
  X(kNoFault, "none", "Nothing.")                                                                        \
  X(kTimeout, "timeout", "It did not finish the handshake in time.")                                     \
  X(kProtocol, "protocol", "It broke the rules of TLS, or does not speak it, or not our versions.")      \
  X(kTruncated, "truncated", "It ended the connection without saying so inside of TLS.")                 \
  X(kRefusedByPeer, "refused_by_peer", "It sent an alert: it does not trust us, or wants another peer.") \
  X(kNoCertificate, "no_certificate", "It has no certificate.")                                          \
  X(kUntrusted, "untrusted", "Its certificate does not lead to a root that we trust.")                   \
  X(kExpired, "expired", "Its certificate, or one above it, has expired.")                               \
  X(kNotYetValid, "not_yet_valid", "Its certificate, or one above it, is not valid yet.")                \
  X(kRevoked, "revoked", "Its certificate is on a revocation list.")                                     \
  X(kWrongUsage, "wrong_usage", "Its certificate is not meant for this side of a connection.")           \
  X(kNoIdentity, "no_identity", "Its certificate names no workload.")                                    \
  X(kBadName, "bad_name", "A name in its certificate has bytes that no name has.")                       \
  X(kWrongTrustDomain, "wrong_trust_domain", "It is a workload of another trust domain.")                \
  X(kWrongIdentity, "wrong_identity", "It is another workload than the one that was dialled.")           \
  X(kWrongName, "wrong_name", "Its certificate has none of the names that are wanted.")                  \
  X(kNoProtocol, "no_protocol", "It does not agree to HTTP/2 (ALPN).")

enum class TlsFault : uint8_t {
#define X(name, label, text) name,
  WEFT_TLS_FAULTS(X)
#undef X
};

constexpr std::string_view label(TlsFault fault) {
  switch (fault) {
#define X(name, label, text) \
  case TlsFault::name:       \
    return label;
    WEFT_TLS_FAULTS(X)
#undef X
  }
  return "?";
}

}  // namespace weft::proxy
