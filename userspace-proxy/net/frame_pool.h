// Memory for coroutine frames and exchanges: free lists per size class, one set per thread, so that a request
// allocates nothing once its worker is warm. Blocks must be freed on the thread that took them.
#pragma once

#include <cstddef>

namespace weft::proxy {

void* take_frame(size_t size);
void give_frame(void* block, size_t size);
// Returns this thread's free blocks to the system; at the end of a worker.
void trim_frames();

}  // namespace weft::proxy
