// The bundled model.
#pragma once

#include "check.h"
#include "engine/architecture.h"
#include "engine/safetensors.h"

namespace evsam::test {

// EVSAM_NANO is its file.
inline SafetensorsFile nano_file() {
  SafetensorsFile file;
  const Status opened = SafetensorsFile::open(EVSAM_NANO, &file);
  CHECK_MSG(opened.ok(), opened.message());
  return file;
}

inline VariantConfig nano_config() {
  const SafetensorsFile file = nano_file();
  const std::string* record = file.header().find_metadata(kVariantKey);
  VariantConfig config;
  const Status read = read_variant(record == nullptr ? "" : *record, &config);
  CHECK_MSG(read.ok(), read.message());
  return config;
}

}  // namespace evsam::test
