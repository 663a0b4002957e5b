// One call to the agent's Unix socket, and how its answer is printed. Used by the commands.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/strings.h"
#include "proto/weft/admin/v1/admin.grpc.pb.h"
#include "tools/weft/cli.h"
#include "tools/weft/commands.h"
#include "tools/weft/output.h"

namespace weft::cli {

inline constexpr std::chrono::seconds kCallDeadline{10};

// Errors name the socket and the next command.
absl::StatusOr<std::shared_ptr<grpc::Channel>> open_channel(const Flags& flags);
absl::StatusOr<std::unique_ptr<admin::v1::Admin::Stub>> connect(const Flags& flags);
absl::Status to_status(const grpc::Status& status);

// One unary call with a deadline.
template <typename Reply, typename Request>
absl::StatusOr<Reply> call(const Flags& flags,
                           grpc::Status (admin::v1::Admin::Stub::*method)(grpc::ClientContext*,
                                                                          const Request&, Reply*),
                           const Request& request) {
  absl::StatusOr<std::unique_ptr<admin::v1::Admin::Stub>> stub = connect(flags);
  if (!stub.ok()) return stub.status();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kCallDeadline);
  Reply reply;
  const grpc::Status status = ((**stub).*method)(&context, request, &reply);
  if (!status.ok()) return to_status(status);
  return reply;
}

// "a,b"; "-" for none.
template <typename Strings>
std::string join(const Strings& parts, const char* separator = ",") {
  std::string out;
  for (const auto& part : parts) str_append(&out, out.empty() ? "" : separator, part);
  return out.empty() ? "-" : out;
}

template <typename Strings>
Json strings(const Strings& parts) {
  Json out = Json::array();
  for (const auto& part : parts) out.push_back(part);
  return out;
}

// What `weft get` asks for: a name that carries its namespace needs no other.
admin::v1::ListRequest list_request(const Flags& flags);
// An empty list says what was looked at.
void note_empty(bool empty, const char* what, const Flags& flags, Environment& env);

// `text` as table, `value` as JSON or YAML.
void print(const Json& value, const std::string& text, const Flags& flags, Environment& env);
// The same of a table, and what stands below it.
void print(const Json& value, const Table& table, const Flags& flags, Environment& env,
           const std::string& below = "");
bool coloured(const Flags& flags, const Environment& env);

}  // namespace weft::cli
