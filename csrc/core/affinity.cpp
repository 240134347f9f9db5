#include "core/affinity.h"

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif

namespace evsam {

#if defined(__linux__)

std::vector<int> allowed_cpus() {
  cpu_set_t mask;
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof(mask), &mask) != 0) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &mask)) cpus.push_back(cpu);
  }
  return cpus;
}

bool restrict_thread(std::thread& thread, const std::vector<int>& cpus) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  for (int cpu : cpus) CPU_SET(static_cast<std::size_t>(cpu), &mask);
  return pthread_setaffinity_np(thread.native_handle(), sizeof(mask), &mask) == 0;
}

#else

std::vector<int> allowed_cpus() { return {}; }

bool restrict_thread(std::thread&, const std::vector<int>&) { return false; }

#endif

}  // namespace evsam
