/* How long a model takes and what it needs: timing MODEL.lc2 [THREADS [RUNS]]
 *
 *     {"instructions": "amx", "threads": 1, "open_ms": ..., "first_ms": ..., "least_ms": ..., "p50_ms": ..., "memory_kb": ...}
 *
 * open_ms and first_ms (of the first answer) begin in main(); memory_kb is what the process grew by until its end, with
 * the bytes of the file. */
#define _POSIX_C_SOURCE 200809L
#include <lc2fer.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static long resident_kb(void) {
    char line[128];
    long found = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "VmRSS:", 6) == 0) found = strtol(line + 6, NULL, 10);
    if (file != NULL) fclose(file);
    return found;
}

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int count, char **arguments) {
    const double begun = now_ms();
    const long before = resident_kb();
    lc2fer_error error;
    lc2fer_options options = {0};
    const int runs = count > 3 ? atoi(arguments[3]) : 200;
    double opened, first = 0, *times;
    float *pixels, logits[LC2FER_MOST_CLASSES];
    if (count < 2 || runs < 1) {
        fprintf(stderr, "usage: %s MODEL.lc2 [THREADS [RUNS]]\n", arguments[0]);
        return 2;
    }
    options.threads = count > 2 ? atoi(arguments[2]) : 1;
    lc2fer_model *model = lc2fer_open(arguments[1], &options, &error);
    if (model == NULL) {
        fprintf(stderr, "%s\n", error.text);
        return 2;
    }
    opened = now_ms();
    const lc2fer_info *info = lc2fer_describe(model);
    const size_t numbers = (size_t)info->size * (size_t)info->size * 3;
    pixels = (float *)malloc(numbers * sizeof *pixels);
    times = (double *)malloc((size_t)runs * sizeof *times);
    if (pixels == NULL || times == NULL) return 2;
    for (size_t i = 0; i < numbers; ++i) pixels[i] = (float)(i * 7 % 256);
    for (int i = 0; i < runs; ++i) {
        const double start = now_ms();
        if (lc2fer_run(model, pixels, 1, logits) != LC2FER_OK) return 2;
        times[i] = now_ms() - start;
        if (i == 0) first = now_ms();
    }
    qsort(times, (size_t)runs, sizeof *times, compare);
    printf("{\"instructions\": \"%s\", \"threads\": %d, \"open_ms\": %.3f, \"first_ms\": %.3f, \"least_ms\": %.3f, "
           "\"p50_ms\": %.3f, \"memory_kb\": %ld}\n",
           info->instructions, info->threads, opened - begun, first - begun, times[0], times[runs / 2],
           resident_kb() - before);
    free(times);
    free(pixels);
    lc2fer_close(model);
    return 0;
}
