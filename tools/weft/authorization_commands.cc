// `weft authz check` and `weft authz explain`: who may reach whom, and which rule says so. Called by cli.cc;
// the agent decides, this only prints.
#include <grpcpp/grpcpp.h>

#include "base/strings.h"
#include "proto/weft/admin/v1/authorization.grpc.pb.h"
#include "tools/weft/admin_call.h"
#include "tools/weft/http_question.h"

namespace weft::cli {
namespace {

absl::StatusOr<admin::v1::AuthorizationReport> ask(const Flags& flags,
                                                   const admin::v1::AuthorizationRequest& request) {
  const auto channel = open_channel(flags);
  if (!channel.ok()) return channel.status();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kCallDeadline);
  admin::v1::AuthorizationReport reply;
  const grpc::Status status = admin::v1::Authorization::NewStub(*channel)->Check(&context, request, &reply);
  if (!status.ok()) return to_status(status);
  return reply;
}

// "policy.yaml:3".
std::string place_of(const admin::v1::AuthorizationRule& rule) {
  if (rule.file().empty()) return "-";
  return rule.line() == 0 ? rule.file() : str_cat(rule.file(), ":", rule.line());
}

std::string rule_text(const admin::v1::AuthorizationRule& rule) {
  return rule.rule() < 0 ? "no rules" : str_cat("rules[", rule.rule(), "]");
}

Json rule_json(const admin::v1::AuthorizationRule& rule) {
  return {{"policy", rule.policy()}, {"action", rule.action()},   {"dryRun", rule.dry_run()},
          {"rule", rule.rule()},     {"matched", rule.matched()}, {"file", rule.file()},
          {"line", rule.line()}};
}

int ask_and_print(const Flags& flags, bool explain, Environment& env) {
  admin::v1::AuthorizationRequest request;
  request.set_from(in_namespace(flags, flags.from));
  request.set_to(in_namespace(flags, flags.to));
  absl::Status status = read_http(flags, &request);
  if (!flags.tls.empty() && !flags.http.empty())
    status = absl::InvalidArgumentError(
        "--tls is of a connection that is not read further; next: leave out --http");
  if (status.ok() && !flags.claims.empty() && flags.http.empty())
    status = absl::InvalidArgumentError("--claims needs --http; next: add --http 'GET /'");
  if (!status.ok()) return report(status, "weft authz check --help", env);
  request.set_server_name(flags.tls);
  request.set_claims(flags.claims);
  const auto reply = ask(flags, request);
  if (!reply.ok()) return report(reply.status(), "weft get workloads -A", env);
  std::string text = reply->verdict();
  if (reply->has_decided())
    str_append(&text, " ", rule_text(reply->decided()), " (", place_of(reply->decided()), ")");
  text += "\n";
  Json out{{"schema", "weft.authz.v1"},   {"from", reply->from()},
           {"to", reply->to()},           {"identity", reply->identity()},
           {"source", reply->source()},   {"destination", reply->destination()},
           {"allowed", reply->allowed()}, {"verdict", reply->verdict()}};
  if (reply->has_decided()) out["decided"] = rule_json(reply->decided());
  if (explain) {
    Table table{{"POLICY", "ACTION", "RULE", "MATCHES", "FROM"}, {}};
    Json rules = Json::array();
    for (const auto& rule : reply->rules()) {
      table.rows.push_back({rule.policy(), str_cat(rule.action(), rule.dry_run() ? " (dry run)" : ""),
                            rule_text(rule), rule.matched() ? "yes" : "no", place_of(rule)});
      rules.push_back(rule_json(rule));
    }
    out["rules"] = rules;
    text =
        str_cat("client   ", reply->from(), ", ",
                reply->identity().empty() ? "nobody that is known" : reply->identity(), ", ", reply->source(),
                "\nserver   ", reply->to(), ", ", reply->destination(), "\nverdict  ", text);
    if (!table.rows.empty()) str_append(&text, "\n", render_table(table));
  }
  out["notes"] = strings(reply->notes());
  for (const std::string& note : reply->notes()) str_append(&text, "note: ", note, "\n");
  print(out, text, flags, env);
  return reply->allowed() ? kOk : kFindings;
}

}  // namespace

int authz_check(const Flags& flags, Environment& env) { return ask_and_print(flags, false, env); }

int authz_explain(const Flags& flags, Environment& env) { return ask_and_print(flags, true, env); }

}  // namespace weft::cli
