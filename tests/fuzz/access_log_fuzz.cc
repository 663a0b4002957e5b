// Fuzz target of access-log lines: whatever a client or a resource is called, a record is one line of
// printable ASCII whose fields are the known ones in their order and read back as what was put in, so that no
// request can forge a field or a line.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "userspace-proxy/telemetry/access_log_line.h"

namespace weft::proxy {
namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

using Fields = std::vector<std::pair<std::string, std::string>>;

int hex(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

// Takes a quoted value off the front of `rest`, behind its first quote.
std::string take_quoted(std::string_view* rest) {
  std::string out;
  while (true) {
    require(!rest->empty());
    const char c = rest->front();
    rest->remove_prefix(1);
    if (c == '"') return out;
    if (c != '\\') {
      out.push_back(c);
      continue;
    }
    require(!rest->empty());
    const char escaped = rest->front();
    rest->remove_prefix(1);
    if (escaped != 'x') {
      require(escaped == '"' || escaped == '\\');
      out.push_back(escaped);
      continue;
    }
    require(rest->size() > 2);
    out.push_back(static_cast<char>(hex((*rest)[0]) * 16 + hex((*rest)[1])));
    rest->remove_prefix(2);
  }
}

// The line behind its time, as key=value pairs one space apart.
Fields parse(std::string_view line) {
  Fields out;
  std::string_view rest = line.substr(line.find(' '));
  while (rest != "\n") {
    require(rest.starts_with(' '));
    rest.remove_prefix(1);
    const size_t equals = rest.find('=');
    require(equals != std::string_view::npos);
    std::string key(rest.substr(0, equals)), value;
    require(key.find_first_of(" \"") == std::string::npos);
    rest.remove_prefix(equals + 1);
    if (rest.starts_with('"')) {
      rest.remove_prefix(1);
      value = take_quoted(&rest);
    } else {
      const size_t end = rest.find_first_of(" \n");
      require(end != std::string_view::npos && end > 0);
      value = rest.substr(0, end);
      require(value.find_first_of("\"=\\") == std::string::npos);
      rest.remove_prefix(end);
    }
    out.emplace_back(std::move(key), std::move(value));
  }
  return out;
}

std::string expected(std::string_view value) {
  if (value.empty()) return "-";
  std::string out(value.substr(0, kMaxLoggedField));
  return value.size() > kMaxLoggedField ? out + "..." : out;
}

void check_line(const std::string& line, const ExchangeRecord& record, const std::string& service) {
  require(line.ends_with('\n'));
  for (const char c : std::string_view(line).substr(0, line.size() - 1)) require(c >= ' ' && c <= '~');
  const Fields fields = parse(line);
  std::vector<std::string> keys = {"source", "client"};
  if (!record.identity.empty()) keys.push_back("identity");
  const size_t named = keys.size();
  keys.insert(keys.end(), {"dialled", "service", "upstream", "workload", "protocol"});
  const bool http = is_http(record.protocol);
  if (record.protocol == ExchangeRecord::Protocol::kTunnel) keys.push_back("status");
  if (http) keys.insert(keys.end(), {"method", "authority", "path", "status", "route"});
  keys.insert(keys.end(), {"outcome", "duration_us", "received", "sent"});
  require(fields.size() == keys.size());
  for (size_t i = 0; i < keys.size(); ++i) require(fields[i].first == keys[i]);
  if (named == 3) require(fields[2].second == expected(record.identity));
  require(fields[named + 1].second == expected(service));
  if (!http) return;
  require(fields[named + 5].second == expected(record.method));
  require(fields[named + 6].second == expected(record.authority));
  require(fields[named + 7].second == expected(record.path.substr(0, record.path.find('?'))));
  require(fields[named + 9].second == expected(record.route));
}

}  // namespace
}  // namespace weft::proxy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace weft::proxy;
  FuzzedDataProvider data(bytes, size);
  const auto text = [&] { return data.ConsumeRandomLengthString(600); };
  Snapshot snapshot;
  snapshot.sources.push_back(Source{.name = text(), .ns = text()});
  Cluster cluster;
  cluster.service = text();
  cluster.endpoints.push_back(Endpoint{.workload = text()});
  snapshot.clusters.push_back(cluster);
  const std::string method = text(), authority = text(), path = text(), route = text();
  ExchangeRecord record;
  record.protocol = static_cast<ExchangeRecord::Protocol>(data.ConsumeIntegralInRange<uint8_t>(0, 3));
  record.source = data.ConsumeIntegralInRange<uint32_t>(0, 1);
  record.cluster = data.ConsumeIntegralInRange<uint32_t>(0, 1);
  record.endpoint = data.ConsumeIntegralInRange<uint32_t>(0, 1);
  record.outcome = static_cast<Outcome>(data.ConsumeIntegralInRange(0, kOutcomeCount - 1));
  record.status = data.ConsumeIntegral<uint16_t>();
  record.duration = data.ConsumeIntegral<uint64_t>();
  record.upstream.port = data.ConsumeIntegral<uint16_t>();
  record.method = method;
  record.authority = authority;
  record.path = path;
  record.route = route;
  const std::string identity = text();
  record.identity = identity;
  std::string line;
  append_access_log_line(record, snapshot, data.ConsumeIntegral<int64_t>(), &line);
  check_line(line, record, record.cluster == 0 ? cluster.service : std::string());
  return 0;
}
