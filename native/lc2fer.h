/* liblc2fer: facial expressions by a C1 to C8 network, from a file that lc2fer-export --target native-int8 or
 * native-fp32 wrote. It needs the C library, libm and pthreads, keeps nothing outside its models, and answers with the
 * same bits on every processor, for every number of threads.
 *
 *     lc2fer_error error;
 *     lc2fer_model *model = lc2fer_open("C6-native-int8.lc2", NULL, &error);
 *     if (model == NULL) { fprintf(stderr, "%s\n", error.text); return 2; }
 *     const lc2fer_info *info = lc2fer_describe(model);
 *     float logits[LC2FER_MOST_CLASSES];
 *     lc2fer_run_rgb(model, pixels, 3 * info->size, 3, 1, logits);
 *     lc2fer_close(model);
 */
#ifndef LC2FER_H
#define LC2FER_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define LC2FER_API __attribute__((visibility("default")))
#else
#define LC2FER_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define LC2FER_MOST_CLASSES 1000
#define LC2FER_MOST_THREADS 64

typedef struct lc2fer_model lc2fer_model;

typedef enum lc2fer_status {
    LC2FER_OK = 0,
    LC2FER_ARGUMENT = 1, /* null where something was expected, or a number out of its bounds */
    LC2FER_FILE = 2,     /* cannot be read */
    LC2FER_MODEL = 3,    /* is no model, of another version, damaged, or too large */
    LC2FER_MEMORY = 4,   /* there is not enough */
    LC2FER_CPU = 5       /* the environment variable LC2FER_CPU names no instructions that are here */
} lc2fer_status;

/* Why a model could not be opened: what happened, what was expected, what to do. UTF-8. */
typedef struct lc2fer_error {
    lc2fer_status status;
    char text[500];
} lc2fer_error;

/* Threads of the caller's: run(its, part, argument, count) calls part(argument, 0) .. part(argument, count - 1), each
 * once, on whatever threads and in whatever order, and returns when all have returned. A part never waits for another.
 * Parts take up to 600 KB of stack. */
typedef struct lc2fer_pool {
    void *its;
    void (*run)(void *its, void (*part)(void *argument, int number), void *argument, int count);
} lc2fer_pool;

/* Zeros are the defaults: `lc2fer_options options = {0};` */
typedef struct lc2fer_options {
    int threads;             /* that share a picture, the caller's among them; 0: one a core that the process may use,
                                at most 8 */
    const lc2fer_pool *pool; /* to use instead; it is copied, what it points to has to live as long as the model */
} lc2fer_options;

/* What a model says of itself; it lives as long as the model. */
typedef struct lc2fer_info {
    int size;                  /* pixels a side of a picture */
    int classes;               /* numbers of an answer */
    const char *const *labels; /* of the classes, in their order, UTF-8 */
    const char *alignment;     /* how a face is cut out of a picture: "none", "level" or "eyes", see docs/native.md */
    const char *precision;     /* of the products: "int8" or "fp32" */
    const char *instructions;  /* that run here: "avx512vnni", "neon", ... */
    int operations;            /* stem, blocks and downsamples, each with products of that precision */
    int threads;               /* that share a picture; 0 where the caller's pool decides */
} lc2fer_info;

/* The version of the library, as "0.1.0". */
LC2FER_API const char *lc2fer_version(void);

/* Opens a model from a file or from memory, of which nothing is needed afterwards. `options` and `error` may be null.
 * Returns null, and says why in `error`, where that fails. The bytes may come from anywhere: sizes are bounded before
 * anything is done with them, and a checksum finds damage. */
LC2FER_API lc2fer_model *lc2fer_open(const char *path, const lc2fer_options *options, lc2fer_error *error);
LC2FER_API lc2fer_model *lc2fer_open_memory(const void *data, size_t size, const lc2fer_options *options,
                                            lc2fer_error *error);

/* Lets it go; null is allowed. No thread may be running it. */
LC2FER_API void lc2fer_close(lc2fer_model *model);

LC2FER_API const lc2fer_info *lc2fer_describe(const lc2fer_model *model);

/* Logits [classes] of one picture of size x size pixels. The byte of colour c (0 red, 1 green, 2 blue) of the pixel in
 * line y and column x is pixels[y * line + x * pixel + c * colour]: 3 * size, 3, 1 for packed RGB; for BGR, a pointer to
 * the first red byte and -1 for the colour; a pixel of 4 for RGBA. Nothing else is read.
 *
 * Many threads may run a model at once. While one has the model's own threads, the others do all of their work by
 * themselves, each with a memory of its own that the model keeps. LC2FER_OK, LC2FER_ARGUMENT or LC2FER_MEMORY. */
LC2FER_API lc2fer_status lc2fer_run_rgb(const lc2fer_model *model, const uint8_t *pixels, ptrdiff_t line,
                                        ptrdiff_t pixel, ptrdiff_t colour, float *logits);

/* Logits [count][classes] of pictures float32 [count][3][size][size], RGB in 0..255, which is not
 * checked: of other numbers, also NaN, the logits mean nothing. More than one are shared among the threads picture by
 * picture, which is faster than one after the other. */
LC2FER_API lc2fer_status lc2fer_run(const lc2fer_model *model, const float *pixels, size_t count, float *logits);

#ifdef __cplusplus
}
#endif

#endif
