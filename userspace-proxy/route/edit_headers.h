// Applies a route's header edits to a list of fields. Pure: no allocation once the caller's text and list
// have grown. Any thread; called by the exchange.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "userspace-proxy/http/message.h"
#include "userspace-proxy/route/action.h"

namespace weft::proxy {

// What the variables in header values stand for.
struct EditFacts {
  const RequestHead& request;  // as received
  SocketAddress downstream_remote, downstream_local;
  std::string_view route_name, cluster;
  // In responses only; `response` may be null.
  SocketAddress upstream_remote;
  const ResponseHead* response = nullptr;
};

// Bytes that edit_headers() will append to its text.
size_t rendered_bytes(const HeaderEdits& edits, const EditFacts& facts);

// Values with variables are rendered behind what `text` holds; it must have room for rendered_bytes(), so
// that no view of it moves. The list then has views of `text` and of `edits`.
void edit_headers(const HeaderEdits& edits, const EditFacts& facts, std::string* text,
                  std::vector<Header>* headers);

// The field's first value becomes `value`; more of that name go; it is added when there is none.
void set_header(std::string_view name, std::string_view value, std::vector<Header>* headers);

}  // namespace weft::proxy
