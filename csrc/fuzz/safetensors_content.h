// Safetensors files for tests.
#pragma once

#include <cstddef>
#include <string>

namespace evsam::fuzz {

// A file of a header and `data_bytes` bytes of data.
std::string safetensors_content(const std::string& header, std::size_t data_bytes);

}  // namespace evsam::fuzz
