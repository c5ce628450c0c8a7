/* The interface, every part of it, against itself: check MODEL.lc2 prints "good"; check MODEL.lc2 bits prints the
 * instructions and the logits' bits of some noise. */
#include <lc2fer.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 64 * 64 * 4, THREADS = 4, PICTURES = 9, ROUNDS = 30 };

#define EXPECT(holds)                                                \
    do {                                                             \
        if (!(holds)) {                                              \
            fprintf(stderr, "line %d: %s\n", __LINE__, #holds);      \
            exit(1);                                                 \
        }                                                            \
    } while (0)

static uint8_t packed[PICTURES][MOST];
static float floats[PICTURES][MOST], expected[PICTURES][LC2FER_MOST_CLASSES];
static float batch_pixels[PICTURES * MOST], batch_logits[PICTURES * LC2FER_MOST_CLASSES];

static void make_pictures(int size) {
    uint32_t state = 1;
    for (int i = 0; i < PICTURES; ++i)
        for (int place = 0; place < size * size * 3; ++place) {
            state = state * 1664525u + 1013904223u;
            packed[i][place] = (uint8_t)(state >> 24);
            floats[i][place % 3 * size * size + place / 3] = packed[i][place];
        }
}

static int same(const float *a, const float *b, int count) {
    return memcmp(a, b, (size_t)count * sizeof *a) == 0;
}

static void check_strides(const lc2fer_model *model, int size, int classes) {
    static uint8_t other[MOST];
    float logits[LC2FER_MOST_CLASSES];
    const ptrdiff_t plane = (ptrdiff_t)size * size;
    for (int place = 0; place < size * size; ++place) /* BGR in four bytes, upside down */
        for (int c = 0; c < 3; ++c)
            other[((size - 1 - place / size) * size + place % size) * 4 + 2 - c] = packed[0][place * 3 + c];
    EXPECT(lc2fer_run_rgb(model, other + (size - 1) * size * 4 + 2, -4 * size, 4, -1, logits) == LC2FER_OK);
    EXPECT(same(logits, expected[0], classes));
    for (int place = 0; place < size * size; ++place) /* planes */
        for (int c = 0; c < 3; ++c) other[c * plane + place] = packed[0][place * 3 + c];
    EXPECT(lc2fer_run_rgb(model, other, size, 1, plane, logits) == LC2FER_OK);
    EXPECT(same(logits, expected[0], classes));
    EXPECT(lc2fer_run(model, floats[0], 1, logits) == LC2FER_OK);
    EXPECT(same(logits, expected[0], classes));
}

static void check_batch(const lc2fer_model *model, int size, int classes) {
    const size_t numbers = (size_t)size * (size_t)size * 3;
    for (size_t i = 0; i < PICTURES; ++i) memcpy(batch_pixels + i * numbers, floats[i], numbers * sizeof(float));
    memset(batch_logits, 0, sizeof batch_logits);
    EXPECT(lc2fer_run(model, batch_pixels, PICTURES, batch_logits) == LC2FER_OK);
    for (int i = 0; i < PICTURES; ++i) EXPECT(same(batch_logits + i * classes, expected[i], classes));
    EXPECT(lc2fer_run(model, NULL, 0, NULL) == LC2FER_OK);
    EXPECT(lc2fer_run(model, NULL, 1, batch_logits) == LC2FER_ARGUMENT);
    EXPECT(lc2fer_run(NULL, batch_pixels, 1, batch_logits) == LC2FER_ARGUMENT);
}

static const lc2fer_model *shared_model;

static void *work(void *argument) {
    const lc2fer_info *info = lc2fer_describe(shared_model);
    float logits[LC2FER_MOST_CLASSES];
    for (int round = 0; round < ROUNDS; ++round) {
        const int i = (round + *(int *)argument) % PICTURES;
        EXPECT(lc2fer_run_rgb(shared_model, packed[i], 3 * info->size, 3, 1, logits) == LC2FER_OK);
        EXPECT(same(logits, expected[i], info->classes));
    }
    return NULL;
}

static void check_threads(const lc2fer_model *model) {
    pthread_t threads[THREADS];
    int numbers[THREADS];
    shared_model = model;
    for (int i = 0; i < THREADS; ++i) {
        numbers[i] = i;
        EXPECT(pthread_create(&threads[i], NULL, work, &numbers[i]) == 0);
    }
    for (int i = 0; i < THREADS; ++i) EXPECT(pthread_join(threads[i], NULL) == 0);
}

static void run_backwards(void *its, void (*part)(void *, int), void *argument, int count) {
    *(int *)its += count;
    while (count-- > 0) part(argument, count);
}

static void check_refusals(void) {
    lc2fer_error error;
    lc2fer_options options = {0};
    EXPECT(lc2fer_open("/no/such.lc2", NULL, NULL) == NULL);
    EXPECT(lc2fer_open(NULL, NULL, &error) == NULL && error.status == LC2FER_ARGUMENT);
    EXPECT(lc2fer_open_memory(NULL, 5, NULL, &error) == NULL && error.status == LC2FER_ARGUMENT);
    EXPECT(lc2fer_open("/", NULL, &error) == NULL && error.status == LC2FER_FILE);
    EXPECT(strcmp(error.text, "/ cannot be read: it has no size. An .lc2 file was expected. Name one.") == 0);
    options.threads = LC2FER_MOST_THREADS + 1;
    EXPECT(lc2fer_open("/", &options, &error) == NULL && error.status == LC2FER_ARGUMENT);
    EXPECT(strcmp(error.text, "65 threads were asked for. 1 to 64 were expected, or 0 for one a core. Correct "
                              "options.threads.") == 0);
    EXPECT(lc2fer_describe(NULL) == NULL);
    lc2fer_close(NULL);
}

int main(int count, char **arguments) {
    lc2fer_error error;
    lc2fer_options options = {0};
    lc2fer_model *model;
    int parts = 0;
    const lc2fer_pool pool = {&parts, run_backwards};
    EXPECT(count > 1);
    options.threads = 1;
    model = lc2fer_open(arguments[1], &options, &error);
    EXPECT(model != NULL && error.status == LC2FER_OK);
    const lc2fer_info info = *lc2fer_describe(model);
    EXPECT(info.size <= 64 && info.threads == 1);
    make_pictures(info.size);
    for (int i = 0; i < PICTURES; ++i)
        EXPECT(lc2fer_run_rgb(model, packed[i], 3 * info.size, 3, 1, expected[i]) == LC2FER_OK);
    if (count > 2) {
        printf("%s", info.instructions);
        for (int i = 0; i < PICTURES * info.classes; ++i) {
            uint32_t bits;
            memcpy(&bits, &expected[i / info.classes][i % info.classes], sizeof bits);
            printf(" %08x", (unsigned)bits);
        }
        printf("\n");
        lc2fer_close(model);
        return 0;
    }
    check_threads(model);
    lc2fer_close(model);
    for (options.threads = 1; options.threads <= 3; ++options.threads) {
        model = lc2fer_open(arguments[1], &options, NULL);
        EXPECT(model != NULL && lc2fer_describe(model)->threads == options.threads);
        check_strides(model, info.size, info.classes);
        check_batch(model, info.size, info.classes);
        check_threads(model);
        lc2fer_close(model);
    }
    options.pool = &pool;
    model = lc2fer_open(arguments[1], &options, NULL);
    EXPECT(model != NULL && lc2fer_describe(model)->threads == 0);
    check_strides(model, info.size, info.classes);
    EXPECT(parts > 0);
    check_batch(model, info.size, info.classes);
    lc2fer_close(model);
    check_refusals();
    puts("good");
    return 0;
}
