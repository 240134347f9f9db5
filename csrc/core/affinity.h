// Which processors threads run on.
#pragma once

#include <thread>
#include <vector>

namespace evsam {

// Processors that the calling thread may use, in ascending order; empty where the system does not tell.
std::vector<int> allowed_cpus();

// Restricts a thread to these processors; false where the system cannot.
bool restrict_thread(std::thread& thread, const std::vector<int>& cpus);

}  // namespace evsam
