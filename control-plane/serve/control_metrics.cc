// See control_metrics.h.
#include "control-plane/serve/control_metrics.h"

#include <algorithm>

#include "base/prometheus_text.h"

namespace weft::control_plane {
namespace {

void single(TextFormat& out, std::string_view name, std::string_view type, std::string_view help,
            uint64_t value) {
  out.family(name, type, help);
  out.sample(name, {}, value);
}

void kinds(TextFormat& out, const std::vector<SourceReport::Kind>& all, std::string_view name,
           std::string_view type, std::string_view help, uint64_t SourceReport::Kind::* field) {
  out.family(name, type, help);
  for (const SourceReport::Kind& kind : all) out.sample(name, {{"kind", kind.kind}}, kind.*field);
}

}  // namespace

std::string render(const ControlFigures& figures) {
  TextFormat out;
  const auto behind = std::count_if(
      figures.clients.begin(), figures.clients.end(),
      [&figures](const ClientState& client) { return client.acked_generation < figures.generation; });
  size_t refused = 0;
  for (const ClientState& client : figures.clients) refused += client.rejected.size();
  single(out, "weft_control_agents", "gauge", "Agents that are connected", figures.clients.size());
  single(out, "weft_control_agents_behind", "gauge",
         "Agents that have not acknowledged the newest configuration", static_cast<uint64_t>(behind));
  single(out, "weft_control_agents_rejected", "gauge", "Resources that agents refuse now", refused);
  single(out, "weft_control_token_reviews_total", "counter", "Tokens that the API server was asked about",
         figures.callers.reviews);
  out.family("weft_control_refused_total", "counter", "Calls that were refused, by reason");
  for (const auto& [reason, count] : figures.callers.refused)
    out.sample("weft_control_refused_total", {{"reason", reason}}, count);
  single(out, "weft_control_certificates_total", "counter", "Certificates that workloads were given",
         figures.certificates);
  single(out, "weft_control_certificates_refused_total", "counter", "Requests that got no certificate",
         figures.certificates_refused);
  out.family("weft_control_joins_total", "counter",
             "Certificates for nodes that joined, and refusals to join, by result");
  for (const auto& [result, count] : figures.joins)
    out.sample("weft_control_joins_total", {{"result", result}}, count);
  single(out, "weft_config_generation", "gauge", "Generation of the configuration", figures.generation);
  single(out, "weft_config_rejected", "gauge", "Objects that are refused now", figures.rejected);
  single(out, "weft_control_status_leads", "gauge", "1 when this replica writes status",
         figures.status.leads ? 1 : 0);
  single(out, "weft_control_status_written_total", "counter", "Objects whose status was written",
         figures.status.written);
  single(out, "weft_control_status_events_total", "counter", "Events that were written",
         figures.status.events);
  single(out, "weft_control_status_failed_total", "counter", "Reads and writes for status that failed",
         figures.status.failed);
  if (figures.admissions) {
    constexpr char kName[] = "weft_control_admissions_total";
    out.family(kName, "counter", "Objects that the API server asked the webhook about, by answer");
    out.sample(kName, {{"answer", "allowed"}}, figures.admissions->allowed);
    out.sample(kName, {{"answer", "denied"}}, figures.admissions->denied);
    out.sample(kName, {{"answer", "failed"}}, figures.admissions->failed);
  }
  using Kind = SourceReport::Kind;
  const auto& all = figures.source_kinds;
  kinds(out, all, "weft_kubernetes_objects", "gauge", "Objects that the Kubernetes API server has told of",
        &Kind::objects);
  kinds(out, all, "weft_kubernetes_parsed_total", "counter", "Objects that were new or changed",
        &Kind::parsed);
  kinds(out, all, "weft_kubernetes_lists_total", "counter", "Complete lists of a kind", &Kind::lists);
  kinds(out, all, "weft_kubernetes_watches_total", "counter", "Watches of a kind that were begun",
        &Kind::watches);
  kinds(out, all, "weft_kubernetes_relists_total", "counter",
        "Lists that were asked for because the server forgot", &Kind::relists);
  kinds(out, all, "weft_kubernetes_errors_total", "counter",
        "Requests of a kind that failed, and objects that could not be read", &Kind::errors);
  return out.text();
}

}  // namespace weft::control_plane
