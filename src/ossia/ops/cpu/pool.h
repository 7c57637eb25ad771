// Threads that stay, for one kernel after another: they spin a moment for the next one, then sleep.
// Knows nothing of what they compute.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "kernels.h"

namespace ossia {

class Pool {
 public:
  // The caller is one of them. Throws std::system_error when the system grants no more threads.
  explicit Pool(std::size_t threads);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  std::size_t threads() const { return count_; }

  // False in the child of a fork, where the threads are gone.
  bool is_alive() const;

  // One caller at a time, from `scratch` to the end of `run`.
  std::mutex& turn() { return turn_; }

  // At least `bytes`, aligned to 64; the contents do not outlive the turn. May throw bad_alloc.
  std::byte* scratch(std::size_t bytes);

  // Runs kernel(job, team) on every thread; back when all are through.
  template <class Job>
  void run(void (*kernel)(const Job&, const Team&), const Job& job) {
    struct Call {
      void (*kernel)(const Job&, const Team&);
      const Job& job;
    };
    const Call call{kernel, job};
    run_erased(
        [](const void* erased, const Team& team) {
          const Call& call = *static_cast<const Call*>(erased);
          call.kernel(call.job, team);
        },
        &call);
  }

 private:
  friend struct Team;
  using Work = void (*)(const void*, const Team&);

  void run_erased(Work work, const void* call) noexcept;
  void live(std::size_t index) noexcept;
  void meet() noexcept;
  void stop() noexcept;

  const std::size_t count_;
  std::vector<std::thread> workers_;
  std::mutex turn_;
  std::vector<std::byte> scratch_;
  long born_in_;

  Work work_ = nullptr;  // null: go home
  const void* call_ = nullptr;
  alignas(64) std::atomic<std::uint32_t> ticket_{0};  // goes up with each kernel
  alignas(64) std::atomic<std::uint32_t> arrived_{0};
  alignas(64) std::atomic<std::uint32_t> round_{0};  // goes up with each meeting
  alignas(64) std::atomic<std::size_t> taken_{0};    // pieces of work since the last meeting
};

}  // namespace ossia
