// The exchanges that weft-engine-cost plays: what common clients and servers put on the wire.
#pragma once

#include <string>
#include <vector>

namespace weft::proxy {

struct Recorded {
  std::string name;      // of the case, in cost.json too
  std::string request;   // as the client sends it
  std::string response;  // as the upstream sends it; always a 200 that keeps the connection
};

std::vector<Recorded> recorded_exchanges();

}  // namespace weft::proxy
