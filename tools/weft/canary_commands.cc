// `weft canary`: reads the flags, checks the manifest, runs or shows. The run itself is canary_run.cc. Called
// by cli.cc.
#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "tools/weft/admin_call.h"
#include "tools/weft/canary_run.h"

namespace weft::cli {
namespace {

using std::chrono::milliseconds;

template <typename... T>
absl::Status wrong(const T&... parts) {
  return absl::InvalidArgumentError(str_cat(parts..., "; next: weft canary run --help"));
}

absl::StatusOr<milliseconds> read_duration(const std::string& flag, const std::string& text) {
  absl::Duration duration;
  if (!absl::ParseDuration(text, &duration) || duration < absl::Milliseconds(1) ||
      duration > absl::Hours(24 * 7))
    return wrong(flag, ": \"", text, "\" is no duration; write it as 60s or 5m");
  return milliseconds(absl::ToInt64Milliseconds(duration));
}

absl::StatusOr<double> read_rate(const std::string& text) {
  std::string digits = text;
  const bool percent = !digits.empty() && digits.back() == '%';
  if (percent) digits.pop_back();
  double value = 0;
  if (!absl::SimpleAtod(digits, &value) || !(value >= 0) || value > (percent ? 100 : 1))
    return wrong("--max-error-rate: \"", text, "\" is no rate; write it as 1% or 0.01");
  return percent ? value / 100 : value;
}

absl::StatusOr<std::vector<uint32_t>> read_steps(const std::string& text) {
  std::vector<uint32_t> out;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    const auto percent = parse_integer<uint32_t>(to_std(absl::StripAsciiWhitespace(part)));
    if (!percent || *percent < 1 || *percent > 100 || (!out.empty() && *percent <= out.back()))
      return wrong("--steps: \"", text, "\" are no rising percentages, such as 5,25,50,75,100");
    out.push_back(*percent);
  }
  return out;
}

absl::StatusOr<CanaryRun::Options> read_options(const CanaryFlags& flags) {
  CanaryRun::Options out;
  out.query = {.route = flags.route, .host = flags.host, .to = flags.to};
  ASSIGN_OR_RETURN(out.steps, read_steps(flags.steps));
  ASSIGN_OR_RETURN(out.interval, read_duration("--interval", flags.interval));
  out.patience = out.interval * 10;
  if (!flags.patience.empty()) {
    ASSIGN_OR_RETURN(out.patience, read_duration("--patience", flags.patience));
  }
  ASSIGN_OR_RETURN(out.bounds.max_error_rate, read_rate(flags.max_error_rate));
  if (!flags.max_p99.empty()) {
    ASSIGN_OR_RETURN(const milliseconds p99, read_duration("--max-p99", flags.max_p99));
    out.bounds.max_p99_us = static_cast<uint64_t>(p99.count()) * 1000;
    if (out.bounds.max_p99_us >= longest_us())
      return wrong("--max-p99: from ", duration_text(longest_us()),
                   " on times are not told apart; write less, or leave it out");
  }
  out.bounds.min_requests = flags.min_requests;
  return out;
}

struct Opened {
  ManifestFile file;
  RoutePlace place;
};

absl::StatusOr<Opened> open_manifest(const CanaryFlags& flags) {
  ASSIGN_OR_RETURN(ManifestFile file, ManifestFile::open(flags.file));
  auto place = find_route(file.text(), {.route = flags.route, .host = flags.host, .to = flags.to});
  if (!place.ok()) return annotate(flags.file, place.status());
  return Opened{std::move(file), *std::move(place)};
}

// What the agent would refuse in the manifest; empty: nothing.
std::string refused_part(const ManifestFile& file, Environment& env) {
  for (const AnalysisFinding& finding : env.analyze({file.path()})) {
    if (finding.level == "error") return str_cat(finding.file, ":", finding.line, ": ", finding.message);
  }
  return "";
}

// A manifest to begin with: nobody would refuse it.
absl::StatusOr<Opened> open_sound_manifest(const CanaryFlags& flags, Environment& env) {
  ASSIGN_OR_RETURN(Opened opened, open_manifest(flags));
  const std::string refused = refused_part(opened.file, env);
  if (!refused.empty())
    return absl::InvalidArgumentError(str_cat(refused, "; next: weft analyze ", flags.file));
  return opened;
}

// Whoever takes a bad version back, or looks at it, is not held up by a slip elsewhere in the file.
absl::StatusOr<Opened> open_any_manifest(const CanaryFlags& flags, Environment& env) {
  ASSIGN_OR_RETURN(Opened opened, open_manifest(flags));
  const std::string refused = refused_part(opened.file, env);
  if (!refused.empty())
    env.err << "warning: the agent refuses " << refused << "\nnext: weft analyze " << flags.file << "\n";
  return opened;
}

std::vector<uint32_t> written_weights(const RoutePlace& place) {
  std::vector<uint32_t> out;
  for (const WeightPlace& destination : place.destinations) out.push_back(destination.weight);
  return out;
}

std::string place_text(const CanaryFlags& flags, const RoutePlace& place) {
  return str_cat(place.kind, " ", place.ns, "/", place.name, " ", place.route, " (", flags.file, ":",
                 place.line, ")");
}

// The same flags for another command.
std::string selection(const CanaryFlags& flags) {
  std::string out = str_cat(" --file ", flags.file, " --to ", flags.to);
  if (!flags.route.empty()) str_append(&out, " --route ", flags.route);
  if (!flags.host.empty()) str_append(&out, " --host ", flags.host);
  return out;
}

int show_plan(const Flags& flags, const CanaryRun::Options& options, const Opened& opened, Environment& env) {
  Table table{{"STEP", "WEIGHTS", "WATCHED FOR"}, {}};
  Json steps = Json::array();
  for (size_t i = 0; i < options.steps.size(); ++i) {
    const auto weights = shifted_weights(opened.place, options.steps[i]);
    const std::string text = weights_text(opened.place, weights);
    table.rows.push_back({str_cat(i + 1), text, flags.canary.interval});
    steps.push_back({{"percent", options.steps[i]}, {"weights", text}});
  }
  std::string lines;
  for (const WeightPlace& destination : opened.place.destinations)
    str_append(&lines, lines.empty() ? "" : ", ", destination.line);
  print(Json{{"schema", "weft.canary.plan.v1"}, {"file", opened.file.path()}, {"steps", steps}},
        str_cat(place_text(flags.canary, opened.place),
                "\nnow: ", weights_text(opened.place, written_weights(opened.place)), "; digits on lines ",
                lines, " would change\n\n", render_table(table)),
        flags, env);
  return kOk;
}

const char* end_text(CanaryRun::End end) {
  switch (end) {
    case CanaryRun::End::kPromoted:
      return "promoted";
    case CanaryRun::End::kRolledBack:
      return "rolled-back";
    case CanaryRun::End::kInterrupted:
      return "interrupted";
    case CanaryRun::End::kFailed:
      return "failed";
  }
  return "?";
}

void show_steps(const Flags& flags, const CanaryRun& run, CanaryRun::End end, Environment& env) {
  Table table{{"STEP", "SHARE", "REQUESTS", "FAILED", "ERROR RATE", "P99", "TIME", "RESULT"}, {}};
  Json steps = Json::array();
  for (size_t i = 0; i < run.steps().size(); ++i) {
    const CanaryRun::Step& step = run.steps()[i];
    const Tally& tally = step.tally;
    table.rows.push_back({str_cat(i + 1), str_cat(step.percent, "%"), str_cat(tally.requests),
                          str_cat(tally.errors), rate_text(tally.error_rate()), duration_text(tally.p99_us()),
                          duration_text(static_cast<uint64_t>(step.seconds * 1e6)), step.verdict});
    steps.push_back({{"percent", step.percent},
                     {"requests", tally.requests},
                     {"errors", tally.errors},
                     {"errorRate", tally.error_rate()},
                     {"p99Us", tally.p99_us()},
                     {"seconds", step.seconds},
                     {"result", step.verdict}});
  }
  print(Json{{"schema", "weft.canary.v1"},
             {"result", end_text(end)},
             {"weights", run.weights()},
             {"steps", steps}},
        str_cat(render_table(table), "\n", end_text(end), ": ", run.weights(), "\n"), flags, env);
}

// The steps that are still to come after an interruption, the one under way among them.
std::string steps_left(const std::vector<uint32_t>& steps, uint32_t percent) {
  std::string out;
  for (const uint32_t step : steps) {
    if (step >= percent) str_append(&out, out.empty() ? "" : ",", step);
  }
  return out;
}

int finish(const Flags& flags, const CanaryRun::Options& options, const CanaryRun& run, CanaryRun::End end,
           Environment& env) {
  show_steps(flags, run, end, env);
  if (end == CanaryRun::End::kPromoted) return kOk;
  const std::string rollback = str_cat("weft canary rollback", selection(flags.canary));
  if (end == CanaryRun::End::kInterrupted) {
    env.err << "interrupted: " << run.weights() << " stays in force\n"
            << "next: weft canary run" << selection(flags.canary) << " --steps "
            << steps_left(options.steps, run.percent()) << ", or " << rollback << "\n";
    return kRuntimeError;
  }
  if (end == CanaryRun::End::kRolledBack) {
    env.err << "error: rolled back: " << run.problem().message() << "\nnext: weft observe --errors --to "
            << flags.canary.to << "\n";
    return kRuntimeError;
  }
  return report(run.problem(), rollback, env);
}

}  // namespace

int canary_run(const Flags& flags, Environment& env) {
  const absl::StatusOr<CanaryRun::Options> options = read_options(flags.canary);
  if (!options.ok()) return report(options.status(), "weft canary run --help", env);
  absl::StatusOr<Opened> opened = open_sound_manifest(flags.canary, env);
  if (!opened.ok()) return report(opened.status(), "weft canary run --help", env);
  if (flags.dry_run) return show_plan(flags, *options, *opened, env);
  // Before gRPC's threads are there, which would get the signals.
  Interrupt interrupt;
  const auto stub = connect(flags);
  if (!stub.ok()) return report(stub.status(), "weft status", env);
  const auto live = live_target(**stub, opened->place, opened->place.destinations[opened->place.canary]);
  if (!live.ok()) return report(live.status(), "weft status", env);
  if (!live->has_value())
    return report(absl::InvalidArgumentError(
                      str_cat("the agent has no route from ", flags.canary.file, ":", opened->place.line)),
                  "weft status, to see which folder it reads", env);
  env.err << place_text(flags.canary, opened->place) << ": "
          << weights_text(opened->place, written_weights(opened->place)) << std::endl;
  CanaryRun run(*options, std::move(opened->file), std::move(opened->place), **stub, interrupt, env);
  const CanaryRun::End end = run.run();
  return finish(flags, *options, run, end, env);
}

int canary_rollback(const Flags& flags, Environment& env) {
  absl::StatusOr<Opened> opened = open_any_manifest(flags.canary, env);
  if (!opened.ok()) return report(opened.status(), "weft canary rollback --help", env);
  const std::vector<uint32_t> weights = shifted_weights(opened->place, 0);
  const absl::Status written =
      opened->file.replace(with_weights(opened->file.text(), opened->place, weights));
  if (!written.ok()) return report(written, "weft canary status --help", env);
  const std::string text = weights_text(opened->place, weights);
  print(Json{{"schema", "weft.canary.rollback.v1"}, {"result", "rolled-back"}, {"weights", text}},
        str_cat("written: ", text, "\n"), flags, env);
  return kOk;
}

int canary_status(const Flags& flags, Environment& env) {
  absl::StatusOr<Opened> opened = open_any_manifest(flags.canary, env);
  if (!opened.ok()) return report(opened.status(), "weft canary status --help", env);
  const auto stub = connect(flags);
  if (!stub.ok()) return report(stub.status(), "weft status", env);
  Table table{{"DESTINATION", "MANIFEST", "IN FORCE", "REQUESTS", "FAILED", "ERROR RATE", "P99"}, {}};
  Json rows = Json::array();
  for (const WeightPlace& destination : opened->place.destinations) {
    const auto live = live_target(**stub, opened->place, destination);
    if (!live.ok()) return report(live.status(), "weft status", env);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kCallDeadline);
    admin::v1::WatchRequestsRequest request;
    request.set_service(service_of(destination.host, opened->place.ns));
    const auto reader = (*stub)->WatchRequests(&context, request);
    admin::v1::RequestCounts counts;
    const bool counted = reader->Read(&counts) && counts.proxy_answers();
    context.TryCancel();
    reader->Finish();
    const LiveTarget target = live->value_or(LiveTarget());
    const Tally tally = tally_of(counts, target.workloads);
    // "?": nobody could be asked; "-": a version with weight 0 has no endpoints here to count by.
    const auto cell = [&](const std::string& text) {
      return !counted ? std::string("?") : target.workloads.empty() ? std::string("-") : text;
    };
    const auto number = [&](uint64_t value) {
      return counted && !target.workloads.empty() ? Json(value) : Json();
    };
    table.rows.push_back({destination.label(), str_cat(destination.weight),
                          live->has_value() ? rate_text(target.share / 100) : "no such route",
                          cell(str_cat(tally.requests)), cell(str_cat(tally.errors)),
                          cell(rate_text(tally.error_rate())), cell(duration_text(tally.p99_us()))});
    rows.push_back({{"destination", destination.label()},
                    {"manifestWeight", destination.weight},
                    {"sharePercent", target.share},
                    {"requests", number(tally.requests)},
                    {"errors", number(tally.errors)},
                    {"p99Us", number(tally.p99_us())}});
  }
  print(Json{{"schema", "weft.canary.status.v1"}, {"file", opened->file.path()}, {"destinations", rows}},
        str_cat(place_text(flags.canary, opened->place), "; counts since the proxy started\n\n",
                render_table(table)),
        flags, env);
  return kOk;
}

}  // namespace weft::cli
