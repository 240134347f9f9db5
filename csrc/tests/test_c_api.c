/* The C interface as C99: errors by code and message, sizes, several threads at once. Argument: nano.safetensors. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "evsam/evsam.h"

static int failures = 0;

static void report(int passed, int line, const char* what) {
  if (passed) return;
  ++failures;
  fprintf(stderr, "test_c_api.c:%d: FAILED: %s (last error: %s)\n", line, what, evsam_last_error());
}

#define CHECK(condition) report((condition), __LINE__, #condition)
/* A call that must fail, with a code and a part of the message. */
#define CHECK_FAILS(call, code, part) \
  report((call) == (code) && strstr(evsam_last_error(), (part)) != NULL, __LINE__, #call " fails with " #code ", " part)

enum { kHeight = 90, kWidth = 120, kPixels = kHeight * kWidth, kPlane = EVSAM_LOGITS_SIDE * EVSAM_LOGITS_SIDE };

static uint8_t image[kHeight * (3 * kWidth + 7)]; /* rows with a gap */
static const int64_t kRow = 3 * kWidth + 7;

static void draw_image(void) {
  for (int64_t y = 0; y < kHeight; ++y) {
    for (int64_t x = 0; x < kWidth; ++x) {
      const int inside = x > 30 && x < 80 && y > 20 && y < 60;
      uint8_t* pixel = image + y * kRow + 3 * x;
      pixel[0] = (uint8_t)(inside ? 200 : 2 * x);
      pixel[1] = (uint8_t)(inside ? 40 : 2 * y);
      pixel[2] = (uint8_t)(inside ? 60 : 128);
    }
  }
}

/* program: a file that there is, and that holds no weights. */
static void test_load_errors(const char* weights, const char* program) {
  evsam_model* model = NULL;
  evsam_options options = EVSAM_OPTIONS_INIT;
  CHECK_FAILS(evsam_load(NULL, NULL, NULL, &model), EVSAM_INVALID_ARGUMENT, "path: expected a pointer, got NULL");
  CHECK_FAILS(evsam_load(weights, NULL, NULL, NULL), EVSAM_INVALID_ARGUMENT, "model: expected a pointer, got NULL");
  CHECK_FAILS(evsam_load("no/such/file", NULL, NULL, &model), EVSAM_BAD_WEIGHTS,
              "no/such/file: expected a file that can be read, got No such file");
  CHECK_FAILS(evsam_load("/", NULL, NULL, &model), EVSAM_BAD_WEIGHTS, "/: expected a regular file, got a directory");
  CHECK_FAILS(evsam_load(program, NULL, NULL, &model), EVSAM_BAD_WEIGHTS, "expected a safetensors header");
  CHECK_FAILS(evsam_load(weights, "l9", NULL, &model), EVSAM_BAD_WEIGHTS, "expected variant 'l9', got 'nano'");
  CHECK_FAILS(evsam_load(weights, "l0", NULL, &model), EVSAM_BAD_WEIGHTS, "expected variant 'l0', got 'nano'");
  options.threads = -1;
  CHECK_FAILS(evsam_load(weights, NULL, &options, &model), EVSAM_INVALID_ARGUMENT,
              "options.threads: expected 0 or more");
  options.threads = 1;
  options.precision = 7;
  CHECK_FAILS(evsam_load(weights, NULL, &options, &model), EVSAM_INVALID_ARGUMENT, "options.precision: expected");
  options.precision = EVSAM_FP32;
  options.struct_size = 3;
  CHECK_FAILS(evsam_load(weights, NULL, &options, &model), EVSAM_INVALID_ARGUMENT, "options.struct_size: expected");
  CHECK(model == NULL);
  CHECK(strcmp(evsam_variant(NULL), "") == 0);
  evsam_free(NULL);
  evsam_embedding_free(NULL);
}

/* The whole file, in memory that the caller frees. */
static uint8_t* read_whole(const char* path, size_t* bytes) {
  FILE* file = fopen(path, "rb");
  CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0);
  *bytes = (size_t)ftell(file);
  uint8_t* content = malloc(*bytes);
  rewind(file);
  CHECK(fread(content, 1, *bytes, file) == *bytes && fclose(file) == 0);
  return content;
}

/* The file's content, which may go afterwards, makes a model that reads the file's embeddings. */
static void test_load_memory(const char* weights, const evsam_model* model) {
  evsam_model* loaded = NULL;
  evsam_embedding* embedding = NULL;
  evsam_prompts prompts = EVSAM_PROMPTS_INIT;
  const float box[4] = {8, 8, 40, 30};
  float scores[2] = {0, 1};
  size_t bytes = 0;
  uint8_t* content = read_whole(weights, &bytes);
  CHECK_FAILS(evsam_load_memory(NULL, bytes, NULL, NULL, &loaded), EVSAM_INVALID_ARGUMENT,
              "content: expected a pointer, got NULL");
  CHECK_FAILS(evsam_load_memory(content, bytes, NULL, NULL, NULL), EVSAM_INVALID_ARGUMENT,
              "model: expected a pointer, got NULL");
  CHECK_FAILS(evsam_load_memory(content, bytes - 1, NULL, NULL, &loaded), EVSAM_BAD_WEIGHTS, "content: expected ");
  CHECK_FAILS(evsam_load_memory(content, bytes, "l0", NULL, &loaded), EVSAM_BAD_WEIGHTS,
              "content: expected variant 'l0', got 'nano' in its metadata");
  CHECK(evsam_load_memory(content, bytes, NULL, NULL, &loaded) == EVSAM_OK);
  memset(content, 0, bytes);
  free(content);
  CHECK(strcmp(evsam_variant(loaded), "nano") == 0);
  prompts.count = 1;
  prompts.boxes = box;
  CHECK(evsam_embedding_create(model, &embedding) == EVSAM_OK);
  CHECK(evsam_encode(model, image, kHeight, kWidth, kRow, embedding) == EVSAM_OK);
  CHECK(evsam_predict(model, embedding, &prompts, NULL, &scores[0], NULL) == EVSAM_OK);
  CHECK(evsam_predict(loaded, embedding, &prompts, NULL, &scores[1], NULL) == EVSAM_OK);
  CHECK(scores[0] == scores[1]);
  evsam_embedding_free(embedding);
  evsam_free(loaded);
}

/* Weights without the encoder's tensors, which have other names here, answer on an embedding of the whole model. */
static void test_decoder_alone(const char* weights, const evsam_model* model) {
  static const char kEncoder[] = "\"image_encoder.";
  evsam_model* decoder = NULL;
  evsam_embedding* made = NULL;
  evsam_embedding* filled = NULL;
  evsam_prompts prompts = EVSAM_PROMPTS_INIT;
  const float* maps[4];
  int64_t sizes[4];
  const float box[4] = {30, 20, 80, 60};
  float scores[2] = {0, 1};
  static uint8_t masks[2][kPixels];
  size_t bytes = 0;
  uint8_t* content = read_whole(weights, &bytes);
  for (size_t i = 0; i + sizeof(kEncoder) < bytes; ++i) {
    if (memcmp(content + i, kEncoder, sizeof(kEncoder) - 1) == 0) memcpy(content + i + 1, "other", 5);
  }
  CHECK(evsam_load_memory(content, bytes, NULL, NULL, &decoder) == EVSAM_OK);
  free(content);
  CHECK(evsam_encodes(model) == 1 && evsam_encodes(decoder) == 0 && evsam_encodes(NULL) == 0);
  prompts.count = 1;
  prompts.boxes = box;
  CHECK(evsam_embedding_create(model, &made) == EVSAM_OK && evsam_embedding_create(decoder, &filled) == EVSAM_OK);
  CHECK(evsam_encode(model, image, kHeight, kWidth, kRow, made) == EVSAM_OK);
  CHECK_FAILS(evsam_encode(decoder, image, kHeight, kWidth, kRow, filled), EVSAM_UNAVAILABLE,
              "model: expected one that encodes, got the weights of a decoder alone");
  for (int32_t i = 0; i < 4; ++i) {
    int64_t shape[3];
    CHECK(evsam_embedding_map(made, i, &maps[i], shape) == EVSAM_OK);
    sizes[i] = shape[0] * shape[1] * shape[2];
  }
  CHECK_FAILS(evsam_embedding_fill(NULL, kHeight, kWidth, 4, maps, sizes), EVSAM_INVALID_ARGUMENT, "embedding: ");
  CHECK_FAILS(evsam_embedding_fill(filled, kHeight, kWidth, 4, NULL, sizes), EVSAM_INVALID_ARGUMENT, "maps: expected");
  CHECK_FAILS(evsam_embedding_fill(filled, kHeight, kWidth, 4, maps, NULL), EVSAM_INVALID_ARGUMENT, "sizes: expected");
  CHECK_FAILS(evsam_embedding_fill(filled, 0, kWidth, 4, maps, sizes), EVSAM_INVALID_ARGUMENT, "height: expected 1 to");
  CHECK_FAILS(evsam_embedding_fill(filled, kHeight, kWidth, 3, maps, sizes), EVSAM_INVALID_ARGUMENT,
              "count: expected 4 maps, got 3");
  --sizes[2];
  CHECK_FAILS(evsam_embedding_fill(filled, kHeight, kWidth, 4, maps, sizes), EVSAM_INVALID_ARGUMENT,
              "maps[2]: expected ");
  ++sizes[2];
  CHECK_FAILS(evsam_predict(decoder, filled, &prompts, NULL, NULL, NULL), EVSAM_INVALID_ARGUMENT, "got an empty one");
  CHECK(evsam_embedding_fill(filled, kHeight, kWidth, 4, maps, sizes) == EVSAM_OK);
  CHECK(evsam_predict(model, made, &prompts, masks[0], &scores[0], NULL) == EVSAM_OK);
  CHECK(evsam_predict(decoder, filled, &prompts, masks[1], &scores[1], NULL) == EVSAM_OK);
  CHECK(scores[0] == scores[1] && memcmp(masks[0], masks[1], kPixels) == 0);
  evsam_embedding_free(made);
  evsam_embedding_free(filled);
  evsam_free(decoder);
}

/* A caller that was compiled with a later version, whose structure has more members. */
static void test_later_options(const char* weights) {
  struct {
    evsam_options known;
    int64_t later;
  } options = {EVSAM_OPTIONS_INIT, 0};
  evsam_model* model = NULL;
  options.known.struct_size = sizeof(options);
  options.known.threads = 1;
  CHECK(evsam_load(weights, "nano", &options.known, &model) == EVSAM_OK);
  evsam_free(model);
  model = NULL;
  options.later = 1;
  CHECK_FAILS(evsam_load(weights, "nano", &options.known, &model), EVSAM_UNAVAILABLE, "options: expected members that");
  CHECK(model == NULL);
}

static int predict_box(const evsam_model* model, uint8_t* mask) {
  const float box[4] = {30, 20, 80, 60};
  evsam_embedding* embedding = NULL;
  evsam_prompts prompts = EVSAM_PROMPTS_INIT;
  int passed = 0;
  prompts.count = 1;
  prompts.boxes = box;
  passed = evsam_embedding_create(model, &embedding) == EVSAM_OK &&
           evsam_encode(model, image, kHeight, kWidth, kRow, embedding) == EVSAM_OK &&
           evsam_predict(model, embedding, &prompts, mask, NULL, NULL) == EVSAM_OK;
  evsam_embedding_free(embedding);
  return passed;
}

static void test_int8(const char* weights) {
  static uint8_t mask[kPixels];
  evsam_model* model = NULL;
  evsam_options options = EVSAM_OPTIONS_INIT;
  int area = 0;
  options.precision = EVSAM_INT8;
  options.threads = 2;
  CHECK(evsam_load(weights, NULL, &options, &model) == EVSAM_OK);
  CHECK(predict_box(model, mask));
  for (int i = 0; i < kPixels; ++i) area += mask[i];
  CHECK(area > 0 && area < kPixels);
  evsam_free(model);
}

static void test_packed_cache(const char* weights) {
  static const char* const states[] = {"off", "small"};
  evsam_model* model = NULL;
  evsam_options options = EVSAM_OPTIONS_INIT;
  int i;
  for (i = 0; i < 2; ++i) {
    options.packed_cache = i == 0 ? EVSAM_PACKED_CACHE_OFF : EVSAM_PACKED_CACHE_ON;
    CHECK(evsam_load(weights, NULL, &options, &model) == EVSAM_OK);
    CHECK(strcmp(evsam_packed_cache_state(model), states[i]) == 0);
    evsam_free(model);
  }
  CHECK(strcmp(evsam_packed_cache_state(NULL), "") == 0);
  options.packed_cache = 3;
  CHECK_FAILS(evsam_load(weights, NULL, &options, &model), EVSAM_INVALID_ARGUMENT,
              "options.packed_cache: expected an evsam_packed_cache, 0 to 2, got 3");
}

static void test_embeddings(const evsam_model* model, const evsam_model* other) {
  evsam_embedding* embedding = NULL;
  evsam_prompts prompts = EVSAM_PROMPTS_INIT;
  const float* data = NULL;
  const float box[4] = {30, 20, 80, 60};
  int64_t shape[4] = {0, 0, 0, 0};
  float score = 0;
  float others_score = 0;
  int32_t maps = 0;
  prompts.count = 1;
  prompts.boxes = box;
  CHECK_FAILS(evsam_embedding_create(NULL, &embedding), EVSAM_INVALID_ARGUMENT, "model: expected a pointer");
  CHECK_FAILS(evsam_embedding_create(model, NULL), EVSAM_INVALID_ARGUMENT, "embedding: expected a pointer");
  CHECK(evsam_embedding_create(model, &embedding) == EVSAM_OK);
  CHECK_FAILS(evsam_embedding_map(embedding, 0, &data, shape), EVSAM_INVALID_ARGUMENT, "got an empty one");
  CHECK_FAILS(evsam_predict(model, embedding, &prompts, NULL, &score, NULL), EVSAM_INVALID_ARGUMENT,
              "embedding: expected an encoded image, got an empty one");
  CHECK_FAILS(evsam_encode(model, NULL, kHeight, kWidth, kRow, embedding), EVSAM_INVALID_ARGUMENT, "pixels: expected");
  CHECK_FAILS(evsam_encode(model, image, 0, kWidth, kRow, embedding), EVSAM_INVALID_ARGUMENT, "expected");
  CHECK_FAILS(evsam_encode(model, image, kHeight, -5, kRow, embedding), EVSAM_INVALID_ARGUMENT, "expected");
  CHECK_FAILS(evsam_encode(model, image, kHeight, kWidth, 3 * kWidth - 1, embedding), EVSAM_INVALID_ARGUMENT,
              "expected");
  CHECK_FAILS(evsam_encode(model, image, kHeight, kWidth, kRow, NULL), EVSAM_INVALID_ARGUMENT, "embedding: expected");
  CHECK(evsam_encode(model, image, kHeight, kWidth, kRow, embedding) == EVSAM_OK);
  while (evsam_embedding_map(embedding, maps, &data, shape) == EVSAM_OK) {
    if (maps == 0) CHECK(shape[0] == 128 && shape[1] == 32 && shape[2] == 32);
    for (int64_t i = 0; i < shape[0] * shape[1] * shape[2]; ++i) {
      if (!isfinite(data[i])) report(0, __LINE__, "finite features");
    }
    ++maps;
  }
  CHECK(maps == 4);
  CHECK_FAILS(evsam_embedding_map(embedding, -1, &data, shape), EVSAM_INVALID_ARGUMENT, "index: expected 0 to 3");
  CHECK(evsam_predict(other, embedding, &prompts, NULL, &others_score, NULL) == EVSAM_OK); /* the same weights */
  CHECK(evsam_predict(model, embedding, &prompts, NULL, &score, NULL) == EVSAM_OK);
  CHECK(score > 0 && score < 2 && score == others_score);
  evsam_embedding_free(embedding);
}

/* Every format, with and without a gap between rows, gives the embedding of the same pixels as RGB. */
static void test_formats(const evsam_model* model) {
  static const struct {
    int32_t format;
    int channels, red, green, blue;
  } kFormats[] = {{EVSAM_RGB, 3, 0, 1, 2},
                  {EVSAM_BGR, 3, 2, 1, 0},
                  {EVSAM_RGBA, 4, 0, 1, 2},
                  {EVSAM_BGRA, 4, 2, 1, 0},
                  {EVSAM_GRAY, 1, 0, 0, 0}};
  enum { kGap = 7 };
  static uint8_t pixels[kHeight * (4 * kWidth + kGap)];
  static uint8_t rgb[kHeight * kWidth * 3];
  evsam_embedding* expected = NULL;
  evsam_embedding* got = NULL;
  const float* a = NULL;
  const float* b = NULL;
  int64_t shape[3] = {0, 0, 0};
  CHECK(evsam_embedding_create(model, &expected) == EVSAM_OK && evsam_embedding_create(model, &got) == EVSAM_OK);
  for (int i = 0; i < 10; ++i) {
    evsam_image given = EVSAM_IMAGE_INIT;
    const int channels = kFormats[i / 2].channels;
    const int row = channels * kWidth + (i % 2 ? kGap : 0);
    memset(pixels, 99, sizeof(pixels)); /* gaps and alpha */
    for (int y = 0; y < kHeight; ++y) {
      for (int x = 0; x < kWidth; ++x) {
        const uint8_t* from = image + y * kRow + 3 * x;
        uint8_t* to = pixels + y * row + channels * x;
        uint8_t* plain = rgb + 3 * (y * kWidth + x);
        memcpy(plain, from, 3);
        if (channels == 1) memset(plain, from[0], 3);
        to[kFormats[i / 2].blue] = from[2]; /* red last: the only one in grey */
        to[kFormats[i / 2].green] = from[1];
        to[kFormats[i / 2].red] = from[0];
      }
    }
    given.pixels = pixels;
    given.height = kHeight;
    given.width = kWidth;
    given.row_bytes = i % 2 ? row : 0;
    given.format = kFormats[i / 2].format;
    CHECK(evsam_encode(model, rgb, kHeight, kWidth, 3 * kWidth, expected) == EVSAM_OK);
    CHECK(evsam_encode_image(model, &given, got) == EVSAM_OK);
    CHECK(evsam_embedding_map(expected, 0, &a, shape) == EVSAM_OK &&
          evsam_embedding_map(got, 0, &b, shape) == EVSAM_OK);
    CHECK(memcmp(a, b, (size_t)(shape[0] * shape[1] * shape[2]) * sizeof(float)) == 0);
  }
  for (int i = 0; i < 7; ++i) {
    static const char* const kMessages[] = {"image: expected a pointer, got NULL",
                                            "image.pixels: expected a pointer, got NULL",
                                            "image.format: expected an evsam_format, 0 to 4, got 5",
                                            "image.height: expected 1 to 16777216 pixels, got 0",
                                            "image.width: expected 1 to 16777216 pixels, got -1",
                                            "image.row_bytes: expected 0, or at least 12, got 11",
                                            "image.struct_size: expected at least"};
    evsam_image given = EVSAM_IMAGE_INIT;
    given.pixels = i == 1 ? NULL : pixels;
    given.format = i == 2 ? 5 : EVSAM_BGRA;
    given.height = i == 3 ? 0 : 3;
    given.width = i == 4 ? -1 : 3;
    given.row_bytes = i == 5 ? 11 : 0;
    if (i == 6) given.struct_size = 8;
    report(evsam_encode_image(model, i == 0 ? NULL : &given, got) == EVSAM_INVALID_ARGUMENT, __LINE__, kMessages[i]);
    report(strstr(evsam_last_error(), kMessages[i]) != NULL, __LINE__, kMessages[i]);
    CHECK_FAILS(evsam_embedding_map(got, 0, &b, shape), EVSAM_INVALID_ARGUMENT, "got an empty one");
  }
  evsam_embedding_free(expected);
  evsam_embedding_free(got);
}

static void test_shapes(const evsam_model* model, const evsam_embedding* embedding) {
  const float points[4] = {55, 40, 5, 5};
  const int32_t labels[2] = {1, 0};
  const float box[4] = {30, 20, 80, 60};
  int64_t shape[4];
  evsam_prompts prompts = EVSAM_PROMPTS_INIT;
  prompts.count = -3;
  CHECK_FAILS(evsam_predict(model, embedding, &prompts, NULL, NULL, NULL), EVSAM_INVALID_ARGUMENT,
              "count: expected 0 to 1048576 prompts, got -3");
  prompts.count = INT64_MAX;
  CHECK_FAILS(evsam_predict(model, embedding, &prompts, NULL, NULL, NULL), EVSAM_INVALID_ARGUMENT,
              "count: expected 0 to 1048576 prompts, got 9223372036854775807");
  CHECK_FAILS(evsam_prediction_shape(embedding, NULL, shape), EVSAM_INVALID_ARGUMENT, "prompts: expected a pointer");
  prompts.count = 2;
  CHECK_FAILS(evsam_prediction_shape(embedding, &prompts, shape), EVSAM_INVALID_ARGUMENT, "at least one prompt");
  prompts.boxes = box;
  prompts.points_each = 1;
  CHECK_FAILS(evsam_prediction_shape(embedding, &prompts, shape), EVSAM_INVALID_ARGUMENT,
              "points_each: expected 0, for there are no points, got 1");
  prompts.boxes = NULL;
  prompts.points = points;
  prompts.points_each = 0;
  CHECK_FAILS(evsam_predict(model, embedding, &prompts, NULL, NULL, NULL), EVSAM_INVALID_ARGUMENT,
              "points_each: expected 1 to 65536, got 0");
  prompts.points_each = (int64_t)1 << 40;
  CHECK_FAILS(evsam_predict(model, embedding, &prompts, NULL, NULL, NULL), EVSAM_INVALID_ARGUMENT,
              "points_each: expected 1 to 65536, got 1099511627776");
  prompts.points_each = 1;
  prompts.labels = labels;
  CHECK(evsam_prediction_shape(embedding, &prompts, shape) == EVSAM_OK);
  CHECK(shape[0] == 2 && shape[1] == 3 && shape[2] == kHeight && shape[3] == kWidth);
  prompts.multimask = EVSAM_MULTIMASK_OFF;
  CHECK(evsam_prediction_shape(embedding, &prompts, shape) == EVSAM_OK && shape[1] == 1);
  prompts.multimask = 9;
  CHECK_FAILS(evsam_predict(model, embedding, &prompts, NULL, NULL, NULL), EVSAM_INVALID_ARGUMENT,
              "multimask: expected an evsam_multimask, 0 to 2, got 9");
  prompts.multimask = EVSAM_MULTIMASK_AUTO;
  prompts.count = 1;
  prompts.boxes = box;
  CHECK(evsam_prediction_shape(embedding, &prompts, shape) == EVSAM_OK && shape[0] == 1 && shape[1] == 1);
  prompts.multimask = EVSAM_MULTIMASK_ON;
  CHECK(evsam_prediction_shape(embedding, &prompts, shape) == EVSAM_OK && shape[1] == 3);
}

/* A detector that found nothing gives no boxes, and perhaps no array of them. */
static void test_none(const evsam_model* model, const evsam_embedding* embedding) {
  const float box[4] = {30, 20, 80, 60};
  int64_t shape[4] = {9, 9, 9, 9};
  uint8_t mask = 7;
  float value = 7;
  evsam_prompts prompts = EVSAM_PROMPTS_INIT;
  for (int with_array = 0; with_array < 2; ++with_array) {
    prompts.boxes = with_array ? box : NULL;
    prompts.multimask = EVSAM_MULTIMASK_AUTO;
    CHECK(evsam_prediction_shape(embedding, &prompts, shape) == EVSAM_OK);
    CHECK(shape[0] == 0 && shape[1] == 1 && shape[2] == kHeight && shape[3] == kWidth);
    CHECK(evsam_predict(model, embedding, &prompts, &mask, &value, &value) == EVSAM_OK);
    CHECK(mask == 7 && value == 7);
    prompts.multimask = EVSAM_MULTIMASK_ON;
    CHECK(evsam_prediction_shape(embedding, &prompts, shape) == EVSAM_OK && shape[0] == 0 && shape[1] == 3);
    prompts.multimask = 9;
    CHECK_FAILS(evsam_prediction_shape(embedding, &prompts, shape), EVSAM_INVALID_ARGUMENT, "multimask: expected an");
  }
  CHECK_FAILS(evsam_predict(NULL, embedding, &prompts, NULL, NULL, NULL), EVSAM_INVALID_ARGUMENT, "model: expected");
}

/* Prompts with one to three points, filled up with padding, give what each gives alone. */
static void test_padding(const evsam_model* model, const evsam_embedding* embedding) {
  enum { kCount = 20, kEach = 3 };
  static float points[kCount * kEach * 2];
  static int32_t labels[kCount * kEach];
  static float logits[kCount * kPlane];
  static float prior[kCount * kPlane];
  static float single[kPlane];
  float scores[kCount];
  int64_t shape[4];
  evsam_prompts prompts = EVSAM_PROMPTS_INIT;
  prompts.count = kCount;
  prompts.points_each = kEach;
  prompts.points = points;
  prompts.labels = labels;
  for (int i = 0; i < kCount * kEach; ++i) {
    const int padding = i / kEach % 3; /* 0: the last two, 1: none, 2: the first */
    const int pad = padding == 0 ? i % kEach > 0 : padding == 2 && i % kEach == 0;
    points[2 * i] = pad ? NAN : (float)(i + 40);
    points[2 * i + 1] = pad ? -1e30F : (float)(i + 7);
    labels[i] = pad ? -1 : i % kEach != 2;
  }
  CHECK(evsam_prediction_shape(embedding, &prompts, shape) == EVSAM_OK && shape[0] == kCount && shape[1] == 1);
  for (int with_masks = 0; with_masks < 2; ++with_masks) {
    if (with_masks) {
      memcpy(prior, logits, sizeof(prior));
      prompts.masks = prior;
    }
    CHECK(evsam_predict(model, embedding, &prompts, NULL, scores, logits) == EVSAM_OK);
    for (int row = 0; row < kCount; ++row) {
      const int kept = row % 3 == 0 ? 1 : row % 3 == 1 ? 3 : 2;
      const int first = kEach * row + (row % 3 == 2);
      float score = 0;
      evsam_prompts one = prompts;
      one.count = 1;
      one.points_each = kept;
      one.points = points + 2 * first;
      one.labels = labels + first;
      one.multimask = EVSAM_MULTIMASK_OFF;
      if (with_masks) one.masks = prior + row * kPlane;
      CHECK(evsam_predict(model, embedding, &one, NULL, &score, single) == EVSAM_OK);
      CHECK(score == scores[row]);
      CHECK(memcmp(single, logits + row * kPlane, sizeof(single)) == 0);
    }
  }
  prompts.masks = NULL;
  prompts.count = 1; /* of the first prompt, only one click is left: it is ambiguous */
  CHECK(evsam_prediction_shape(embedding, &prompts, shape) == EVSAM_OK && shape[0] == 1 && shape[1] == 3);
  labels[0] = -1;
  CHECK_FAILS(evsam_predict(model, embedding, &prompts, NULL, scores, NULL), EVSAM_INVALID_ARGUMENT,
              "labels: expected a point in each prompt that has no box or mask, got only padding (-1)");
}

/* Many prompts in one call give what each gives alone. */
static void test_many(const evsam_model* model, const evsam_embedding* embedding) {
  enum { kCount = 19, kMasks = 3 };
  static float points[2 * kCount];
  static int32_t labels[kCount];
  static uint8_t masks[kCount * kMasks * kPixels];
  static uint8_t mask[kMasks * kPixels];
  static float logits[kCount * kMasks * kPlane];
  static float single[kMasks * kPlane];
  static float prior[kCount * kPlane];
  float scores[kCount * kMasks];
  float score[kMasks];
  evsam_prompts prompts = EVSAM_PROMPTS_INIT;
  prompts.count = kCount;
  prompts.points_each = 1;
  prompts.points = points;
  prompts.labels = labels;
  for (int i = 0; i < kCount; ++i) {
    points[2 * i] = (float)(6 * i);
    points[2 * i + 1] = (float)(4 * i + 1);
    labels[i] = i / 6 % 2 == 0; /* no two parts of 16 prompts, as the library takes them, are labelled alike */
  }
  for (int with_masks = 0; with_masks < 2; ++with_masks) {
    if (with_masks) {
      for (int i = 0; i < kCount; ++i) memcpy(prior + i * kPlane, logits + (kMasks * i + 1) * kPlane, kPlane * 4);
      prompts.masks = prior;
      prompts.multimask = EVSAM_MULTIMASK_ON;
    }
    CHECK(evsam_predict(model, embedding, &prompts, masks, scores, logits) == EVSAM_OK);
    for (int i = 0; i < kCount; i += 6) {
      evsam_prompts one = prompts;
      one.count = 1;
      one.points = points + 2 * i;
      one.labels = labels + i;
      if (with_masks) one.masks = prior + i * kPlane;
      CHECK(evsam_predict(model, embedding, &one, mask, score, single) == EVSAM_OK);
      CHECK(memcmp(mask, masks + i * kMasks * kPixels, sizeof(mask)) == 0);
      CHECK(memcmp(score, scores + i * kMasks, sizeof(score)) == 0);
      CHECK(memcmp(single, logits + i * kMasks * kPlane, sizeof(single)) == 0);
      for (int j = 0; j < kMasks * kPixels; ++j) {
        if (mask[j] > 1) report(0, __LINE__, "masks of 0 and 1");
      }
    }
  }
}

/* What a progress callback saw, and after how many calls it ends the search; 0: never. */
typedef struct {
  int calls;
  int stop_after;
  int64_t done;
  int64_t total;
  int ordered; /* done never falls, and total stays */
} watch;

static int on_progress(void* user, int64_t done, int64_t total) {
  watch* seen = (watch*)user;
  seen->ordered = seen->calls == 0 || (seen->ordered && done >= seen->done && total == seen->total);
  seen->ordered = seen->ordered && done > 0 && done <= total;
  seen->done = done;
  seen->total = total;
  return ++seen->calls == seen->stop_after ? -3 : 0;
}

/* Each segment as it is said to be: runs, box and area are those of the painted mask. */
static void check_segments(const evsam_segments* segments) {
  static uint8_t mask[kHeight * (kWidth + 3)];
  static int32_t labels[kPixels];
  static int64_t smallest[kPixels]; /* area of the smallest mask so far on each pixel */
  static int32_t expected[kPixels];
  const int64_t count = evsam_segments_count(segments);
  for (int i = 0; i < kPixels; ++i) smallest[i] = INT64_MAX, expected[i] = 0;
  for (int64_t index = 0; index < count; ++index) {
    evsam_segment segment = EVSAM_SEGMENT_INIT;
    int64_t box[4] = {kWidth, kHeight, 0, 0};
    int64_t area = 0;
    int64_t place = 0;
    int on = 0;
    int same = 1;
    CHECK(evsam_segments_get(segments, index, &segment) == EVSAM_OK);
    memset(mask, 9, sizeof(mask));
    CHECK(evsam_segments_paint(segments, index, 5, mask, kWidth + 3) == EVSAM_OK);
    for (int64_t run = 0; run < segment.counts_length; ++run, on = !on) {
      for (int64_t i = 0; i < segment.counts[run]; ++i, ++place) {
        const int64_t x = place / kHeight;
        const int64_t y = place % kHeight;
        same = same && mask[y * (kWidth + 3) + x] == (on ? 5 : 9);
        if (!on) continue;
        ++area;
        if (x < box[0]) box[0] = x;
        if (y < box[1]) box[1] = y;
        if (x >= box[2]) box[2] = x + 1;
        if (y >= box[3]) box[3] = y + 1;
      }
    }
    for (int64_t y = 0; y < kHeight; ++y) {
      for (int64_t x = kWidth; x < kWidth + 3; ++x) same = same && mask[y * (kWidth + 3) + x] == 9;
      for (int64_t x = 0; x < kWidth; ++x) {
        if (mask[y * (kWidth + 3) + x] == 5 && segment.area < smallest[y * kWidth + x]) {
          smallest[y * kWidth + x] = segment.area;
          expected[y * kWidth + x] = (int32_t)index + 1;
        }
      }
    }
    CHECK(same && place == kPixels && area == segment.area && area > 0);
    CHECK(memcmp(box, segment.box, sizeof(box)) == 0);
    CHECK(segment.predicted_iou > 0 && segment.stability_score > 0 && segment.stability_score <= 1);
    CHECK(segment.point[0] > 0 && segment.point[0] < kWidth && segment.point[1] > 0 && segment.point[1] < kHeight);
    CHECK(segment.crop_box[0] >= 0 && segment.crop_box[1] >= 0 && segment.crop_box[2] <= kWidth &&
          segment.crop_box[3] <= kHeight && segment.crop_box[0] < segment.crop_box[2]);
    CHECK(segment.rle != NULL && strlen(segment.rle) > 0);
  }
  memset(labels, 77, sizeof(labels));
  CHECK(evsam_segments_labels(segments, labels) == EVSAM_OK);
  for (int i = 0; i < kPixels; ++i) {
    const int64_t at = expected[i] == 0 ? 0 : smallest[i]; /* of equally large masks either may be above */
    evsam_segment segment = EVSAM_SEGMENT_INIT;
    if (labels[i] == expected[i]) continue;
    if (labels[i] < 1 || evsam_segments_get(segments, labels[i] - 1, &segment) != EVSAM_OK || segment.area != at) {
      report(0, __LINE__, "the smallest mask's label");
    }
  }
}

static void test_everything(const evsam_model* model, const evsam_embedding* embedding) {
  evsam_everything_options options = EVSAM_EVERYTHING_OPTIONS_INIT;
  evsam_image given = EVSAM_IMAGE_INIT;
  evsam_segments* segments = NULL;
  evsam_segments* again = NULL;
  watch seen = {0, 0, 0, 0, 0};
  int64_t size[2] = {0, 0};
  int64_t count = 0;
  given.pixels = image;
  given.height = kHeight;
  given.width = kWidth;
  given.row_bytes = kRow;
  options.points_per_side = 6;
  options.points_per_batch = 8;
  options.mode = EVSAM_EVERYTHING_EXACT;
  options.pred_iou_thresh = -1;
  options.stability_score_thresh = 0.5;
  options.progress = on_progress;
  options.user = &seen;
  CHECK(evsam_everything(model, NULL, embedding, &options, &segments) == EVSAM_OK);
  count = evsam_segments_count(segments);
  CHECK(evsam_segments_size(segments, size) == EVSAM_OK && size[0] == kHeight && size[1] == kWidth);
  CHECK_FAILS(evsam_segments_size(segments, NULL), EVSAM_INVALID_ARGUMENT, "size: expected a pointer, got NULL");
  CHECK(count > 0 && seen.calls == 5 && seen.ordered && seen.done == 36 && seen.total == 36);
  check_segments(segments);

  /* The image gives what its embedding gives. */
  CHECK(evsam_everything(model, &given, NULL, &options, &again) == EVSAM_OK);
  CHECK(evsam_segments_count(again) == count);
  for (int64_t i = 0; i < count && evsam_segments_count(again) == count; ++i) {
    evsam_segment a = EVSAM_SEGMENT_INIT;
    evsam_segment b = EVSAM_SEGMENT_INIT;
    CHECK(evsam_segments_get(segments, i, &a) == EVSAM_OK && evsam_segments_get(again, i, &b) == EVSAM_OK);
    CHECK(strcmp(a.rle, b.rle) == 0 && a.predicted_iou == b.predicted_iou);
  }
  evsam_segments_free(again);

  /* Ended early: what was found by then. */
  memset(&seen, 0, sizeof(seen));
  seen.stop_after = 2;
  CHECK(evsam_everything(model, NULL, embedding, &options, &again) == EVSAM_OK);
  CHECK(seen.calls == 2 && seen.done == 16 && evsam_segments_count(again) <= count);
  check_segments(again);
  evsam_segments_free(again);

  /* Crops, of another format. */
  options.progress = NULL;
  options.crop_n_layers = 1;
  options.crop_n_points_downscale_factor = 2;
  options.points_per_side = 2;
  options.min_mask_region_area = 4;
  given.format = EVSAM_GRAY;
  CHECK(evsam_everything(model, &given, NULL, &options, &again) == EVSAM_OK);
  check_segments(again);
  evsam_segments_free(again);

  /* Nothing is good enough: an empty result, of which there is nothing to get. */
  options.crop_n_layers = 0;
  options.pred_iou_thresh = 1;
  options.stability_score_thresh = 1;
  CHECK(evsam_everything(model, NULL, embedding, &options, &again) == EVSAM_OK);
  CHECK(again != NULL && evsam_segments_count(again) == 0);
  check_segments(again);
  CHECK_FAILS(evsam_segments_paint(again, 0, 1, image, 0), EVSAM_INVALID_ARGUMENT,
              "index: expected none, for there are no segments, got 0");
  evsam_segments_free(again);

  { /* own points: those of the grid of 2 x 2, and fewer of them */
    static const double kFour[8] = {0.25, 0.25, 0.75, 0.25, 0.25, 0.75, 0.75, 0.75};
    static const double kOne[2] = {0.5, 0.5};
    const double* const grids[2] = {kFour, kOne};
    const int64_t sizes[2] = {4, 1};
    evsam_segments* own = NULL;
    evsam_everything_options both = EVSAM_EVERYTHING_OPTIONS_INIT;
    both.mode = EVSAM_EVERYTHING_EXACT;
    both.pred_iou_thresh = both.stability_score_thresh = -1;
    both.points_per_side = 2;
    CHECK(evsam_everything(model, NULL, embedding, &both, &again) == EVSAM_OK);
    both.points_per_side = 9; /* which is not read */
    both.point_grid_count = 1;
    both.point_grid_sizes = sizes;
    both.point_grids = grids;
    CHECK(evsam_everything(model, NULL, embedding, &both, &own) == EVSAM_OK);
    count = evsam_segments_count(again);
    CHECK(count > 1 && evsam_segments_count(own) == count);
    for (int64_t i = 0; i < count && evsam_segments_count(own) == count; ++i) {
      evsam_segment a = EVSAM_SEGMENT_INIT;
      evsam_segment b = EVSAM_SEGMENT_INIT;
      CHECK(evsam_segments_get(again, i, &a) == EVSAM_OK && evsam_segments_get(own, i, &b) == EVSAM_OK);
      CHECK(strcmp(a.rle, b.rle) == 0 && a.point[0] == b.point[0] && a.point[1] == b.point[1]);
    }
    evsam_segments_free(own);
    evsam_segments_free(again);

    /* One more layer: the image, and four crops with one point each. */
    memset(&seen, 0, sizeof(seen));
    both.crop_n_layers = 1;
    both.point_grid_count = 2;
    both.progress = on_progress;
    both.user = &seen;
    given.format = EVSAM_RGB;
    CHECK(evsam_everything(model, &given, NULL, &both, &again) == EVSAM_OK);
    CHECK(seen.done == 8 && seen.total == 8);
    check_segments(again);
    evsam_segments_free(again);
  }

  { /* the defaults, and the thresholds of the variant */
    evsam_everything_options few = EVSAM_EVERYTHING_OPTIONS_INIT;
    few.points_per_side = 4;
    CHECK(evsam_everything(model, NULL, embedding, &few, &again) == EVSAM_OK);
    check_segments(again);
    evsam_segments_free(again);
  }
  evsam_segments_free(segments);
  evsam_segments_free(NULL);
  CHECK(evsam_segments_count(NULL) == 0);
  CHECK_FAILS(evsam_segments_size(NULL, size), EVSAM_INVALID_ARGUMENT, "segments: expected a pointer, got NULL");
}

static void test_everything_errors(const evsam_model* model, const evsam_embedding* embedding) {
  evsam_everything_options options = EVSAM_EVERYTHING_OPTIONS_INIT;
  evsam_image given = EVSAM_IMAGE_INIT;
  evsam_segments* segments = NULL;
  evsam_segment segment = EVSAM_SEGMENT_INIT;
  evsam_embedding* empty = NULL;
  uint8_t pixels[kPixels];
  CHECK_FAILS(evsam_everything(NULL, NULL, embedding, NULL, &segments), EVSAM_INVALID_ARGUMENT,
              "model: expected a pointer, got NULL");
  CHECK_FAILS(evsam_everything(model, NULL, embedding, NULL, NULL), EVSAM_INVALID_ARGUMENT,
              "segments: expected a pointer, got NULL");
  CHECK_FAILS(evsam_everything(model, NULL, NULL, NULL, &segments), EVSAM_INVALID_ARGUMENT,
              "image, embedding: expected one of them, got none");
  CHECK_FAILS(evsam_everything(model, &given, embedding, NULL, &segments), EVSAM_INVALID_ARGUMENT,
              "image, embedding: expected one of them, got both");
  CHECK_FAILS(evsam_everything(model, &given, NULL, NULL, &segments), EVSAM_INVALID_ARGUMENT,
              "image.pixels: expected a pointer, got NULL");
  CHECK(evsam_embedding_create(model, &empty) == EVSAM_OK);
  CHECK_FAILS(evsam_everything(model, NULL, empty, NULL, &segments), EVSAM_INVALID_ARGUMENT, "got an empty one");
  evsam_embedding_free(empty);
  for (int i = 0; i < 20; ++i) {
    static const double kPoints[2] = {0.5, 1.5};
    static const double* const kGrids[2] = {kPoints, NULL};
    static const int64_t kSizes[2] = {1, 1};
    static const int64_t kNone[1] = {0};
    static const char* const kMessages[] = {"mode: expected an evsam_everything_mode, 0 or 1, got 2",
                                            "points_per_side: expected 1 to 1024, got -1",
                                            "points_per_batch: expected 1 to",
                                            "pred_iou_thresh: expected a number from 0 to 1, or a negative one for any "
                                            "score, got nan",
                                            "stability_score_thresh: expected a number",
                                            "stability_score_offset: expected a number from 0 to 1e6, got -1",
                                            "box_nms_thresh: expected a number from 0 to 1, got 1.5",
                                            "crop_n_layers: expected 0 to 6, got -1",
                                            "crop_nms_thresh: expected a number from 0 to 1, got -0.5",
                                            "crop_n_points_downscale_factor: expected 1 to",
                                            "crop_n_layers: expected 0 for an embedding, got 1; crops need the image",
                                            "options.struct_size: expected at least",
                                            "pred_iou_thresh: expected a number from 0 to 1, or a negative one for any "
                                            "score, got 88",
                                            "crop_overlap_ratio: expected a number from 0 to 1, got nan",
                                            "point_grid_count: expected 0 or more, got -1",
                                            "point_grids: expected a pointer, got NULL",
                                            "point_grid_sizes: expected a pointer, got NULL",
                                            "point_grid_sizes[0]: expected 1 to 1048576, got 0",
                                            "point_grids[1]: expected a pointer, got NULL",
                                            "point_grids: expected numbers from 0 to 1, got 1.5"};
    evsam_everything_options wrong = EVSAM_EVERYTHING_OPTIONS_INIT;
    if (i == 0) wrong.mode = 2;
    if (i == 1) wrong.points_per_side = -1;
    if (i == 2) wrong.points_per_batch = -64;
    if (i == 3) wrong.pred_iou_thresh = NAN;
    if (i == 4) wrong.stability_score_thresh = INFINITY;
    if (i == 5) wrong.stability_score_offset = -1;
    if (i == 6) wrong.box_nms_thresh = 1.5;
    if (i == 7) wrong.crop_n_layers = -1;
    if (i == 8) wrong.crop_nms_thresh = -0.5;
    if (i == 9) wrong.crop_n_points_downscale_factor = -2;
    if (i == 10) wrong.crop_n_layers = 1;
    if (i == 11) wrong.struct_size = 16;
    if (i == 12) wrong.pred_iou_thresh = 88;
    if (i == 13) wrong.crop_overlap_ratio = NAN;
    if (i >= 14) {
      wrong.point_grid_count = i == 14 ? -1 : i == 18 ? 2 : 1;
      wrong.point_grids = i == 15 ? NULL : kGrids;
      wrong.point_grid_sizes = i == 16 ? NULL : i == 17 ? kNone : kSizes;
    }
    report(evsam_everything(model, NULL, embedding, &wrong, &segments) == EVSAM_INVALID_ARGUMENT, __LINE__,
           kMessages[i]);
    report(strstr(evsam_last_error(), kMessages[i]) != NULL, __LINE__, kMessages[i]);
  }
  CHECK(segments == NULL);
  options.points_per_side = 2;
  options.pred_iou_thresh = options.stability_score_thresh = -1;
  CHECK(evsam_everything(model, NULL, embedding, &options, &segments) == EVSAM_OK);
  CHECK(evsam_segments_count(segments) > 0);
  CHECK_FAILS(evsam_segments_get(NULL, 0, &segment), EVSAM_INVALID_ARGUMENT, "segments: expected a pointer, got NULL");
  CHECK_FAILS(evsam_segments_get(segments, 0, NULL), EVSAM_INVALID_ARGUMENT, "segment: expected a pointer, got NULL");
  CHECK_FAILS(evsam_segments_get(segments, -1, &segment), EVSAM_INVALID_ARGUMENT, "index: expected 0 to ");
  CHECK_FAILS(evsam_segments_get(segments, INT64_MAX, &segment), EVSAM_INVALID_ARGUMENT, "got 9223372036854775807");
  CHECK_FAILS(evsam_segments_paint(segments, 0, 1, NULL, 0), EVSAM_INVALID_ARGUMENT, "pixels: expected a pointer");
  CHECK_FAILS(evsam_segments_paint(segments, 0, 1, pixels, kWidth - 1), EVSAM_INVALID_ARGUMENT,
              "row_bytes: expected 0, or at least 120, got 119");
  CHECK_FAILS(evsam_segments_labels(segments, NULL), EVSAM_INVALID_ARGUMENT, "labels: expected a pointer, got NULL");
  CHECK_FAILS(evsam_segments_labels(NULL, NULL), EVSAM_INVALID_ARGUMENT, "segments: expected a pointer, got NULL");
  segment.struct_size = 8;
  CHECK_FAILS(evsam_segments_get(segments, 0, &segment), EVSAM_INVALID_ARGUMENT, "segment.struct_size: expected at");
  { /* a caller that was compiled with a later version */
    struct {
      evsam_segment known;
      int64_t later;
    } newer = {EVSAM_SEGMENT_INIT, 5};
    newer.known.struct_size = sizeof(newer);
    CHECK(evsam_segments_get(segments, 0, &newer.known) == EVSAM_OK);
    CHECK(newer.later == 0 && newer.known.area > 0 && newer.known.struct_size == sizeof(newer));
  }
  evsam_segments_free(segments);
}

/* A red box on grey. */
static void draw_frame(int64_t left, uint8_t* pixels) {
  for (int64_t y = 0; y < kHeight; ++y) {
    for (int64_t x = 0; x < kWidth; ++x) {
      const int inside = x >= left && x < left + 30 && y >= 30 && y < 60;
      pixels[3 * (y * kWidth + x)] = inside ? 220 : 40;
      pixels[3 * (y * kWidth + x) + 1] = pixels[3 * (y * kWidth + x) + 2] = 60;
    }
  }
}

static evsam_image frame_of(const uint8_t* pixels) {
  evsam_image frame = EVSAM_IMAGE_INIT;
  frame.pixels = pixels;
  frame.height = kHeight;
  frame.width = kWidth;
  return frame;
}

/* Whether a box is near that of the box that draw_frame() draws. */
static int is_at(const float* box, int64_t left) {
  const float expected[4] = {(float)left, 30, (float)left + 30, 60};
  for (int i = 0; i < 4; ++i) {
    if (fabsf(box[i] - expected[i]) > 3) return 0;
  }
  return 1;
}

static void test_tracker(const evsam_model* model) {
  static uint8_t pixels[kPixels * 3];
  static uint8_t mask[kPixels];
  static int32_t labels[kPixels];
  static float logits[kPlane];
  const evsam_image frame = frame_of(pixels);
  const float box[4] = {20, 30, 50, 60};
  int64_t ids[2] = {0, 0};
  int64_t size[2] = {9, 9};
  int64_t bytes = 0;
  uint8_t* state = NULL;
  evsam_tracker* tracker = NULL;
  evsam_tracker* other = NULL;
  evsam_embedding* embedding = NULL;
  evsam_prompts prompts = EVSAM_PROMPTS_INIT;
  evsam_track track = EVSAM_TRACK_INIT;
  prompts.count = 1;
  prompts.boxes = box;
  draw_frame(20, pixels);
  CHECK(evsam_tracker_create(model, NULL, &tracker) == EVSAM_OK &&
        evsam_embedding_create(model, &embedding) == EVSAM_OK);
  CHECK(evsam_tracker_count(tracker) == 0 && evsam_tracker_ids(tracker, ids) == EVSAM_OK);
  CHECK(evsam_tracker_size(tracker, size) == EVSAM_OK && size[0] == 0 && size[1] == 0);
  CHECK(evsam_tracker_add(tracker, &frame, NULL, &prompts, &ids[0]) == EVSAM_OK && ids[0] == 1);
  CHECK(evsam_tracker_size(tracker, size) == EVSAM_OK && size[0] == kHeight && size[1] == kWidth);
  for (int i = 1; i <= 8; ++i) {
    int64_t x0 = kWidth, y0 = kHeight, x1 = 0, y1 = 0;
    draw_frame(20 + 3 * i, pixels);
    if (i % 2) { /* as an image, or as an embedding */
      CHECK(evsam_tracker_step(tracker, &frame, NULL) == EVSAM_OK);
    } else {
      CHECK(evsam_encode_image(model, &frame, embedding) == EVSAM_OK);
      CHECK(evsam_tracker_step(tracker, NULL, embedding) == EVSAM_OK);
    }
    CHECK(evsam_tracker_get(tracker, 1, &track) == EVSAM_OK);
    CHECK(track.id == 1 && track.lost == 0 && track.score > 0.5F && track.score <= 1 && is_at(track.box, 20 + 3 * i));
    memset(mask, 7, sizeof(mask));
    CHECK(evsam_tracker_mask(tracker, 1, mask) == EVSAM_OK);
    CHECK(evsam_tracker_labels(tracker, labels) == EVSAM_OK);
    for (int64_t p = 0; p < kPixels; ++p) {
      if (mask[p] > 1 || labels[p] != mask[p]) report(0, __LINE__, "mask and label");
      if (mask[p] == 0) continue;
      x0 = p % kWidth < x0 ? p % kWidth : x0;
      x1 = p % kWidth >= x1 ? p % kWidth + 1 : x1;
      y0 = p / kWidth < y0 ? p / kWidth : y0;
      y1 = p / kWidth + 1;
    }
    CHECK(track.box[0] == (float)x0 && track.box[1] == (float)y0 && track.box[2] == (float)x1 &&
          track.box[3] == (float)y1);
  }

  /* A state goes on in the same way; what is no state of this model is refused. */
  CHECK(evsam_tracker_save(tracker, NULL, &bytes) == EVSAM_OK && bytes > 100000);
  state = (uint8_t*)malloc((size_t)bytes);
  --bytes;
  CHECK_FAILS(evsam_tracker_save(tracker, state, &bytes), EVSAM_INVALID_ARGUMENT, "size: expected at least");
  ++bytes;
  CHECK(evsam_tracker_save(tracker, state, &bytes) == EVSAM_OK);
  CHECK_FAILS(evsam_tracker_restore(model, NULL, bytes, &other), EVSAM_INVALID_ARGUMENT, "state: expected a pointer");
  CHECK_FAILS(evsam_tracker_restore(NULL, state, bytes, &other), EVSAM_INVALID_ARGUMENT, "model: expected a pointer");
  for (int64_t cut = 0; cut < bytes; cut += cut < 64 ? 1 : 9973) {
    CHECK_FAILS(evsam_tracker_restore(model, state, cut, &other), EVSAM_INVALID_ARGUMENT, "state: expected");
  }
  for (int i = 0; i < 56; ++i) { /* bytes of the header and of the variant's name */
    state[i] ^= 0x55;
    CHECK_FAILS(evsam_tracker_restore(model, state, bytes, &other), EVSAM_INVALID_ARGUMENT, "state: expected");
    state[i] ^= 0x55;
    if (i == 48)
      CHECK(strstr(evsam_last_error(), "that of a tracker of nano with this encoder, got one of another") != NULL);
  }
  CHECK(other == NULL);
  CHECK(evsam_tracker_restore(model, state, bytes, &other) == EVSAM_OK && evsam_tracker_count(other) == 1);
  CHECK(evsam_tracker_get(other, 1, &track) == EVSAM_OK && track.lost == 0 && is_at(track.box, 44));
  CHECK(evsam_tracker_mask(other, 1, mask) == EVSAM_OK && memchr(mask, 1, sizeof(mask)) == NULL);
  draw_frame(47, pixels);
  CHECK(evsam_tracker_step(tracker, &frame, NULL) == EVSAM_OK && evsam_tracker_step(other, &frame, NULL) == EVSAM_OK);
  CHECK(evsam_tracker_mask(tracker, 1, mask) == EVSAM_OK && evsam_tracker_labels(other, labels) == EVSAM_OK);
  for (int64_t p = 0; p < kPixels; ++p) {
    if (labels[p] != mask[p]) report(0, __LINE__, "the mask of the restored tracker");
  }
  evsam_tracker_free(other);
  free(state);

  /* A mask alone is taken as it is, and an object that is not there is lost where it was. */
  for (int64_t p = 0; p < kPlane; ++p) {
    const int64_t x = p % EVSAM_LOGITS_SIDE, y = p / EVSAM_LOGITS_SIDE; /* 2.13 a pixel */
    logits[p] = x >= 100 && x < 164 && y >= 64 && y < 128 ? 10.0F : -10.0F;
  }
  prompts.boxes = NULL;
  prompts.masks = logits;
  CHECK(evsam_tracker_add(tracker, &frame, NULL, &prompts, &ids[1]) == EVSAM_OK && ids[1] == 2);
  CHECK(evsam_tracker_get(tracker, 2, &track) == EVSAM_OK && track.score == 1 && is_at(track.box, 47));
  CHECK(evsam_tracker_count(tracker) == 2 && evsam_tracker_ids(tracker, ids) == EVSAM_OK);
  CHECK(ids[0] == 1 && ids[1] == 2);
  draw_frame(kWidth, pixels);
  for (int i = 1; i <= 2; ++i) {
    CHECK(evsam_tracker_step(tracker, &frame, NULL) == EVSAM_OK);
    CHECK(evsam_tracker_get(tracker, 2, &track) == EVSAM_OK && track.lost == i && is_at(track.box, 47));
  }
  prompts.boxes = box; /* shown again */
  prompts.masks = NULL;
  draw_frame(20, pixels);
  CHECK(evsam_tracker_add(tracker, &frame, NULL, &prompts, &ids[1]) == EVSAM_OK && ids[1] == 2);
  CHECK(evsam_tracker_get(tracker, 2, &track) == EVSAM_OK && track.lost == 0 && is_at(track.box, 20));
  CHECK(evsam_tracker_remove(tracker, 1) == EVSAM_OK && evsam_tracker_count(tracker) == 1);
  CHECK_FAILS(evsam_tracker_remove(tracker, 1), EVSAM_INVALID_ARGUMENT, "id: expected an object's, got 1");
  ids[0] = 0;
  CHECK(evsam_tracker_add(tracker, &frame, NULL, &prompts, &ids[0]) == EVSAM_OK && ids[0] == 3);
  evsam_embedding_free(embedding);
  evsam_tracker_free(tracker);
}

static void test_tracker_errors(const evsam_model* model, const evsam_embedding* embedding) {
  static float none[kPlane];
  static int32_t labels[kPixels];
  static uint8_t mask[kPixels];
  const float boxes[8] = {30, 20, 80, 60, 30, 20, 80, 60};
  int64_t id = 0;
  int64_t bytes = 0;
  int64_t size[2];
  evsam_image frame = frame_of(image);
  evsam_prompts prompts = EVSAM_PROMPTS_INIT;
  evsam_track track = EVSAM_TRACK_INIT;
  evsam_tracker* tracker = NULL;
  evsam_tracker* other = NULL;
  evsam_embedding* empty = NULL;
  evsam_tracker_options options = EVSAM_TRACKER_OPTIONS_INIT;
  uint8_t state[128];
  frame.row_bytes = kRow;
  prompts.count = 1;
  prompts.boxes = boxes;
  evsam_tracker_free(NULL);
  CHECK(evsam_tracker_count(NULL) == 0);
  CHECK_FAILS(evsam_tracker_create(NULL, NULL, &tracker), EVSAM_INVALID_ARGUMENT,
              "model: expected a pointer, got NULL");
  CHECK_FAILS(evsam_tracker_create(model, NULL, NULL), EVSAM_INVALID_ARGUMENT, "tracker: expected a pointer, got NULL");
  for (int i = 0; i < 4; ++i) {
    const float windows[4] = {0.5F, -4, 101, (float)NAN};
    options.window = windows[i];
    CHECK_FAILS(evsam_tracker_create(model, &options, &tracker), EVSAM_INVALID_ARGUMENT, "window: expected 0 or 1 to");
  }
  options.struct_size = 4;
  CHECK_FAILS(evsam_tracker_create(model, &options, &tracker), EVSAM_INVALID_ARGUMENT, "options.struct_size: expected");
  CHECK_FAILS(evsam_tracker_add(NULL, &frame, NULL, &prompts, &id), EVSAM_INVALID_ARGUMENT, "tracker: expected");
  CHECK_FAILS(evsam_tracker_step(NULL, &frame, NULL), EVSAM_INVALID_ARGUMENT, "tracker: expected a pointer, got NULL");
  CHECK_FAILS(evsam_tracker_remove(NULL, 1), EVSAM_INVALID_ARGUMENT, "tracker: expected a pointer, got NULL");
  CHECK_FAILS(evsam_tracker_ids(NULL, &id), EVSAM_INVALID_ARGUMENT, "tracker: expected a pointer, got NULL");
  CHECK_FAILS(evsam_tracker_size(NULL, size), EVSAM_INVALID_ARGUMENT, "tracker: expected a pointer, got NULL");
  CHECK_FAILS(evsam_tracker_save(NULL, NULL, &bytes), EVSAM_INVALID_ARGUMENT, "tracker: expected a pointer, got NULL");
  CHECK(evsam_tracker_create(model, NULL, &tracker) == EVSAM_OK && evsam_embedding_create(model, &empty) == EVSAM_OK);

  /* before any frame */
  CHECK_FAILS(evsam_tracker_get(tracker, 1, &track), EVSAM_INVALID_ARGUMENT, "id: expected an object's, got 1");
  CHECK_FAILS(evsam_tracker_mask(tracker, 0, mask), EVSAM_INVALID_ARGUMENT, "id: expected an object's, got 0");
  CHECK_FAILS(evsam_tracker_labels(tracker, labels), EVSAM_INVALID_ARGUMENT, "tracker: expected one that has seen a");
  bytes = sizeof(state);
  CHECK(evsam_tracker_save(tracker, state, &bytes) == EVSAM_OK && bytes < (int64_t)sizeof(state));
  CHECK(evsam_tracker_restore(model, state, bytes, &other) == EVSAM_OK && evsam_tracker_count(other) == 0);
  evsam_tracker_free(other);

  CHECK_FAILS(evsam_tracker_step(tracker, NULL, NULL), EVSAM_INVALID_ARGUMENT,
              "embedding: expected one of them, got n");
  CHECK_FAILS(evsam_tracker_step(tracker, &frame, embedding), EVSAM_INVALID_ARGUMENT, "one of them, got both");
  CHECK_FAILS(evsam_tracker_step(tracker, NULL, empty), EVSAM_INVALID_ARGUMENT, "an encoded image, got an empty one");
  CHECK_FAILS(evsam_tracker_add(tracker, NULL, embedding, &prompts, NULL), EVSAM_INVALID_ARGUMENT, "id: expected a po");
  CHECK_FAILS(evsam_tracker_add(tracker, NULL, embedding, NULL, &id), EVSAM_INVALID_ARGUMENT, "prompts: expected a po");
  prompts.count = 2;
  CHECK_FAILS(evsam_tracker_add(tracker, NULL, embedding, &prompts, &id), EVSAM_INVALID_ARGUMENT,
              "count: expected 1, for one object, got 2");
  prompts.count = 0;
  CHECK_FAILS(evsam_tracker_add(tracker, NULL, embedding, &prompts, &id), EVSAM_INVALID_ARGUMENT, "object, got 0");
  prompts.count = 1;
  prompts.boxes = NULL;
  CHECK_FAILS(evsam_tracker_add(tracker, NULL, embedding, &prompts, &id), EVSAM_INVALID_ARGUMENT, "at least one");
  prompts.masks = none;
  CHECK_FAILS(evsam_tracker_add(tracker, NULL, embedding, &prompts, &id), EVSAM_INVALID_ARGUMENT,
              "prompt: expected one that gives a mask, got an empty mask");
  none[5] = NAN;
  CHECK_FAILS(evsam_tracker_add(tracker, NULL, embedding, &prompts, &id), EVSAM_INVALID_ARGUMENT, "masks: expected");
  prompts.masks = NULL;
  prompts.boxes = boxes;
  id = 5;
  CHECK_FAILS(evsam_tracker_add(tracker, NULL, embedding, &prompts, &id), EVSAM_INVALID_ARGUMENT,
              "id: expected an object's, or 0 for a new one, got 5");
  CHECK(id == 5 && evsam_tracker_count(tracker) == 0);
  id = 0;
  CHECK(evsam_tracker_add(tracker, NULL, embedding, &prompts, &id) == EVSAM_OK && id == 1);

  frame.width = kWidth - 1;
  CHECK_FAILS(evsam_tracker_step(tracker, &frame, NULL), EVSAM_INVALID_ARGUMENT,
              "frame: expected height and width (90, 120) as before, got (90, 119)");
  frame.width = kWidth;
  frame.format = 5;
  CHECK_FAILS(evsam_tracker_step(tracker, &frame, NULL), EVSAM_INVALID_ARGUMENT, "image.format: expected");
  CHECK_FAILS(evsam_tracker_get(tracker, 1, NULL), EVSAM_INVALID_ARGUMENT, "track: expected a pointer, got NULL");
  CHECK_FAILS(evsam_tracker_mask(tracker, 1, NULL), EVSAM_INVALID_ARGUMENT, "mask: expected a pointer, got NULL");
  CHECK_FAILS(evsam_tracker_labels(tracker, NULL), EVSAM_INVALID_ARGUMENT, "labels: expected a pointer, got NULL");
  CHECK_FAILS(evsam_tracker_ids(tracker, NULL), EVSAM_INVALID_ARGUMENT, "ids: expected a pointer, got NULL");
  CHECK_FAILS(evsam_tracker_save(tracker, NULL, NULL), EVSAM_INVALID_ARGUMENT, "size: expected a pointer, got NULL");
  track.struct_size = 8;
  CHECK_FAILS(evsam_tracker_get(tracker, 1, &track), EVSAM_INVALID_ARGUMENT, "track.struct_size: expected at least");
  { /* a caller that was compiled with a later version */
    struct {
      evsam_track known;
      int64_t later;
    } newer = {EVSAM_TRACK_INIT, 5};
    newer.known.struct_size = sizeof(newer);
    CHECK(evsam_tracker_get(tracker, 1, &newer.known) == EVSAM_OK);
    CHECK(newer.later == 0 && newer.known.id == 1 && newer.known.struct_size == sizeof(newer));
  }
  evsam_embedding_free(empty);
  evsam_tracker_free(tracker);
}

typedef struct {
  const evsam_model* model;
  const uint8_t* expected;
  int passed;
} job;

static void* run_job(void* argument) {
  job* self = (job*)argument;
  static const char* const kMessage = "path: expected a pointer, got NULL";
  uint8_t* mask = (uint8_t*)malloc(kPixels);
  self->passed = mask != NULL && strcmp(evsam_last_error(), "") == 0; /* errors are of each thread */
  for (int i = 0; i < 3 && self->passed; ++i) {
    self->passed = predict_box(self->model, mask) && memcmp(mask, self->expected, kPixels) == 0;
  }
  evsam_load(NULL, NULL, NULL, (evsam_model**)&mask);
  self->passed = self->passed && strcmp(evsam_last_error(), kMessage) == 0;
  free(mask);
  return NULL;
}

static void test_threads(const evsam_model* model) {
  enum { kThreads = 4 };
  static uint8_t expected[kPixels];
  pthread_t threads[kThreads];
  job jobs[kThreads];
  CHECK(predict_box(model, expected));
  for (int i = 0; i < kThreads; ++i) {
    jobs[i].model = model;
    jobs[i].expected = expected;
    jobs[i].passed = 0;
    CHECK(pthread_create(&threads[i], NULL, run_job, &jobs[i]) == 0);
  }
  for (int i = 0; i < kThreads; ++i) {
    pthread_join(threads[i], NULL);
    CHECK(jobs[i].passed);
  }
}

int main(int argc, char** argv) {
  evsam_model* model = NULL;
  evsam_model* other = NULL;
  evsam_embedding* embedding = NULL;
  if (argc != 2) return 2;
  draw_image();
  CHECK(strlen(evsam_version()) >= 5);
  CHECK(strcmp(evsam_last_error(), "") == 0);
  test_load_errors(argv[1], argv[0]);
  test_later_options(argv[1]);
  CHECK(evsam_load(argv[1], NULL, NULL, &model) == EVSAM_OK && strcmp(evsam_variant(model), "nano") == 0);
  CHECK(evsam_load(argv[1], "nano", NULL, &other) == EVSAM_OK);
  if (failures == 0) {
    test_load_memory(argv[1], model);
    test_decoder_alone(argv[1], model);
    test_embeddings(model, other);
    test_formats(model);
    evsam_free(other);
    CHECK(evsam_embedding_create(model, &embedding) == EVSAM_OK);
    CHECK(evsam_encode(model, image, kHeight, kWidth, kRow, embedding) == EVSAM_OK);
    test_shapes(model, embedding);
    test_none(model, embedding);
    test_padding(model, embedding);
    test_many(model, embedding);
    test_everything(model, embedding);
    test_everything_errors(model, embedding);
    test_tracker(model);
    test_tracker_errors(model, embedding);
    test_threads(model);
    test_packed_cache(argv[1]);
    test_int8(argv[1]);
    evsam_embedding_free(embedding);
    evsam_free(model);
  }
  if (failures > 0) fprintf(stderr, "%d checks failed\n", failures);
  return failures > 0;
}
