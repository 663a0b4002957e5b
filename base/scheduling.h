// What a thread asks of the kernel's scheduler. Linux only; without effect where the kernel does not know it.
#pragma once

#include <chrono>

namespace weft {

// The calling thread, and those that it starts from now on, work in slices of this length: who wakes with a
// short one runs at once, before threads of the same CPU that use up longer ones, and has no more of the CPU
// for it (EEVDF, Linux 6.12 and later). 100 us to 100 ms; false: the kernel refused.
bool work_in_slices(std::chrono::nanoseconds slice);

}  // namespace weft
