// Times of named parts, summed over calls. Off by default, when it costs one atomic load per call.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace evsam {

class Profiler {
 public:
  bool on() const { return on_.load(std::memory_order_relaxed); }

  void begin() {
    const std::lock_guard<std::mutex> lock(mutex_);
    rows_.clear();
    on_.store(true, std::memory_order_relaxed);
  }

  std::vector<ProfileRow> end() {
    const std::lock_guard<std::mutex> lock(mutex_);
    on_.store(false, std::memory_order_relaxed);
    return std::move(rows_);
  }

  void add(const std::string& name, double seconds, double macs) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (ProfileRow& row : rows_) {
      if (row.name != name) continue;
      row.seconds += seconds;
      ++row.calls;
      return;
    }
    rows_.push_back({name, seconds, macs, 1});
  }

  // Adds the time from its construction to its end, if the profiler was on by then.
  class Scope {
   public:
    Scope(Profiler& profiler, const char* name) : profiler_(profiler.on() ? &profiler : nullptr), name_(name) {
      if (profiler_ != nullptr) start_ = std::chrono::steady_clock::now();
    }
    ~Scope() {
      if (profiler_ == nullptr) return;
      profiler_->add(name_, std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(), 0.0);
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Profiler* profiler_;
    const char* name_;
    std::chrono::steady_clock::time_point start_;
  };

 private:
  std::atomic<bool> on_{false};
  std::mutex mutex_;
  std::vector<ProfileRow> rows_;
};

}  // namespace evsam
