#include "tensorrt/formats.h"

namespace evsam::tensorrt {
namespace {

using nvinfer1::DataType;
using nvinfer1::PluginTensorDesc;
using nvinfer1::TensorFormat;

bool is(const PluginTensorDesc& desc, DataType type, TensorFormat format) {
  return desc.type == type && desc.format == format;
}

bool is_channels_last(const PluginTensorDesc& desc) {
  return is(desc, DataType::kHALF, TensorFormat::kHWC8) || is(desc, DataType::kBF16, TensorFormat::kHWC8) ||
         is(desc, DataType::kFLOAT, TensorFormat::kHWC);
}

bool takes_map(Maps maps, const PluginTensorDesc& desc) {
  if (desc.dims.nbDims != 4) return false;
  if (maps == Maps::half_last && desc.type != DataType::kHALF) return false;
  // Eight channels are read at a time, and there is no map with padding. An unknown number is -1.
  if (is_channels_last(desc)) return desc.dims.d[1] < 0 || desc.dims.d[1] % 8 == 0;
  return maps == Maps::any && desc.format == TensorFormat::kLINEAR && dtype_of(desc.type) != DType::kOther;
}

}  // namespace

bool supports_format(const Signature& signature, int position, const nvinfer1::DynamicPluginTensorDesc* in_out,
                     int input_count) {
  const PluginTensorDesc& desc = in_out[position].desc;
  const PluginTensorDesc& first = in_out[0].desc;
  const Role role = position < input_count ? signature.roles[static_cast<std::size_t>(position)] : Role::map;
  switch (role) {
    case Role::map: return takes_map(signature.maps, desc) && is(desc, first.type, first.format);
    case Role::weight: return is(desc, first.type, TensorFormat::kLINEAR);
    case Role::vector: return is(desc, DataType::kFLOAT, TensorFormat::kLINEAR);
  }
  return false;
}

}  // namespace evsam::tensorrt
