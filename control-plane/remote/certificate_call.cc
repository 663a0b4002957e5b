// See certificate_call.h.
#include "control-plane/remote/certificate_call.h"

#include <chrono>

#include "base/status_macros.h"
#include "proto/istio/ca.grpc.pb.h"

namespace weft::control_plane {
namespace {

// The proxy waits five seconds for its certificate; it is told why before that.
constexpr std::chrono::milliseconds kDeadline{4000};

}  // namespace

absl::StatusOr<std::vector<std::string>> call_for_certificate(ControlChannel& channel, std::string_view who,
                                                              const std::string& request,
                                                              const std::string& identity,
                                                              absl::Duration lifetime) {
  const absl::StatusOr<std::shared_ptr<grpc::Channel>> connection = channel.shared();
  if (!connection.ok()) return annotate(who, connection.status());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kDeadline);
  if (const absl::Status prepared = channel.prepare(context); !prepared.ok()) return annotate(who, prepared);
  istio::v1::auth::IstioCertificateRequest question;
  question.set_csr(request);
  question.set_validity_duration(absl::ToInt64Seconds(lifetime));
  (*question.mutable_metadata()->mutable_fields())["ImpersonatedIdentity"].set_string_value(identity);
  istio::v1::auth::IstioCertificateResponse answer;
  const grpc::Status status = istio::v1::auth::IstioCertificateService::NewStub(*connection)
                                  ->CreateCertificate(&context, question, &answer);
  if (!status.ok())
    return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                        str_cat(who, ": ", status.error_message()));
  // Without roots nobody could check a peer with it.
  if (answer.cert_chain_size() < 2) return absl::InternalError(str_cat(who, ": a chain without roots"));
  return std::vector<std::string>(answer.cert_chain().begin(), answer.cert_chain().end());
}

}  // namespace weft::control_plane
