// VerifiedPeers of verified_peers.h.
#include "userspace-proxy/tls/verified_peers.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include <iterator>
#include <utility>

#include "userspace-proxy/tls/tls_context.h"

namespace weft::proxy {
namespace {

bool append(X509* certificate, std::string* out) {
  const int length = i2d_X509(certificate, nullptr);
  if (length <= 0) return false;
  const size_t before = out->size();
  out->resize(before + static_cast<size_t>(length));
  auto* at = reinterpret_cast<unsigned char*>(out->data() + before);
  return i2d_X509(certificate, &at) == length;
}

}  // namespace

// DER tells where each certificate ends, so two chains never give the same bytes.
std::string VerifiedPeers::shown(X509_STORE_CTX* store) {
  std::string out;
  if (!append(X509_STORE_CTX_get0_cert(store), &out)) return {};
  const STACK_OF(X509)* others = X509_STORE_CTX_get0_untrusted(store);
  for (int i = 0; i < sk_X509_num(others); ++i) {
    if (sk_X509_value(others, i) == X509_STORE_CTX_get0_cert(store)) continue;
    if (!append(sk_X509_value(others, i), &out)) return {};
  }
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  const int done = EVP_Digest(out.data(), out.size(), reinterpret_cast<unsigned char*>(digest.data()),
                              nullptr, EVP_sha256(), nullptr);
  return done == 1 ? digest : std::string();
}

const VerifiedPeers::Peer* VerifiedPeers::find(const std::string& shown, const Credentials& trust) {
  const auto found = by_shown_.find(shown);
  if (found == by_shown_.end()) return nullptr;
  const auto entry = found->second;
  if (TlsContext::recheck(entry->peer.chain, trust) == TlsFault::kNoFault) return &entry->peer;
  by_shown_.erase(found);
  order_.erase(entry);
  return nullptr;
}

void VerifiedPeers::keep(std::string shown, const SpiffeId& id, const std::vector<X509Ptr>& chain) {
  if (shown.empty() || by_shown_.contains(shown)) return;
  if (order_.size() >= kMax) {
    by_shown_.erase(order_.front().shown);
    order_.pop_front();
  }
  order_.push_back(Entry{std::move(shown), Peer{id, share_all(chain)}});
  by_shown_[order_.back().shown] = std::prev(order_.end());
}

}  // namespace weft::proxy
