// What each command asks and prints; see commands.h. Talks to the agent's Unix socket only; never logs.
#include "tools/weft/commands.h"

#include <time.h>

#include <cstdio>

#include "base/printable.h"
#include "base/strings.h"
#include "tools/weft/admin_call.h"
#include "tools/weft/cluster_answers.h"
#include "tools/weft/cluster_commands.h"

namespace weft::cli {
namespace {

using admin::v1::Admin;

std::string percent(uint64_t part, uint64_t whole) {
  char text[32];
  if (whole == 0) return "-";
  std::snprintf(text, sizeof(text), "%.2f", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
  return text;
}

// "3 evicted, 12 pod_requests"
std::string refusals_text(const google::protobuf::Map<std::string, uint64_t>& refused) {
  const std::map<std::string, uint64_t> sorted(refused.begin(), refused.end());
  std::string out;
  for (const auto& [reason, count] : sorted) str_append(&out, out.empty() ? "" : ", ", count, " ", reason);
  return out.empty() ? "-" : out;
}

Json row_json(const std::string& id, const std::string& description, const std::string& result,
              const std::string& error, const std::string& hint) {
  return Json{{"id", id}, {"description", description}, {"result", result}, {"error", error}, {"hint", hint}};
}

Json check_json(bool success, const Json& categories) {
  return Json{{"schema", "weft.check.v1"}, {"success", success}, {"categories", categories}};
}

Json shortcut_json(const admin::v1::Shortcut& s) {
  Json by_tcp = Json::object();
  for (const auto& [reason, count] : s.by_tcp()) by_tcp[reason] = count;
  return Json{{"pods", s.pods()},         {"problem", s.problem()}, {"connections", s.connections()},
              {"messages", s.messages()}, {"bytes", s.bytes()},     {"byTcp", by_tcp}};
}

// Nothing while no pod asks for it.
std::string shortcut_text(const admin::v1::Shortcut& s) {
  if (s.pods() == 0) return "";
  if (!s.problem().empty())
    return str_cat("shortcut: off for ", s.pods(), " pods that ask for it: ", s.problem(),
                   " (docs/shortcut.md)\n");
  std::string out =
      str_cat("shortcut: ", s.pods(), " pods, ", s.connections(), " connections; past TCP: ", s.messages(),
              " sends, ", s.bytes(), " bytes; by TCP:");
  for (const auto& [reason, count] : s.by_tcp()) str_append(&out, " ", reason, "=", count);
  if (s.by_tcp().empty()) str_append(&out, " none");
  return out + "\n";
}

// Objects of a cluster have no lines.
std::string finding_place(const admin::v1::Finding& f) {
  return f.line() == 0 ? f.file() : str_cat(f.file(), ":", f.line());
}

Json pod_use_json(const admin::v1::PodUse& use) {
  Json refused = Json::object();
  for (const auto& [reason, count] : use.refused()) refused[reason] = count;
  return Json{
      {"workload", use.workload()}, {"connections", use.connections()},      {"requests", use.requests()},
      {"waiting", use.waiting()},   {"bufferedBytes", use.buffered_bytes()}, {"refused", refused}};
}

Json status_json(const admin::v1::NodeStatus& s) {
  Json problems = strings(s.problems());
  Json findings = Json::array();
  for (const auto& f : s.findings()) {
    findings.push_back({{"code", f.code()},
                        {"level", f.level()},
                        {"file", f.file()},
                        {"line", f.line()},
                        {"object", f.object()},
                        {"field", f.field()},
                        {"message", f.message()},
                        {"remedy", f.remedy()}});
  }
  Json bypasses = Json::array();
  for (const auto& b : s.bypasses()) {
    bypasses.push_back({{"workload", b.workload()},
                        {"direction", b.direction()},
                        {"bypassed", b.bypassed()},
                        {"refused", b.refused()}});
  }
  Json pods_refused = Json::array();
  for (const auto& use : s.pods_refused()) pods_refused.push_back(pod_use_json(use));
  return Json{{"schema", "weft.status.v1"},
              {"node", s.node()},
              {"agentVersion", s.agent_version()},
              {"kernel", s.kernel()},
              {"agentUptimeSeconds", s.agent_uptime_seconds()},
              {"programsAttached", s.programs_attached()},
              {"programsExpected", s.programs_expected()},
              {"fullestMap", s.fullest_map()},
              {"fullestMapPercent", s.fullest_map_percent()},
              {"proxyConnected", s.proxy_connected()},
              {"proxyVersion", s.proxy_version()},
              {"proxyPid", s.proxy_pid()},
              {"proxyWorkers", s.proxy_workers()},
              {"proxyIo", s.proxy_io()},
              {"podsCaptured", s.pods_captured()},
              {"podsEligible", s.pods_eligible()},
              {"requestsTotal", s.requests_total()},
              {"errorsTotal", s.errors_total()},
              {"configGeneration", s.config_generation()},
              {"proxyGeneration", s.proxy_generation()},
              {"configAgeSeconds", s.config_age_seconds()},
              {"configSource", s.config_source()},
              {"problems", problems},
              {"findings", findings},
              {"bypasses", bypasses},
              {"podsRefused", pods_refused},
              {"shortcut", shortcut_json(s.shortcut())}};
}

std::string clock_text(int64_t unix_ns) {
  const time_t seconds = static_cast<time_t>(unix_ns / 1'000'000'000);
  tm parts{};
  ::localtime_r(&seconds, &parts);
  char text[32];
  std::snprintf(text, sizeof(text), "%02d:%02d:%02d.%03d", parts.tm_hour, parts.tm_min, parts.tm_sec,
                static_cast<int>(unix_ns / 1'000'000 % 1000));
  return text;
}

std::string exchange_line(const proxy::v1::Exchange& e) {
  const std::string to = e.destination_service().empty() ? e.destination_address() : e.destination_service();
  char duration[32];
  std::snprintf(duration, sizeof(duration), "%.2fms", static_cast<double>(e.duration_us()) / 1000);
  std::string out = clock_text(e.start_unix_ns());
  str_append(&out, "  ", e.source_workload().empty() ? e.source_address() : e.source_workload(), " -> ", to);
  if (!e.destination_workload().empty()) str_append(&out, " (", e.destination_workload(), ")");
  if (e.protocol() == "tcp")
    str_append(&out, "  TCP ", e.received_bytes(), "B up ", e.sent_bytes(), "B down");
  else
    str_append(&out, "  HTTP ", e.method(), " ", e.path(), "  ", e.status());
  str_append(&out, "  ", e.outcome(), "  ", duration);
  if (!e.route().empty()) str_append(&out, "  route=", e.route());
  return out;
}

Json exchange_json(const proxy::v1::Exchange& e) {
  return Json{{"startUnixNs", e.start_unix_ns()},
              {"sourceWorkload", e.source_workload()},
              {"sourceAddress", e.source_address()},
              {"destinationAddress", e.destination_address()},
              {"destinationService", e.destination_service()},
              {"upstreamAddress", e.upstream_address()},
              {"destinationWorkload", e.destination_workload()},
              {"protocol", e.protocol()},
              {"method", e.method()},
              {"authority", e.authority()},
              {"path", e.path()},
              {"status", e.status()},
              {"route", e.route()},
              {"outcome", e.outcome()},
              {"durationNs", e.duration_us() * 1000},
              {"receivedBytes", e.received_bytes()},
              {"sentBytes", e.sent_bytes()}};
}

int print_steps(const google::protobuf::RepeatedPtrField<std::string>& steps, uint64_t cookie,
                const Flags& flags, Environment& env) {
  std::string text;
  for (const std::string& step : steps) str_append(&text, step, "\n");
  Json value{{"schema", "weft.steps.v1"}, {"dryRun", flags.dry_run}, {"steps", strings(steps)}};
  if (cookie != 0) value["netnsCookie"] = cookie;
  print(value, text, flags, env);
  return kOk;
}

}  // namespace

int report(const absl::Status& status, const std::string& next, Environment& env) {
  std::string message(status.message());
  std::string hint = next;
  const size_t at = message.rfind("; next: ");
  if (at != std::string::npos) {
    hint = message.substr(at + 8);
    message.resize(at);
  }
  // Either may be an agent's words.
  env.err << "error: " << printable(message) << "\nnext: " << printable(hint) << "\n";
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return kUnavailable;
    case absl::StatusCode::kPermissionDenied:
      return kPermission;
    case absl::StatusCode::kInvalidArgument:
      return kBadInput;
    default:
      return kRuntimeError;
  }
}

int status(const Flags& flags, Environment& env) {
  const auto s = call(flags, &Admin::Stub::GetStatus, admin::v1::GetStatusRequest());
  if (!s.ok()) return report(s.status(), "weft check", env);
  Table table;
  table.head = {"NODE",     "AGENT", "KERNEL", "PROGS",  "MAPS MAX FILL", "PROXY", "PODS IN/ELIGIBLE",
                "REQUESTS", "ERR%",  "SYNC",   "VERSION"};
  const std::string sync = !s->proxy_connected()                             ? "-"
                           : s->proxy_generation() >= s->config_generation() ? "current"
                                                                             : "behind";
  const std::string proxy = s->proxy_connected() ? str_cat("up ", s->proxy_io()) : "DOWN";
  table.rows.push_back({s->node(), "up", s->kernel(),
                        str_cat(s->programs_attached(), "/", s->programs_expected()),
                        str_cat(s->fullest_map(), " ", s->fullest_map_percent(), "%"), proxy,
                        str_cat(s->pods_captured(), "/", s->pods_eligible()), str_cat(s->requests_total()),
                        percent(s->errors_total(), s->requests_total()), sync, s->agent_version()});
  std::string text;
  for (const std::string& problem : s->problems())
    str_append(&text, paint("problem: ", Colour::kRed, coloured(flags, env)), printable(problem), "\n");
  for (const auto& f : s->findings()) {
    str_append(&text,
               printable(str_cat(finding_place(f), ": ", f.level(), " ", f.code(), " ", f.object(), " ",
                                 f.field(), ": ", f.message())),
               "\n");
  }
  for (const auto& b : s->bypasses()) {
    str_append(&text, "without proxy: ", b.workload(), " ", b.direction(), ": ", b.bypassed(), " let past, ",
               b.refused(), " refused\n");
  }
  for (const auto& use : s->pods_refused()) {
    str_append(&text, "at its limits: ", use.workload(), ": refused ", refusals_text(use.refused()),
               " (docs/limits.md)\n");
  }
  str_append(&text, shortcut_text(s->shortcut()));
  print(status_json(*s), table, flags, env, text);
  return kOk;
}

int check(const Flags& flags, Environment& env) {
  Json categories = Json::array();
  std::string text;
  bool success = true;
  const bool colour = coloured(flags, env);
  const auto row = [&](const std::string& category, const Json& check) {
    if (categories.empty() || categories.back()["categoryName"] != category) {
      categories.push_back({{"categoryName", category}, {"checks", Json::array()}});
      str_append(&text, category, "\n");
    }
    categories.back()["checks"].push_back(check);
    const std::string result = check["result"];
    success = success && result != "error";
    const std::string mark = result == "success"   ? paint("OK  ", Colour::kGreen, colour)
                             : result == "warning" ? paint("WARN", Colour::kYellow, colour)
                                                   : paint("FAIL", Colour::kRed, colour);
    const auto words = [&check](const char* of) { return printable(check[of].get<std::string>()); };
    str_append(&text, "  ", mark, "  ", words("id"), "  ", words("description"), "\n");
    if (result == "success") return;
    str_append(&text, "              ", words("error"), "\n              next: ", words("hint"), "\n");
  };
  const bool of_cluster = flags.cluster.asked || !flags.cluster.kubeconfig.empty();
  if (of_cluster) {
    for (const CheckRow& c : env.check_cluster(cluster_of(flags, flags.pre)))
      row(c.category, row_json(c.id, c.description, c.result, c.error, c.hint));
    print(check_json(success, categories), text, flags, env);
    return success ? kOk : kRuntimeError;
  }
  // Of a node elsewhere this kernel says nothing.
  if (flags.channel == nullptr) {
    for (const KernelResult& k :
         env.check_kernel({.cgroup = flags.cgroup, .pin_root = flags.pin_root, .with_rivals = flags.pre}))
      row("kernel features", row_json(k.id, k.description, k.result, k.error, k.hint));
  }
  if (!flags.pre) {
    const auto reply = call(flags, &Admin::Stub::Check, admin::v1::CheckRequest());
    if (!reply.ok()) return report(reply.status(), "weft check --pre", env);
    for (const auto& c : reply->checks()) {
      row(c.category(), row_json(c.id(), c.description(), c.result(), c.error(), c.hint()));
    }
  }
  print(check_json(success, categories), text, flags, env);
  return success ? kOk : kRuntimeError;
}

int get_services(const Flags& flags, Environment& env) {
  const auto reply = call(flags, &Admin::Stub::ListServices, list_request(flags));
  if (!reply.ok()) return report(reply.status(), "weft status", env);
  Table table{{"NAMESPACE", "NAME", "ADDRESSES", "ENDPOINTS", "PORTS"}, {}};
  Json rows = Json::array();
  for (const auto& s : reply->services()) {
    table.rows.push_back(
        {s.namespace_(), s.name(), join(s.addresses()), str_cat(s.endpoints()), join(s.ports())});
    rows.push_back({{"namespace", s.namespace_()},
                    {"name", s.name()},
                    {"hostname", s.hostname()},
                    {"addresses", strings(s.addresses())},
                    {"ports", strings(s.ports())},
                    {"endpoints", s.endpoints()}});
  }
  print(Json{{"schema", "weft.services.v1"}, {"services", rows}}, table, flags, env);
  note_empty(rows.empty(), "services", flags, env);
  return kOk;
}

int get_endpoints(const Flags& flags, Environment& env) {
  const auto reply = call(flags, &Admin::Stub::ListEndpoints, list_request(flags));
  if (!reply.ok()) return report(reply.status(), "weft status", env);
  Table table{{"NAMESPACE", "SERVICE", "ADDRESS", "WORKLOAD", "NODE", "WEIGHT", "STATE", "LABELS"}, {}};
  Json rows = Json::array();
  for (const auto& e : reply->endpoints()) {
    Json labels = Json::object();
    const std::map<std::string, std::string> sorted(e.labels().begin(), e.labels().end());
    std::vector<std::string> pairs;
    for (const auto& [key, value] : sorted) {
      labels[key] = value;
      pairs.push_back(str_cat(key, "=", value));
    }
    table.rows.push_back({e.namespace_(), e.service(), e.address(), e.workload(), e.node(),
                          str_cat(e.weight()), e.state(), join(pairs)});
    rows.push_back({{"namespace", e.namespace_()},
                    {"service", e.service()},
                    {"address", e.address()},
                    {"workload", e.workload()},
                    {"node", e.node()},
                    {"weight", e.weight()},
                    {"state", e.state()},
                    {"labels", labels}});
  }
  print(Json{{"schema", "weft.endpoints.v1"}, {"endpoints", rows}}, table, flags, env);
  note_empty(rows.empty(), "endpoints", flags, env);
  return kOk;
}

int get_workloads(const Flags& flags, Environment& env) {
  const auto reply = call(flags, &Admin::Stub::ListWorkloads, list_request(flags));
  if (!reply.ok()) return report(reply.status(), "weft status", env);
  Table table{
      {"NAMESPACE", "NAME", "ADDRESSES", "NODE", "CAPTURE", "CONNECTIONS", "REQUESTS", "BUFFERED", "REFUSED"},
      {}};
  Json rows = Json::array();
  for (const auto& w : reply->workloads()) {
    if (flags.answer != nullptr && flags.answer->is_of_another(w.node())) continue;
    const admin::v1::PodUse& use = w.use();
    const auto number = [&](uint64_t value) { return w.has_use() ? str_cat(value) : std::string("-"); };
    table.rows.push_back({w.namespace_(), w.name(), join(w.addresses()), w.node().empty() ? "-" : w.node(),
                          w.capture(), number(use.connections()), number(use.requests()),
                          number(use.buffered_bytes()), refusals_text(use.refused())});
    rows.push_back({{"namespace", w.namespace_()},
                    {"name", w.name()},
                    {"uid", w.uid()},
                    {"addresses", strings(w.addresses())},
                    {"node", w.node()},
                    {"capture", w.capture()},
                    {"netnsCookie", w.netns_cookie()},
                    {"netnsPath", w.netns_path()},
                    {"serviceAccount", w.service_account()}});
    if (w.has_use()) rows.back()["use"] = pod_use_json(use);
  }
  print(Json{{"schema", "weft.workloads.v1"}, {"workloads", rows}}, table, flags, env);
  note_empty(rows.empty(), "workloads", flags, env);
  return kOk;
}

int observe(const Flags& flags, Environment& env) {
  absl::StatusOr<std::unique_ptr<Admin::Stub>> stub = connect(flags);
  if (!stub.ok()) return report(stub.status(), "weft status", env);
  admin::v1::ObserveRequest request;
  request.set_from(flags.from);
  request.set_to(flags.to);
  request.set_errors_only(flags.errors_only);
  grpc::ClientContext context;
  // Without -f: what ends in the next five seconds.
  if (!flags.follow) context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
  const auto reader = (*stub)->Observe(&context, request);
  proxy::v1::Exchange exchange;
  // Output that nobody takes any more ends it: with --node, SIGPIPE does not end the process.
  while (env.out && reader->Read(&exchange)) {
    if (flags.output == "json")
      env.out << exchange_json(exchange).dump(-1, ' ', false, Json::error_handler_t::replace) << std::endl;
    else if (flags.output == "yaml")
      env.out << "---\n" << render_yaml(exchange_json(exchange)) << std::flush;
    else
      env.out << printable(exchange_line(exchange)) << std::endl;
  }
  const bool heard = static_cast<bool>(env.out);
  if (!heard) context.TryCancel();
  const grpc::Status end = reader->Finish();
  if (!heard || end.ok() || (!flags.follow && end.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED))
    return kOk;
  return report(to_status(end), "weft status", env);
}

int enroll(const Flags& flags, Environment& env) {
  admin::v1::EnrollRequest request;
  request.set_workload(!flags.ns.empty() && flags.workload.find('/') == std::string::npos
                           ? str_cat(flags.ns, "/", flags.workload)
                           : flags.workload);
  request.set_netns_path(flags.netns);
  request.set_dry_run(flags.dry_run);
  const auto reply = call(flags, &Admin::Stub::Enroll, request);
  if (!reply.ok()) return report(reply.status(), "weft check", env);
  return print_steps(reply->steps(), reply->netns_cookie(), flags, env);
}

int unenroll(const Flags& flags, Environment& env) {
  admin::v1::UnenrollRequest request;
  request.set_workload(!flags.ns.empty() && flags.workload.find('/') == std::string::npos
                           ? str_cat(flags.ns, "/", flags.workload)
                           : flags.workload);
  request.set_dry_run(flags.dry_run);
  const auto reply = call(flags, &Admin::Stub::Unenroll, request);
  if (!reply.ok()) return report(reply.status(), "weft get workloads -A", env);
  return print_steps(reply->steps(), 0, flags, env);
}

int analyze(const Flags& flags, Environment& env) {
  for (const std::string& path : flags.paths) {
    if (::access(path.c_str(), R_OK) == 0) continue;
    return report(absl::InvalidArgumentError(str_cat(path, " cannot be read")), str_cat("ls -l ", path), env);
  }
  Json rows = Json::array();
  std::string text;
  bool over = false;
  for (const AnalysisFinding& f : env.analyze(flags.paths)) {
    over = over || f.level == "error" || flags.fail_on == "warn";
    str_append(&text, f.file, ":", f.line, ": ", f.level, " ", f.code, " ", f.object);
    if (!f.field.empty()) str_append(&text, " ", f.field);
    str_append(&text, ": ", f.message);
    if (!f.remedy.empty()) str_append(&text, " (", f.remedy, ")");
    text += "\n";
    rows.push_back({{"code", f.code},
                    {"level", f.level},
                    {"file", f.file},
                    {"line", f.line},
                    {"object", f.object},
                    {"field", f.field},
                    {"message", f.message},
                    {"remedy", f.remedy}});
  }
  print(Json{{"schema", "weft.findings.v1"}, {"findings", rows}}, text, flags, env);
  if (rows.empty() && flags.output == "table") env.err << "no findings\n";
  return over ? kFindings : kOk;
}

int version(const Flags& flags, Environment& env) {
  print(Json{{"schema", "weft.version.v1"}, {"version", WEFT_VERSION}}, str_cat("weft ", WEFT_VERSION, "\n"),
        flags, env);
  return kOk;
}

}  // namespace weft::cli
