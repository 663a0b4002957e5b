// CertificateService of certificate_service.h.
#include "control-plane/identity/certificate_service.h"

#include "base/log.h"
#include "base/status_macros.h"

namespace weft::control_plane {
namespace {

constexpr char kWanted[] = "ImpersonatedIdentity";
// Longer than any leaf lives.
constexpr absl::Duration kForgotten = absl::Hours(25);

absl::Status check_wanted(const google::protobuf::Struct& metadata, const SpiffeId& id) {
  const auto wanted = metadata.fields().find(kWanted);
  if (wanted == metadata.fields().end() || wanted->second.string_value() == id.to_string())
    return absl::OkStatus();
  return absl::InvalidArgumentError(str_cat("it wants the identity '", wanted->second.string_value(),
                                            "' and its request has ", id.to_string()));
}

}  // namespace

CertificateService::Sign CertificateService::signed_by(const CertificateAuthority& authority) {
  return [&authority](const std::string&, const CertificateRequest& request, absl::Duration lifetime,
                      absl::Time now) { return authority.sign(request, lifetime, now); };
}

CertificateService::NodeOf CertificateService::all_of(std::string node) {
  return [node = std::move(node)](const grpc::ServerContextBase& context) -> absl::StatusOr<std::string> {
    // Who says that he is another one is not served for being here.
    if (context.client_metadata().contains("authorization"))
      return absl::UnauthenticatedError("tokens are not accepted here");
    if (node.empty()) return absl::UnauthenticatedError("it is not of this node");
    return node;
  };
}

bool CertificateService::is_never_signed(const istio::v1::auth::IstioCertificateRequest& request) const {
  if (parts_.never_signs == nullptr) return false;
  const absl::StatusOr<CertificateRequest> wanted = parse_request(request.csr());
  return wanted.ok() && parts_.never_signs(wanted->id);
}

absl::StatusOr<std::vector<std::string>> CertificateService::create(
    const grpc::ServerContext& context, const istio::v1::auth::IstioCertificateRequest& request) {
  ASSIGN_OR_RETURN(const CertificateRequest wanted, parse_request(request.csr()));
  RETURN_IF_ERROR(check_wanted(request.metadata(), wanted.id));
  ASSIGN_OR_RETURN(const std::string node, parts_.node_of(context));
  if (!parts_.runs_on(node, wanted.id))
    return absl::PermissionDeniedError(str_cat("node ", node, " has no workload of ", wanted.id.to_string()));
  constexpr int64_t kYear = 366 * 24 * 3600;
  const int64_t seconds = std::clamp<int64_t>(request.validity_duration(), 0, kYear);
  ASSIGN_OR_RETURN(std::vector<std::string> chain,
                   parts_.sign(request.csr(), wanted, absl::Seconds(seconds), parts_.now()));
  ++given_;
  remember(node, wanted.id, chain);
  return chain;
}

void CertificateService::remember(const std::string& node, const SpiffeId& id,
                                  const std::vector<std::string>& chain) {
  const auto read = read_certificates(chain.front());
  if (!read.ok()) return;
  X509* const certificate = read->front().get();
  const absl::MutexLock lock(&mutex_);
  // Nobody renews what has expired: its workload is gone.
  std::erase_if(issued_, [this](const auto& row) { return row.second.to <= parts_.now(); });
  Issued& row = issued_[id];
  row = {node, serial_number(certificate), not_before(certificate), not_after(certificate), row.count + 1};
  last_bundle_ = chain.back();
}

std::map<SpiffeId, CertificateService::Issued> CertificateService::issued() const {
  const absl::MutexLock lock(&mutex_);
  return issued_;
}

std::string CertificateService::last_bundle() const {
  const absl::MutexLock lock(&mutex_);
  return last_bundle_;
}

std::optional<absl::Time> CertificateService::first_end() const {
  std::optional<absl::Time> out;
  for (const auto& [id, issued] : issued()) {
    if ((!out || issued.to < *out) && parts_.runs_on(issued.node, id)) out = issued.to;
  }
  return out;
}

// Times in certificates are whole seconds: what is issued in this very second is replaced once more.
std::vector<SpiffeId> CertificateService::renew(const SpiffeId* id) {
  const absl::Time now = parts_.now();
  const absl::MutexLock lock(&mutex_);
  // Whatever began before that has ended by itself.
  std::erase_if(renewals_, [&](const auto& row) { return row.second < now - kForgotten; });
  std::vector<SpiffeId> out;
  for (const auto& [known, issued] : issued_) {
    if ((id == nullptr || known == *id) && issued.to > now) out.push_back(known);
  }
  if (id == nullptr || !out.empty())
    renewals_[id == nullptr ? "" : id->to_string()] =
        absl::FromUnixSeconds(absl::ToUnixSeconds(now - CertificateAuthority::kBackdated));
  return out;
}

std::vector<SpiffeId> CertificateService::overdue() const {
  std::vector<std::pair<std::string, SpiffeId>> behind;
  {
    const absl::MutexLock lock(&mutex_);
    const auto all = renewals_.find("");
    if (all == renewals_.end()) return {};
    for (const auto& [id, issued] : issued_) {
      if (issued.from <= all->second && issued.to > parts_.now()) behind.emplace_back(issued.node, id);
    }
  }
  std::vector<SpiffeId> out;
  for (auto& [node, id] : behind) {
    if (parts_.runs_on(node, id)) out.push_back(std::move(id));
  }
  return out;
}

std::vector<CertificateService::Renewal> CertificateService::renewals() const {
  const absl::MutexLock lock(&mutex_);
  std::vector<Renewal> out;
  for (const auto& [identity, begin] : renewals_) out.push_back({identity, begin});
  return out;
}

grpc::Status CertificateService::CreateCertificate(grpc::ServerContext* context,
                                                   const istio::v1::auth::IstioCertificateRequest* request,
                                                   istio::v1::auth::IstioCertificateResponse* response) {
  if (is_never_signed(*request))
    return {grpc::StatusCode::UNIMPLEMENTED,
            "the authority signs for pods only; see Limits in docs/identity.md"};
  const absl::StatusOr<std::vector<std::string>> chain = create(*context, *request);
  if (!chain.ok()) {
    ++refused_;
    log::warn("certificate_refused", {{"reason", chain.status().message()}});
    return {grpc::StatusCode::UNAUTHENTICATED, "request authenticate failure"};
  }
  for (const std::string& each : *chain) response->add_cert_chain(each);
  return grpc::Status::OK;
}

}  // namespace weft::control_plane
