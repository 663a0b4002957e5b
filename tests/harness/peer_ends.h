// The `ends` modes of weft-test-peer: how the end of one side of a connection reaches the other, told on
// standard output as it happens.
#pragma once

#include <string_view>

namespace weft::harness {

class Stream;

// A server: agrees to a request for a tunnel, reads one line, and does what it says: "fin" ends its own
// direction, "reset" aborts the connection, "wait" waits for the client's end. Prints "server saw fin" or
// "server saw reset".
void serve_ends(Stream& stream);

// A client on a connection that is open: asks for a tunnel if `tunnel`, and lets `who` ("client" or "server")
// do `act`
// ("fin" or "reset"). Prints "client saw ..." when something ended its wait. The exit code: 1 when the
// connection failed before.
int run_ends(Stream& stream, bool tunnel, std::string_view who, std::string_view act);

}  // namespace weft::harness
