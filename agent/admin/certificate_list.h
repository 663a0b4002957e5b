// The Certificates service of <run-dir>/agent.sock: roots and what was issued. gRPC threads call it.
#pragma once

#include "control-plane/identity/certificate_service.h"
#include "proto/weft/admin/v1/certificates.grpc.pb.h"

namespace weft::agent {

class CertificateList final : public admin::v1::Certificates::Service {
 public:
  // Both outlive it.
  CertificateList(const control_plane::CertificateAuthority& authority,
                  const control_plane::CertificateService& certificates)
      : authority_(authority), certificates_(certificates) {}

  grpc::Status List(grpc::ServerContext*, const admin::v1::ListCertificatesRequest*,
                    admin::v1::CertificateList* reply) override;

 private:
  const control_plane::CertificateAuthority& authority_;
  const control_plane::CertificateService& certificates_;
};

}  // namespace weft::agent
