// `weft get routes` and `weft trace`: what the agent knows and what the proxy's matcher says to it. Called by
// cli.cc; the agent decides, this only prints.
#include <algorithm>
#include <cstdio>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "base/strings.h"
#include "tools/weft/admin_call.h"
#include "tools/weft/http_question.h"

namespace weft::cli {
namespace {

using admin::v1::Admin;

std::string share_text(double percent) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.4g%%", percent);
  return text;
}

std::string origin_text(const mesh::v1::Origin& origin) {
  if (origin.file().empty()) return "-";
  return origin.line() == 0 ? origin.file() : str_cat(origin.file(), ":", origin.line());
}

Json origin_json(const mesh::v1::Origin& origin) {
  return {{"kind", origin.kind()}, {"file", origin.file()}, {"line", origin.line()}};
}

Json target_json(const admin::v1::TraceTarget& target) {
  Json endpoints = Json::array();
  for (const auto& endpoint : target.endpoints())
    endpoints.push_back({{"address", endpoint.address()},
                         {"workload", endpoint.workload()},
                         {"sharePercent", endpoint.share_percent()},
                         {"policy", endpoint.policy()}});
  return {{"host", target.host()},
          {"subset", target.subset()},
          {"port", target.port()},
          {"sharePercent", target.share_percent()},
          {"loadBalancer", target.load_balancer()},
          {"endpoints", endpoints},
          {"problem", target.problem()}};
}

// "v2 5% (1 endpoint)".
std::string targets_text(const google::protobuf::RepeatedPtrField<admin::v1::TraceTarget>& targets) {
  std::string out;
  for (const auto& target : targets) {
    const int count = target.endpoints_size();
    str_append(&out, out.empty() ? "" : ", ", target.subset().empty() ? target.host() : target.subset(), " ",
               share_text(target.share_percent()), " (", count, count == 1 ? " endpoint)" : " endpoints)");
  }
  return out;
}

int explain_routes(const admin::v1::RouteList& list, const Flags& flags, Environment& env) {
  Table table{{"NAMESPACE", "NAME", "FROM", "MATCH", "LEADS TO"}, {}};
  Json rows = Json::array();
  for (const auto& r : list.routes()) {
    const std::string leads = r.targets().empty() ? r.destinations() : targets_text(r.targets());
    table.rows.push_back({r.namespace_(), r.name(), origin_text(r.origin()), r.match(),
                          r.note().empty() ? leads : str_cat(leads, leads.empty() ? "" : "; ", r.note())});
    Json targets = Json::array();
    for (const auto& target : r.targets()) targets.push_back(target_json(target));
    rows.push_back({{"namespace", r.namespace_()},
                    {"name", r.name()},
                    {"hosts", strings(r.hosts())},
                    {"match", r.match()},
                    {"destinations", r.destinations()},
                    {"targets", targets},
                    {"note", r.note()},
                    {"origin", origin_json(r.origin())}});
  }
  print(Json{{"schema", "weft.routes.v1"}, {"routes", rows}}, table, flags, env);
  note_empty(rows.empty(), "routes", flags, env);
  return kOk;
}

absl::Status read_request(const Flags& flags, admin::v1::TraceRequest* request) {
  request->set_from(in_namespace(flags, flags.from));
  request->set_to(flags.to);
  if (!flags.tls.empty() && !flags.http.empty())
    return absl::InvalidArgumentError(
        "--tls is of a connection that is not read further; next: leave out --http");
  request->set_tls(absl::AsciiStrToLower(flags.tls));
  return read_http(flags, request);
}

bool arrives(const admin::v1::TraceReport& report) {
  const std::string& outcome = report.outcome();
  if (!report.captured()) return false;
  if (!outcome.empty() && outcome != "redirect" && outcome != "direct_response") return false;
  bool some = report.targets().empty();
  for (const auto& target : report.targets()) {
    for (const auto& endpoint : target.endpoints())
      some = some || !absl::StartsWith(endpoint.policy(), "denied");
  }
  for (const auto& target : report.targets()) {
    if (!target.problem().empty() && target.share_percent() > 0) return false;
  }
  return some;
}

std::string way_text(const admin::v1::TraceReport& report) {
  if (report.service().empty()) return "no service of the mesh: bytes pass through to that address";
  if (report.path() == "pass") return "the kernel leaves it alone: it goes to that endpoint";
  return report.path() == "direct" ? "the kernel picks an endpoint, no proxy on the way"
                                   : "by the node proxy";
}

std::string head_text(const admin::v1::TraceReport& report) {
  std::string out = str_cat("client   ", report.from(), "\ndials    ", report.dialled());
  if (!report.service().empty()) str_append(&out, ", ", report.service(), ", ", report.protocol());
  return str_cat(out, "\nway      ", way_text(report), "\n");
}

// Two lines for each rule: a reason is worth the width of the screen.
std::string rules_text(const admin::v1::TraceReport& report) {
  std::string out = report.rules().empty() ? "" : "\n";
  for (const auto& rule : report.rules()) {
    str_append(&out, rule.matched() ? "matched  " : "no       ", rule.rule(), rule.name().empty() ? "" : " ",
               rule.name(), ", ", origin_text(rule.origin()), "\n");
    if (rule.matched()) str_append(&out, "         ", rule.match(), "\n");
    for (const std::string& reason : rule.why_not()) str_append(&out, "         ", reason, "\n");
  }
  return out;
}

std::string targets_table(const admin::v1::TraceReport& report) {
  Table table{{"SHARE", "DESTINATION", "ENDPOINT", "WORKLOAD", "BALANCING", "POLICY"}, {}};
  for (const auto& target : report.targets()) {
    const std::string name = target.subset().empty() ? str_cat(target.host(), ":", target.port())
                                                     : str_cat(target.subset(), " of ", target.host());
    for (const auto& endpoint : target.endpoints())
      table.rows.push_back({share_text(endpoint.share_percent()), name, endpoint.address(),
                            endpoint.workload(), target.load_balancer(),
                            endpoint.policy().empty() ? "-" : endpoint.policy()});
    if (!target.problem().empty())
      table.rows.push_back({share_text(target.share_percent()), name, "-", "-", "-", target.problem()});
  }
  return table.rows.empty() ? "" : str_cat("\n", render_table(table));
}

Json trace_json(const admin::v1::TraceReport& report) {
  Json rules = Json::array();
  for (const auto& rule : report.rules())
    rules.push_back({{"rule", rule.rule()},
                     {"name", rule.name()},
                     {"match", rule.match()},
                     {"matched", rule.matched()},
                     {"whyNot", strings(rule.why_not())},
                     {"origin", origin_json(rule.origin())}});
  Json targets = Json::array();
  for (const auto& target : report.targets()) targets.push_back(target_json(target));
  return Json{{"schema", "weft.trace.v1"},
              {"from", report.from()},
              {"service", report.service()},
              {"dialled", report.dialled()},
              {"protocol", report.protocol()},
              {"path", report.path()},
              {"captured", report.captured()},
              {"rules", rules},
              {"actions", strings(report.actions())},
              {"outcome", report.outcome()},
              {"outcomeText", report.outcome_text()},
              {"targets", targets},
              {"arrives", arrives(report)},
              {"configGeneration", report.config_generation()},
              {"proxyGeneration", report.proxy_generation()},
              {"notes", strings(report.notes())}};
}

}  // namespace

int get_routes(const Flags& flags, Environment& env) {
  admin::v1::ListRequest request = list_request(flags);
  request.set_explain(flags.explain);
  const auto reply = call(flags, &Admin::Stub::ListRoutes, request);
  if (!reply.ok()) return report(reply.status(), "weft status", env);
  if (flags.explain) return explain_routes(*reply, flags, env);
  Table table{{"NAMESPACE", "NAME", "HOSTS", "MATCH", "DESTINATIONS"}, {}};
  Json rows = Json::array();
  for (const auto& r : reply->routes()) {
    table.rows.push_back({r.namespace_(), r.name(), join(r.hosts()), r.match(), r.destinations()});
    rows.push_back({{"namespace", r.namespace_()},
                    {"name", r.name()},
                    {"hosts", strings(r.hosts())},
                    {"match", r.match()},
                    {"destinations", r.destinations()},
                    {"origin", origin_json(r.origin())}});
  }
  print(Json{{"schema", "weft.routes.v1"}, {"routes", rows}}, table, flags, env);
  note_empty(rows.empty(), "routes", flags, env);
  return kOk;
}

int trace(const Flags& flags, Environment& env) {
  admin::v1::TraceRequest request;
  if (const absl::Status status = read_request(flags, &request); !status.ok())
    return report(status, "weft trace --help", env);
  const auto reply = call(flags, &Admin::Stub::Trace, request);
  if (!reply.ok()) return report(reply.status(), "weft get services -A", env);
  std::string text = str_cat(head_text(*reply), rules_text(*reply));
  if (!reply->actions().empty()) text += "\n";
  for (const std::string& line : reply->actions()) str_append(&text, line, "\n");
  if (!reply->outcome().empty()) str_append(&text, "\n", reply->outcome(), ": ", reply->outcome_text(), "\n");
  text += targets_table(*reply);
  for (const std::string& note : reply->notes()) str_append(&text, "note: ", note, "\n");
  print(trace_json(*reply), text, flags, env);
  return arrives(*reply) ? kOk : kFindings;
}

}  // namespace weft::cli
