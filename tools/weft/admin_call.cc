// See admin_call.h. Called by the commands; never logs.
#include "tools/weft/admin_call.h"

#include <errno.h>
#include <grpcpp/create_channel.h>
#include <unistd.h>

#include "base/strings.h"
#include "tools/weft/cluster_answers.h"

namespace weft::cli {

using admin::v1::Admin;

absl::StatusOr<std::shared_ptr<grpc::Channel>> open_channel(const Flags& flags) {
  if (flags.channel != nullptr) return flags.channel;
  const std::string path = str_cat(flags.run_dir, "/agent.sock");
  if (::access(path.c_str(), R_OK | W_OK) != 0) {
    if (errno == EACCES)
      return absl::PermissionDeniedError(str_cat(path, " is for root only; next: sudo weft status"));
    return absl::UnavailableError(
        str_cat("no agent listens on ", path, "; next: systemctl start weft-agent, or weft-agent --help"));
  }
  return grpc::CreateChannel(str_cat("unix:", path), grpc::InsecureChannelCredentials());
}

absl::StatusOr<std::unique_ptr<Admin::Stub>> connect(const Flags& flags) {
  const auto channel = open_channel(flags);
  if (!channel.ok()) return channel.status();
  return Admin::NewStub(*channel);
}

absl::Status to_status(const grpc::Status& status) {
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE &&
      status.error_message().find("next: ") == std::string::npos) {
    return absl::UnavailableError(str_cat("the agent does not answer (", status.error_message(),
                                          "); next: systemctl status weft-agent"));
  }
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

admin::v1::ListRequest list_request(const Flags& flags) {
  admin::v1::ListRequest request;
  request.set_name(flags.name);
  if (flags.all_namespaces) return request;
  // A name that carries its namespace needs none.
  if (!flags.ns.empty() || flags.name.find('/') == std::string::npos)
    request.set_namespace_(flags.ns.empty() ? "default" : flags.ns);
  return request;
}

void note_empty(bool empty, const char* what, const Flags& flags, Environment& env) {
  // Of many nodes some have none.
  if (!empty || flags.output != "table" || flags.answer != nullptr) return;
  env.err << "no " << what << " in "
          << (flags.all_namespaces ? "any namespace"
                                   : str_cat("namespace ", flags.ns.empty() ? "default" : flags.ns))
          << (flags.all_namespaces ? "; next: weft status\n" : "; next: the same with -A\n");
}

void print(const Json& value, const Table& table, const Flags& flags, Environment& env,
           const std::string& below) {
  if (flags.answer != nullptr) {
    flags.answer->table = table;
    flags.answer->columns = true;
  }
  print(value, flags.answer != nullptr ? below : render_table(table) + below, flags, env);
}

void print(const Json& value, const std::string& text, const Flags& flags, Environment& env) {
  if (flags.answer != nullptr) {
    flags.answer->value = value;
    flags.answer->text = text;
    return;
  }
  if (flags.output == "json")
    env.out << value.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
  else if (flags.output == "yaml")
    env.out << render_yaml(value);
  else
    env.out << printable_lines(text);
}

bool coloured(const Flags& flags, const Environment& env) {
  return flags.colour == "always" || (flags.colour == "auto" && env.colour_terminal);
}

}  // namespace weft::cli
