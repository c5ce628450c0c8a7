/* The expression of the face in each picture: classify MODEL.lc2 FACE.ppm ... */
#include <lc2fer.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "picture.h"

int main(int count, char **arguments) {
    lc2fer_error error;
    lc2fer_model *model;
    const lc2fer_info *info;
    float *logits;
    int failed = 0;
    if (count < 3) {
        fprintf(stderr, "usage: %s MODEL.lc2 FACE.ppm ...\n", arguments[0]);
        return 2;
    }
    model = lc2fer_open(arguments[1], NULL, &error);
    if (model == NULL) {
        fprintf(stderr, "%s\n", error.text);
        return 2;
    }
    info = lc2fer_describe(model);
    logits = (float *)malloc((size_t)info->classes * sizeof *logits);
    for (int i = 2; logits != NULL && i < count; ++i) {
        int width, height, best = 0;
        uint8_t *pixels = picture_read(arguments[i], &width, &height);
        uint8_t *square = pixels == NULL ? NULL : picture_square(pixels, width, height, info->size);
        if (square == NULL || lc2fer_run_rgb(model, square, 3 * info->size, 3, 1, logits) != LC2FER_OK) {
            fprintf(stderr, "%s is no picture. A binary PPM (P6) was expected. Convert it.\n", arguments[i]);
            failed = 2;
        } else {
            double sum = 0;
            for (int k = 0; k < info->classes; ++k)
                if (logits[k] > logits[best]) best = k;
            for (int k = 0; k < info->classes; ++k) sum += exp((double)logits[k] - logits[best]);
            printf("%s: %s %.3f\n", arguments[i], info->labels[best], 1 / sum);
        }
        free(square);
        free(pixels);
    }
    free(logits);
    lc2fer_close(model);
    return failed;
}
