// CertificateList of certificate_list.h.
#include "agent/admin/certificate_list.h"

namespace weft::agent {

grpc::Status CertificateList::List(grpc::ServerContext*, const admin::v1::ListCertificatesRequest*,
                                   admin::v1::CertificateList* reply) {
  reply->set_trust_domain(authority_.trust_domain());
  for (const auto& root : authority_.roots()) {
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

}  // namespace weft::agent
