// CertificateAuthority of certificate_authority.h.
#include "control-plane/identity/certificate_authority.h"

#include <openssl/err.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/log.h"
#include "base/status_macros.h"
#include "control-plane/identity/key_file.h"

namespace weft::control_plane {
namespace {

// Clocks of nodes differ; a certificate is valid a little before it was made.
constexpr absl::Duration kSkew = absl::Minutes(1);
// Roots of an operator's bundle that are worth telling everybody.
constexpr size_t kMaxRoots = 32;
// A copy of the root that this made: only that may be removed.
constexpr char kMade[] = "made.crt";

using StorePtr = std::unique_ptr<X509_STORE, FreeWith<X509_STORE_free>>;
using StoreContextPtr = std::unique_ptr<X509_STORE_CTX, FreeWith<X509_STORE_CTX_free>>;
using UntrustedPtr =
    std::unique_ptr<STACK_OF(X509), decltype([](STACK_OF(X509) * list) { sk_X509_free(list); })>;

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

bool self_signed(X509* certificate) {
  return X509_NAME_cmp(X509_get_subject_name(certificate), X509_get_issuer_name(certificate)) == 0;
}

absl::Status check_issuer(const std::string& path, X509* certificate) {
  if (X509_check_ca(certificate) != 1)
    return absl::FailedPreconditionError(
        str_cat(path, " is no certificate of an authority; next: issue it with basicConstraints CA:TRUE"));
  if ((X509_get_key_usage(certificate) & KU_KEY_CERT_SIGN) == 0)
    return absl::FailedPreconditionError(
        str_cat(path, " may not sign certificates; next: issue it with keyUsage keyCertSign"));
  return absl::OkStatus();
}

// A chain is good for as long as all of it is, and its roots for as long as one of them.
absl::Time end_of(const Issuer& issuer, const std::vector<X509Ptr>& between,
                  const std::vector<X509Ptr>& roots) {
  absl::Time end = not_after(issuer.certificate.get());
  for (const X509Ptr& each : between) end = std::min(end, not_after(each.get()));
  absl::Time last = roots.empty() ? end : absl::InfinitePast();
  for (const X509Ptr& each : roots) last = std::max(last, not_after(each.get()));
  return std::min(end, last);
}

absl::Status check_chain(const std::string& path, X509* leaf, const std::vector<X509Ptr>& between,
                         const std::vector<X509Ptr>& roots, absl::Time now) {
  const StorePtr store(X509_STORE_new());
  for (const X509Ptr& root : roots) X509_STORE_add_cert(store.get(), root.get());
  const UntrustedPtr untrusted(sk_X509_new_null());
  for (const X509Ptr& each : between) sk_X509_push(untrusted.get(), each.get());
  const StoreContextPtr context(X509_STORE_CTX_new());
  X509_STORE_CTX_init(context.get(), store.get(), leaf, untrusted.get());
  X509_STORE_CTX_set_time(context.get(), 0, absl::ToTimeT(now));
  if (X509_verify_cert(context.get()) == 1) return absl::OkStatus();
  const char* reason = X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get()));
  ERR_clear_error();
  return absl::FailedPreconditionError(str_cat(path, " does not chain to roots.crt (", reason,
                                               "); next: put the certificates between them behind it"));
}

}  // namespace

std::string CertificateAuthority::path(const char* name) const { return str_cat(options_.folder, "/", name); }

absl::StatusOr<std::unique_ptr<CertificateAuthority>> CertificateAuthority::open(Options options,
                                                                                 absl::Time now) {
  std::unique_ptr<CertificateAuthority> out(new CertificateAuthority(std::move(options)));
  const std::string& folder = out->options_.folder;
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(folder).parent_path(), error);
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return errno_status(folder, errno);
  RETURN_IF_ERROR(annotate("certificate authority", out->load(now)));
  return out;
}

absl::Status CertificateAuthority::load(absl::Time now) {
  if (!exists(path("ca.crt")) && !exists(path("ca.key"))) RETURN_IF_ERROR(make_root(now));
  std::vector<X509Ptr> chain;
  ASSIGN_OR_RETURN(issuer_, read_issuer(&chain));
  if (not_before(issuer_.certificate.get()) > now)
    return absl::FailedPreconditionError(str_cat(path("ca.crt"), " is not valid yet; next: check the clock"));
  for (X509Ptr& each : chain) {
    if (!self_signed(each.get())) intermediates_.push_back(std::move(each));
  }
  if (!self_signed(issuer_.certificate.get())) RETURN_IF_ERROR(read_roots());
  end_ = end_of(issuer_, intermediates_, operators_roots_);
  if (end_ <= now + kSkew) {
    // What runs on this node goes on, only nobody proves who he is any more.
    log::error("authority_expired",
               {{"certificate", path("ca.crt")},
                {"since", absl::FormatTime(absl::RFC3339_sec, end_, absl::UTCTimeZone())},
                {"next", "no certificate is given out: replace it, its key and roots.crt, then restart"}});
    return absl::OkStatus();
  }
  if (operators_roots_.empty()) return absl::OkStatus();
  return check_chain(path("ca.crt"), issuer_.certificate.get(), intermediates_, operators_roots_, now);
}

// The key first: a process that dies in between leaves a certificate without a key, which says what is
// missing.
absl::Status CertificateAuthority::make_root(absl::Time now) {
  ASSIGN_OR_RETURN(const KeyPtr key, make_key());
  ASSIGN_OR_RETURN(const X509Ptr root,
                   issue_root(options_.trust_domain, key.get(), {now - kSkew, now + options_.root_lifetime}));
  const std::string text = to_pem(root.get());
  RETURN_IF_ERROR(write_key_file(path("ca.key"), key.get()));
  RETURN_IF_ERROR(write_text_file(path(kMade), text));
  RETURN_IF_ERROR(write_text_file(path("ca.crt"), text));
  log::info("root_made", {{"folder", options_.folder},
                          {"trust_domain", options_.trust_domain},
                          {"next", "none; put an intermediate there to use a root of yours"}});
  return absl::OkStatus();
}

absl::StatusOr<Issuer> CertificateAuthority::read_issuer(std::vector<X509Ptr>* chain) const {
  const std::string file = path("ca.crt");
  ASSIGN_OR_RETURN(const std::string text, read_text_file(file));
  auto certificates = read_certificates(text);
  if (!certificates.ok()) return annotate(file, certificates.status());
  Issuer out;
  ASSIGN_OR_RETURN(out.key, read_key_file(path("ca.key")));
  out.certificate = std::move(certificates->front());
  RETURN_IF_ERROR(check_issuer(file, out.certificate.get()));
  if (X509_check_private_key(out.certificate.get(), out.key.get()) != 1) {
    ERR_clear_error();
    return absl::FailedPreconditionError(
        str_cat(path("ca.key"), " is not the key of ", file, "; next: put its key there"));
  }
  certificates->erase(certificates->begin());
  *chain = std::move(*certificates);
  return out;
}

absl::Status CertificateAuthority::read_roots() {
  const std::string file = path("roots.crt");
  const absl::StatusOr<std::string> text = read_text_file(file);
  if (!text.ok())
    return absl::FailedPreconditionError(str_cat(text.status().message(), "; next: put the root of ",
                                                 path("ca.crt"), " there, and others to trust"));
  auto roots = read_certificates(*text);
  if (!roots.ok()) return annotate(file, roots.status());
  if (roots->size() > kMaxRoots)
    return absl::FailedPreconditionError(str_cat(file, " has more than 32 roots"));
  operators_roots_ = std::move(*roots);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> CertificateAuthority::sign(const CertificateRequest& request,
                                                                    absl::Duration lifetime,
                                                                    absl::Time now) const {
  if (request.id.trust_domain != options_.trust_domain)
    return absl::PermissionDeniedError(
        str_cat(request.id.to_string(), " is not of trust domain ", options_.trust_domain));
  if (end_ <= now + kSkew)
    return absl::FailedPreconditionError(
        str_cat("the authority ends at ", absl::FormatTime(absl::RFC3339_sec, end_, absl::UTCTimeZone()),
                "; next: replace ", path("ca.crt"), " and its key, then restart the agent"));
  if (lifetime <= absl::ZeroDuration()) lifetime = options_.leaf_lifetime;
  lifetime = std::min(lifetime, options_.leaf_lifetime);
  ASSIGN_OR_RETURN(const X509Ptr leaf, issue_leaf(issuer_, request.key.get(), request.id,
                                                  {now - kSkew, std::min(now + lifetime, end_)}));
  std::vector<std::string> out{to_pem(leaf.get())};
  if (!operators_roots_.empty()) {
    out.push_back(to_pem(issuer_.certificate.get()));
    for (const X509Ptr& each : intermediates_) out.push_back(to_pem(each.get()));
  }
  out.push_back(bundle());
  return out;
}

std::string CertificateAuthority::bundle() const {
  if (operators_roots_.empty()) return to_pem(issuer_.certificate.get());
  std::string out;
  for (const X509Ptr& each : operators_roots_) out += to_pem(each.get());
  return out;
}

absl::StatusOr<std::string> CertificateAuthority::revocations() const {
  absl::StatusOr<std::string> text = read_text_file(path("crl.pem"));
  if (absl::IsNotFound(text.status())) return std::string();
  if (!text.ok()) return text;
  const auto lists = read_crls(*text);
  if (!lists.ok()) return annotate(path("crl.pem"), lists.status());
  return text;
}

std::vector<CertificateAuthority::Root> CertificateAuthority::roots() const {
  std::vector<Root> out;
  const auto describe = [&out](X509* root, bool signs) {
    out.push_back({serial_number(root), not_before(root), not_after(root), signs});
  };
  for (const X509Ptr& root : operators_roots_) describe(root.get(), false);
  if (operators_roots_.empty()) describe(issuer_.certificate.get(), true);
  return out;
}

void CertificateAuthority::remove_made(const std::string& folder) {
  const std::string made = str_cat(folder, "/", kMade), certificate = folder + "/ca.crt";
  const auto then = read_text_file(made), now = read_text_file(certificate);
  if (!then.ok() || !now.ok() || *then != *now || exists(folder + "/roots.crt")) return;
  for (const std::string& file : {folder + "/ca.key", certificate, made}) ::unlink(file.c_str());
  ::rmdir(folder.c_str());
}

}  // namespace weft::control_plane
