// SIGTERM and SIGINT as a program of ours takes them: blocked in every thread and taken by main where it
// waits, so that there is no handler and no race with the start.
#pragma once

#include <csignal>

namespace weft {

// Before the first thread, which inherits the mask. The signals, for sigwait(3) and its kin.
sigset_t block_stop_signals();

// Whether one of them is pending: asked while something is awaited that may never come. Any thread.
bool told_to_stop();

}  // namespace weft
