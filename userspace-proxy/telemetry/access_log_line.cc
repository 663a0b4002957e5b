// Formats access-log lines. Called for every exchange while the log is on; appends to the caller's reused
// buffer.
#include "userspace-proxy/telemetry/access_log_line.h"

#include <time.h>

#include <algorithm>
#include <array>
#include <cstdio>

namespace weft::proxy {
namespace {

constexpr int64_t kNsPerSecondSigned = 1'000'000'000;

void append_time(int64_t unix_ns, std::string* out) {
  const time_t seconds = static_cast<time_t>(unix_ns / kNsPerSecondSigned);
  tm utc{};
  ::gmtime_r(&seconds, &utc);
  std::array<char, 64> text{};
  const int size = std::snprintf(text.data(), text.size(), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
                                 utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min,
                                 utc.tm_sec, static_cast<int>(unix_ns % kNsPerSecondSigned / 1'000'000));
  out->append(text.data(), static_cast<size_t>(std::max(size, 0)));
}

bool plain(char c) { return c > ' ' && c < 0x7f && c != '"' && c != '\\' && c != '='; }

void append_escaped(char c, std::string* out) {
  constexpr char kHex[] = "0123456789abcdef";
  if (c == '"' || c == '\\') {
    out->push_back('\\');
    out->push_back(c);
  } else if (c >= ' ' && c < 0x7f) {
    out->push_back(c);
  } else {
    const auto byte = static_cast<unsigned char>(c);
    out->append({'\\', 'x', kHex[byte >> 4], kHex[byte & 15]});
  }
}

void field(std::string_view key, std::string_view value, std::string* out) {
  out->push_back(' ');
  out->append(key).push_back('=');
  append_logged(value, out);
}

}  // namespace

void append_logged(std::string_view text, std::string* out) {
  const bool cut = text.size() > kMaxLoggedField;
  text = text.substr(0, kMaxLoggedField);
  if (!text.empty() && std::all_of(text.begin(), text.end(), plain)) {
    out->append(text);
    if (cut) out->append("...");
    return;
  }
  if (text.empty()) {
    out->push_back('-');
    return;
  }
  out->push_back('"');
  for (const char c : text) append_escaped(c, out);
  if (cut) out->append("...");
  out->push_back('"');
}

std::string_view service_of(const ExchangeRecord& record, const Snapshot& snapshot) {
  if (record.cluster < snapshot.clusters.size()) return snapshot.clusters[record.cluster].service;
  const ServicePort* dialled = snapshot.find_service_port(record.source, record.dialled);
  return dialled == nullptr ? std::string_view() : std::string_view(dialled->service);
}

std::string_view path_without_query(std::string_view path) { return path.substr(0, path.find('?')); }

void append_access_log_line(const ExchangeRecord& record, const Snapshot& snapshot, int64_t end_unix_ns,
                            std::string* out) {
  append_time(end_unix_ns, out);
  const Source* source = record.source < snapshot.sources.size() ? &snapshot.sources[record.source] : nullptr;
  field("source", source == nullptr ? std::string() : str_cat(source->ns, "/", source->name), out);
  str_append(out, " client=", record.client.to_string());
  if (!record.identity.empty()) field("identity", record.identity, out);
  str_append(out, " dialled=", record.dialled.to_string());
  field("service", service_of(record, snapshot), out);
  const bool chosen = record.upstream.port != 0;
  field("upstream", chosen ? record.upstream.to_string() : std::string(), out);
  std::string_view workload;
  if (record.cluster < snapshot.clusters.size()) {
    const Cluster& cluster = snapshot.clusters[record.cluster];
    if (record.endpoint < cluster.endpoints.size()) workload = cluster.endpoints[record.endpoint].workload;
  }
  const bool inbound = record.server < snapshot.sources.size();
  if (inbound) workload = snapshot.sources[record.server].name;
  field("workload", workload, out);
  str_append(out, " protocol=", label(record.protocol));
  if (record.protocol == ExchangeRecord::Protocol::kTunnel) str_append(out, " status=", record.status);
  if (is_http(record.protocol)) {
    field("method", record.method, out);
    field("authority", record.authority, out);
    field("path", path_without_query(record.path), out);
    str_append(out, " status=", record.status);
    field("route", record.route, out);
  }
  str_append(out, " outcome=", label(record.outcome), " duration_us=", record.duration / 1000,
             " received=", record.received_bytes, " sent=", record.sent_bytes,
             inbound ? " direction=inbound\n" : "\n");
}

}  // namespace weft::proxy
