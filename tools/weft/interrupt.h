// Interrupt: SIGINT and SIGTERM as a question that a long command asks, so that it ends where it can say how
// things stand. While one exists the signals do nothing else; threads that are started meanwhile do not get
// them.
#pragma once

#include <grpcpp/client_context.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace weft::cli {

class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  bool asked() const { return asked_; }
  // The call is cancelled when a signal comes; nullptr: no call. It outlives the next watch().
  void watch(grpc::ClientContext* call);
  // Ends early when a signal comes.
  void wait(std::chrono::milliseconds time);

 private:
  void run();

  sigset_t signals_, before_;
  std::mutex mutex_;
  std::condition_variable came_;
  grpc::ClientContext* call_ = nullptr;
  std::atomic<bool> asked_{false}, ending_{false};
  std::thread thread_;
};

}  // namespace weft::cli
