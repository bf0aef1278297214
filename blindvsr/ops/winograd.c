/* 3x3 and 5x5 convolutions by Winograd's minimal filtering F(4x4, 3x3) and F(2x2, 5x5) (Lavin and Gray, CVPR 2016).

4x4 outputs of a 3x3 convolution, or 2x2 of a 5x5 one, depend on a tile of 6x6 inputs. Polynomials of these, evaluated
at the points 0, +-sqrt(1/2), +-sqrt(2) and infinity along either axis, turn the convolution into 36 products of
matrices, tiles by inputs by outputs: a quarter, or a third, of the multiplications. With the usual points, 0, +-1, +-2
and infinity, rounding errors would be twice as large.

Features have channels last. Nothing of Python is needed: winograd.py calls this through ctypes, and transforms the
weights. The vectors are those of GCC and Clang. */

#include <omp.h>
#include <stdint.h>
#include <string.h>

#define LANES 8             /* floats of a vector */
#define COLUMNS (2 * LANES) /* outputs that are multiplied at once, */
#define ROWS 6              /* for as many tiles: their sums fill 12 of the 16 registers of AVX2 */
#define TILES (2 * ROWS)    /* tiles whose 36 matrices stay in the level 2 cache */
#define IN 6                /* side of a tile's inputs */
#define OUT 4               /* side of its outputs, at most */
#define POINTS (IN * IN)
/* floats from one of the 36 matrices to the next: a power of two would put all of them on the same cache lines */
#define PITCH(padded) (TILES * (padded) + LANES)

#if defined(__x86_64__)
#define TARGET __attribute__((target("avx2,fma")))
#else
#define TARGET
#endif
#define INLINE static inline __attribute__((always_inline)) TARGET

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t mask __attribute__((vector_size(4 * LANES)));

static const float near = 0.70710678f, far = 1.41421356f; /* the points, as in winograd.py: roots of 1/2 and 2 */

/* Floats from one image, row and pixel to the next; a pixel's channels lie together. */
struct strides { int64_t image, row, pixel; };

/* As in winograd.py. `add` may be null. */
struct convolution {
    const float *x, *weight, *bias, *add;
    float *y;
    int64_t side; /* of a tile's outputs: 4 for 3x3, 2 for 5x5 */
    int64_t images, height, width, inputs, outputs;
    struct strides x_strides, add_strides, y_strides;
    float slope; /* of the activation below zero: 0 is ReLU, 1 is none */
};

struct tile { int64_t image, top, left; };

static struct tile place(const struct convolution *job, int64_t number) {
    const int64_t across = (job->width + job->side - 1) / job->side, down = (job->height + job->side - 1) / job->side;
    const int64_t row = number / across;
    return (struct tile){row / down, row % down * job->side, number % across * job->side};
}

static int64_t offset(struct strides strides, int64_t image, int64_t y, int64_t x) {
    return image * strides.image + y * strides.row + x * strides.pixel;
}

INLINE vec load(const float *from) { return *(const vec *)from; }

INLINE void store(float *to, vec values) { *(vec *)to = values; }

/* The first lanes alone; the others are 0. */
INLINE vec load_some(const float *from, int64_t lanes) {
    vec values = {0};
    if (lanes >= LANES) return load(from);
    memcpy(&values, from, sizeof(float) * lanes);
    return values;
}

INLINE void store_some(float *to, vec values, int64_t lanes) {
    if (lanes >= LANES) store(to, values);
    else memcpy(to, &values, sizeof(float) * lanes);
}

/* Six inputs along one axis to the values of their polynomial at the points. */
INLINE void to_points(const vec *x, vec *values, int64_t step) {
    const vec a = x[0], b = x[step], c = x[2 * step], d = x[3 * step], e = x[4 * step], f = x[5 * step];
    const vec even = e - 2 * c, odd = near * (d - 2 * b), even_far = e - 0.5f * c, odd_far = far * (d - 0.5f * b);
    values[0] = a - 2.5f * c + e;
    values[step] = even + odd;
    values[2 * step] = even - odd;
    values[3 * step] = even_far + odd_far;
    values[4 * step] = even_far - odd_far;
    values[5 * step] = b - 2.5f * d + f;
}

/* Products at the points along one axis to the first `side` of four outputs. */
INLINE void from_points(const vec *values, int64_t step, vec *y, int64_t side) {
    const vec a = values[step], b = values[2 * step], c = values[3 * step], d = values[4 * step];
    const vec even = a + b, odd = near * (a - b), even_far = c + d, odd_far = far * (c - d);
    y[0] = values[0] + even + even_far;
    y[1] = odd + odd_far;
    y[2] = 0.5f * even + 2 * even_far;
    y[3] = 0.5f * odd + 2 * odd_far;
    y[side - 1] += values[5 * step];
}

/* One tile's inputs, zero outside the image, to its row in each of the 36 matrices. */
TARGET static void transform_inputs(const struct convolution *job, struct tile tile, const float *zeros,
                                    int64_t padded, float *row) {
    const float *pixels[POINTS];
    const int64_t before = (IN - job->side) / 2;
    for (int i = 0; i < POINTS; i++) {
        const int64_t y = tile.top - before + i / IN, x = tile.left - before + i % IN;
        const int inside = y >= 0 && y < job->height && x >= 0 && x < job->width;
        pixels[i] = inside ? job->x + offset(job->x_strides, tile.image, y, x) : zeros;
    }
    for (int64_t channel = 0; channel < job->inputs; channel += LANES) {
        vec a[POINTS], b[POINTS];
        for (int i = 0; i < POINTS; i++) a[i] = load_some(pixels[i] + channel, job->inputs - channel);
        for (int i = 0; i < IN; i++) to_points(a + i, b + i, IN);
        for (int i = 0; i < IN; i++) to_points(b + i * IN, a + i * IN, 1);
        for (int i = 0; i < POINTS; i++) store(row + i * PITCH(padded) + channel, a[i]);
    }
}

/* (ROWS, inputs) times (inputs, COLUMNS). */
INLINE void multiply(const float *tiles, int64_t inputs, int64_t padded, const float *weight, float *product) {
    vec sums[ROWS][2] = {0};
    for (int64_t channel = 0; channel < inputs; channel++) {
        const vec left = load(weight + COLUMNS * channel), right = load(weight + COLUMNS * channel + LANES);
#pragma GCC unroll 6
        for (int row = 0; row < ROWS; row++) {
            const float value = tiles[row * padded + channel];
            sums[row][0] += value * left;
            sums[row][1] += value * right;
        }
    }
#pragma GCC unroll 6
    for (int row = 0; row < ROWS; row++) {
        store(product + COLUMNS * row, sums[row][0]);
        store(product + COLUMNS * row + LANES, sums[row][1]);
    }
}

/* One tile's products of LANES outputs, from `output` on, to its pixels, with bias, addition and activation. */
TARGET static void transform_outputs(const struct convolution *job, struct tile tile, const float *products,
                                     int64_t output) {
    const int64_t lanes = job->outputs - output;
    const vec bias = load(job->bias + output);
    vec a[POINTS], b[IN * OUT], y[OUT * OUT];
    for (int i = 0; i < POINTS; i++) a[i] = load(products + i * TILES * COLUMNS);
    for (int i = 0; i < IN; i++) from_points(a + i, IN, b + i * OUT, job->side);
    for (int i = 0; i < job->side; i++) from_points(b + i, OUT, y + i * OUT, job->side);
    for (int64_t i = 0; i < job->side && tile.top + i < job->height; i++)
        for (int64_t j = 0; j < job->side && tile.left + j < job->width; j++) {
            const int64_t row = tile.top + i, column = tile.left + j;
            float *to = job->y + offset(job->y_strides, tile.image, row, column) + output;
            vec value = y[i * OUT + j] + bias;
            if (job->add)
                value += load_some(job->add + offset(job->add_strides, tile.image, row, column) + output, lanes);
            const mask below = value < 0; /* NaN is not, and stays */
            value = (vec)(((mask)value & ~below) | ((mask)(job->slope * value) & below));
            store_some(to, value, lanes);
        }
}

/* All outputs of `count` tiles, TILES at most, from `start` on. */
TARGET static void convolve(const struct convolution *job, int64_t start, int64_t count, int64_t padded,
                            const float *zeros, float *tiles, float *products) {
    for (int64_t i = 0; i < count; i++)
        transform_inputs(job, place(job, start + i), zeros, padded, tiles + i * padded);
    for (int64_t output = 0; output < job->outputs; output += COLUMNS) {
        const float *weight = job->weight + output * POINTS * job->inputs;
        for (int64_t point = 0; point < POINTS; point++)
            for (int64_t i = 0; i < count; i += ROWS) /* rows beyond the last tile are whatever was there */
                multiply(tiles + point * PITCH(padded) + i * padded, job->inputs, padded,
                         weight + point * job->inputs * COLUMNS, products + (point * TILES + i) * COLUMNS);
        for (int64_t i = 0; i < count; i++)
            for (int64_t lane = 0; lane < COLUMNS && output + lane < job->outputs; lane += LANES)
                transform_outputs(job, place(job, start + i), products + i * COLUMNS + lane, output + lane);
    }
}

static int64_t padded_inputs(int64_t inputs) { return (inputs + LANES - 1) / LANES * LANES; }

/* Floats of memory that each thread works in. */
int64_t winograd_room(int64_t inputs) {
    const int64_t padded = padded_inputs(inputs);
    return padded + POINTS * (PITCH(padded) + TILES * COLUMNS);
}

/* weight: (blocks of 16 outputs, 36, inputs, 16), bias: (blocks of 16 outputs, 16), both with zeros for the outputs
   that there are not. */
void winograd(const struct convolution *job, int threads, float *rooms) {
    const int64_t side = job->side, padded = padded_inputs(job->inputs), room = winograd_room(job->inputs);
    const int64_t last = job->images * ((job->height + side - 1) / side) * ((job->width + side - 1) / side);
#pragma omp parallel num_threads(threads)
    {
        float *zeros = rooms + omp_get_thread_num() * room, *tiles = zeros + padded;
        memset(zeros, 0, sizeof(float) * padded);
#pragma omp for schedule(dynamic)
        for (int64_t start = 0; start < last; start += TILES)
            convolve(job, start, last - start < TILES ? last - start : TILES, padded, zeros, tiles,
                     tiles + POINTS * PITCH(padded));
    }
}
