// The native engine as other bindings see it.
#pragma once

#include <pybind11/pybind11.h>

#include <vector>

#include "engine/engine.h"

namespace evsam::bindings {

// Of an object of type _C.Engine; TypeError for others. It lives as long as the object.
const Engine& engine_of(const pybind11::object& object);

// The maps of one image, checked.
std::vector<const float*> input_features(const Engine& engine, const pybind11::sequence& features);

}  // namespace evsam::bindings
