// ExternalProvider: whom requests are asked about that a policy of CUSTOM selects (Envoy's ext_authz), as
// MeshConfig's extensionProviders say. Immutable, any thread; what is asked and answered stands in
// check_message.h, the asking itself in exchange/external_check.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace weft::mesh::v1 {
class ExternalProvider;
}

namespace weft::proxy {

// Names of fields, compared without regard to case.
class FieldNames {
 public:
  enum class Kind : uint8_t { kExact, kPrefix, kSuffix };
  // `text` is in lower case.
  void add(Kind kind, std::string text) { terms_.emplace_back(kind, std::move(text)); }
  bool empty() const { return terms_.empty(); }
  bool has(std::string_view name) const;

 private:
  std::vector<std::pair<Kind, std::string>> terms_;
};

struct ExternalProvider {
  static constexpr uint32_t kDefaultTimeoutMs = 600'000;
  static constexpr uint32_t kMaxBodyBytes = 65'536;
  static constexpr uint16_t kDefaultStatus = 403;

  enum class Kind : uint8_t { kGrpc, kHttp };

  // InvalidArgument: no name or host, or a number out of its range.
  static absl::StatusOr<std::shared_ptr<const ExternalProvider>> compile(
      const mesh::v1::ExternalProvider& message);

  std::string name;
  Kind kind = Kind::kGrpc;
  std::string host;  // of a service, and its port
  uint16_t port = 0;
  uint32_t timeout_ms = kDefaultTimeoutMs;
  bool fail_open = false;
  uint16_t status_on_error = kDefaultStatus;
  uint32_t max_body_bytes = 0;  // 0: the body is not asked with
  bool partial_body = false;
  bool raw_body = false;
  // Of kHttp.
  std::string path_prefix;
  FieldNames request_fields;
  std::vector<std::pair<std::string, std::string>> added_fields;
  FieldNames fields_to_upstream, fields_on_allow, fields_on_deny;
};

using ExternalProviderPtr = std::shared_ptr<const ExternalProvider>;

}  // namespace weft::proxy
