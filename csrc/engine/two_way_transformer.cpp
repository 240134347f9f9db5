// The token side in plain matrix products over all prompts of a group, the image side by ops/two_way_attention.
//
// A head's scores of token t and cell x are (Wq t + bq) . (Wk x + bk). Here the tokens' side takes the projection of
// the cells over: (Wk^T (Wq t + bq)) . x, and what bk adds is the same for all cells, so the softmax over cells cancels
// it. In the same way the mean of Wv x over the cells is Wv times the mean of x. From cells to tokens, (Wq x + bq) . k
// is x . (Wq^T k) + bq . k, and the output projection of the mean value is the mean of the projected values.
//
// The query of a layer follows the update of the layer before in the same walk over the cells: what happens to the
// tokens between the two does not depend on the updated cells.
#include "engine/two_way_transformer.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/math.h"
#include "core/scratch.h"
#include "engine/tokens.h"
#include "narrow/narrow.h"
#include "ops/two_way_attention/two_way_attention.h"

namespace evsam {
namespace {

using two_way_attention::Kernel;
using two_way_attention::Rows;

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

// Rows are read as left operands of matrix products, several at a time: rows a power of two apart would fall into the
// same few sets of the L1 cache.
constexpr std::int64_t kRowGap = 16;

// The four projections as they are stored.
struct Projections {
  LayerWeights q, k, v, out;

  Status load(const TensorTable& tensors, const std::string& name, std::int64_t dim, std::int64_t inner) {
    EVSAM_RETURN_IF_ERROR(tensors.read_layer(name + ".q_proj", {inner, dim}, &q));
    EVSAM_RETURN_IF_ERROR(tensors.read_layer(name + ".k_proj", {inner, dim}, &k));
    EVSAM_RETURN_IF_ERROR(tensors.read_layer(name + ".v_proj", {inner, dim}, &v));
    return tensors.read_layer(name + ".out_proj", {dim, inner}, &out);
  }
};

void scale(LayerWeights& layer, float factor) {
  for (float& value : layer.weight) value *= factor;
  for (float& value : layer.bias) value *= factor;
}

Status pack(std::int64_t in, std::int64_t out, const float* weight, const float* bias, Linear* linear,
            Precision precision = Precision::fp32) {
  return pointwise::pack({in, out, Activation::none, precision}, weight, bias, nullptr, &linear->packed);
}

Status pack(std::int64_t in, std::int64_t out, const LayerWeights& layer, Precision precision, Linear* linear) {
  return pack(in, out, layer.weight.data(), layer.bias.data(), linear, precision);
}

// One layer per head from a head's `width` values to dim: y = x M with M[width][dim] cut out of `matrix`, at
// matrix[(head * width + d) * d_step + c * c_step].
Status pack_folds(const std::vector<float>& matrix, std::int64_t dim, std::int64_t heads, std::int64_t width,
                  std::int64_t d_step, std::int64_t c_step, std::vector<Linear>* folds) {
  folds->resize(size(heads));
  std::vector<float> weight(size(dim * width));
  for (std::int64_t h = 0; h < heads; ++h) {
    for (std::int64_t c = 0; c < dim; ++c) {
      for (std::int64_t d = 0; d < width; ++d) {
        weight[size(c * width + d)] = matrix[size((h * width + d) * d_step + c * c_step)];
      }
    }
    EVSAM_RETURN_IF_ERROR(pack(width, dim, weight.data(), nullptr, &(*folds)[size(h)]));
  }
  return {};
}

struct SelfAttention {
  Linear q, k, v, out;

  Status load(const TensorTable& tensors, const std::string& name, std::int64_t dim, std::int64_t heads,
              Precision precision) {
    Projections p;
    EVSAM_RETURN_IF_ERROR(p.load(tensors, name, dim, dim));
    const float factor = 1.0F / std::sqrt(static_cast<float>(dim / heads));
    scale(p.q, factor);
    EVSAM_RETURN_IF_ERROR(pack(dim, dim, p.q, precision, &q));
    EVSAM_RETURN_IF_ERROR(pack(dim, dim, p.k, precision, &k));
    EVSAM_RETURN_IF_ERROR(pack(dim, dim, p.v, precision, &v));
    return pack(dim, dim, p.out, precision, &out);
  }
};

// Tokens to image.
struct QueryAttention {
  Linear q, out;
  std::vector<Linear> fold;   // per head, from a query to what is multiplied with the cells
  std::vector<Linear> value;  // per head, from the mean of the cells to the mean of their values

  Status load(const TensorTable& tensors, const std::string& name, std::int64_t dim, std::int64_t heads,
              Precision precision) {
    const std::int64_t inner = dim / 2;
    const std::int64_t width = inner / heads;
    Projections p;
    EVSAM_RETURN_IF_ERROR(p.load(tensors, name, dim, inner));
    const float factor = 1.0F / std::sqrt(static_cast<float>(width));
    scale(p.q, factor);
    EVSAM_RETURN_IF_ERROR(pack(dim, inner, p.q, precision, &q));
    EVSAM_RETURN_IF_ERROR(pack_folds(p.k.weight, dim, heads, width, dim, 1, &fold));
    value.resize(size(heads));
    for (std::int64_t h = 0; h < heads; ++h) {
      EVSAM_RETURN_IF_ERROR(
          pack(dim, width, p.v.weight.data() + h * width * dim, p.v.bias.data() + h * width, &value[size(h)]));
    }
    return pack(inner, dim, p.out, precision, &out);
  }
};

// Image to tokens, and the norm behind it.
struct UpdateAttention {
  Linear k, v;
  std::vector<Linear> key_fold;    // per head, from a key to what is multiplied with the cells
  std::vector<Linear> value_fold;  // per head, from a value to what is added to the cells
  std::vector<float> q_bias, out_bias;
  LayerWeights norm;

  Status load(const TensorTable& tensors, const std::string& name, const std::string& norm_name, std::int64_t dim,
              std::int64_t heads, Precision precision) {
    const std::int64_t inner = dim / 2;
    const std::int64_t width = inner / heads;
    Projections p;
    EVSAM_RETURN_IF_ERROR(p.load(tensors, name, dim, inner));
    EVSAM_RETURN_IF_ERROR(tensors.read_layer(norm_name, {dim}, &norm));
    const float factor = 1.0F / std::sqrt(static_cast<float>(width));
    scale(p.k, factor);
    q_bias = p.q.bias;
    out_bias = p.out.bias;
    EVSAM_RETURN_IF_ERROR(pack(dim, inner, p.k, precision, &k));
    EVSAM_RETURN_IF_ERROR(pack(dim, inner, p.v, precision, &v));
    EVSAM_RETURN_IF_ERROR(pack_folds(p.q.weight, dim, heads, width, dim, 1, &key_fold));
    return pack_folds(p.out.weight, dim, heads, width, 1, inner, &value_fold);
  }
};

// A projection of the cells as the attention reads it.
struct CellProjection {
  AlignedBuffer<float> matrix;  // (inner, dim), rows of stride floats
  std::vector<float> bias;
  std::int64_t stride = 0;

  Status load(const TensorTable& tensors, const std::string& name, std::int64_t dim, std::int64_t inner) {
    LayerWeights layer;
    EVSAM_RETURN_IF_ERROR(tensors.read_layer(name, {inner, dim}, &layer));
    bias = std::move(layer.bias);
    stride = dim + kRowGap;
    matrix = AlignedBuffer<float>(size(inner * stride));
    const float* weight = layer.weight.data();
    for (std::int64_t i = 0; i < inner; ++i) std::copy_n(weight + i * dim, dim, matrix.data() + i * stride);
    return {};
  }
};

struct Layer {
  SelfAttention self;
  QueryAttention query;
  UpdateAttention update;
  Linear mlp1, mlp2;
  Norm norm1, norm2, norm3;

  Status load(const DecoderConfig& config, const TensorTable& tensors, const std::string& name, Precision precision) {
    const std::int64_t dim = config.dim;
    EVSAM_RETURN_IF_ERROR(self.load(tensors, name + ".self_attn", dim, config.heads, precision));
    EVSAM_RETURN_IF_ERROR(query.load(tensors, name + ".cross_attn_token_to_image", dim, config.heads, precision));
    EVSAM_RETURN_IF_ERROR(
        update.load(tensors, name + ".cross_attn_image_to_token", name + ".norm4", dim, config.heads, precision));
    EVSAM_RETURN_IF_ERROR(mlp1.load(tensors, name + ".mlp.lin1", dim, config.mlp_dim, Activation::relu, precision));
    EVSAM_RETURN_IF_ERROR(mlp2.load(tensors, name + ".mlp.lin2", config.mlp_dim, dim, Activation::none, precision));
    EVSAM_RETURN_IF_ERROR(norm1.load(tensors, name + ".norm1", dim));
    EVSAM_RETURN_IF_ERROR(norm2.load(tensors, name + ".norm2", dim));
    return norm3.load(tensors, name + ".norm3", dim);
  }

  // Of each layer over rows of tokens.
  std::size_t workspace_bytes(std::int64_t rows, int threads) const {
    std::size_t most = 0;
    for (const Linear* linear :
         {&self.q, &self.k, &self.v, &self.out, &query.q, &query.out, &update.k, &update.v, &mlp1, &mlp2}) {
      most = std::max(most, linear->workspace_bytes(rows, threads));
    }
    return most;
  }
};

// Softmax attention among the tokens of one prompt, for one head: rows of `dim` floats, `width` of them this head's.
void attend(const float* q, const float* k, const float* v, std::int64_t tokens, std::int64_t dim, std::int64_t width,
            float* weights, float* out) {
  for (std::int64_t t = 0; t < tokens; ++t) {
    float maximum = -INFINITY;
    for (std::int64_t u = 0; u < tokens; ++u) {
      float sum = 0.0F;
      for (std::int64_t d = 0; d < width; ++d) sum += q[t * dim + d] * k[u * dim + d];
      weights[u] = sum;
      maximum = std::max(maximum, sum);
    }
    float total = 0.0F;
    for (std::int64_t u = 0; u < tokens; ++u) total += weights[u] = std::exp(weights[u] - maximum);
    std::fill_n(out + t * dim, width, 0.0F);
    for (std::int64_t u = 0; u < tokens; ++u) {
      const float weight = weights[u] / total;
      for (std::int64_t d = 0; d < width; ++d) out[t * dim + d] += weight * v[u * dim + d];
    }
  }
}

}  // namespace

struct TwoWayTransformer::Impl {
  DecoderConfig config;
  Precision precision = Precision::fp32;
  const Kernel* kernel = nullptr;
  std::vector<Layer> layers;
  QueryAttention final_query;
  Norm final_norm;
  CellProjection first_keys, first_queries;  // of the first layer, for cells that prompts share
  FactoredCells factored;

  std::int64_t dim() const { return config.dim; }
  std::int64_t inner() const { return config.dim / 2; }
  std::int64_t heads() const { return config.heads; }
  std::int64_t width() const { return inner() / heads(); }  // of a head in attention between tokens and image
  // Of folded rows and of means, which the attention may write in whole panels of columns.
  std::int64_t row() const { return divide_up(dim(), kernel->panel) * kernel->panel + kRowGap; }

  // Rows are those of all prompts: prompt * token_count + token. Columns are prompt, head, token.
  struct Buffers {
    float *origin, *x, *q, *k, *v;           // (rows, dim): the tokens as they came in, and what is being computed
    float* hidden;                           // (rows, mlp_dim)
    float* weights;                          // (columns)
    float *queries, *keys, *values, *means;  // (columns) rows of row() floats
    float* key_bias;                         // (columns)
  };

  // One call of run().
  struct Call {
    const RunContext& context;
    RunContext rest;   // with the rest of the workspace
    RunContext alone;  // for work inside a task
    const Group& group;
    Buffers b;

    std::int64_t rows() const { return group.prompts * group.token_count; }
  };

  Buffers carve(Scratch& scratch, std::int64_t prompts, std::int64_t tokens) const {
    const std::int64_t rows = prompts * tokens;
    const std::int64_t columns = rows * heads();
    Buffers b = {};
    for (float** buffer : {&b.origin, &b.x, &b.q, &b.k, &b.v}) *buffer = scratch.take<float>(rows * dim());
    b.hidden = scratch.take<float>(rows * config.mlp_dim);
    b.weights = scratch.take<float>(columns);
    for (float** buffer : {&b.queries, &b.keys, &b.values, &b.means}) *buffer = scratch.take<float>(columns * row());
    b.key_bias = scratch.take<float>(columns);
    return b;
  }

  std::size_t linear_workspace_bytes(std::int64_t rows, int threads) const {
    threads = threads_or_default(threads);
    std::size_t most =
        std::max(final_query.q.workspace_bytes(rows, threads), final_query.out.workspace_bytes(rows, threads));
    for (const Layer& layer : layers) most = std::max(most, layer.workspace_bytes(rows, threads));
    return most;
  }

  std::int64_t projected_floats(std::int64_t cells) const {
    return two_way_attention::panel_floats(*kernel, cells, inner());
  }

  two_way_attention::Params attention_params(std::int64_t tokens, std::int64_t cells) const {
    return {dim(), heads(), tokens, cells};
  }

  // Calls f(prompt, head, first row of the prompt, first column of prompt and head).
  template <typename F>
  void for_heads(const Call& call, const F& f) const {
    const std::int64_t tokens = call.group.token_count;
    call.context.parallel_for(call.group.prompts * heads(), [&](std::int64_t task, int) {
      f(task / heads(), task % heads(), task / heads() * tokens, task * tokens);
    });
  }

  // to = tokens + origin, the tokens with their own positional encoding.
  void add_origin(const Call& call, float* to) const {
    const std::int64_t count = call.rows() * dim();
    for (std::int64_t i = 0; i < count; ++i) to[i] = call.group.tokens[i] + call.b.origin[i];
  }

  // Self-attention of the tokens. Those of the first layer still equal their encoding: it is neither added nor kept.
  void self_attention(const Call& call, const Layer& layer, bool first) const {
    const Buffers& b = call.b;
    float* const tokens = call.group.tokens;
    const float* x = tokens;
    if (!first) {
      add_origin(call, b.x);
      x = b.x;
    }
    layer.self.q.run(call.rest, x, dim(), call.rows(), b.q, dim());
    layer.self.k.run(call.rest, x, dim(), call.rows(), b.k, dim());
    layer.self.v.run(call.rest, tokens, dim(), call.rows(), b.v, dim());
    const std::int64_t wide = dim() / heads();
    for_heads(call, [&](std::int64_t, std::int64_t head, std::int64_t row, std::int64_t column) {
      const std::int64_t at = row * dim() + head * wide;
      attend(b.q + at, b.k + at, b.v + at, call.group.token_count, dim(), wide, b.weights + column, b.x + at);
    });
    layer.self.out.run(call.rest, b.x, dim(), call.rows(), tokens, dim(), first ? nullptr : tokens);
    layer.norm1.run(call.context, tokens, call.rows());
  }

  // The tokens' queries, folded unless the cells' keys are projected.
  void ask(const Call& call, const QueryAttention& attention, bool projected) const {
    const Buffers& b = call.b;
    add_origin(call, b.x);
    float* const q = projected ? b.queries : b.q;
    attention.q.run(call.rest, b.x, dim(), call.rows(), q, inner());
    if (projected) return;
    for_heads(call, [&](std::int64_t, std::int64_t head, std::int64_t first, std::int64_t column) {
      attention.fold[size(head)].run(call.alone, b.q + first * inner() + head * width(), inner(),
                                     call.group.token_count, b.queries + column * row(), row());
    });
  }

  // What the cells said, to the tokens. values: (rows, inner) to be added to the values of b.means; nullptr: none.
  void hear(const Call& call, const QueryAttention& attention, const Norm& norm, const float* values = nullptr) const {
    const Buffers& b = call.b;
    for_heads(call, [&](std::int64_t, std::int64_t head, std::int64_t first, std::int64_t column) {
      attention.value[size(head)].run(call.alone, b.means + column * row(), row(), call.group.token_count,
                                      b.v + first * inner() + head * width(), inner());
    });
    for (std::int64_t i = 0; values != nullptr && i < call.rows() * inner(); ++i) b.v[i] += values[i];
    attention.out.run(call.rest, b.v, inner(), call.rows(), call.group.tokens, dim(), call.group.tokens);
    norm.run(call.context, call.group.tokens, call.rows());
  }

  void mlp(const Call& call, const Layer& layer) const {
    float* const tokens = call.group.tokens;
    layer.mlp1.run(call.rest, tokens, dim(), call.rows(), call.b.hidden, config.mlp_dim);
    layer.mlp2.run(call.rest, call.b.hidden, config.mlp_dim, call.rows(), tokens, dim(), tokens);
    layer.norm3.run(call.context, tokens, call.rows());
  }

  // The tokens' keys, folded unless the cells' queries are projected, and their folded values.
  void answer(const Call& call, const UpdateAttention& attention, bool projected) const {
    const Buffers& b = call.b;
    const std::int64_t tokens = call.group.token_count;
    float* const keys = projected ? b.keys : b.k;
    add_origin(call, b.x);
    attention.k.run(call.rest, b.x, dim(), call.rows(), keys, inner());
    attention.v.run(call.rest, call.group.tokens, dim(), call.rows(), b.v, inner());
    for_heads(call, [&](std::int64_t, std::int64_t head, std::int64_t first, std::int64_t column) {
      const float* v = b.v + first * inner() + head * width();
      attention.value_fold[size(head)].run(call.alone, v, inner(), tokens, b.values + column * row(), row());
      if (projected) return;
      const float* k = keys + first * inner() + head * width();
      attention.key_fold[size(head)].run(call.alone, k, inner(), tokens, b.keys + column * row(), row());
      for (std::int64_t t = 0; t < tokens; ++t) {
        float sum = 0.0F;
        for (std::int64_t d = 0; d < width(); ++d) {
          sum += attention.q_bias[size(head * width() + d)] * k[t * inner() + d];
        }
        b.key_bias[column + t] = sum;
      }
    });
  }

  // Over the cells of all prompts: the update of a layer, where there is one, and the query of the next. first: the
  // cells are still those that came in.
  void walk(const Call& call, const UpdateAttention* update, bool first) const {
    const Buffers& b = call.b;
    const Group& group = call.group;
    const bool projected = first && group.projected != nullptr;
    two_way_attention::Update updates[kMaxPrompts];
    two_way_attention::Prompt prompts[kMaxPrompts];
    for (std::int64_t p = 0; p < group.prompts; ++p) {
      const std::int64_t first_row = p * group.token_count * inner();
      const std::int64_t first_column = p * heads() * group.token_count * row();
      two_way_attention::Prompt& prompt = prompts[p];
      prompt.image_in = first ? group.image_in[p] : group.image_out[p];
      if (update != nullptr) {
        two_way_attention::Update& to = updates[p];
        to.keys = projected ? Rows{b.keys + first_row, inner()} : Rows{b.keys + first_column, row()};
        if (projected) to.projected = {group.projected + projected_floats(group.cells), inner()};
        to.key_bias = b.key_bias + p * heads() * group.token_count;
        to.values = {b.values + first_column, row()};
        to.bias = update->out_bias.data();
        to.gain = update->norm.weight.data();
        to.shift = update->norm.bias.data();
        prompt.update = &to;
        prompt.image_out = group.image_out[p];
      }
      const bool projected_keys = projected && update == nullptr;
      prompt.queries = projected_keys ? Rows{b.queries + first_row, inner()} : Rows{b.queries + first_column, row()};
      if (projected_keys) prompt.projected = {group.projected, inner()};
      prompt.means = b.means + first_column;
      prompt.means_stride = row();
    }
    two_way_attention::run(*kernel, call.rest, attention_params(group.token_count, group.cells), group.position,
                           prompts, group.prompts);
  }
};

TwoWayTransformer::TwoWayTransformer() : impl_(std::make_unique<Impl>()) {}
TwoWayTransformer::~TwoWayTransformer() = default;

Status TwoWayTransformer::load(const DecoderConfig& config, const TensorTable& tensors, const std::string& prefix,
                               Precision precision) {
  impl_->config = config;
  impl_->precision = precision;
  const Kernels* kernels = nullptr;
  EVSAM_RETURN_IF_ERROR(selected_kernels(&kernels));
  impl_->kernel = kernels->two_way_attention;
  EVSAM_RETURN_IF_ERROR(two_way_attention::validate(impl_->attention_params(1, 1), nullptr, 0));
  if (config.dim % (2 * config.heads) != 0) {
    return Status::invalid_argument(expected_got("decoder", "a width that is a multiple of twice the heads",
                                                 std::to_string(config.dim) + " for " + std::to_string(config.heads)));
  }
  impl_->layers = std::vector<Layer>(size(config.depth));
  for (int i = 0; i < config.depth; ++i) {
    EVSAM_RETURN_IF_ERROR(
        impl_->layers[size(i)].load(config, tensors, prefix + ".layers." + std::to_string(i), precision));
  }
  EVSAM_RETURN_IF_ERROR(
      impl_->final_query.load(tensors, prefix + ".final_attn_token_to_image", config.dim, config.heads, precision));
  const std::string first = prefix + ".layers.0.cross_attn_";
  const std::int64_t inner = impl_->inner();
  EVSAM_RETURN_IF_ERROR(impl_->first_keys.load(tensors, first + "token_to_image.k_proj", config.dim, inner));
  EVSAM_RETURN_IF_ERROR(impl_->first_queries.load(tensors, first + "image_to_token.q_proj", config.dim, inner));
  return impl_->final_norm.load(tensors, prefix + ".norm_final_attn", config.dim);
}

const two_way_attention::Kernel& TwoWayTransformer::kernel() const { return *impl_->kernel; }

AlignedBuffer<float> TwoWayTransformer::to_panels(const std::vector<float>& cells) const {
  const std::int64_t dim = impl_->dim();
  const std::int64_t count = static_cast<std::int64_t>(cells.size()) / dim;
  AlignedBuffer<float> panels(size(two_way_attention::panel_floats(*impl_->kernel, count, dim)));
  two_way_attention::to_panels(*impl_->kernel, RunContext(), cells.data(), count, dim, panels.data());
  return panels;
}

std::size_t TwoWayTransformer::workspace_bytes(std::int64_t prompts, std::int64_t token_count, std::int64_t cells,
                                               int threads) const {
  Scratch scratch;
  impl_->carve(scratch, prompts, token_count);
  return scratch.bytes() + std::max(impl_->linear_workspace_bytes(prompts * token_count, threads),
                                    two_way_attention::workspace_bytes(
                                        *impl_->kernel, impl_->attention_params(token_count, cells), prompts, threads));
}

void TwoWayTransformer::run(const RunContext& context, const Group& group) const {
  const Impl& model = *impl_;
  Scratch scratch(context.workspace);
  const Impl::Buffers buffers = model.carve(scratch, group.prompts, group.token_count);
  const Impl::Call call = {context, scratch.rest(context), context.alone(), group, buffers};
  std::copy_n(group.tokens, call.rows() * model.dim(), buffers.origin);

  const std::size_t depth = model.layers.size();
  model.self_attention(call, model.layers[0], true);
  const bool projected = group.projected != nullptr;
  model.ask(call, model.layers[0].query, projected);
  model.walk(call, nullptr, true);
  for (std::size_t i = 0; i < depth; ++i) {
    const Layer& layer = model.layers[i];
    const bool last = i + 1 == depth;
    model.hear(call, layer.query, layer.norm2);
    model.mlp(call, layer);
    model.answer(call, layer.update, projected && i == 0);
    if (!last) model.self_attention(call, model.layers[i + 1], false);
    model.ask(call, last ? model.final_query : model.layers[i + 1].query, false);
    model.walk(call, &layer.update, i == 0);
  }
  model.hear(call, model.final_query, model.final_norm);
}

Status TwoWayTransformer::load_factored(const TensorTable& tensors, const std::string& prefix,
                                        const FactoredCells::Output& output) {
  if (impl_->config.depth > FactoredCells::kMostUpdates) return {};  // prefers_factored() says no
  const Kernels* kernels = nullptr;
  EVSAM_RETURN_IF_ERROR(selected_kernels(&kernels));
  const narrow::Kernel* image = nullptr;
  EVSAM_RETURN_IF_ERROR(narrow::kernel_for(impl_->precision, kernels->isa, &image));
  return impl_->factored.load(impl_->config, tensors, prefix, impl_->kernel, image, output);
}

bool TwoWayTransformer::prefers_factored(std::int64_t prompts, std::int64_t token_count) const {
  // A cell's share of a prompt is the weights of all its tokens instead of the channels, and products of their pairs.
  return prompts >= kMinPromptsToFactor && impl_->config.depth <= FactoredCells::kMostUpdates &&
         2 * impl_->config.depth * impl_->heads() * token_count <= impl_->dim();
}

std::int64_t TwoWayTransformer::shared_floats(std::int64_t cells) const { return impl_->factored.shared_floats(cells); }

std::size_t TwoWayTransformer::prepare_workspace_bytes(int threads) const {
  return impl_->factored.prepare_workspace_bytes(threads);
}

void TwoWayTransformer::prepare(const RunContext& context, const float* image, const float* position,
                                std::int64_t cells, float* shared) const {
  impl_->factored.prepare(context, image, position, cells, shared);
}

FactoredCells::Group TwoWayTransformer::carve_factored(Scratch& scratch, std::int64_t prompts, std::int64_t token_count,
                                                       std::int64_t cells, int threads) const {
  return impl_->factored.carve(scratch, prompts, token_count, cells, threads);
}

std::size_t TwoWayTransformer::factored_workspace_bytes(std::int64_t prompts, std::int64_t token_count,
                                                        int threads) const {
  Scratch scratch;
  impl_->carve(scratch, prompts, token_count);
  return scratch.bytes() + impl_->linear_workspace_bytes(prompts * token_count, threads);
}

void TwoWayTransformer::run_factored(const RunContext& context, const FactoredCells::Group& cells,
                                     float* tokens) const {
  const Impl& model = *impl_;
  Scratch scratch(context.workspace);
  const Impl::Buffers b = model.carve(scratch, cells.prompts, cells.tokens);
  Group group;
  group.prompts = cells.prompts;
  group.token_count = cells.tokens;
  group.tokens = tokens;
  const Impl::Call call = {context, scratch.rest(context), context.alone(), group, b};
  std::copy_n(tokens, call.rows() * model.dim(), b.origin);

  const auto depth = static_cast<std::int64_t>(model.layers.size());
  const auto ask = [&](std::int64_t updates) {
    const QueryAttention& query = updates < depth ? model.layers[size(updates)].query : model.final_query;
    model.ask(call, query, false);
    model.factored.set_query(context, cells, updates, b.queries, model.row());
    model.factored.walk(context, cells, updates, b.q, b.means, model.row(), b.k);
  };
  model.self_attention(call, model.layers[0], true);
  ask(0);
  for (std::int64_t i = 0; i < depth; ++i) {
    const Layer& layer = model.layers[size(i)];
    model.hear(call, layer.query, layer.norm2, b.k);
    model.mlp(call, layer);
    model.answer(call, layer.update, false);
    model.factored.set_update(context, cells, i, {b.k, b.keys, b.key_bias, b.v, b.values, model.row()});
    if (i + 1 < depth) model.self_attention(call, model.layers[size(i + 1)], false);
    ask(i + 1);
  }
  model.hear(call, model.final_query, model.final_norm, b.k);
}

FactoredCells::OutputMemory TwoWayTransformer::carve_output(Scratch& scratch, std::int64_t token_count) const {
  return impl_->factored.carve_output(scratch, token_count);
}

two_way_attention::FactoredOutput TwoWayTransformer::factored_output(const RunContext& context,
                                                                     const FactoredCells::Group& group,
                                                                     std::int64_t prompt,
                                                                     const FactoredCells::OutputMemory& memory) const {
  return impl_->factored.output(context, group, prompt, memory);
}

std::size_t TwoWayTransformer::project_workspace_bytes(int threads) const {
  return two_way_attention::project_workspace_bytes(*impl_->kernel, impl_->dim(), threads);
}

std::int64_t TwoWayTransformer::projected_floats(std::int64_t cells) const {
  return 2 * impl_->projected_floats(cells);
}

void TwoWayTransformer::project(const RunContext& context, const float* image, const float* position,
                                std::int64_t cells, float* out) const {
  for (const CellProjection* projection : {&impl_->first_keys, &impl_->first_queries}) {
    two_way_attention::project(*impl_->kernel, context, image, position, cells, impl_->dim(),
                               {projection->matrix.data(), projection->stride}, projection->bias.data(), impl_->inner(),
                               out);
    out += impl_->projected_floats(cells);
  }
}

}  // namespace evsam
