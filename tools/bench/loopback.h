// What benchmarks on the loopback interface begin with: sockets that listen there, and threads on CPUs of
// their own. Each exits the program with a message when it cannot be had.
#pragma once

#include "base/address.h"
#include "base/fd.h"

namespace weft::bench {

// Non-blocking. Port 0: any; *address says which.
UniqueFd listen_at(const char* wanted, SocketAddress* address);

// The calling thread and those that it starts from now on.
void run_on(int first_cpu, int last_cpu);
int last_cpu();

}  // namespace weft::bench
