/* A picture for a model: a binary PPM (P6), its middle square, resized as lc2fer.InputSpec does, by a triangle as wide as
 * the step between two pixels. ImageMagick and Pillow write PPMs: `convert face.jpg face.ppm`. */
#ifndef PICTURE_H
#define PICTURE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* A number of a header, behind white space and comments, which GIMP writes; -1 where there is none. */
static inline int picture_number(FILE *file) {
    int number = -1, sign = fgetc(file);
    while (sign == '#' || sign == ' ' || (sign >= '\t' && sign <= '\r')) {
        if (sign == '#')
            while (sign != '\n' && sign != EOF) sign = fgetc(file);
        sign = fgetc(file);
    }
    for (; sign >= '0' && sign <= '9' && number < 100000; sign = fgetc(file))
        number = (number < 0 ? 0 : 10 * number) + sign - '0';
    ungetc(sign, file);
    return number;
}

/* The PPM's pixels [height][width][3], to be freed; null where it cannot be read. */
static inline uint8_t *picture_read(const char *path, int *width, int *height) {
    FILE *file = fopen(path, "rb");
    uint8_t *pixels = NULL;
    if (file == NULL) return NULL;
    if (fgetc(file) == 'P' && fgetc(file) == '6' && (*width = picture_number(file)) > 0 &&
        (*height = picture_number(file)) > 0 && picture_number(file) == 255 && fgetc(file) != EOF && *width <= 16384 &&
        *height <= 16384) {
        const size_t bytes = (size_t)*width * (size_t)*height * 3;
        pixels = (uint8_t *)malloc(bytes);
        if (pixels != NULL && fread(pixels, 1, bytes, file) != bytes) {
            free(pixels);
            pixels = NULL;
        }
    }
    fclose(file);
    return pixels;
}

/* `count` numbers that lie `step` apart as `size`, the new ones `to_step` apart, each in 0..255 and rounded. */
static inline void picture_line(const uint8_t *from, ptrdiff_t step, int count, uint8_t *to, ptrdiff_t to_step, int size) {
    const double scale = (double)count / size, reach = scale > 1 ? scale : 1;
    for (int i = 0; i < size; ++i) {
        const double middle = (i + 0.5) * scale;
        int first = (int)(middle - reach + 0.5), end = (int)(middle + reach + 0.5);
        double sum = 0, weights = 0;
        if (first < 0) first = 0;
        if (end > count) end = count;
        for (int place = first; place < end; ++place) {
            double distance = (place - middle + 0.5) / reach, weight;
            if (distance < 0) distance = -distance;
            weight = distance < 1 ? 1 - distance : 0;
            sum += weight * from[place * step];
            weights += weight;
        }
        to[i * to_step] = (uint8_t)(sum / weights + 0.5);
    }
}

/* The middle square [size][size][3], to be freed; null where there is no memory. */
static inline uint8_t *picture_square(const uint8_t *pixels, int width, int height, int size) {
    const int side = width < height ? width : height;
    const uint8_t *from = pixels + ((ptrdiff_t)((height - side) / 2) * width + (width - side) / 2) * 3;
    uint8_t *lines = (uint8_t *)malloc((size_t)side * (size_t)size * 3);
    uint8_t *square = (uint8_t *)malloc((size_t)size * (size_t)size * 3);
    if (lines != NULL && square != NULL) {
        for (int y = 0; y < side; ++y)
            for (int c = 0; c < 3; ++c)
                picture_line(from + (ptrdiff_t)y * width * 3 + c, 3, side, lines + (ptrdiff_t)y * size * 3 + c, 3, size);
        for (int x = 0; x < 3 * size; ++x)
            picture_line(lines + x, (ptrdiff_t)size * 3, side, square + x, (ptrdiff_t)size * 3, size);
    } else {
        free(square);
        square = NULL;
    }
    free(lines);
    return square;
}

#endif
