#include "pool.h"

#include <unistd.h>

namespace ossia {
namespace {

// About 50 microseconds: longer than the Python between two kernels, short beside a token.
constexpr int kSpins = 2000;
constexpr std::size_t kAlign = 64;

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#else
  std::this_thread::yield();
#endif
}

// Returns when `number` is no longer `old`.
void await(const std::atomic<std::uint32_t>& number, std::uint32_t old) {
  for (int spin = 0; spin < kSpins; ++spin) {
    if (number.load(std::memory_order_acquire) != old) return;
    relax();
  }
  number.wait(old, std::memory_order_acquire);
}

}  // namespace

void Team::meet() const {
  if (pool) pool->meet();
}

std::size_t Team::take() const { return pool->taken_.fetch_add(1, std::memory_order_relaxed); }

Pool::Pool(std::size_t threads) : count_(threads), born_in_(getpid()) {
  workers_.reserve(threads - 1);
  try {
    for (std::size_t index = 1; index < threads; ++index) {
      workers_.emplace_back([this, index] { live(index); });
    }
  } catch (...) {
    stop();
    throw;
  }
}

Pool::~Pool() { stop(); }

bool Pool::is_alive() const { return born_in_ == getpid(); }

std::byte* Pool::scratch(std::size_t bytes) {
  if (scratch_.size() < bytes + kAlign) {
    scratch_ = {};  // give the old one back before asking for more
    scratch_.resize(bytes + bytes / 4 + kAlign);
  }
  const auto place = reinterpret_cast<std::uintptr_t>(scratch_.data());
  return scratch_.data() + (kAlign - place % kAlign) % kAlign;
}

void Pool::run_erased(Work work, const void* call) noexcept {
  work_ = work;
  call_ = call;
  ticket_.fetch_add(1, std::memory_order_release);
  ticket_.notify_all();
  work(call, Team{this, 0, count_});
  meet();
}

void Pool::live(std::size_t index) noexcept {
  for (std::uint32_t seen = 0;; ++seen) {
    await(ticket_, seen);
    if (!work_) return;
    work_(call_, Team{this, index, count_});
    meet();
  }
}

void Pool::meet() noexcept {
  const std::uint32_t round = round_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == count_) {
    arrived_.store(0, std::memory_order_relaxed);
    taken_.store(0, std::memory_order_relaxed);
    round_.store(round + 1, std::memory_order_release);
    round_.notify_all();
  } else {
    await(round_, round);
  }
}

void Pool::stop() noexcept {
  work_ = nullptr;
  ticket_.fetch_add(1, std::memory_order_release);
  ticket_.notify_all();
  for (std::thread& worker : workers_) {
    is_alive() ? worker.join() : worker.detach();
  }
}

}  // namespace ossia
