// Python objects whose methods threads may call at the same time.
#pragma once

#include <mutex>

#include "bindings/unlocked.h"

namespace evsam::bindings {

// One call at a time: others wait, so that threads that share an object by mistake do no harm. The lock is never waited
// for, nor held, with the GIL: making Python objects may run anything.
class InTurn {
 public:
  // What f returns; f must not touch Python.
  template <typename F>
  auto operator()(const F& f) const {
    const Unlocked unlocked;
    const std::lock_guard<std::mutex> lock(mutex_);
    return f();
  }

 private:
  mutable std::mutex mutex_;
};

}  // namespace evsam::bindings
