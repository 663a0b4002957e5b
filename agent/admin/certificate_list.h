// The Certificates service of <run-dir>/agent.sock: roots and what was issued, and replacing both before it
// is time. gRPC threads call it.
#pragma once

#include "control-plane/identity/certificate_service.h"
#include "proto/weft/admin/v1/certificates.grpc.pb.h"

namespace weft::agent {

class CertificateList final : public admin::v1::Certificates::Service {
 public:
  // Both outlive it. Without an authority here, the roots are those that came with the last certificate, and
  // no root is rotated.
  CertificateList(control_plane::CertificateAuthority* authority,
                  control_plane::CertificateService& certificates)
      : authority_(authority), certificates_(certificates) {}

  grpc::Status List(grpc::ServerContext*, const admin::v1::ListCertificatesRequest*,
                    admin::v1::CertificateList* reply) override;
  grpc::Status Rotate(grpc::ServerContext*, const admin::v1::RotateCertificatesRequest* request,
                      admin::v1::RotateCertificatesReply* reply) override;

 private:
  control_plane::CertificateAuthority* const authority_;
  control_plane::CertificateService& certificates_;
};

}  // namespace weft::agent
