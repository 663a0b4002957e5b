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

constexpr absl::Duration kSkew = CertificateAuthority::kBackdated;
// Roots of an operator's bundle that are worth telling everybody.
constexpr size_t kMaxRoots = 32;
// A copy of the root that this made: only that may be removed, or followed by another. While one follows the
// other, both.
constexpr char kMade[] = "made.crt";

using StorePtr = std::unique_ptr<X509_STORE, FreeWith<X509_STORE_free>>;
using StoreContextPtr = std::unique_ptr<X509_STORE_CTX, FreeWith<X509_STORE_CTX_free>>;
using UntrustedPtr =
    std::unique_ptr<STACK_OF(X509), decltype([](STACK_OF(X509) * list) { sk_X509_free(list); })>;

bool exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

// Whether the authority in the folder is one that open() made there.
bool is_made(const std::string& folder) {
  const auto made = read_text_file(str_cat(folder, "/", kMade)), now = read_text_file(folder + "/ca.crt");
  return made.ok() && now.ok() && !now->empty() && made->find(*now) != std::string::npos &&
         !exists(folder + "/roots.crt");
}

absl::Status rename_file(const std::string& from, const std::string& to) {
  return ::rename(from.c_str(), to.c_str()) == 0 ? absl::OkStatus() : errno_status(from, errno);
}

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

// No handshake would come about, and why is seen at its other end only.
absl::Status check_kinds(const std::string& path, const STACK_OF(X509) * chain) {
  const absl::Status status = check_algorithms(chain);
  if (status.ok()) return status;
  return absl::FailedPreconditionError(
      str_cat(path, ": ", status.message(), "; next: have it issued by an authority with such keys"));
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
  if (X509_verify_cert(context.get()) == 1)
    return check_kinds(path, X509_STORE_CTX_get0_chain(context.get()));
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
  if (!out->options_.mounted) {
    std::error_code error;
    std::filesystem::create_directories(std::filesystem::path(folder).parent_path(), error);
    if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return errno_status(folder, errno);
  }
  auto material = out->load(now);
  if (!material.ok()) return annotate("certificate authority", material.status());
  const absl::MutexLock lock(&out->mutex_);
  out->material_ = *std::move(material);
  return out;
}

CertificateAuthority::MaterialPtr CertificateAuthority::material() const {
  const absl::MutexLock lock(&mutex_);
  return material_;
}

absl::StatusOr<CertificateAuthority::MaterialPtr> CertificateAuthority::load(absl::Time now) const {
  if (!exists(path("ca.crt")) && !exists(path("ca.key"))) {
    // What is made there would be gone with the pod, and each replica would make another one.
    if (options_.mounted)
      return absl::FailedPreconditionError(
          str_cat(options_.folder,
                  " has no ca.crt and no ca.key; next: mount the Secret with the authority there, or let "
                  "one be made (--make-authority, --authority-secret)"));
    RETURN_IF_ERROR(make_root(now));
  }
  RETURN_IF_ERROR(finish_promotion());
  auto out = std::make_shared<Material>();
  std::vector<X509Ptr> chain;
  ASSIGN_OR_RETURN(out->issuer, read_issuer(&chain));
  X509* const certificate = out->issuer.certificate.get();
  if (not_before(certificate) > now)
    return absl::FailedPreconditionError(str_cat(path("ca.crt"), " is not valid yet; next: check the clock"));
  for (X509Ptr& each : chain) {
    if (!self_signed(each.get())) out->intermediates.push_back(std::move(each));
  }
  if (self_signed(certificate)) {
    ASSIGN_OR_RETURN(out->beside, read_beside());
  } else {
    ASSIGN_OR_RETURN(out->operators_roots, read_roots());
  }
  out->end = end_of(out->issuer, out->intermediates, out->operators_roots);
  if (out->end <= now + kSkew) {
    // What runs on this node goes on, only nobody proves who he is any more.
    log::error("authority_expired",
               {{"certificate", path("ca.crt")},
                {"since", absl::FormatTime(absl::RFC3339_sec, out->end, absl::UTCTimeZone())},
                {"next",
                 "no certificate is given out: replace it, its key and roots.crt, then `weft cert rotate "
                 "--root`"}});
    return out;
  }
  if (!out->operators_roots.empty())
    RETURN_IF_ERROR(check_chain(path("ca.crt"), certificate, out->intermediates, out->operators_roots, now));
  return out;
}

absl::Status CertificateAuthority::make_root(absl::Time now) const {
  RETURN_IF_ERROR(issue_root_as("ca.crt", "ca.key", now));
  ASSIGN_OR_RETURN(const std::string text, read_text_file(path("ca.crt")));
  RETURN_IF_ERROR(write_text_file(path(kMade), text));
  log::info("root_made", {{"folder", options_.folder},
                          {"trust_domain", options_.trust_domain},
                          {"next", "none; put an intermediate there to use a root of yours"}});
  return absl::OkStatus();
}

// The key first: a process that dies in between leaves a certificate without a key, which says what is
// missing.
absl::Status CertificateAuthority::issue_root_as(const char* certificate, const char* key,
                                                 absl::Time now) const {
  ASSIGN_OR_RETURN(const KeyPtr made, make_key());
  ASSIGN_OR_RETURN(const X509Ptr root, issue_root(options_.trust_domain, made.get(),
                                                  {now - kSkew, now + options_.root_lifetime}));
  RETURN_IF_ERROR(write_key_file(path(key), made.get()));
  return write_text_file(path(certificate), to_pem(root.get()));
}

absl::StatusOr<CertificateAuthority::Step> CertificateAuthority::rotate(absl::Time now) {
  const absl::MutexLock files(&rotating_);
  ASSIGN_OR_RETURN(const Step step, take_step(now));
  ASSIGN_OR_RETURN(MaterialPtr fresh, load(now));
  const absl::MutexLock lock(&mutex_);
  material_ = std::move(fresh);
  return step;
}

bool CertificateAuthority::makes_roots() const { return is_made(options_.folder); }

absl::StatusOr<CertificateAuthority::Step> CertificateAuthority::take_step(absl::Time now) const {
  if (!makes_roots()) return Step::kReread;
  if (exists(path("next.crt"))) {
    RETURN_IF_ERROR(promote_next());
    return Step::kNextSigns;
  }
  if (exists(path("former.crt"))) {
    ::unlink(path("former.crt").c_str());
    return Step::kFormerGone;
  }
  ::unlink(path("next.key").c_str());  // of a step that a process did not finish
  RETURN_IF_ERROR(issue_root_as("next.crt", "next.key", now));
  return Step::kNextTrusted;
}

// What a process that dies in between leaves is finished by the next one: next.crt without its key.
absl::Status CertificateAuthority::promote_next() const {
  ASSIGN_OR_RETURN(const std::string former, read_text_file(path("ca.crt")));
  ASSIGN_OR_RETURN(const std::string next, read_text_file(path("next.crt")));
  RETURN_IF_ERROR(write_text_file(path("former.crt"), former));
  RETURN_IF_ERROR(write_text_file(path(kMade), former + next));
  RETURN_IF_ERROR(rename_file(path("next.key"), path("ca.key")));
  return finish_promotion();
}

absl::Status CertificateAuthority::finish_promotion() const {
  if (!exists(path("next.crt")) || exists(path("next.key"))) return absl::OkStatus();
  RETURN_IF_ERROR(rename_file(path("next.crt"), path("ca.crt")));
  ASSIGN_OR_RETURN(const std::string text, read_text_file(path("ca.crt")));
  return write_text_file(path(kMade), text);
}

absl::StatusOr<Issuer> CertificateAuthority::read_issuer(std::vector<X509Ptr>* chain) const {
  const std::string file = path("ca.crt");
  ASSIGN_OR_RETURN(const std::string text, read_text_file(file, kind()));
  auto certificates = read_certificates(text);
  if (!certificates.ok()) return annotate(file, certificates.status());
  Issuer out;
  ASSIGN_OR_RETURN(out.key, read_key_file(path("ca.key"), kind()));
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

absl::StatusOr<std::vector<X509Ptr>> CertificateAuthority::read_roots() const {
  const std::string file = path("roots.crt");
  const absl::StatusOr<std::string> text = read_text_file(file, kind());
  if (!text.ok())
    return absl::FailedPreconditionError(str_cat(text.status().message(), "; next: put the root of ",
                                                 path("ca.crt"), " there, and others to trust"));
  auto roots = read_certificates(*text);
  if (!roots.ok()) return annotate(file, roots.status());
  if (roots->size() > kMaxRoots)
    return absl::FailedPreconditionError(str_cat(file, " has more than 32 roots"));
  return *std::move(roots);
}

absl::StatusOr<std::vector<X509Ptr>> CertificateAuthority::read_beside() const {
  std::vector<X509Ptr> out;
  for (const char* name : {"next.crt", "former.crt"}) {
    if (!exists(path(name))) continue;
    ASSIGN_OR_RETURN(const std::string text, read_text_file(path(name), kind()));
    auto roots = read_certificates(text);
    if (!roots.ok()) return annotate(path(name), roots.status());
    out.push_back(std::move(roots->front()));
  }
  return out;
}

absl::StatusOr<std::vector<std::string>> CertificateAuthority::sign(const CertificateRequest& request,
                                                                    absl::Duration lifetime,
                                                                    absl::Time now) const {
  if (request.id.trust_domain != options_.trust_domain)
    return absl::PermissionDeniedError(
        str_cat(request.id.to_string(), " is not of trust domain ", options_.trust_domain));
  const MaterialPtr material = this->material();
  RETURN_IF_ERROR(check_end(*material, now));
  if (lifetime <= absl::ZeroDuration()) lifetime = options_.leaf_lifetime;
  lifetime = std::min(lifetime, options_.leaf_lifetime);
  ASSIGN_OR_RETURN(const X509Ptr leaf, issue_leaf(material->issuer, request.key.get(), request.id,
                                                  {now - kSkew, std::min(now + lifetime, material->end)}));
  std::vector<std::string> out{to_pem(leaf.get())};
  if (!material->operators_roots.empty()) {
    out.push_back(to_pem(material->issuer.certificate.get()));
    for (const X509Ptr& each : material->intermediates) out.push_back(to_pem(each.get()));
  }
  out.push_back(bundle_of(*material));
  return out;
}

absl::Status CertificateAuthority::check_end(const Material& material, absl::Time now) const {
  if (material.end > now + kSkew) return absl::OkStatus();
  return absl::FailedPreconditionError(str_cat(
      "the authority ends at ", absl::FormatTime(absl::RFC3339_sec, material.end, absl::UTCTimeZone()),
      "; next: replace ", path("ca.crt"), " and its key, then ",
      options_.mounted ? "restart weft-control" : "`weft cert rotate --root`"));
}

absl::StatusOr<std::string> CertificateAuthority::sign_server(EVP_PKEY* key,
                                                              const std::vector<std::string>& names,
                                                              absl::Time now) const {
  const MaterialPtr material = this->material();
  RETURN_IF_ERROR(check_end(*material, now));
  ASSIGN_OR_RETURN(const X509Ptr leaf,
                   issue_server(material->issuer, key, names,
                                {now - kSkew, std::min(now + options_.leaf_lifetime, material->end)}));
  return with_intermediates(*material, leaf.get());
}

absl::StatusOr<std::string> CertificateAuthority::sign_node(EVP_PKEY* key, const std::string& node,
                                                            absl::Time now) const {
  const MaterialPtr material = this->material();
  RETURN_IF_ERROR(check_end(*material, now));
  ASSIGN_OR_RETURN(const X509Ptr leaf,
                   issue_node(material->issuer, key, node,
                              {now - kSkew, std::min(now + options_.leaf_lifetime, material->end)}));
  return with_intermediates(*material, leaf.get());
}

std::string CertificateAuthority::with_intermediates(const Material& material, X509* leaf) {
  std::string out = to_pem(leaf);
  if (material.operators_roots.empty()) return out;
  out += to_pem(material.issuer.certificate.get());
  for (const X509Ptr& each : material.intermediates) out += to_pem(each.get());
  return out;
}

std::string CertificateAuthority::bundle() const { return bundle_of(*material()); }

std::string CertificateAuthority::bundle_of(const Material& material) {
  std::string out;
  if (material.operators_roots.empty()) out = to_pem(material.issuer.certificate.get());
  for (const X509Ptr& each : material.beside) out += to_pem(each.get());
  for (const X509Ptr& each : material.operators_roots) out += to_pem(each.get());
  return out;
}

absl::StatusOr<std::string> CertificateAuthority::revocations() const {
  absl::StatusOr<std::string> text = read_text_file(path("crl.pem"), kind());
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
  const MaterialPtr material = this->material();
  if (material->operators_roots.empty()) describe(material->issuer.certificate.get(), true);
  for (const X509Ptr& root : material->beside) describe(root.get(), false);
  for (const X509Ptr& root : material->operators_roots) describe(root.get(), false);
  return out;
}

void CertificateAuthority::remove_made(const std::string& folder) {
  if (!is_made(folder)) return;
  for (const char* name : {"/next.key", "/next.crt", "/former.crt", "/ca.key", "/ca.crt"})
    ::unlink(str_cat(folder, name).c_str());
  ::unlink(str_cat(folder, "/", kMade).c_str());
  ::rmdir(folder.c_str());
}

}  // namespace weft::control_plane
