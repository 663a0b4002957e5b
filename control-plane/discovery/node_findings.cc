// See node_findings.h.
#include "control-plane/discovery/node_findings.h"

#include <utility>

#include "base/status_macros.h"
#include "base/x509.h"
#include "control-plane/discovery/node_pods.h"
#include "proto/weft/node/v1/pod.pb.h"

namespace weft::control_plane {
namespace {

namespace pb = weft::node::v1;

constexpr char kRevocations[] = "revocations";

}  // namespace

Resource finding_resource(const Finding& finding) {
  // One name for each field: a new one does not compile here before the message has it too.
  const auto& [code, level, file, line, object, field, message, remedy] = finding;
  pb::Finding out;
  out.set_code(code);
  out.set_level(level == Finding::Level::kError ? pb::Finding::ERROR : pb::Finding::WARNING);
  out.set_file(file);
  out.set_line(line);
  out.set_object(object);
  out.set_field(field);
  out.set_message(message);
  out.set_remedy(remedy);
  const std::string body = out.SerializeAsString();
  const std::string version = version_of(body);
  return Resource(kFindingType, version, version, body);
}

absl::StatusOr<Finding> read_finding(const std::string& body) {
  pb::Finding message;
  if (!message.ParseFromString(body)) return absl::InvalidArgumentError("it is no weft.node.v1.Finding");
  return Finding{
      .code = message.code(),
      .level = message.level() == pb::Finding::WARNING ? Finding::Level::kWarning : Finding::Level::kError,
      .file = message.file(),
      .line = message.line(),
      .object = message.object(),
      .field = message.field(),
      .message = message.message(),
      .remedy = message.remedy()};
}

Resource revocations_resource(const std::string& lists) {
  pb::Revocations message;
  message.set_lists(lists);
  const std::string body = message.SerializeAsString();
  return Resource(kRevocationsType, kRevocations, version_of(body), body);
}

absl::StatusOr<std::string> read_revocations(const std::string& body) {
  pb::Revocations message;
  if (!message.ParseFromString(body)) return absl::InvalidArgumentError("it is no weft.node.v1.Revocations");
  RETURN_IF_ERROR(read_crls(message.lists()).status());
  return message.lists();
}

void NodeFindings::update(const std::vector<Finding>& findings, Change& out) {
  std::set<std::string> now;
  for (const Finding::Level level : {Finding::Level::kError, Finding::Level::kWarning}) {
    for (const Finding& finding : findings) {
      if (finding.level != level || now.size() >= kMost) continue;
      Resource resource = finding_resource(finding);
      const std::string name(resource.name());
      if (now.insert(name).second && !known_.contains(name)) out.upserted.push_back(std::move(resource));
    }
  }
  for (const std::string& name : known_) {
    if (!now.contains(name)) out.removed.emplace_back(kFindingType, name);
  }
  known_ = std::move(now);
}

}  // namespace weft::control_plane
