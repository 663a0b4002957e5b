// CertificateList of certificate_list.h.
#include "agent/admin/certificate_list.h"

#include "base/log.h"
#include "base/strings.h"

namespace weft::agent {
namespace {

using admin::v1::RotateCertificatesReply;
using control_plane::CertificateAuthority;
using Root = CertificateAuthority::Root;
using Step = CertificateAuthority::Step;

RotateCertificatesReply::Step to_wire(Step step) {
  switch (step) {
    case Step::kReread:
      return RotateCertificatesReply::REREAD;
    case Step::kNextTrusted:
      return RotateCertificatesReply::NEXT_TRUSTED;
    case Step::kNextSigns:
      return RotateCertificatesReply::NEXT_SIGNS;
    case Step::kFormerGone:
      return RotateCertificatesReply::FORMER_GONE;
  }
  return RotateCertificatesReply::NONE;
}

std::vector<Root> roots_of(const std::string& bundle) {
  std::vector<Root> out;
  const auto certificates = read_certificates(bundle);
  if (!certificates.ok()) return out;
  for (const X509Ptr& each : *certificates)
    out.push_back({serial_number(each.get()), not_before(each.get()), not_after(each.get()), false});
  return out;
}

}  // namespace

grpc::Status CertificateList::List(grpc::ServerContext*, const admin::v1::ListCertificatesRequest*,
                                   admin::v1::CertificateList* reply) {
  reply->set_trust_domain(authority_ != nullptr ? authority_->trust_domain() : kDefaultTrustDomain);
  for (const Root& root :
       authority_ != nullptr ? authority_->roots() : roots_of(certificates_.last_bundle())) {
    admin::v1::RootCertificate& out = *reply->add_roots();
    out.set_serial(root.serial);
    out.set_not_before_unix(absl::ToUnixSeconds(root.from));
    out.set_not_after_unix(absl::ToUnixSeconds(root.to));
    out.set_signs(root.signs);
  }
  for (const auto& [id, issued] : certificates_.issued()) {
    admin::v1::IssuedCertificate& out = *reply->add_issued();
    out.set_identity(id.to_string());
    out.set_node(issued.node);
    out.set_serial(issued.serial);
    out.set_not_before_unix(absl::ToUnixSeconds(issued.from));
    out.set_not_after_unix(absl::ToUnixSeconds(issued.to));
    out.set_count(issued.count);
  }
  return grpc::Status::OK;
}

grpc::Status CertificateList::Rotate(grpc::ServerContext*,
                                     const admin::v1::RotateCertificatesRequest* request,
                                     RotateCertificatesReply* reply) {
  if (request->root()) {
    if (authority_ == nullptr)
      return {grpc::StatusCode::FAILED_PRECONDITION,
              "the root is not this node's but of who signs for it; next: replace ca.crt, ca.key and "
              "roots.crt in "
              "weft-control's folder (--ca-dir, /var/lib/weft-control/ca) and restart it, or rotate istiod's "
              "(--ca-address), then `weft cert rotate` on each node"};
    const size_t behind = authority_->makes_roots() ? certificates_.overdue().size() : 0;
    if (behind > 0)
      return {grpc::StatusCode::FAILED_PRECONDITION,
              str_cat(behind,
                      " certificates know nothing of the last step yet; next: try again in some "
                      "seconds, or see the log of the proxy")};
    const absl::StatusOr<Step> step = authority_->rotate(absl::Now());
    if (!step.ok()) return {grpc::StatusCode::FAILED_PRECONDITION, std::string(step.status().message())};
    reply->set_step(to_wire(*step));
    log::info("root_rotated", {{"step", RotateCertificatesReply::Step_Name(reply->step())}});
  }
  std::vector<SpiffeId> renewed;
  if (request->root() || request->identity().empty()) {
    renewed = certificates_.renew(nullptr);
  } else {
    for (const auto& [id, issued] : certificates_.issued()) {
      const std::string text = id.to_string();
      if (text == request->identity() || text.ends_with("/ns/" + request->identity()))
        renewed = certificates_.renew(&id);
    }
    if (renewed.empty())
      return {grpc::StatusCode::NOT_FOUND, "no certificate was issued for " + request->identity()};
  }
  for (const SpiffeId& id : renewed) reply->add_identities(id.to_string());
  return grpc::Status::OK;
}

}  // namespace weft::agent
