// make_credentials() of credentials.h.
#include "userspace-proxy/tls/credentials.h"

#include <openssl/err.h>

#include <algorithm>

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

// An authority may put its root among those between, which the peer has, or does not trust.
bool is_root_of(X509* certificate, const std::vector<X509Ptr>& roots) {
  const auto same = [certificate](const X509Ptr& root) { return X509_cmp(root.get(), certificate) == 0; };
  return X509_NAME_cmp(X509_get_subject_name(certificate), X509_get_issuer_name(certificate)) == 0 &&
         std::any_of(roots.begin(), roots.end(), same);
}

}  // namespace

absl::StatusOr<CredentialsPtr> make_credentials(const SpiffeId& id, KeyPtr key,
                                                std::span<const std::string> chain, std::string_view crls) {
  if (chain.size() < 2) return absl::InvalidArgumentError("the answer has no roots to trust");
  auto out = std::make_shared<Credentials>();
  out->id = id;
  out->key = std::move(key);
  ASSIGN_OR_RETURN(out->roots, read_certificates(chain.back()));
  for (const std::string& pem : chain.first(chain.size() - 1)) {
    ASSIGN_OR_RETURN(std::vector<X509Ptr> certificates, read_certificates(pem));
    for (X509Ptr& each : certificates) {
      if (out->chain.empty() || !is_root_of(each.get(), out->roots)) out->chain.push_back(std::move(each));
    }
  }
  RETURN_IF_ERROR(check_leaf(*out));
  ASSIGN_OR_RETURN(out->crls, read_crls(crls));
  return out;
}

absl::StatusOr<CredentialsPtr> with_crls(const Credentials& credentials, std::string_view crls) {
  auto out = std::make_shared<Credentials>();
  out->id = credentials.id;
  out->key = share(credentials.key.get());
  for (const X509Ptr& each : credentials.chain) out->chain.push_back(share(each.get()));
  for (const X509Ptr& each : credentials.roots) out->roots.push_back(share(each.get()));
  ASSIGN_OR_RETURN(out->crls, read_crls(crls));
  return out;
}

}  // namespace weft::proxy
