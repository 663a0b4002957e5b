// `weft cert list`, `show` and `rotate`: the roots of this node's authority and the certificates it issued.
// Called by cli.cc. Never asks for a key.
#include <absl/time/time.h>
#include <grpcpp/grpcpp.h>

#include "base/strings.h"
#include "proto/weft/admin/v1/certificates.grpc.pb.h"
#include "tools/weft/admin_call.h"
#include "tools/weft/commands.h"

namespace weft::cli {
namespace {

std::string time_text(int64_t unix_seconds) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::FromUnixSeconds(unix_seconds), absl::UTCTimeZone());
}

std::string state_of(int64_t from, int64_t to) {
  const int64_t now = absl::ToUnixSeconds(absl::Now());
  if (now < from) return "not yet valid";
  return now < to ? "valid" : "expired";
}

absl::StatusOr<admin::v1::CertificateList> ask(const Flags& flags) {
  const auto channel = open_channel(flags);
  if (!channel.ok()) return channel.status();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kCallDeadline);
  admin::v1::CertificateList reply;
  const grpc::Status status = admin::v1::Certificates::NewStub(*channel)->List(&context, {}, &reply);
  if (!status.ok()) return to_status(status);
  return reply;
}

Json to_json(const admin::v1::RootCertificate& root) {
  return Json{{"serial", root.serial()},
              {"notBefore", time_text(root.not_before_unix())},
              {"notAfter", time_text(root.not_after_unix())},
              {"signs", root.signs()}};
}

Json to_json(const admin::v1::IssuedCertificate& issued) {
  return Json{{"identity", issued.identity()},
              {"node", issued.node()},
              {"serial", issued.serial()},
              {"notBefore", time_text(issued.not_before_unix())},
              {"notAfter", time_text(issued.not_after_unix())},
              {"state", state_of(issued.not_before_unix(), issued.not_after_unix())},
              {"issued", issued.count()}};
}

// What was done, and what comes then.
struct StepText {
  const char* name;
  const char* done;
  const char* next;
};

StepText text_of(admin::v1::RotateCertificatesReply::Step step) {
  using Reply = admin::v1::RotateCertificatesReply;
  switch (step) {
    case Reply::REREAD:
      return {"reread", "The authority's files were read anew.\n", ""};
    case Reply::NEXT_TRUSTED:
      return {"next-trusted", "A new root is trusted; the present one still signs.\n",
              "next: when weft cert list shows all leaves anew, weft cert rotate --root has it sign\n"};
    case Reply::NEXT_SIGNS:
      return {
          "next-signs", "The new root signs; the former one is still trusted.\n",
          "next: when weft cert list shows all leaves anew, weft cert rotate --root forgets the former\n"};
    case Reply::FORMER_GONE:
      return {"former-gone", "The former root is trusted no more.\n", ""};
    default:
      return {"none", "", ""};
  }
}

}  // namespace

int cert_rotate(const Flags& flags, Environment& env) {
  if ((flags.name.empty() ? 0 : 1) + (flags.all ? 1 : 0) + (flags.root ? 1 : 0) != 1)
    return report(absl::InvalidArgumentError("expected one of IDENTITY, --all and --root"), "weft cert list",
                  env);
  const auto channel = open_channel(flags);
  if (!channel.ok()) return report(channel.status(), "weft check", env);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kCallDeadline);
  admin::v1::RotateCertificatesRequest request;
  request.set_identity(flags.name);
  request.set_root(flags.root);
  admin::v1::RotateCertificatesReply reply;
  const grpc::Status status = admin::v1::Certificates::NewStub(*channel)->Rotate(&context, request, &reply);
  if (!status.ok()) return report(to_status(status), "weft cert list", env);
  const StepText step = text_of(reply.step());
  std::string text = step.done;
  Json identities = Json::array();
  for (const std::string& identity : reply.identities()) {
    str_append(&text, "replaced within seconds: ", identity, "\n");
    identities.push_back(identity);
  }
  print(Json{{"schema", "weft.rotation.v1"}, {"step", step.name}, {"identities", identities}},
        text + step.next, flags, env);
  return kOk;
}

int cert_list(const Flags& flags, Environment& env) {
  const auto reply = ask(flags);
  if (!reply.ok()) return report(reply.status(), "weft check", env);
  Table table{.head = {"TYPE", "STATE", "VALID UNTIL", "SERIAL", "IDENTITY"}, .rows = {}};
  Json roots = Json::array();
  for (const auto& root : reply->roots()) {
    const std::string state = state_of(root.not_before_unix(), root.not_after_unix());
    table.rows.push_back({"root", root.signs() ? str_cat(state, ", signs") : state,
                          time_text(root.not_after_unix()), root.serial(), reply->trust_domain()});
    roots.push_back(to_json(root));
  }
  Json issued = Json::array();
  for (const auto& one : reply->issued()) {
    table.rows.push_back({"leaf", state_of(one.not_before_unix(), one.not_after_unix()),
                          time_text(one.not_after_unix()), one.serial(), one.identity()});
    issued.push_back(to_json(one));
  }
  print(Json{{"schema", "weft.certificates.v1"},
             {"trustDomain", reply->trust_domain()},
             {"roots", roots},
             {"issued", issued}},
        table, flags, env);
  return kOk;
}

int cert_show(const Flags& flags, Environment& env) {
  const auto reply = ask(flags);
  if (!reply.ok()) return report(reply.status(), "weft check", env);
  for (const auto& one : reply->issued()) {
    if (one.identity() != flags.name && !one.identity().ends_with("/ns/" + flags.name)) continue;
    const Json json = to_json(one);
    std::string text;
    for (const auto& [key, value] : json.items())
      str_append(&text, key, ": ", value.is_string() ? value.get<std::string>() : value.dump(), "\n");
    print(Json{{"schema", "weft.certificate.v1"}, {"certificate", json}}, text, flags, env);
    return kOk;
  }
  return report(absl::NotFoundError(str_cat("no certificate was issued for ", flags.name)), "weft cert list",
                env);
}

}  // namespace weft::cli
