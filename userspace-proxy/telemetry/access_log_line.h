// One exchange as one line of key=value pairs. Pure: called by WorkerTelemetry, tested alone. Never contains a query string,
// header values other than the authority, or control characters.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "userspace-proxy/config/snapshot.h"
#include "userspace-proxy/telemetry/exchange_record.h"

namespace weft::proxy {

// Longest text taken from a peer into one field; the rest is cut and marked with "...".
inline constexpr size_t kMaxLoggedField = 256;

// Appends the line with its newline. `end_unix_ns` is the wall clock at the end of the exchange.
void append_access_log_line(const ExchangeRecord& record, const Snapshot& snapshot, int64_t end_unix_ns,
                            std::string* out);

// `text` bounded, and quoted when it holds anything but plain characters: \xHH for control characters and bytes above 0x7e.
void append_logged(std::string_view text, std::string* out);

// "product-service" of the cluster, else of the dialled address; empty when unknown.
std::string_view service_of(const ExchangeRecord& record, const Snapshot& snapshot);

// The path as it may be shown: up to a "?", which a careless caller may have left in.
std::string_view path_without_query(std::string_view path);

}  // namespace weft::proxy
