// Compiled code without Python's lock.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <thread>

namespace evsam::bindings {

// Other Python threads run while this is in scope, in which Python must not be touched.
//
// When the interpreter ends, Python up to 3.13 ends a daemon thread that asks for the lock by an exception that unwinds
// it. No destructor lets one through, pybind11's gil_scoped_release neither: the process would be aborted. Here such a
// thread waits for the end of the process, as it does from Python 3.14 on.
class Unlocked {
 public:
  Unlocked() : thread_((pybind11::detail::get_internals(), PyEval_SaveThread())) {}
  ~Unlocked() {
    try {
      PyEval_RestoreThread(thread_);
    } catch (...) {  // never left: what ends a thread may not be swallowed
      for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
    }
  }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  PyThreadState* thread_;
};

}  // namespace evsam::bindings
