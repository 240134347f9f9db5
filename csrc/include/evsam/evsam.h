/* EfficientViT-SAM on the CPU, for C and everything that can call C. Needs no Python.
 *
 *   evsam_model* model = NULL;
 *   evsam_embedding* embedding = NULL;
 *   evsam_prompts prompts = EVSAM_PROMPTS_INIT;
 *   const float box[4] = {30, 40, 420, 300};
 *   prompts.count = 1;
 *   prompts.boxes = box;
 *   if (evsam_load("nano.safetensors", NULL, NULL, &model) != EVSAM_OK ||
 *       evsam_embedding_create(model, &embedding) != EVSAM_OK ||
 *       evsam_encode(model, rgb, height, width, 3 * width, embedding) != EVSAM_OK ||
 *       evsam_predict(model, embedding, &prompts, mask, &score, NULL) != EVSAM_OK) {
 *     fprintf(stderr, "%s\n", evsam_last_error());
 *   }
 *   evsam_embedding_free(embedding);
 *   evsam_free(model);
 *
 * - Every function that can fail returns an evsam_status; evsam_last_error() says what was expected and what came.
 *   Nothing is written to output arguments of a call that fails, unless its comment says so.
 * - Coordinates are x, y in pixels of the image; (0, 0) is the upper left pixel. Arrays are in C order.
 * - Thread safety: any number of threads may use one model, and read one embedding, at the same time. An embedding must
 *   not be read while it is filled or freed, nor a model used while it is freed.
 * - No function prints, exits or lets a C++ exception out. Memory that the caller passes in is not kept.
 * - Structures may grow at their end in later versions. Their first member tells the library which version the caller
 *   was compiled with; the EVSAM_..._INIT macros set it. Members that are left zero mean the default.
 */
#ifndef EVSAM_EVSAM_H_
#define EVSAM_EVSAM_H_

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) && defined(EVSAM_BUILDS_LIBRARY)
#define EVSAM_API __declspec(dllexport)
#elif defined(__GNUC__) && !defined(_WIN32)
#define EVSAM_API __attribute__((visibility("default")))
#else
#define EVSAM_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum evsam_status {
  EVSAM_OK = 0,
  EVSAM_INVALID_ARGUMENT = 1, /* an argument, prompt or image that cannot be used */
  EVSAM_BAD_WEIGHTS = 2,      /* a weights file that is missing, damaged or of another variant; NaN or infinity in it or
                                 in what comes of it */
  EVSAM_UNAVAILABLE = 3,      /* something that this build or this machine does not have */
  EVSAM_OUT_OF_MEMORY = 4,
  EVSAM_INTERNAL_ERROR = 5 /* a defect of the library */
} evsam_status;

/* How narrow the numbers may be that dense layers multiply; where a processor has no instructions for them that are
 * faster, they are wider. EVSAM_FAST: the narrowest whose masks keep a mean IoU with those of EVSAM_FP32 of .99 on
 * photos; which that is depends on processor and model (`evsam info`). */
typedef enum evsam_precision {
  EVSAM_FP32 = 0,
  EVSAM_INT8 = 1,
  EVSAM_BF16 = 2,
  EVSAM_FP16 = 3,
  EVSAM_FAST = 4
} evsam_precision;

typedef enum evsam_multimask {
  EVSAM_MULTIMASK_AUTO = 0, /* three masks where each prompt is a single click and nothing else, otherwise one */
  EVSAM_MULTIMASK_ON = 1,   /* three masks per prompt, for ambiguous prompts */
  EVSAM_MULTIMASK_OFF = 2   /* one */
} evsam_multimask;

/* Side of the square logits of a mask. */
#define EVSAM_LOGITS_SIDE 256

typedef struct evsam_model evsam_model;
typedef struct evsam_embedding evsam_embedding; /* an encoded image: all that predictions need */

/* Whether an encoder's weights are kept on disk in the order in which kernels read them: in `packed` in the folder
 * EVSAM_CACHE, else in `evsam` in XDG_CACHE_HOME, else in ~/.cache. From the second time on a large model loads in less
 * time then, and processes share its memory. Where that does not work, a model loads all the same. docs/environment.md
 * tells more. */
typedef enum evsam_packed_cache {
  EVSAM_PACKED_CACHE_AUTO = 0, /* as the environment variable EVSAM_PACKED_CACHE says; where it is not set, no */
  EVSAM_PACKED_CACHE_ON = 1,
  EVSAM_PACKED_CACHE_OFF = 2
} evsam_packed_cache;

typedef struct evsam_options {
  size_t struct_size;   /* sizeof(evsam_options) */
  int32_t threads;      /* upper limit of CPU threads; 0: as many as the process may use */
  int32_t precision;    /* an evsam_precision */
  int32_t packed_cache; /* an evsam_packed_cache */
} evsam_options;

#define EVSAM_OPTIONS_INIT {sizeof(evsam_options), 0, EVSAM_FP32, EVSAM_PACKED_CACHE_AUTO}

typedef enum evsam_format {
  EVSAM_RGB = 0,
  EVSAM_BGR = 1,  /* OpenCV's */
  EVSAM_RGBA = 2, /* alpha is not looked at */
  EVSAM_BGRA = 3,
  EVSAM_GRAY = 4
} evsam_format;

/* uint8 pixels, (height, width, channels of the format). */
typedef struct evsam_image {
  size_t struct_size;    /* sizeof(evsam_image) */
  const uint8_t* pixels; /* the upper left one */
  int64_t height;
  int64_t width;
  int64_t row_bytes; /* from one row to the next; 0: rows have no gap */
  int32_t format;    /* an evsam_format */
} evsam_image;

#define EVSAM_IMAGE_INIT {sizeof(evsam_image), NULL, 0, 0, 0, EVSAM_RGB}

/* N prompts on one image. Each is made of T points, a box, a mask, or several of these. Prompts with fewer points than
 * T are filled up with padding: points labelled -1, wherever they stand, whose coordinates are not read; masks are
 * those of the prompt without them. A prompt of nothing but padding must have a box or a mask. */
typedef struct evsam_prompts {
  size_t struct_size;    /* sizeof(evsam_prompts) */
  int64_t count;         /* N; 0 gives no masks, whatever the pointers are */
  int64_t points_each;   /* T; 0 where there are no points */
  const float* points;   /* (N, T, 2): x, y with 0 <= x < width and 0 <= y < height; or NULL */
  const int32_t* labels; /* (N, T): 1 on the object, 0 beside it, -1 padding; NULL: all are on it */
  const float* boxes;    /* (N, 4): x0, y0, x1, y1 with x0 < x1 and y0 < y1; or NULL. Boxes are clipped to the image;
                            one of which nothing is left is refused. */
  const float* masks;    /* (N, 256, 256): logits of an earlier prediction, from -1e6 to 1e6; or NULL. A mask of your
                            own: 10 where a logit's 4 x 4 pixels of the 1024 frame are on the object, -10 elsewhere.
                            nano, which has not learnt to find an object by its mask, is shown the box around it too,
                            unless there is a box, or a click of label 1 on the mask. */
  int32_t multimask;     /* an evsam_multimask */
} evsam_prompts;

#define EVSAM_PROMPTS_INIT {sizeof(evsam_prompts), 0, 0, NULL, NULL, NULL, NULL, EVSAM_MULTIMASK_AUTO}

typedef enum evsam_everything_mode {
  EVSAM_EVERYTHING_FAST = 0, /* nearly all masks of EVSAM_EVERYTHING_EXACT, from fewer points */
  EVSAM_EVERYTHING_EXACT = 1 /* those of segment_anything's mask generator with the same model, in its order */
} evsam_everything_mode;

/* How far evsam_everything() is: done of total points. Returns 0 to go on; anything else ends the search, and what was
 * found so far is its result. Called by the thread that called evsam_everything(). */
typedef int (*evsam_progress)(void* user, int64_t done, int64_t total);

/* Named and meant as in segment_anything; 0 is the default. */
typedef struct evsam_everything_options {
  size_t struct_size;       /* sizeof(evsam_everything_options) */
  int32_t mode;             /* an evsam_everything_mode */
  int64_t points_per_side;  /* of the grid of clicks; 0: 32 */
  int64_t points_per_batch; /* decoded together, which changes no mask; 0: 64 */
  double pred_iou_thresh; /* masks need more predicted IoU than that, up to 1; 0: the variant's; below 0: any will do */
  double
      stability_score_thresh; /* masks need at least that stability, up to 1; 0: the variant's; below 0: any will do */
  double stability_score_offset;          /* to both sides of the logits' threshold, for the stability; 0: 1 */
  double box_nms_thresh;                  /* of two masks whose boxes have more IoU than that, one is kept; 0: 0.7 */
  int64_t crop_n_layers;                  /* how often the image is divided, for small things: layer i has 4^i crops */
  double crop_nms_thresh;                 /* as box_nms_thresh, between crops; 0: 0.7 */
  double crop_overlap_ratio;              /* of crops, in parts of the image's shorter side; 0: 512 / 1500 */
  int64_t crop_n_points_downscale_factor; /* layer i has points_per_side divided by this factor^i; 0: 1 */
  int64_t min_mask_region_area;           /* smaller regions and holes of a mask are removed and filled */
  evsam_progress progress;                /* called after each batch; or NULL */
  void* user;                             /* for progress */
  /* Own points, for which points_per_side is not read: a grid for the image, then one for each layer of crops. */
  int64_t point_grid_count;         /* crop_n_layers + 1 at least; 0: there are none */
  const int64_t* point_grid_sizes;  /* how many points each grid has */
  const double* const* point_grids; /* of each grid x and y of its points, in parts of width and height, 0 to 1 */
} evsam_everything_options;

#define EVSAM_EVERYTHING_OPTIONS_INIT \
  {sizeof(evsam_everything_options), EVSAM_EVERYTHING_FAST, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, 0, NULL, NULL}

typedef struct evsam_segments evsam_segments; /* the masks that were found in an image */

/* One of them. */
typedef struct evsam_segment {
  size_t struct_size;    /* sizeof(evsam_segment) */
  int64_t box[4];        /* around the mask: x0, y0, x1, y1 along the edges of pixels */
  int64_t area;          /* pixels of the mask */
  float predicted_iou;   /* expected overlap with an object */
  float stability_score; /* IoU of the masks at a higher and a lower threshold: 1 where nothing depends on it */
  double point[2];       /* x, y of the click that it was found by */
  int64_t crop_box[4];   /* where it was looked for: x0, y0, x1, y1 */
  int64_t counts_length; /* lengths of runs in `counts` */
  const int64_t* counts; /* COCO's run-length encoding: down the columns, from left to right, the first run is of
                            pixels that are not of the mask. As long as the evsam_segments are there. */
  const char* rle;       /* the same as COCO's compressed text, which ends with a 0 */
} evsam_segment;

#define EVSAM_SEGMENT_INIT {sizeof(evsam_segment), {0, 0, 0, 0}, 0, 0, 0, {0, 0}, {0, 0, 0, 0}, 0, NULL, NULL}

typedef struct evsam_tracker evsam_tracker; /* follows objects from frame to frame */

typedef struct evsam_tracker_options {
  size_t struct_size; /* sizeof(evsam_tracker_options) */
  float window; /* Of an image only the part around the objects is encoded, which shows small ones better: a square
                   whose side is so many longer sides of the box around all objects, and at least 256 pixels; 1 to
                   100, such as 4. While an object is lost, or the square would hold nearly all of the frame, all of
                   it is encoded. 0: all of each frame. */
} evsam_tracker_options;

#define EVSAM_TRACKER_OPTIONS_INIT {sizeof(evsam_tracker_options), 0}

/* One of its objects. */
typedef struct evsam_track {
  size_t struct_size; /* sizeof(evsam_track) */
  int64_t id;         /* the object's number, from 1 on */
  int64_t lost;       /* frames since it was seen; 0: it is seen. A lost object is probably not there: its mask does not
                         stand out from its surroundings by what the object looked like before. */
  float score;        /* how well the mask is expected to fit, 0 to 1 */
  float box[4];       /* around the mask: x0, y0, x1, y1 along the edges of pixels; where the object is lost, where it
                         was last seen */
} evsam_track;

#define EVSAM_TRACK_INIT {sizeof(evsam_track), 0, 0, 0, {0, 0, 0, 0}}

/* Version of the library, "0.1.0". */
EVSAM_API const char* evsam_version(void);

/* What the last call that failed in this thread had to say: "argument: expected X, got Y". Valid until the next call
 * that fails in this thread; never NULL. */
EVSAM_API const char* evsam_last_error(void);

/* Ties the worker threads of the process, which all models share, to one processor each (pinned != 0), or sets them
 * free again. For machines that do nothing else. EVSAM_UNAVAILABLE where the system has no such thing. */
EVSAM_API evsam_status evsam_pin_threads(int pinned);

/* Loads a model. path: a safetensors file. variant: name of the one that is expected; NULL takes what the file says
 * about itself. evsam's own files hold a record of their architecture; a file that says nothing must be of "nano",
 * "l0", "l1", "l2", "xl0" or "xl1", and the caller has to name it. A file without any tensor of the encoder makes a
 * model that predicts on embeddings from elsewhere (evsam_embedding_fill) but does not encode (EVSAM_UNAVAILABLE).
 * options: NULL for the defaults. */
EVSAM_API evsam_status evsam_load(const char* path, const char* variant, const evsam_options* options,
                                  evsam_model** model);

/* The same for such a file's content in memory, which is not needed afterwards. Messages call it "content". */
EVSAM_API evsam_status evsam_load_memory(const uint8_t* content, size_t bytes, const char* variant,
                                         const evsam_options* options, evsam_model** model);

/* What became of the cache of packed weights when the model was loaded: "off", "small" (the encoder has too few weights
 * for it to save time), "read: <file>", "written: <file>", "busy" (another process was writing to the folder), or
 * "failed: <why>". Valid as long as the model; "" for NULL. */
EVSAM_API const char* evsam_packed_cache_state(const evsam_model* model);

/* Embeddings stay valid. NULL is allowed. */
EVSAM_API void evsam_free(evsam_model* model);

/* Name of the model's variant; valid as long as the model. "" for NULL. */
EVSAM_API const char* evsam_variant(const evsam_model* model);

/* Whether the model encodes: 1, or 0 where its weights are a decoder's alone; 0 for NULL. */
EVSAM_API int evsam_encodes(const evsam_model* model);

/* Memory for the embedding of one image at a time; evsam_encode() may fill it as often as wanted, without allocating
 * anything. */
EVSAM_API evsam_status evsam_embedding_create(const evsam_model* model, evsam_embedding** embedding);

/* NULL is allowed. */
EVSAM_API void evsam_embedding_free(evsam_embedding* embedding);

/* Encodes an image, the costly part, once for any number of predictions. pixels: uint8 R, G, B (height, width, 3), rows
 * row_bytes apart (at least 3 * width). If this fails, the embedding may be empty. */
EVSAM_API evsam_status evsam_encode(const evsam_model* model, const uint8_t* pixels, int64_t height, int64_t width,
                                    int64_t row_bytes, evsam_embedding* embedding);

/* The same for an image of any format. Formats other than RGB are copied, into memory that the model keeps. */
EVSAM_API evsam_status evsam_encode_image(const evsam_model* model, const evsam_image* image,
                                          evsam_embedding* embedding);

/* Map number `index` of an embedding, float32 (channels, rows, columns): 0 is what Python calls `features`, the others
 * are its `lateral` maps. EVSAM_INVALID_ARGUMENT from the first index on that there is none for. */
EVSAM_API evsam_status evsam_embedding_map(const evsam_embedding* embedding, int32_t index, const float** data,
                                           int64_t shape[3]);

/* Fills an embedding with maps that were computed elsewhere, by an encoder with this model's weights; only their sizes
 * can be checked. height, width: of the image. maps: `count` arrays of float32 as evsam_embedding_map() gives them, in
 * its order; they are copied. sizes: how many values each has. If this fails, the embedding may be empty. */
EVSAM_API evsam_status evsam_embedding_fill(evsam_embedding* embedding, int64_t height, int64_t width, int32_t count,
                                            const float* const* maps, const int64_t* sizes);

/* N, M, height and width of the masks that evsam_predict() will give: M is the number of masks per prompt, 1 or 3. */
EVSAM_API evsam_status evsam_prediction_shape(const evsam_embedding* embedding, const evsam_prompts* prompts,
                                              int64_t shape[4]);

/* Predicts the masks that prompts ask for, on an embedding of this model, or of another one of the same variant whose
 * encoder has the same weights: of other precision or threads, or with another decoder. Outputs may be NULL where they
 * are not wanted, and hold anything if the call fails:
 *   masks   uint8   (N, M, height, width)  1 on the object, 0 elsewhere
 *   scores  float32 (N, M)                 expected overlap (IoU) with the object
 *   logits  float32 (N, M, 256, 256)       for evsam_prompts.masks of a later prediction
 */
EVSAM_API evsam_status evsam_predict(const evsam_model* model, const evsam_embedding* embedding,
                                     const evsam_prompts* prompts, uint8_t* masks, float* scores, float* logits);

/* Finds everything in an image, without prompts. image: may be NULL where there is an embedding and no crops are asked
 * for. embedding: of the image, if there is one; NULL: it is encoded. Not both. options: NULL for the defaults.
 * segments: the masks, in the order of segment_anything's records: without crops those with the most predicted IoU come
 * first. They take some kilobytes each; on the way there are logits of a batch, 48 MiB for 64 points. */
EVSAM_API evsam_status evsam_everything(const evsam_model* model, const evsam_image* image,
                                        const evsam_embedding* embedding, const evsam_everything_options* options,
                                        evsam_segments** segments);

/* NULL is allowed. */
EVSAM_API void evsam_segments_free(evsam_segments* segments);

/* How many there are; 0 for NULL. */
EVSAM_API int64_t evsam_segments_count(const evsam_segments* segments);

/* Height and width of their image. */
EVSAM_API evsam_status evsam_segments_size(const evsam_segments* segments, int64_t size[2]);

/* Number `index` of them, from 0 on. segment: its struct_size must be set, as EVSAM_SEGMENT_INIT does. */
EVSAM_API evsam_status evsam_segments_get(const evsam_segments* segments, int64_t index, evsam_segment* segment);

/* Sets the pixels of one mask to a value, and leaves the others as they are. pixels: (height, width) of the image, rows
 * row_bytes apart; 0: without a gap. */
EVSAM_API evsam_status evsam_segments_paint(const evsam_segments* segments, int64_t index, uint8_t value,
                                            uint8_t* pixels, int64_t row_bytes);

/* All masks in one map: 0 where there is none, i + 1 on mask i, smaller masks above larger ones. labels: int32 (height,
 * width) of the image. */
EVSAM_API evsam_status evsam_segments_labels(const evsam_segments* segments, int32_t* labels);

/* Objects in frames that come one by one and all have one size, which is that of the first frame:
 *
 *   int64_t id = 0;
 *   evsam_track track = EVSAM_TRACK_INIT;
 *   evsam_tracker_create(model, NULL, &tracker);
 *   evsam_tracker_add(tracker, &first_frame, NULL, &prompts, &id);
 *   while (next_frame(&frame)) {
 *     evsam_tracker_step(tracker, &frame, NULL);
 *     evsam_tracker_get(tracker, id, &track);
 *     if (track.lost == 0) evsam_tracker_mask(tracker, id, mask);
 *   }
 *
 * Objects are added and removed at any time. A frame costs one encode and one decode, of a box for each object; after
 * the first frames evsam_tracker_step, _get, _mask and _labels allocate nothing. A tracker keeps no frame. It is used
 * by one thread at a time, and freed before its model. Several may share a model. options: NULL for the defaults. */
EVSAM_API evsam_status evsam_tracker_create(const evsam_model* model, const evsam_tracker_options* options,
                                            evsam_tracker** tracker);

/* NULL is allowed. */
EVSAM_API void evsam_tracker_free(evsam_tracker* tracker);

/* Shows an object, which is looked for from the next evsam_tracker_step() on. image, embedding: the frame in which it
 * is shown, in one form or the other; the other one is NULL. With a window, of an image the surroundings of the object
 * are encoded too, to learn what it looks like there. prompts: one, as for evsam_predict(); of several masks the
 * one with the highest score is the object's, and a mask without points and a box is taken as it is. id: 0 for a new
 * object, whose number is written there; or the number of one that is shown again. Numbers are not used again. */
EVSAM_API evsam_status evsam_tracker_add(evsam_tracker* tracker, const evsam_image* image,
                                         const evsam_embedding* embedding, const evsam_prompts* prompts, int64_t* id);

/* Finds the objects in the next frame, an image or an embedding; the other one is NULL. Of an embedding all of the
 * frame is looked at, whatever the window. If this fails, objects may be as they were in the frame before. */
EVSAM_API evsam_status evsam_tracker_step(evsam_tracker* tracker, const evsam_image* image,
                                          const evsam_embedding* embedding);

/* Forgets an object. */
EVSAM_API evsam_status evsam_tracker_remove(evsam_tracker* tracker, int64_t id);

/* How many objects there are; 0 for NULL. */
EVSAM_API int64_t evsam_tracker_count(const evsam_tracker* tracker);

/* Their numbers, as many as evsam_tracker_count() says, in the order in which they were added. */
EVSAM_API evsam_status evsam_tracker_ids(const evsam_tracker* tracker, int64_t* ids);

/* Height and width of the frames; 0, 0 before the first one. */
EVSAM_API evsam_status evsam_tracker_size(const evsam_tracker* tracker, int64_t size[2]);

/* What is known of an object. track: its struct_size must be set, as EVSAM_TRACK_INIT does. */
EVSAM_API evsam_status evsam_tracker_get(evsam_tracker* tracker, int64_t id, evsam_track* track);

/* An object's mask in the last frame, a guess where it is lost. mask: uint8 (height, width) of the frames, 1 on the
 * object and 0 elsewhere. */
EVSAM_API evsam_status evsam_tracker_mask(evsam_tracker* tracker, int64_t id, uint8_t* mask);

/* All masks in one map: 0 where there is none, i + 1 on the mask of the object that evsam_tracker_ids() has at i,
 * smaller masks above larger ones; lost objects are left out. labels: int32 (height, width) of the frames. */
EVSAM_API evsam_status evsam_tracker_labels(evsam_tracker* tracker, int32_t* labels);

/* Writes all that is known of the objects, to go on later or elsewhere, on processors with the same order of bytes; 130
 * to 520 KiB for each object. size: bytes that there is room for; what is needed is written there. state: NULL where
 * only that is asked. */
EVSAM_API evsam_status evsam_tracker_save(const evsam_tracker* tracker, uint8_t* state, int64_t* size);

/* A tracker that goes on where evsam_tracker_save() was called, with a model whose encoder has the same weights. Its
 * masks are empty until the next evsam_tracker_step(). EVSAM_INVALID_ARGUMENT for other bytes, damaged ones, and those
 * of another model. */
EVSAM_API evsam_status evsam_tracker_restore(const evsam_model* model, const uint8_t* state, int64_t size,
                                             evsam_tracker** tracker);

#ifdef __cplusplus
}
#endif

#endif /* EVSAM_EVSAM_H_ */
