#include "track/tracker.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "core/finite.h"
#include "engine/engine.h"
#include "ops/preprocess/fitted_size.h"

namespace evsam::track {
namespace {

// All chosen on the development half of DAVIS 2016's validation sequences, with nano: docs/live.md.
constexpr float kWindow = 1.0F;     // sides of the box on each side of it, that are learnt from and searched in
constexpr float kThreshold = 0.5F;  // of the response, for the box around what looks like the object
constexpr float kBlend = 0.7F;      // share of that box in the prompt, beside the last one
constexpr float kLost = 0.5F;       // contrast below which an object is lost; other frames are learnt from
constexpr float kRing = 1.0F;       // sides of a mask's box around it that it is to stand out from
constexpr float kBeside = 0.1F;     // cover below which a cell is beside the mask
constexpr float kMainPart = 0.1F;   // of the largest part: parts from there on count for the box
constexpr std::int64_t kLeast = 8;  // pixels of a mask that is one

constexpr double kNearlyAll = 0.75;       // of the frame's longer side: from there on windows are the whole frame
constexpr std::int64_t kLeastView = 256;  // pixels of a window's side: more of the lens's blur shows nothing new

constexpr float kLeastSide = 8.0F;    // of a box that is asked for
constexpr float kLogit = 4.0F;        // pixels of the 1024 frame along a logit's side
constexpr std::int64_t kBetween = 4;  // steps from one cell to the next where the response is interpolated
constexpr MaskFilter kSingle = {0, 1};

constexpr std::int64_t kPlane = kLogitsSize * kLogitsSize;

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

template <typename T>
void append(const T* values, std::size_t count, std::vector<std::uint8_t>* bytes) {
  const std::size_t end = bytes->size();
  bytes->resize(end + count * sizeof(T));
  std::memcpy(bytes->data() + end, values, count * sizeof(T));
}

// In logits to in pixels of the frame.
FrameBox frame_box(std::int64_t x0, std::int64_t y0, std::int64_t x1, std::int64_t y1) {
  return {kLogit * static_cast<float>(x0), kLogit * static_cast<float>(y0), kLogit * static_cast<float>(x1),
          kLogit * static_cast<float>(y1)};
}

// Reads what append() wrote.
class Reader {
 public:
  Reader(const std::uint8_t* bytes, std::size_t count) : bytes_(bytes), left_(count) {}

  template <typename T>
  bool read(T* values, std::size_t count = 1) {
    const std::size_t wanted = count * sizeof(T);
    if (wanted > left_) return false;
    std::memcpy(values, bytes_, wanted);
    bytes_ += wanted;
    left_ -= wanted;
    return true;
  }
  bool at_end() const { return left_ == 0; }

 private:
  const std::uint8_t* bytes_;
  std::size_t left_;
};

constexpr char kMagic[8] = {'e', 'v', 's', 'a', 'm', 't', 'r', '1'};

// Behind kMagic. Floats and whole numbers lie as the processor has them: least byte first on all that evsam runs on.
struct StateHeader {
  std::int64_t dim;
  std::int64_t side;
  std::int64_t height;
  std::int64_t width;
  std::int64_t next_id;
  std::int64_t objects;
};

struct StateObject {
  std::int64_t id;
  std::int64_t lost;
  FrameBox box;
  float score;
  float padding;
};

// Far beyond the frame: what is stored becomes cells.
constexpr float kFar = 1e4F;
constexpr std::int64_t kMostIds = std::int64_t{1} << 40;  // and frames since an object was seen

}  // namespace

View view_of(const masks::Box& part) {
  const preprocess::Size resized = preprocess::fitted_size(part.y1 - part.y0, part.x1 - part.x0, kFrameSize);
  return {part, {resized.height, resized.width}};
}

Object::Object(std::int64_t dim) : logits(size(kPlane)), appearance(dim) {}

Tracker::Tracker(const MapShape& embedding, ImageSize photo, float threshold, float window)
    : photo_(photo),
      threshold_(threshold),
      window_(window),
      whole_(view_of({0, 0, photo.width, photo.height})),
      cells_(embedding.channels, embedding.height),
      cell_(static_cast<float>(kFrameSize) / static_cast<float>(cells_.side())),
      responses_(size(kObjectsAtOnce * cells_.count())),
      searched_(size(cells_.count())),
      mask_(size(kPlane)),
      cover_(size(cells_.count())),
      learning_(cells_),
      fine_(size(cells_.count() * kBetween * kBetween)),
      fine_mask_(fine_.size()),
      inside_(fine_.size()),
      sums_(fine_.size()),
      pieces_(std::max<std::int64_t>(static_cast<std::int64_t>(fine_.size()), kPlane)) {
  set_view(whole_);
  for (std::int64_t p = 0; p < kObjectsAtOnce; ++p) {
    labels_[size(2 * p)] = kTopLeft;
    labels_[size(2 * p + 1)] = kBottomRight;
  }
}

std::int64_t Tracker::index_of(std::int64_t id) const {
  const auto found =
      std::find_if(objects_.begin(), objects_.end(), [&](const auto& object) { return object->id == id; });
  return found == objects_.end() ? -1 : found - objects_.begin();
}

std::array<float, 4> Tracker::photo_box(const Object& object) const {
  const float scale[2] = {static_cast<float>(photo_.width) / static_cast<float>(whole_.resized.width),
                          static_cast<float>(photo_.height) / static_cast<float>(whole_.resized.height)};
  const float end[2] = {static_cast<float>(photo_.width), static_cast<float>(photo_.height)};
  std::array<float, 4> box;
  for (std::size_t i = 0; i < 4; ++i) box[i] = std::clamp(object.box[i] * scale[i % 2], 0.0F, end[i % 2]);
  return box;
}

bool Tracker::is_whole(const View& view) const {
  return view.part.x1 - view.part.x0 == photo_.width && view.part.y1 - view.part.y0 == photo_.height;
}

View Tracker::view_around(const FrameBox& box) const {
  const std::int64_t sides[2] = {photo_.width, photo_.height};
  const double scale = static_cast<double>(std::max(sides[0], sides[1])) / static_cast<double>(kFrameSize);
  const double longer = static_cast<double>(std::max(box[2] - box[0], box[3] - box[1]));
  const auto wanted = static_cast<std::int64_t>(std::ceil(static_cast<double>(window_) * longer * scale));
  const std::int64_t side = std::max(wanted, kLeastView);
  if (!(static_cast<double>(side) < kNearlyAll * static_cast<double>(std::max(sides[0], sides[1])))) return whole_;
  std::int64_t low[2];
  std::int64_t high[2];
  for (std::size_t axis = 0; axis < 2; ++axis) {
    const std::int64_t length = std::min(side, sides[axis]);
    const double middle = 0.5 * static_cast<double>(box[axis] + box[axis + 2]) * scale;
    const auto from = static_cast<std::int64_t>(std::lround(middle - 0.5 * static_cast<double>(length)));
    low[axis] = std::clamp<std::int64_t>(from, 0, sides[axis] - length);
    high[axis] = low[axis] + length;
  }
  return view_of({low[0], low[1], high[0], high[1]});
}

View Tracker::close_view(std::int64_t id) const {
  const std::int64_t index = index_of(id);
  return index < 0 || window_ == 0.0F ? whole_ : view_around(object(index).box);
}

// A lost object may be anywhere.
View Tracker::next_view() const {
  if (window_ == 0.0F || objects_.empty()) return whole_;
  FrameBox all = objects_[0]->box;
  for (const std::unique_ptr<Object>& object : objects_) {
    if (object->lost > 0) return whole_;
    for (std::size_t i = 0; i < 2; ++i) {
      all[i] = std::min(all[i], object->box[i]);
      all[i + 2] = std::max(all[i + 2], object->box[i + 2]);
    }
  }
  return view_around(all);
}

void Tracker::set_view(const View& view) {
  view_ = view;
  const std::int64_t part[2][2] = {{view.part.x0, view.part.x1}, {view.part.y0, view.part.y1}};
  const std::int64_t resized[2] = {view.resized.width, view.resized.height};
  const std::int64_t whole[2] = {whole_.resized.width, whole_.resized.height};
  const std::int64_t photo[2] = {photo_.width, photo_.height};
  for (std::size_t axis = 0; axis < 2; ++axis) {
    const double pixel = static_cast<double>(resized[axis]) / static_cast<double>(part[axis][1] - part[axis][0]);
    const double of_whole = static_cast<double>(photo[axis]) / static_cast<double>(whole[axis]);
    scale_[axis] = static_cast<float>(pixel * of_whole);
    origin_[axis] = static_cast<float>(-pixel * static_cast<double>(part[axis][0]));
  }
  const auto cells = [&](std::int64_t pixels) {
    return std::min(cells_.side(), static_cast<std::int64_t>(std::ceil(static_cast<float>(pixels) / cell_)));
  };
  all_cells_ = {0, 0, cells(resized[0]), cells(resized[1])};
  height_ = (resized[1] + 3) / 4;
  width_ = (resized[0] + 3) / 4;
}

FrameBox Tracker::in_view(const FrameBox& box) const {
  FrameBox result;
  for (std::size_t i = 0; i < 4; ++i) result[i] = box[i] * scale_[i % 2] + origin_[i % 2];
  return result;
}

FrameBox Tracker::in_frame(const FrameBox& box) const {
  FrameBox result;
  for (std::size_t i = 0; i < 4; ++i) result[i] = (box[i] - origin_[i % 2]) / scale_[i % 2];
  return result;
}

// Cells that the box, grown by so many of its sides on each side, touches. Sides count as two cells at least.
CellBox Tracker::window(const FrameBox& box, float sides) const {
  const auto span = [&](float low, float high, std::int64_t end, std::int64_t* from, std::int64_t* to) {
    const float margin = sides * std::max(high - low, 2.0F * cell_);
    *from = std::clamp<std::int64_t>(static_cast<std::int64_t>(std::floor((low - margin) / cell_)), 0, end);
    *to = std::clamp<std::int64_t>(static_cast<std::int64_t>(std::ceil((high + margin) / cell_)), *from, end);
  };
  CellBox cells;
  span(box[0], box[2], all_cells_.x1, &cells.x0, &cells.x1);
  span(box[1], box[3], all_cells_.y1, &cells.y0, &cells.y1);
  return cells;
}

// The box within the view, with sides of kLeastSide at least.
FrameBox Tracker::fitted(const FrameBox& box) const {
  FrameBox result;
  const float end[2] = {static_cast<float>(view_.resized.width), static_cast<float>(view_.resized.height)};
  for (std::size_t axis = 0; axis < 2; ++axis) {
    result[axis] = std::max(std::min(box[axis], end[axis] - kLeastSide), 0.0F);
    result[axis + 2] = std::max(std::min(box[axis + 2], end[axis]), result[axis] + kLeastSide);
  }
  return result;
}

std::int64_t Tracker::read_mask(const float* logits) {
  std::fill(mask_.begin(), mask_.end(), std::uint8_t{0});
  std::fill_n(cover_.data(), cells_.count(), 0.0F);
  const std::int64_t side = cells_.side();
  std::int64_t area = 0;
  std::int64_t x0 = kLogitsSize;
  std::int64_t y0 = kLogitsSize;
  std::int64_t x1 = 0;
  std::int64_t y1 = 0;
  for (std::int64_t y = 0; y < height_; ++y) {
    float* const cover = cover_.data() + y * side / kLogitsSize * side;
    for (std::int64_t x = 0; x < width_; ++x) {
      if (!(logits[y * kLogitsSize + x] > threshold_)) continue;
      mask_[size(y * kLogitsSize + x)] = 1;
      cover[x * side / kLogitsSize] += 1.0F;
      ++area;
      x0 = std::min(x0, x);
      x1 = std::max(x1, x + 1);
      y0 = std::min(y0, y);
      y1 = y + 1;
    }
  }
  const float share = kLogit * kLogit / (cell_ * cell_);  // of a cell, a logit
  for (std::int64_t i = 0; i < cells_.count(); ++i) cover_[size(i)] *= share;
  mask_box_ = frame_box(x0, y0, x1, y1);
  return area;
}

// How much higher the response is on the mask than around it.
float Tracker::contrast(const float* response) const {
  const CellBox around = window(mask_box_, kRing);
  float covered = 0.0F;
  float on_mask = 0.0F;
  float beside_count = 0.0F;
  float beside = 0.0F;
  for (std::int64_t y = 0; y < cells_.side(); ++y) {
    for (std::int64_t x = 0; x < cells_.side(); ++x) {
      const std::int64_t cell = y * cells_.side() + x;
      const float cover = cover_[size(cell)];
      covered += cover;
      on_mask += cover * response[cell];
      if (cover >= kBeside || !around.has(x, y)) continue;
      beside_count += 1.0F;
      beside += response[cell];
    }
  }
  return on_mask / covered - (beside_count > 0.0F ? beside / beside_count : 0.0F);
}

// Around the largest part of the mask and those that are not much smaller: a box must not grow by a few stray pixels.
FrameBox Tracker::main_parts() {
  const std::int32_t count = pieces_.find({mask_.data(), kLogitsSize, kLogitsSize});
  std::int64_t largest = 0;
  for (std::int32_t i = 0; i < count; ++i) largest = std::max(largest, pieces_.area(i));
  const double least = static_cast<double>(kMainPart) * static_cast<double>(largest);
  std::int64_t x0 = kLogitsSize;
  std::int64_t y0 = kLogitsSize;
  std::int64_t x1 = 0;
  std::int64_t y1 = 0;
  for (std::int64_t y = 0; y < height_; ++y) {
    for (std::int64_t x = 0; x < width_; ++x) {
      const std::int32_t piece = pieces_.numbers()[y * kLogitsSize + x];
      if (piece < 0 || static_cast<double>(pieces_.area(piece)) < least) continue;
      x0 = std::min(x0, x);
      x1 = std::max(x1, x + 1);
      y0 = std::min(y0, y);
      y1 = y + 1;
    }
  }
  return frame_box(x0, y0, x1, y1);
}

Status Tracker::add(const float* embedding, const float* logits, float score, std::int64_t* id) {
  const std::int64_t index = *id == 0 ? -1 : index_of(*id);
  if (*id != 0 && index < 0) {
    return Status::invalid_argument(expected_got("id", "an object's, or 0 for a new one", std::to_string(*id)));
  }
  set_view(whole_);
  if (read_mask(logits) == 0) {
    return Status::invalid_argument(expected_got("prompt", "one that gives a mask", "an empty mask"));
  }
  auto object = std::make_unique<Object>(cells_.dim());
  object->id = *id == 0 ? next_id_ : *id;
  object->score = std::clamp(score, 0.0F, 1.0F);
  object->box = main_parts();
  object->view = whole_;
  std::copy_n(logits, kPlane, object->logits.data());
  cells_.read(embedding);
  if (!object->appearance.learn_first(cells_, window(object->box, kWindow), cover_.data(), learning_)) {
    return Status::invalid_argument(expected_got("embedding", "finite numbers", "NaN or infinity"));
  }
  *id = object->id;
  if (index < 0) {
    objects_.push_back(std::move(object));
    ++next_id_;
  } else {
    objects_[size(index)] = std::move(object);
  }
  return {};
}

Status Tracker::add_close(std::int64_t id, const float* embedding, const View& view) {
  const std::int64_t index = index_of(id);
  if (index < 0) return Status::invalid_argument(expected_got("id", "an object's", std::to_string(id)));
  Object& object = *objects_[size(index)];
  set_view(view);
  if (read_mask(part_of_whole(object.logits.data()).data()) < kLeast) return {};
  cells_.read(embedding);
  if (object.appearance.learn_first_again(cells_, window(main_parts(), kWindow), cover_.data(), learning_)) return {};
  return Status::invalid_argument(expected_got("embedding", "finite numbers", "NaN or infinity"));
}

// Logits of the whole frame, interpolated to those of the view.
std::vector<float> Tracker::part_of_whole(const float* logits) const {
  struct Tap {
    std::int64_t low;
    std::int64_t high;
    float share;  // of the higher one
  };
  std::array<std::array<Tap, kLogitsSize>, 2> taps;
  const std::int64_t last[2] = {(whole_.resized.width + 3) / 4 - 1, (whole_.resized.height + 3) / 4 - 1};
  for (std::size_t axis = 0; axis < 2; ++axis) {
    for (std::int64_t i = 0; i < kLogitsSize; ++i) {
      const float pixel = kLogit * (static_cast<float>(i) + 0.5F);
      const float at = (pixel - origin_[axis]) / scale_[axis] / kLogit - 0.5F;
      const float inside = std::clamp(at, 0.0F, static_cast<float>(last[axis]));
      const auto low = static_cast<std::int64_t>(inside);
      taps[axis][size(i)] = {low, std::min(low + 1, last[axis]), inside - static_cast<float>(low)};
    }
  }
  std::vector<float> result(size(kPlane));
  for (std::int64_t y = 0; y < kLogitsSize; ++y) {
    const Tap& down = taps[1][size(y)];
    const float* const above = logits + down.low * kLogitsSize;
    const float* const below = logits + down.high * kLogitsSize;
    for (std::int64_t x = 0; x < kLogitsSize; ++x) {
      const Tap& right = taps[0][size(x)];
      const float first = above[right.low] + right.share * (above[right.high] - above[right.low]);
      const float second = below[right.low] + right.share * (below[right.high] - below[right.low]);
      result[size(y * kLogitsSize + x)] = first + down.share * (second - first);
    }
  }
  return result;
}

bool Tracker::remove(std::int64_t id) {
  const std::int64_t index = index_of(id);
  if (index < 0) return false;
  objects_.erase(objects_.begin() + index);
  end_frame();
  return true;
}

void Tracker::end_frame() {
  looked_ = asked_ = batch_ = 0;
  prompts_ = {};
}

void Tracker::look(const float* embedding, const View& view) {
  set_view(view);
  if (!objects_.empty()) cells_.read(embedding);
  looked_ = count();
  asked_ = 0;
  ask();
}

// Fills prompts_ for the next objects.
void Tracker::ask() {
  batch_ = std::min(looked_ - asked_, kObjectsAtOnce);
  for (std::int64_t slot = 0; slot < batch_; ++slot) {
    const Object& object = *objects_[size(asked_ + slot)];
    float* const response = responses_.data() + slot * cells_.count();
    object.appearance.respond(cells_, response);
    const FrameBox last = in_view(object.box);
    const CellBox inside = window(last, kWindow * static_cast<float>(1 + object.lost));
    for (std::int64_t y = 0; y < cells_.side(); ++y) {
      for (std::int64_t x = 0; x < cells_.side(); ++x) {
        const std::int64_t cell = y * cells_.side() + x;
        searched_[size(cell)] = inside.has(x, y) ? std::clamp(response[cell], 0.0F, 1.0F) : 0.0F;
      }
    }
    FrameBox prompt = last;
    FrameBox found;
    if (map_box(searched_.data(), object.lost == 0 ? &last : nullptr, &found)) {
      const float share = object.lost == 0 ? kBlend : 1.0F;  // a lost object is where its looks are
      for (std::size_t i = 0; i < 4; ++i) prompt[i] = share * found[i] + (1.0F - share) * prompt[i];
    }
    prompt = fitted(prompt);
    std::copy_n(prompt.data(), 4, xy_.data() + 4 * slot);
  }
  prompts_ = {batch_, 2, xy_.data(), labels_.data(), nullptr};
}

// Around the cells that look like the object, interpolated: the part with the most pixels in the last box, or else the
// one that looks like it most. False where there is none.
bool Tracker::map_box(const float* searched, const FrameBox* last, FrameBox* box) {
  const std::int64_t side = cells_.side();
  const std::int64_t fine = kBetween * side;
  const auto tap = [&](std::int64_t i, std::int64_t* low, float* part) {
    const float at = std::clamp((static_cast<float>(i) + 0.5F) / static_cast<float>(kBetween) - 0.5F, 0.0F,
                                static_cast<float>(side - 1));
    *low = std::clamp<std::int64_t>(static_cast<std::int64_t>(at), 0, std::max<std::int64_t>(side - 2, 0));
    *part = at - static_cast<float>(*low);
  };
  for (std::int64_t y = 0; y < fine; ++y) {
    std::int64_t row = 0;
    float down = 0.0F;
    tap(y, &row, &down);
    const float* const above = searched + row * side;
    const float* const below = searched + std::min(row + 1, side - 1) * side;
    for (std::int64_t x = 0; x < fine; ++x) {
      std::int64_t column = 0;
      float right = 0.0F;
      tap(x, &column, &right);
      const std::int64_t next = std::min(column + 1, side - 1);
      const float first = above[column] * (1.0F - down) + below[column] * down;
      const float second = above[next] * (1.0F - down) + below[next] * down;
      const float value = first * (1.0F - right) + second * right;
      fine_[size(y * fine + x)] = value;
      fine_mask_[size(y * fine + x)] = value > kThreshold ? 1 : 0;
    }
  }
  const std::int32_t count = pieces_.find({fine_mask_.data(), fine, fine});
  if (count == 0) return false;
  std::fill_n(inside_.begin(), count, 0);
  std::fill_n(sums_.begin(), count, 0.0F);
  const float step = cell_ / static_cast<float>(kBetween);
  for (std::int64_t y = 0; y < fine; ++y) {
    for (std::int64_t x = 0; x < fine; ++x) {
      const std::int32_t piece = pieces_.numbers()[y * fine + x];
      if (piece < 0) continue;
      sums_[static_cast<std::size_t>(piece)] += fine_[size(y * fine + x)];
      const float left = step * static_cast<float>(x);
      const float top = step * static_cast<float>(y);
      const bool touches = last != nullptr && left < (*last)[2] && left + step > (*last)[0] && top < (*last)[3] &&
                           top + step > (*last)[1];
      if (touches) ++inside_[static_cast<std::size_t>(piece)];
    }
  }
  const auto most = std::max_element(inside_.begin(), inside_.begin() + count);
  const auto best = static_cast<std::int32_t>(
      *most > 0 ? most - inside_.begin() : std::max_element(sums_.begin(), sums_.begin() + count) - sums_.begin());
  const float end = cell_ * static_cast<float>(side);
  *box = {end, end, 0.0F, 0.0F};
  for (std::int64_t y = 0; y < fine; ++y) {
    for (std::int64_t x = 0; x < fine; ++x) {
      if (pieces_.numbers()[y * fine + x] != best) continue;
      (*box)[0] = std::min((*box)[0], step * static_cast<float>(x));
      (*box)[1] = std::min((*box)[1], step * static_cast<float>(y));
      (*box)[2] = std::max((*box)[2], step * static_cast<float>(x + 1));
      (*box)[3] = std::max((*box)[3], step * static_cast<float>(y + 1));
    }
  }
  return true;
}

Status Tracker::answer(const float* logits, const float* iou, std::int64_t iou_stride) {
  bool finite = all_finite(logits, size(batch_ * kPlane));
  for (std::int64_t slot = 0; slot < batch_; ++slot) finite = finite && all_finite(iou + slot * iou_stride, 1);
  if (!finite) {
    return Status::invalid_argument(expected_got("weights or embedding", "finite results", "NaN or infinity"));
  }
  for (std::int64_t slot = 0; slot < batch_; ++slot) {
    choose(*objects_[size(asked_ + slot)], responses_.data() + slot * cells_.count(), logits + slot * kPlane,
           iou[slot * iou_stride]);
  }
  asked_ += batch_;
  ask();
  return {};
}

void Tracker::choose(Object& object, const float* response, const float* logits, float iou) {
  std::copy_n(logits, kPlane, object.logits.data());
  object.view = view_;
  object.score = std::clamp(iou, 0.0F, 1.0F);
  const float stands_out = read_mask(logits) >= kLeast ? contrast(response) : 0.0F;
  if (!(stands_out >= kLost)) {
    ++object.lost;
    return;
  }
  object.lost = 0;
  const FrameBox box = main_parts();
  object.box = in_frame(box);
  object.appearance.learn(cells_, window(box, kWindow), cover_.data(), learning_);
}

Status Tracker::step(const Engine& engine, const float* const* features, const View& view, float* memory) {
  look(features[0], view);
  while (asks()) {
    float* const iou = memory + prompts_.count * kPlane;
    EVSAM_RETURN_IF_ERROR(engine.decode(features, prompts_, kSingle, memory, iou));
    EVSAM_RETURN_IF_ERROR(answer(memory, iou, kMaskTokens));
  }
  return {};
}

std::vector<std::uint8_t> Tracker::save() const {
  std::vector<std::uint8_t> bytes;
  append(kMagic, sizeof(kMagic), &bytes);
  const StateHeader header{cells_.dim(), cells_.side(), photo_.height, photo_.width, next_id_, count()};
  append(&header, 1, &bytes);
  for (const std::unique_ptr<Object>& object : objects_) {
    const StateObject stored{object->id, object->lost, object->box, object->score, 0.0F};
    append(&stored, 1, &bytes);
    for (const Moments* moments : {&object->appearance.first(), &object->appearance.since()}) {
      append(moments->data(), size(moments->count()), &bytes);
    }
  }
  return bytes;
}

Status Tracker::load(const std::uint8_t* bytes, std::size_t count) {
  objects_.clear();
  end_frame();
  const Status damaged = Status::invalid_argument(
      expected_got("state", "one of a tracker of this model and size of frames", "another, or a damaged one"));
  Reader reader(bytes, count);
  char magic[sizeof(kMagic)];
  StateHeader header;
  const bool ours = reader.read(magic, sizeof(magic)) && std::memcmp(magic, kMagic, sizeof(magic)) == 0 &&
                    reader.read(&header) && header.dim == cells_.dim() && header.side == cells_.side() &&
                    header.height == photo_.height && header.width == photo_.width && header.next_id >= 1 &&
                    header.next_id <= kMostIds && header.objects >= 0;
  if (!ours) return damaged;
  std::vector<std::unique_ptr<Object>> objects;
  for (std::int64_t i = 0; i < header.objects; ++i) {
    StateObject stored;
    if (!reader.read(&stored)) return damaged;
    auto object = std::make_unique<Object>(cells_.dim());
    object->view = whole_;
    object->id = stored.id;
    object->lost = stored.lost;
    object->box = stored.box;
    object->score = stored.score;
    for (Moments* moments : {&object->appearance.first(), &object->appearance.since()}) {
      if (!reader.read(moments->data(), size(moments->count()))) return damaged;
    }
    const bool sound = stored.id >= 1 && stored.id < header.next_id && stored.lost >= 0 && stored.lost <= kMostIds &&
                       all_within(stored.box.data(), 4, kFar) && all_within(&stored.score, 1, 1.0F);
    const bool new_id = std::none_of(objects.begin(), objects.end(), [&](const auto& o) { return o->id == stored.id; });
    if (!sound || !new_id || !object->appearance.solve(learning_)) return damaged;
    objects.push_back(std::move(object));
  }
  if (!reader.at_end()) return damaged;
  objects_ = std::move(objects);
  next_id_ = header.next_id;
  return {};
}

}  // namespace evsam::track
