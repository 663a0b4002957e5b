// See call_identity.h.
#include "control-plane/serve/call_identity.h"

#include <map>
#include <string_view>
#include <utility>

#include "absl/strings/match.h"
#include "base/strings.h"
#include "control-plane/join/join_service.h"

namespace weft::control_plane {
namespace {

using Metadata = std::multimap<grpc::string_ref, grpc::string_ref>;

constexpr std::string_view kScheme = "Bearer ";

std::string_view view(const grpc::string_ref& text) { return {text.data(), text.size()}; }

// "": none, or none that counts; two tokens are no proof of either.
std::string_view token_of(const Metadata& metadata) {
  if (metadata.count("authorization") != 1) return "";
  const std::string_view value = view(metadata.find("authorization")->second);
  if (!absl::StartsWithIgnoreCase(to_absl(value), to_absl(kScheme))) return "";
  return value.substr(kScheme.size());
}

// PEM; gRPC has checked it against the authority for clients.
std::string certificate_of(const grpc::AuthContext& context) {
  const std::vector<grpc::string_ref> found = context.FindPropertyValues("x509_pem_cert");
  return found.size() == 1 ? std::string(view(found.front())) : std::string();
}

grpc::Status to_grpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

class Processor final : public grpc::AuthMetadataProcessor {
 public:
  explicit Processor(std::shared_ptr<Callers> callers) : callers_(std::move(callers)) {}

  bool IsBlocking() const override { return true; }
  // What is consumed would be hidden from the services, which ask whose the token is: nothing is.
  grpc::Status Process(const InputMetadata& metadata, grpc::AuthContext* context, OutputMetadata*,
                       OutputMetadata*) override {
    const auto method = metadata.find(":path");
    if (method != metadata.end() && view(method->second) == kJoinMethod) return grpc::Status::OK;
    const auto node = callers_->node_of(token_of(metadata), certificate_of(*context));
    return node.ok() ? grpc::Status::OK : to_grpc(node.status());
  }

 private:
  const std::shared_ptr<Callers> callers_;
};

}  // namespace

std::shared_ptr<grpc::AuthMetadataProcessor> refuse_unknown(std::shared_ptr<Callers> callers) {
  return std::make_shared<Processor>(std::move(callers));
}

absl::StatusOr<std::string> node_of_call(Callers& callers, const grpc::ServerContextBase& context) {
  return callers.known_node_of(token_of(context.client_metadata()), certificate_of(*context.auth_context()));
}

}  // namespace weft::control_plane
