// `weft authz shadow FILE`: what the policies of a manifest would change, by the traffic of a while. Called
// by cli.cc; the agent watches and judges, this only prints.
#include <grpcpp/grpcpp.h>

#include <fstream>
#include <sstream>

#include "absl/time/time.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "proto/weft/admin/v1/authorization.grpc.pb.h"
#include "tools/weft/admin_call.h"
#include "tools/weft/interrupt.h"

namespace weft::cli {
namespace {

using admin::v1::ShadowReport;
using admin::v1::ShadowRow;

constexpr uint32_t kMaxSeconds = 600;

absl::StatusOr<admin::v1::ShadowRequest> make_request(const Flags& flags) {
  admin::v1::ShadowRequest out;
  absl::Duration time;
  if (!absl::ParseDuration(flags.duration, &time) || time < absl::Seconds(1) ||
      time > absl::Seconds(kMaxSeconds))
    return absl::InvalidArgumentError(str_cat("--for: \"", flags.duration,
                                              "\" is no time between 1s and 10m; next: weft authz shadow "
                                              "--help"));
  out.set_seconds(static_cast<uint32_t>(absl::ToInt64Seconds(time)));
  std::ifstream file(flags.name);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file)
    return absl::InvalidArgumentError(
        str_cat("cannot read ", flags.name, "; next: name a manifest with AuthorizationPolicies"));
  out.set_file(flags.name);
  out.set_manifest(text.str());
  return out;
}

const char* word_of(ShadowRow::Verdict verdict) {
  if (verdict == ShadowRow::ALLOWED) return "allowed";
  return verdict == ShadowRow::DENIED ? "denied" : "depends";
}

// "shop/strict rules[1]", "no rule of shop/readers", "no policy".
std::string rule_text(const ShadowRow& row) {
  if (row.policy().empty()) return "no policy";
  if (row.rule() < 0) return str_cat("no rule of ", row.policy());
  return str_cat(row.policy(), " rules[", row.rule(), "]");
}

// Without its folder, which would leave no room for the line; JSON has the whole path.
std::string place_of(const ShadowRow& row) {
  if (row.file().empty()) return "-";
  const std::string name = row.file().substr(row.file().rfind('/') + 1);
  return row.line() == 0 ? name : str_cat(name, ":", row.line());
}

void print_report(const ShadowReport& report, const Flags& flags, Environment& env) {
  Table table{{"COUNT", "CLIENT", "SERVER", "REQUEST", "NOW", "THEN", "BY", "FROM"}, {}};
  Json rows = Json::array();
  for (const ShadowRow& row : report.rows()) {
    table.rows.push_back({str_cat(row.count()), row.client(), row.server(),
                          row.request().empty() ? "(connection)" : row.request(), word_of(row.now()),
                          word_of(row.then()), rule_text(row), place_of(row)});
    rows.push_back({{"count", row.count()},
                    {"client", row.client()},
                    {"server", row.server()},
                    {"request", row.request()},
                    {"now", word_of(row.now())},
                    {"then", word_of(row.then())},
                    {"policy", row.policy()},
                    {"rule", row.rule()},
                    {"file", row.file()},
                    {"line", row.line()}});
  }
  const std::string text =
      str_cat(report.rows().empty() ? "" : render_table(table), report.rows().empty() ? "" : "\n", "judged ",
              report.judged(), " requests and connections, ", report.unchanged(), " as now\n");
  print(Json{{"schema", "weft.authz.shadow.v1"},
             {"policies", strings(report.policies())},
             {"judged", report.judged()},
             {"unchanged", report.unchanged()},
             {"notJudged", report.not_judged()},
             {"changes", rows},
             {"notes", strings(report.notes())}},
        text, flags, env);
  for (const std::string& note : report.notes()) env.err << "note: " << note << "\n";
  if (report.judged() == 0)
    env.err << "nothing came to a workload of the mesh meanwhile; next: watch longer with --for\n";
}

}  // namespace

int authz_shadow(const Flags& flags, Environment& env) {
  const auto request = make_request(flags);
  if (!request.ok()) return report(request.status(), "weft authz shadow --help", env);
  const auto channel = open_channel(flags);
  if (!channel.ok()) return report(channel.status(), "weft status", env);
  Interrupt interrupt;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(request->seconds()) +
                       kCallDeadline);
  interrupt.watch(&context);
  const auto reader = admin::v1::Authorization::NewStub(*channel)->Shadow(&context, *request);
  ShadowReport newest;
  while (reader->Read(&newest)) {
    if (!newest.done() && flags.output == "table")
      env.err << "watching for " << flags.duration << " what " << join(newest.policies(), ", ")
              << " would change; nothing is put in force\n";
  }
  const grpc::Status end = reader->Finish();
  interrupt.watch(nullptr);
  if (interrupt.asked()) {
    env.err << "interrupted; nothing was put in force\n";
    return kRuntimeError;
  }
  if (!end.ok()) return report(to_status(end), "weft status", env);
  print_report(newest, flags, env);
  return newest.rows().empty() ? kOk : kFindings;
}

}  // namespace weft::cli
