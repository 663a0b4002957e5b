// make_credentials() of credentials.h.
#include "userspace-proxy/tls/credentials.h"

#include <openssl/err.h>
#include <openssl/rand.h>

#include "base/status_macros.h"

namespace weft::proxy {
namespace {

absl::Status check_leaf(const Credentials& credentials) {
  X509* const leaf = credentials.chain.front().get();
  if (X509_check_private_key(leaf, credentials.key.get()) != 1) {
    ERR_clear_error();
    return absl::InvalidArgumentError("the certificate is not for the key that was asked for");
  }
  SpiffeId id;
  if (read_san(leaf, &id) != SanReading::kOk || id != credentials.id)
    return absl::InvalidArgumentError(str_cat("the certificate is not for ", credentials.id.to_string()));
  return absl::OkStatus();
}

absl::Status finish(Credentials& credentials, std::string_view crls) {
  ASSIGN_OR_RETURN(credentials.crls, read_crls(crls));
  if (RAND_bytes(credentials.ticket_secret.data(), credentials.ticket_secret.size()) != 1)
    return openssl_status("random bytes");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CredentialsPtr> make_credentials(const SpiffeId& id, KeyPtr key,
                                                std::span<const std::string> chain, std::string_view crls) {
  if (chain.size() < 2) return absl::InvalidArgumentError("the answer has no roots to trust");
  auto out = std::make_shared<Credentials>();
  out->id = id;
  out->key = std::move(key);
  for (const std::string& pem : chain.first(chain.size() - 1)) {
    ASSIGN_OR_RETURN(std::vector<X509Ptr> certificates, read_certificates(pem));
    for (X509Ptr& each : certificates) out->chain.push_back(std::move(each));
  }
  ASSIGN_OR_RETURN(out->roots, read_certificates(chain.back()));
  RETURN_IF_ERROR(check_leaf(*out));
  RETURN_IF_ERROR(finish(*out, crls));
  return out;
}

absl::StatusOr<CredentialsPtr> with_crls(const Credentials& credentials, std::string_view crls) {
  auto out = std::make_shared<Credentials>();
  out->id = credentials.id;
  out->key = share(credentials.key.get());
  for (const X509Ptr& each : credentials.chain) out->chain.push_back(share(each.get()));
  for (const X509Ptr& each : credentials.roots) out->roots.push_back(share(each.get()));
  RETURN_IF_ERROR(finish(*out, crls));
  return out;
}

}  // namespace weft::proxy
