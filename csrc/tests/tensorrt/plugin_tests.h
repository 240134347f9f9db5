// A function for each plugin: its life in several sizes and formats, what it refuses, its workspace.
#pragma once

#include "host.h"

namespace evsam::test {

struct Host {
  Library library;
  Logger logger;
};

void test_fused_mbconv(Host& host);
void test_layer_norm_2d(Host& host);
void test_lite_mla(Host& host);
void test_relu_linear_attention(Host& host);
void test_upsample_add(Host& host);

// createPlugin() gives nullptr and logs "<plugin>: <message>".
void check_refused(Host& host, const char* plugin, const Fields& fields, const std::string& message);

// Of one input's type and format where all before it are right.
bool takes(nvinfer1::IPluginV3OneBuild& build, std::vector<nvinfer1::PluginTensorDesc> tensors, std::size_t position,
           nvinfer1::DataType type, nvinfer1::TensorFormat format);

// The first map and, with it, the output.
bool takes_maps(nvinfer1::IPluginV3OneBuild& build, std::vector<nvinfer1::PluginTensorDesc> tensors, DType dtype,
                nvinfer1::TensorFormat format);

}  // namespace evsam::test
