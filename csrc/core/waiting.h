// What a thread's work takes of its own is its processor time and this: without what other processes took from it.
#pragma once

namespace evsam {

// Seconds that the calling thread has slept so far, in regions of any thread pool, until its workers had finished.
double slept_seconds();

}  // namespace evsam
