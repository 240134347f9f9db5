#include "engine/factored_cells.h"

#include <algorithm>
#include <utility>

#include "core/math.h"
#include "narrow/narrow.h"
#include "ops/two_way_attention/two_way_attention.h"

namespace evsam {
namespace {

using two_way_attention::Rows;
using two_way_attention::SharedPart;
using Source = SharedPart::Source;

// Rows a power of two apart would fall into the same few sets of the L1 cache.
constexpr std::int64_t kRowGap = 16;

// Prompts whose cells are walked over together: what they share is read once for them.
constexpr std::int64_t kTogether = 4;

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

std::int64_t round_up(std::int64_t n, std::int64_t step) { return divide_up(n, step) * step; }

void multiply(const std::vector<float>& gain, double* row) {
  for (std::size_t c = 0; c < gain.size(); ++c) row[c] *= static_cast<double>(gain[c]);
}

void center(std::vector<double>* row) {
  double mean = 0.0;
  for (const double x : *row) mean += x;
  mean /= static_cast<double>(row->size());
  for (double& x : *row) x -= mean;
}

}  // namespace

std::int64_t FactoredCells::matrix_row() const { return dim_ + kRowGap; }
std::int64_t FactoredCells::value_width() const { return round_up(width(), kernel_->lanes); }
std::int64_t FactoredCells::padded_weights(std::int64_t tokens) const {
  return round_up(most_weights(tokens), kernel_->panel);
}
std::int64_t FactoredCells::matrix_stride(std::int64_t tokens) const { return padded_weights(tokens) + kRowGap; }
std::int64_t FactoredCells::basis_stride() const { return round_up(dim_, kernel_->panel) + kRowGap; }
std::int64_t FactoredCells::padded_cells(std::int64_t cells) const { return round_up(cells, kernel_->panel); }

std::int64_t FactoredCells::partial_floats(std::int64_t tokens) const {
  return round_up(heads_ * tokens, kernel_->lanes) * (2 + value_width() + most_weights(tokens));
}

Status FactoredCells::load(const DecoderConfig& config, const TensorTable& tensors, const std::string& prefix,
                           const two_way_attention::Kernel* kernel, const narrow::Kernel* image, const Output& output) {
  dim_ = config.dim;
  heads_ = config.heads;
  updates_ = config.depth;
  kernel_ = kernel;
  std::vector<std::vector<double>> rows;  // of matrices, in the order of parts_, then values
  const auto layer_of = [&](std::int64_t i) { return prefix + ".layers." + std::to_string(i); };
  const auto question = [&](std::int64_t i) {
    return i < updates_ ? layer_of(i) + ".cross_attn_token_to_image" : prefix + ".final_attn_token_to_image";
  };
  // Adds a part: the rows of `weight` (count, dim), with a gain on the cells.
  const auto add = [&](Source source, std::int64_t stage, const std::vector<float>& weight, std::int64_t gain_of) {
    const std::int64_t count = static_cast<std::int64_t>(weight.size()) / dim_;
    SharedPart part;
    part.source = source;
    part.stage = static_cast<int>(stage);
    part.count = count;
    part.at = shared_rows_;
    parts_.push_back(part);
    shared_rows_ += count;
    for (std::int64_t r = 0; r < count; ++r) {
      const auto first = weight.begin() + r * dim_;
      rows.emplace_back(first, first + dim_);
      if (gain_of >= 0) multiply(gains_[size(gain_of)], rows.back().data());
    }
    return part.at;
  };

  std::vector<LayerWeights> queries(size(updates_));  // projections of the cells, for updates
  std::vector<std::vector<float>> outs(size(updates_));
  std::vector<float> bias;
  for (std::int64_t u = 0; u < updates_; ++u) {
    LayerWeights out;
    LayerWeights norm;
    const std::string name = layer_of(u) + ".cross_attn_image_to_token";
    EVSAM_RETURN_IF_ERROR(tensors.read_layer(name + ".q_proj", {inner(), dim_}, &queries[size(u)]));
    EVSAM_RETURN_IF_ERROR(tensors.read_layer(name + ".out_proj", {dim_, inner()}, &out));
    EVSAM_RETURN_IF_ERROR(tensors.read_layer(layer_of(u) + ".norm4", {dim_}, &norm));
    constants_.push_back(out.bias);
    for (std::size_t c = 0; u > 0 && c < size(dim_); ++c) constants_.back()[c] += shifts_.back()[c];
    outs[size(u)] = std::move(out.weight);
    gains_.push_back(std::move(norm.weight));
    shifts_.push_back(std::move(norm.bias));
  }
  std::vector<std::vector<float>> keys(size(updates_ + 1));
  std::vector<std::vector<float>> values(size(updates_ + 1));
  for (std::int64_t i = 0; i <= updates_; ++i) {
    LayerWeights read;
    EVSAM_RETURN_IF_ERROR(tensors.read_layer(question(i) + ".k_proj", {inner(), dim_}, &read));
    keys[size(i)] = std::move(read.weight);
    EVSAM_RETURN_IF_ERROR(tensors.read_layer(question(i) + ".v_proj", {inner(), dim_}, &read));
    values[size(i)] = std::move(read.weight);
  }

  first_query_ = add(Source::keys, 0, keys[0], -1);
  for (std::int64_t u = 0; u < updates_; ++u) {
    Places places;
    const std::vector<float>& query = queries[size(u)].weight;
    places.update_position = -1;
    if (u == 0) {
      places.update = add(Source::keys, 0, query, -1);
      first_bias_ = queries[0].bias;
    } else {
      places.update = add(Source::stage, u, query, u - 1);
      places.update_position = add(Source::position, 0, query, -1);
    }
    // What an earlier update brought, as the norms since then have changed it.
    const auto carry = [&](std::int64_t from, std::vector<double> vector) {
      center(&vector);
      for (std::int64_t i = from; i < u; ++i) {
        multiply(gains_[size(i)], vector.data());
        center(&vector);
      }
      return std::vector<float>(vector.begin(), vector.end());
    };
    for (std::int64_t l = 0; l <= u; ++l) {
      std::vector<float> carried;
      for (std::int64_t d = 0; d < inner(); ++d) {
        std::vector<double> column(size(dim_));
        for (std::int64_t c = 0; c < dim_; ++c) {
          column[size(c)] = static_cast<double>(outs[size(l)][size(c * inner() + d)]);
        }
        const std::vector<float> row = carry(l, std::move(column));
        carried.insert(carried.end(), row.begin(), row.end());
      }
      places.values.push_back(add(Source::stage, u + 1, carried, -1));
    }
    for (std::int64_t l = 0; l <= u; ++l) {
      const std::vector<float>& constant = constants_[size(l)];
      places.constants.push_back(add(Source::stage, u + 1, carry(l, {constant.begin(), constant.end()}), -1));
    }
    places.squares = shared_rows_++;
    squares_.push_back(places.squares);
    places.query = add(Source::stage, u + 1, keys[size(u + 1)], u);
    places.query_position = add(Source::position, 0, keys[size(u + 1)], -1);
    places_.push_back(std::move(places));
  }
  std::vector<float> last;
  output_count_ = output.count;
  output_narrow_ = output.narrow;
  for (std::int64_t r = 0; r < output.count; ++r) {
    const float* const row = output.matrix.data + r * output.matrix.stride;
    last.insert(last.end(), row, row + dim_);
    auto shifted = static_cast<double>(output.bias[r]);
    for (std::int64_t c = 0; c < dim_; ++c) {
      shifted += static_cast<double>(row[c]) * static_cast<double>(shifts_.back()[size(c)]);
    }
    output_bias_.push_back(static_cast<float>(shifted));
  }
  output_at_ = add(Source::stage, updates_, last, updates_ - 1);
  for (std::int64_t i = 0; i <= updates_; ++i) {
    for (std::int64_t d = 0; d < inner(); ++d) {
      const auto first = values[size(i)].begin() + d * dim_;
      rows.emplace_back(first, first + dim_);
      if (i > 0) multiply(gains_[size(i - 1)], rows.back().data());
    }
  }

  const std::int64_t stride = matrix_row();
  matrices_ = AlignedBuffer<float>(rows.size() * size(stride));
  for (std::size_t r = 0; r < rows.size(); ++r) {
    float* const to = matrices_.data() + r * size(stride);
    std::transform(rows[r].begin(), rows[r].end(), to, [](double x) { return static_cast<float>(x); });
  }
  if (image != nullptr) {
    const auto count = static_cast<std::int64_t>(rows.size());
    if (!narrow::keeps_weights(*image, matrices_.data(), count, dim_, stride)) image = nullptr;
  }
  if (image != nullptr) {
    narrow::pack_rows(*image, matrices_.data(), static_cast<std::int64_t>(rows.size()), dim_, stride,
                      &narrow_matrices_);
  }
  std::int64_t next = 0;
  const auto take = [&](std::int64_t count, narrow::Matrix* narrow) {
    const Rows taken = {matrices_.data() + next * stride, stride};
    if (image != nullptr) *narrow = narrow_matrices_.from_row(next);
    next += count;
    return taken;
  };
  for (SharedPart& part : parts_) {
    part.matrix = take(part.count, &part.narrow);
    if (part.at == places_[0].update) part.bias = first_bias_.data();
    if (part.at == output_at_) output_matrix_ = part.matrix;
  }
  narrow_values_.resize(size(updates_ + 1));
  for (narrow::Matrix& narrow : narrow_values_) value_matrices_.push_back(take(inner(), &narrow));
  if (image != nullptr) {  // only the output's rows are read in float32
    AlignedBuffer<float> kept(size(output_count_ * stride));
    std::copy_n(output_matrix_.data, kept.size(), kept.data());
    matrices_ = std::move(kept);
    output_matrix_.data = matrices_.data();
  }
  for (const std::vector<float>& gain : gains_) gain_data_.push_back(gain.data());
  return {};
}

// Panels, then the values of each query.
std::int64_t FactoredCells::shared_floats(std::int64_t cells) const {
  return padded_cells(cells) * (shared_rows_ + (updates_ + 1) * heads_ * value_width());
}

std::int64_t FactoredCells::values_at(std::int64_t cells, std::int64_t query) const {
  return padded_cells(cells) * (shared_rows_ + query * heads_ * value_width());
}

// What prepare() works in.
struct FactoredCells::PanelMemory {
  PerWorker<float> panels;
  PerWorker<std::uint8_t> columns;

  PanelMemory(Scratch& scratch, const FactoredCells& cells, int threads) {
    const std::int64_t panel = cells.kernel_->panel;
    panels = scratch.take_each<float>(threads, (2 * cells.dim_ + cells.inner()) * panel);
    const narrow::RowWeights& narrow = cells.narrow_matrices_;
    if (narrow.kernel == nullptr) return;
    columns = scratch.take_each<std::uint8_t>(threads, narrow::column_bytes(*narrow.kernel, panel, narrow.depth));
  }
};

std::size_t FactoredCells::prepare_workspace_bytes(int threads) const {
  Scratch scratch;
  PanelMemory(scratch, *this, threads_or_default(threads));
  return scratch.bytes();
}

void FactoredCells::prepare(const RunContext& context, const float* image, const float* position, std::int64_t cells,
                            float* shared) const {
  Scratch scratch(context.workspace);
  const PanelMemory memory(scratch, *this, context.thread_count());
  const std::int64_t strip = kernel_->strip;
  context.parallel_for(divide_up(cells, strip), [&](std::int64_t task, int worker) {
    const std::int64_t first = task * strip;
    float* values[kMostUpdates + 1];
    for (std::int64_t i = 0; i <= updates_; ++i) {
      values[i] = shared + values_at(cells, i) + first * heads_ * value_width();
    }
    two_way_attention::Preparation p;
    p.channels = dim_;
    p.heads = heads_;
    p.width = width();
    p.cells = std::min(strip, cells - first);
    p.image = image + first * dim_;
    p.position = position + first * dim_;
    p.parts = parts_.data();
    p.part_count = static_cast<std::int64_t>(parts_.size());
    p.stages = updates_;
    p.gains = gain_data_.data();
    p.squares = squares_.data();
    p.values = value_matrices_.data();
    p.out = shared + first * shared_rows_;
    p.rows = shared_rows_;
    p.values_out = values;
    p.scratch = memory.panels.of(worker);
    p.narrow = narrow_matrices_.kernel;
    p.narrow_values = narrow_values_.data();
    p.narrow_columns = memory.columns.of(worker);
    kernel_->prepare(p);
  });
}

FactoredCells::Group FactoredCells::carve(Scratch& scratch, std::int64_t prompts, std::int64_t tokens,
                                          std::int64_t cells, int threads) const {
  Group group;
  group.prompts = prompts;
  group.tokens = tokens;
  group.cells = cells;
  const std::int64_t columns = prompts * heads_ * tokens;
  const std::int64_t weights = most_weights(tokens);
  group.state = scratch.take<float>(prompts * padded_cells(cells) * state_rows(tokens));
  group.basis = scratch.take<float>(prompts * weights * basis_stride());
  group.panels = scratch.take<float>(prompts * padded_weights(tokens) * dim_);
  group.spread = scratch.take<float>(prompts * weights * matrix_stride(tokens));
  group.keys = scratch.take<float>(prompts * tokens * inner());
  group.values = scratch.take<float>(updates_ * prompts * tokens * inner());
  for (float** matrix : {&group.update, &group.query, &group.weights}) {
    *matrix = scratch.take<float>(columns * matrix_stride(tokens));
  }
  group.bias = scratch.take<float>(columns);
  group.sums = scratch.take<float>(columns * value_width());
  group.partials = scratch.take<float>(prompts * two_way_attention::kMaxChunks * partial_floats(tokens));
  const std::int64_t padded = round_up(heads_ * tokens, kernel_->lanes);
  group.work = scratch.take_each<float>(threads, padded * (kernel_->panel + kernel_->strip + 1) + kernel_->strip);
  return group;
}

void FactoredCells::set_update(const RunContext& context, const Group& group, std::int64_t index,
                               const Brought& brought) const {
  const std::int64_t columns = this->columns(group);
  const std::int64_t rows = group.prompts * group.tokens;
  const std::int64_t stride = matrix_stride(group.tokens);
  std::copy_n(brought.keys, rows * inner(), group.keys);
  std::copy_n(brought.values, rows * inner(), group.values + index * rows * inner());
  context.parallel_for(group.prompts, [&](std::int64_t prompt, int) {
    const std::int64_t before = index * columns;
    const std::int64_t after = before + columns;
    float* const basis = group.basis + prompt * most_weights(group.tokens) * basis_stride();
    float* const panels = group.panels + prompt * padded_weights(group.tokens) * dim_;
    const std::int64_t first = prompt * columns;
    two_way_attention::SmallProduct product;
    product.depth = dim_;
    product.b = panels;
    product.b_panel = dim_ * kernel_->panel;
    product.b_step = kernel_->panel;
    product.c_stride = stride;

    if (index > 0) {  // the update's scores of cells that were updated before
      const std::vector<float>& gain = gains_[size(index - 1)];
      const std::vector<float>& shift = shifts_[size(index - 1)];
      for (std::int64_t column = first; column < first + columns; ++column) {
        float* const key = brought.keys_folded + column * brought.stride;
        float bias = brought.key_bias[column];
        for (std::size_t c = 0; c < size(dim_); ++c) {
          bias += key[c] * shift[c];
          key[c] *= gain[c];
        }
        group.bias[column] = bias;
      }
      product.rows = columns;
      product.columns = round_up(before, kernel_->panel);
      product.a = {brought.keys_folded + first * brought.stride, brought.stride};
      product.c = group.update + first * stride;
      kernel_->multiply(product);
    }

    // A head's weights sum up to one: what is the same for all cells goes into its tokens' vectors.
    const float share = 1.0F / static_cast<float>(heads_);
    const std::vector<float>& constant = constants_[size(index)];
    for (std::int64_t column = 0; column < columns; ++column) {
      const float* const from = brought.values_folded + (first + column) * brought.stride;
      float* const to = basis + (before + column) * basis_stride();
      for (std::size_t c = 0; c < size(dim_); ++c) to[c] = from[c] + share * constant[c];
    }
    kernel_->make_basis(
        {dim_, after, before, index == 0 ? nullptr : gains_[size(index - 1)].data(), basis, basis_stride(), panels});

    float* const spread = group.spread + prompt * most_weights(group.tokens) * stride;
    product.rows = after;
    product.columns = round_up(after, kernel_->panel);
    product.a = {basis, basis_stride()};
    product.c = spread;
    kernel_->multiply(product);
    // The sum over all pairs of rows is twice that over pairs in order, with half of those in one block.
    for (std::int64_t row = 0; row < after; ++row) {
      float* const block = spread + row * stride + row / group.tokens * group.tokens;
      for (std::int64_t t = 0; t < group.tokens; ++t) block[t] *= 0.5F;
    }
  });
}

void FactoredCells::set_query(const RunContext& context, const Group& group, std::int64_t updates, float* folded,
                              std::int64_t stride) const {
  if (updates == 0) return;
  const std::int64_t columns = this->columns(group);
  context.parallel_for(group.prompts, [&](std::int64_t prompt, int) {
    const std::int64_t first = prompt * columns;
    const std::vector<float>& gain = gains_[size(updates - 1)];
    for (std::int64_t column = first; column < first + columns; ++column) {
      for (std::size_t c = 0; c < size(dim_); ++c) folded[size(column * stride) + c] *= gain[c];
    }
    two_way_attention::SmallProduct product;
    product.rows = columns;
    product.depth = dim_;
    product.columns = round_up(updates * columns, kernel_->panel);
    product.a = {folded + first * stride, stride};
    product.b = group.panels + prompt * padded_weights(group.tokens) * dim_;
    product.b_panel = dim_ * kernel_->panel;
    product.b_step = kernel_->panel;
    product.c_stride = matrix_stride(group.tokens);
    product.c = group.query + first * product.c_stride;
    kernel_->multiply(product);
  });
}

void FactoredCells::walk(const RunContext& context, const Group& group, std::int64_t updates, const float* queries,
                         float* means, std::int64_t stride, float* values) const {
  const std::int64_t columns = this->columns(group);
  const std::int64_t padded = round_up(columns, kernel_->lanes);
  const std::int64_t token_rows = group.tokens * inner();
  const std::int64_t row = matrix_stride(group.tokens);
  const std::int64_t strips = divide_up(group.cells, kernel_->strip);
  const std::int64_t chunk_strips = divide_up(strips, two_way_attention::kMaxChunks);
  const std::int64_t chunks = divide_up(strips, chunk_strips);
  const auto partial = [&](std::int64_t prompt, std::int64_t chunk) {
    float* const maxima =
        group.partials + (prompt * two_way_attention::kMaxChunks + chunk) * partial_floats(group.tokens);
    float* const of_values = maxima + 2 * padded;
    return two_way_attention::Partial{of_values + padded * value_width(), maxima, maxima + padded, of_values};
  };

  const std::int64_t blocks = divide_up(group.prompts, kTogether);
  context.parallel_for(blocks * chunks, [&](std::int64_t task, int worker) {
    const std::int64_t chunk = task % chunks;
    const std::int64_t first_prompt = task / chunks * kTogether;
    const std::int64_t last_prompt = std::min(first_prompt + kTogether, group.prompts);
    const std::int64_t last_strip = std::min((chunk + 1) * chunk_strips, strips);
    for (std::int64_t strip = chunk * chunk_strips; strip < last_strip; ++strip) {
      const std::int64_t cell = strip * kernel_->strip;
      for (std::int64_t prompt = first_prompt; prompt < last_prompt; ++prompt) {
        const std::int64_t column = prompt * columns;
        two_way_attention::FactoredPass pass;
        pass.channels = dim_;
        pass.heads = heads_;
        pass.tokens = group.tokens;
        pass.width = width();
        pass.cells = std::min(kernel_->strip, group.cells - cell);
        pass.updates = 0;
        pass.shared = group.shared + cell * shared_rows_;
        pass.shared_rows = shared_rows_;
        pass.state_rows = state_rows(group.tokens);
        pass.state = group.state + (prompt * padded_cells(group.cells) + cell) * pass.state_rows;
        pass.inverses = most_weights(group.tokens);
        pass.update = nullptr;
        pass.query.projected = first_query_;
        pass.query.tokens = {queries + prompt * token_rows, inner()};
        two_way_attention::FactoredUpdate update;
        Rows of_updates[kMostUpdates];
        if (updates > 0) {
          const std::int64_t index = updates - 1;
          const Places& places = places_[size(index)];
          pass.updates = index;
          update.scores.projected = places.update;
          update.scores.tokens = {group.keys + prompt * token_rows, inner()};
          update.scores.position = places.update_position;
          if (index > 0) {
            update.scores.matrix = {group.update + column * row, row};
            update.scores.bias = group.bias + column;
          }
          update.spread = {group.spread + prompt * most_weights(group.tokens) * row, row};
          for (std::int64_t u = 0; u < updates; ++u) {
            of_updates[u] = {group.values + (u * group.prompts + prompt) * token_rows, inner()};
          }
          update.values = of_updates;
          update.projected = places.values.data();
          update.constants = places.constants.data();
          update.squares = places.squares;
          pass.update = &update;
          pass.query.projected = places.query;
          pass.query.position = places.query_position;
          pass.query.matrix = {group.query + column * row, row};
        }
        pass.values = group.shared + values_at(group.cells, updates) + cell * heads_ * value_width();
        pass.first = strip == chunk * chunk_strips;
        pass.partial = partial(prompt, chunk);
        pass.scratch = group.work.of(worker);
        kernel_->factored_pass(pass);
      }
    }
  });

  const std::int64_t weights = updates * columns;
  context.parallel_for(group.prompts, [&](std::int64_t prompt, int) {
    two_way_attention::Partial of_prompt[two_way_attention::kMaxChunks];
    for (std::int64_t i = 0; i < chunks; ++i) of_prompt[i] = partial(prompt, i);
    two_way_attention::Merge merge;
    merge.channels = weights;
    merge.chunks = chunks;
    merge.partials = of_prompt;
    merge.columns = columns;
    merge.out = group.weights + prompt * columns * row;
    merge.out_stride = row;
    merge.values_out = group.sums + prompt * columns * value_width();
    merge.value_width = value_width();
    for (std::int64_t first = 0; first < padded; first += kernel_->lanes) kernel_->merge(merge, first);

    for (std::int64_t column = 0; column < columns; ++column) {
      const float* const from = merge.values_out + column * value_width();
      const std::int64_t head = column / group.tokens;
      const std::int64_t token = prompt * group.tokens + column % group.tokens;
      std::copy_n(from, width(), values + token * inner() + head * width());
    }
    float* const of_means = means + prompt * columns * stride;
    if (updates == 0) {
      for (std::int64_t column = 0; column < columns; ++column) std::fill_n(of_means + column * stride, dim_, 0.0F);
      return;
    }
    two_way_attention::SmallProduct product;
    product.rows = columns;
    product.depth = weights;
    product.columns = round_up(dim_, kernel_->panel);
    product.a = {merge.out, row};
    product.b = group.basis + prompt * most_weights(group.tokens) * basis_stride();
    product.b_panel = kernel_->panel;
    product.b_step = basis_stride();
    product.c = of_means;
    product.c_stride = stride;
    kernel_->multiply(product);
    const std::vector<float>& gain = gains_[size(updates - 1)];
    const std::vector<float>& shift = shifts_[size(updates - 1)];
    for (std::int64_t column = 0; column < columns; ++column) {
      float* const mean = of_means + column * stride;
      for (std::size_t c = 0; c < size(dim_); ++c) mean[c] = mean[c] * gain[c] + shift[c];
    }
  });
}

FactoredCells::OutputMemory FactoredCells::carve_output(Scratch& scratch, std::int64_t tokens) const {
  OutputMemory memory;
  memory.matrix = scratch.take<float>(output_count_ * matrix_stride(tokens));
  if (output_narrow_ == nullptr) return memory;
  const std::int64_t depth = narrow::padded_depth(*output_narrow_, most_weights(tokens));
  memory.narrow = scratch.take<std::uint8_t>(output_count_ * depth * output_narrow_->element);
  memory.scale = scratch.take<float>(output_count_);
  memory.zero = scratch.take<float>(output_count_);
  return memory;
}

two_way_attention::FactoredOutput FactoredCells::output(const RunContext& context, const Group& group,
                                                        std::int64_t prompt, const OutputMemory& memory) const {
  const std::int64_t weights = most_weights(group.tokens);
  const std::int64_t rows = state_rows(group.tokens);
  const std::int64_t stride = matrix_stride(group.tokens);
  narrow::Matrix narrow = {};
  if (output_narrow_ != nullptr) {
    const std::int64_t depth = narrow::padded_depth(*output_narrow_, weights);
    narrow = {memory.narrow, depth * output_narrow_->element, depth, memory.scale, memory.zero};
  }
  constexpr std::int64_t kTaskRows = 48;
  context.parallel_for(divide_up(output_count_, kTaskRows), [&](std::int64_t task, int) {
    const std::int64_t first = task * kTaskRows;
    two_way_attention::SmallProduct product;
    product.rows = std::min(kTaskRows, output_count_ - first);
    product.depth = dim_;
    product.columns = padded_weights(group.tokens);
    product.a = {output_matrix_.data + first * output_matrix_.stride, output_matrix_.stride};
    product.b = group.panels + prompt * padded_weights(group.tokens) * dim_;
    product.b_panel = dim_ * kernel_->panel;
    product.b_step = kernel_->panel;
    product.c = memory.matrix + first * stride;
    product.c_stride = stride;
    kernel_->multiply(product);
    if (output_narrow_ == nullptr) return;
    output_narrow_->convert({product.c, stride, memory.narrow + first * narrow.stride, narrow.stride, product.rows,
                             weights, narrow.depth, nullptr, memory.scale + first, memory.zero + first});
  });
  return {group.shared + output_at_ * kernel_->panel,
          shared_rows_,
          group.state + prompt * padded_cells(group.cells) * rows,
          rows,
          weights,
          weights + updates_ - 1,
          {memory.matrix, stride},
          output_bias_.data(),
          narrow};
}

}  // namespace evsam
