// Lets threads that serve requests go first. Work that can wait a little, a change of configuration, does
// itself in short pieces, and asks between two of them whether the processor has something better to do.
//
// Who answers is a thread of the lowest class (SCHED_IDLE, sched(7)), which gets to it when a processor has
// nothing else to run. So nobody is demoted who may hold a lock, no request waits for a thread that does not
// run, and no right is needed, as a demoted thread needs one to come back. Between containers the weights of
// their cgroups decide before classes do. Linux only; any thread.
#pragma once

#include <chrono>

namespace weft {

// While it lives, give_way() of this thread waits. One inside another is without effect.
class Courtesy {
 public:
  // How long all waits take together, at most: a machine that has always something better to do gets the work
  // done all the same, that much later.
  static constexpr std::chrono::milliseconds kPatience{20};

  explicit Courtesy(std::chrono::nanoseconds patience = kPatience);
  ~Courtesy();
  Courtesy(const Courtesy&) = delete;
  Courtesy& operator=(const Courtesy&) = delete;

  // Starts who answers, with the CPUs of the calling thread; the first Courtesy does it too. For processes
  // that must not start threads, or change their class, later.
  static void prepare();

 private:
  const bool outer_;
};

// Between two pieces of work of a few microseconds each: waits when the last wait is a while ago, the
// processor has something better to do, and patience is left. Never called while a lock is held that a thread
// needs which serves requests. Costs a look at the clock at most; without a Courtesy of this thread, nothing.
void give_way();

}  // namespace weft
