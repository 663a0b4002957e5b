// `weft conns`: the open connections of this node's pods. Called by cli.cc.
#include <cmath>
#include <cstdio>

#include "base/strings.h"
#include "tools/weft/admin_call.h"
#include "tools/weft/commands.h"

namespace weft::cli {
namespace {

using admin::v1::Admin;

// "640us", "4.1ms", "1.2s".
std::string micros_text(uint32_t us) {
  char text[32];
  if (us < 1000) return str_cat(us, "us");
  const bool seconds = us >= 1'000'000;
  std::snprintf(text, sizeof(text), seconds ? "%.1fs" : "%.1fms", us / (seconds ? 1e6 : 1e3));
  return text;
}

// "45s", "4m12s", "3h05m", "2d04h".
std::string age_text(double seconds) {
  const auto whole = static_cast<uint64_t>(seconds);
  const auto pair = [](uint64_t large, const char* large_unit, uint64_t small, const char* small_unit) {
    char text[48];
    std::snprintf(text, sizeof(text), "%llu%s%02llu%s", static_cast<unsigned long long>(large), large_unit,
                  static_cast<unsigned long long>(small), small_unit);
    return std::string(text);
  };
  if (whole < 60) return str_cat(whole, "s");
  if (whole < 3600) return pair(whole / 60, "m", whole % 60, "s");
  if (whole < 86400) return pair(whole / 3600, "h", whole / 60 % 60, "m");
  return pair(whole / 86400, "d", whole / 3600 % 24, "h");
}

std::string end_text(const std::string& name, const std::string& address) {
  if (name.empty()) return address;
  const size_t port = address.rfind(':');
  return port == std::string::npos ? name : str_cat(name, address.substr(port));
}

std::string backend_text(const admin::v1::Connection& c) {
  if (c.path() == "proxy") return "node proxy";
  if (c.backend_address().empty() || c.backend_address() == c.destination_address()) return "-";
  return end_text(c.backend(), c.backend_address());
}

std::vector<std::string> table_row(const admin::v1::Connection& c) {
  return {c.direction() == "inbound" ? "in" : "out",
          c.path(),
          c.state(),
          c.has_age_seconds() ? age_text(c.age_seconds()) : "-",
          bytes_text(c.sent_bytes()),
          bytes_text(c.received_bytes()),
          c.rtt_us() == 0 ? "-" : micros_text(c.rtt_us()),
          str_cat(c.retransmits()),
          c.direction() == "inbound" && c.source().empty() ? c.source_address() : c.source(),
          end_text(c.destination(), c.destination_address()),
          backend_text(c)};
}

Json json_row(const admin::v1::Connection& c) {
  Json row{{"pod", c.pod()},
           {"direction", c.direction()},
           {"path", c.path()},
           {"state", c.state()},
           {"sentBytes", c.sent_bytes()},
           {"receivedBytes", c.received_bytes()},
           {"rttUs", c.rtt_us()},
           {"retransmits", c.retransmits()},
           {"source", c.source()},
           {"sourceAddress", c.source_address()},
           {"destination", c.destination()},
           {"destinationAddress", c.destination_address()},
           {"backend", c.backend()},
           {"backendAddress", c.backend_address()}};
  if (c.has_age_seconds()) row["ageSeconds"] = c.age_seconds();
  return row;
}

}  // namespace

int conns(const Flags& flags, Environment& env) {
  admin::v1::ConnectionsRequest request;
  request.set_namespace_(flags.ns);
  request.set_workload(flags.name);
  request.set_from(flags.from);
  request.set_to(flags.to);
  request.set_limit(flags.limit);
  const auto reply = call(flags, &Admin::Stub::ListConnections, request);
  if (!reply.ok()) return report(reply.status(), "weft check", env);
  Table table{.head = {"DIR", "PATH", "STATE", "AGE", "SENT", "RECEIVED", "RTT", "RETRANS", "SOURCE",
                       "DESTINATION", "BACKEND"},
              .rows = {}};
  Json rows = Json::array();
  for (const auto& connection : reply->connections()) {
    table.rows.push_back(table_row(connection));
    rows.push_back(json_row(connection));
  }
  Json unreadable = Json::array();
  for (const auto& pod : reply->unreadable()) unreadable.push_back(pod);
  print(Json{{"schema", "weft.conns.v1"},
             {"matched", reply->matched()},
             {"connections", rows},
             {"unreadable", unreadable}},
        table, flags, env);
  const auto shown = static_cast<uint64_t>(reply->connections_size());
  if (shown < reply->matched()) {
    env.err << shown << " of " << reply->matched()
            << " connections, the oldest of each pod first; next: weft conns "
            << "with --from, --to, -n or --limit\n";
  } else if (shown == 0 && flags.output == "table") {
    env.err << "no open connection of a captured pod matches; next: weft get workloads -A\n";
  }
  for (const auto& pod : reply->unreadable()) env.err << "not read: " << pod << "; next: weft check\n";
  return reply->unreadable().empty() ? kOk : kRuntimeError;
}

}  // namespace weft::cli
