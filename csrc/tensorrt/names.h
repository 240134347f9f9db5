// The plugins' names, which are the op types of their nodes in ONNX.
#pragma once

namespace evsam::tensorrt {

inline constexpr const char* kFusedMBConv = "EvsamFusedMBConv";
inline constexpr const char* kLayerNorm2d = "EvsamLayerNorm2d";
inline constexpr const char* kLiteMLA = "EvsamLiteMLA";
inline constexpr const char* kReluLinearAttention = "EvsamReluLinearAttention";
inline constexpr const char* kUpsampleAdd = "EvsamUpsampleAdd";

// In the order in which the library lists their creators.
inline constexpr const char* kNames[] = {kFusedMBConv, kLayerNorm2d, kLiteMLA, kReluLinearAttention, kUpsampleAdd};

}  // namespace evsam::tensorrt
