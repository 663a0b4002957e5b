// What weft-control counts, as the text that Prometheus reads. Pure: a scrape is one function from values to
// text. docs/kubernetes.md has the table.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "control-plane/discovery/ads_service.h"
#include "control-plane/kubernetes/source_report.h"
#include "control-plane/serve/callers.h"
#include "control-plane/serve/webhook_server.h"
#include "control-plane/status/status_writer.h"

namespace weft::control_plane {

struct ControlFigures {
  std::vector<ClientState> clients;
  Callers::Counts callers;
  uint64_t generation = 0;
  uint64_t rejected = 0;  // objects that are refused now
  uint64_t certificates = 0;
  uint64_t certificates_refused = 0;
  std::map<std::string, uint64_t> joins;  // JoinDesk::counts()
  std::vector<SourceReport::Kind> source_kinds;
  StatusWriter::Counts status;
  std::optional<WebhookServer::Counts> admissions;  // absent: there is no webhook
};

std::string render(const ControlFigures& figures);

}  // namespace weft::control_plane
