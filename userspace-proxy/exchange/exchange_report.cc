// What an Exchange says of itself when it has ended.
#include "userspace-proxy/exchange/exchange.h"

namespace weft::proxy {

void Exchange::record(Outcome outcome) {
  recorded_ = true;
  if (!downstream_.request_started()) return;
  // What comes in is counted where it went out; only who refuses it counts it here.
  const bool refused = outcome == Outcome::kAccessDenied || outcome == Outcome::kBadToken ||
                       outcome == Outcome::kProviderDenied || outcome == Outcome::kProviderFailed;
  if (client_.policy != nullptr && !refused && !client_.from_outside) return;
  ExchangeRecord record;
  record.protocol =
      request().major_version == 2 ? ExchangeRecord::Protocol::kHttp2 : ExchangeRecord::Protocol::kHttp1;
  record.outcome = outcome;
  record.status = status_;
  record.duration = context_.loop.now() - started_;
  record.received_bytes = request_pump_.bytes();
  record.sent_bytes = response_pump_.bytes();
  record.client = client_.client;
  if (client_.access != nullptr) record.identity = client_.access->peer();
  record.dialled = client_.dialled;
  record.upstream = upstream_address_;
  record.snapshot_generation = generation_->snapshot().generation;
  record.source = source_;
  if (client_.policy != nullptr) record.server = source_of(client_.origin, generation_->snapshot());
  record.cluster = target_.cluster_index();
  record.endpoint = target_.endpoint_index();
  record.route = route_name_;
  record.method = request().method;
  record.authority = request().authority;
  record.path = request().path;
  context_.sink.record(record, generation_->snapshot());
}

}  // namespace weft::proxy
