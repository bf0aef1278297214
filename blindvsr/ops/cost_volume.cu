// The cost volume of PWC-Net and its two gradients. All tensors are (sample, channel, y, x) and contiguous.
//
// Compiled for one type and one radius: -DSCALAR=float|Half|BFloat16 -DRADIUS=4. Sums are float for all types. It asks
// for no header, not even cuda_fp16.h: many installations of NVRTC come without them.
//
// A block makes a tile of TILE_X x TILE_Y pixels; a thread makes PIXELS neighbours of a row, so that the
// PIXELS + 2 RADIUS values it reads of a row in shared memory serve PIXELS * SIZE products. Everything outside a tensor
// is zero, also channels beyond the last. Offsets are 64 bits wide; what counts pixels or channels fits into 32. The
// second number in __launch_bounds__, the blocks a multiprocessor holds at a time, keeps the registers few enough.

constexpr int SIZE = 2 * RADIUS + 1;
constexpr int PIXELS = 4;
constexpr int SPAN = PIXELS + 2 * RADIUS;
constexpr int TILE_X = 32, TILE_Y = 4;
constexpr int REACH_X = (TILE_X + 2 * RADIUS + 3) / 4 * 4;  // rows start at 16 bytes: four floats are read as one
constexpr int REACH_Y = TILE_Y + 2 * RADIUS;
constexpr int DEPTH = 8;                   // channels at a time in `forward`
constexpr int CHANNELS = 16, GROUPS = 8;   // of a block of `gradient`, and its threads that share them
typedef long long Size;

struct Half { unsigned short bits; };
struct BFloat16 { unsigned short bits; };

#ifdef __CUDACC__  // elsewhere the test that runs this file on a processor supplies these two
__device__ inline float half_to_float(unsigned short bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

__device__ inline unsigned short float_to_half(float value) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
#endif

__device__ inline float widen(float value) { return value; }
__device__ inline float widen(Half value) { return half_to_float(value.bits); }
__device__ inline float widen(BFloat16 value) { return __uint_as_float((unsigned)value.bits << 16); }

__device__ inline void narrow(float value, float& result) { result = value; }
__device__ inline void narrow(float value, Half& result) { result.bits = float_to_half(value); }
__device__ inline void narrow(float value, BFloat16& result) {
    const unsigned bits = __float_as_uint(value);
    const unsigned to_nearest_even = 0x7fff + ((bits >> 16) & 1);  // of a NaN it could carry into the sign
    result.bits = value == value ? (bits + to_nearest_even) >> 16 : 0x7fff;
}

// Where a block works. Parts of the channels count fastest: blocks that share a tile run side by side and share L2.
struct Place { int part, x, y, sample; };

__device__ inline Place place_of_block(int parts, int height, int width) {
    const int across = (width + TILE_X - 1) / TILE_X, down = (height + TILE_Y - 1) / TILE_Y;
    const int tile = blockIdx.x / parts;
    return {(int)blockIdx.x % parts, tile % across * TILE_X, tile / across % down * TILE_Y, tile / across / down};
}

// Fills a tile in shared memory, neighbouring threads reading neighbouring pixels. From one plane of the tile to the
// next the source moves on by `plane_step` planes and by `x_step` pixels.
template <int PLANES, int ROWS, int COLUMNS>
__device__ inline void load(float (&tile)[PLANES][ROWS][COLUMNS], const SCALAR* sample, int planes, int height,
                            int width, int plane, int y, int x, int plane_step = 1, int x_step = 0) {
    const int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    const int threads = blockDim.x * blockDim.y * blockDim.z;
#pragma unroll 2  // more loads in flight would spill registers
    for (int i = thread; i < PLANES * ROWS * COLUMNS; i += threads) {
        const int number = i / (ROWS * COLUMNS), row = i / COLUMNS % ROWS, column = i % COLUMNS;
        const int from = plane + number * plane_step, down = y + row, across = x + column + number * x_step;
        const bool inside = from >= 0 && from < planes && down >= 0 && down < height && across >= 0 && across < width;
        tile[number][row][column] = inside ? widen(sample[((Size)from * height + down) * width + across]) : 0.f;
    }
}

template <int COUNT>
__device__ inline void read(float (&values)[COUNT], const float* row) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i) values[i] = row[i];
}

// Writes a thread's pixels of a row, at once where rows are multiples of them.
__device__ inline void store(SCALAR* row, int x, int width, const float (&values)[PIXELS], float scale) {
    struct alignas(PIXELS * sizeof(SCALAR)) Together { SCALAR values[PIXELS]; } together;
#pragma unroll
    for (int p = 0; p < PIXELS; ++p) narrow(values[p] * scale, together.values[p]);
    if (width % PIXELS == 0 && x < width) {
        *reinterpret_cast<Together*>(row + x) = together;
    } else {
#pragma unroll
        for (int p = 0; p < PIXELS; ++p) if (x + p < width) row[x + p] = together.values[p];
    }
}

// volume[dy * SIZE + dx, y, x] = mean over channels of first[y, x] * second[y + dy - RADIUS, x + dx - RADIUS].
// Threads (TILE_X / PIXELS, SIZE, TILE_Y): each makes one dy and all dx of its pixels.
extern "C" __global__ void __launch_bounds__(TILE_X / PIXELS * SIZE * TILE_Y, 3)
forward(const SCALAR* first, const SCALAR* second, SCALAR* volume, Size channels, Size height, Size width) {
    alignas(16) __shared__ float left[DEPTH][TILE_Y][TILE_X];
    alignas(16) __shared__ float right[DEPTH][REACH_Y][REACH_X];
    const Place at = place_of_block(1, height, width);
    const int x = threadIdx.x * PIXELS, dy = threadIdx.y, y = threadIdx.z;
    first += at.sample * channels * height * width;
    second += at.sample * channels * height * width;
    float sums[SIZE][PIXELS] = {};
    for (int channel = 0; channel < channels; channel += DEPTH) {
        load(left, first, channels, height, width, channel, at.y, at.x);
        load(right, second, channels, height, width, channel, at.y - RADIUS, at.x - RADIUS);
        __syncthreads();
#pragma unroll 2
        for (int c = 0; c < DEPTH; ++c) {
            float here[PIXELS], there[SPAN];
            read(here, &left[c][y][x]);
            read(there, &right[c][y + dy][x]);
#pragma unroll
            for (int dx = 0; dx < SIZE; ++dx)
#pragma unroll
                for (int p = 0; p < PIXELS; ++p) sums[dx][p] += here[p] * there[p + dx];
        }
        __syncthreads();
    }
    if (at.y + y >= height) return;
#pragma unroll
    for (int dx = 0; dx < SIZE; ++dx) {
        const Size plane = (Size)at.sample * SIZE * SIZE + dy * SIZE + dx;
        store(volume + (plane * height + at.y + y) * width, at.x + x, width, sums[dx], 1.f / channels);
    }
}

// result[c, y, x] = 1 / channels * sum over (dy, dx) of weight * other[c, y + dy - RADIUS, x + dx - RADIUS], with
// `volume` the gradient of the volume. Of the gradient of first, the weight is volume[dy, dx, y, x]. A pixel of second
// was met from the other side: of its gradient, the weight is volume[-dy, -dx] at the pixel of first that met it.
// Threads (TILE_X / PIXELS, GROUPS, TILE_Y): each makes every GROUPS-th of the block's channels of its pixels.
template <bool OF_SECOND>
__device__ inline void gradient(const SCALAR* volume, const SCALAR* other, SCALAR* result, int channels, int height,
                                int width) {
    alignas(16) __shared__ float tile[CHANNELS][REACH_Y][REACH_X];
    alignas(16) __shared__ float weights[SIZE][TILE_Y][TILE_X];
    const Place at = place_of_block((channels + CHANNELS - 1) / CHANNELS, height, width);
    const int x = threadIdx.x * PIXELS, group = threadIdx.y, y = threadIdx.z;
    volume += (Size)at.sample * SIZE * SIZE * height * width;
    other += (Size)at.sample * channels * height * width;
    load(tile, other, channels, height, width, at.part * CHANNELS, at.y - RADIUS, at.x - RADIUS);
    float sums[CHANNELS / GROUPS][PIXELS] = {};
#pragma unroll 1
    for (int dy = 0; dy < SIZE; ++dy) {
        __syncthreads();  // nobody reads the last weights any more
        if (OF_SECOND)
            load(weights, volume, SIZE * SIZE, height, width, SIZE * SIZE - 1 - dy * SIZE, at.y + dy - RADIUS,
                 at.x - RADIUS, -1, 1);
        else
            load(weights, volume, SIZE * SIZE, height, width, dy * SIZE, at.y, at.x);
        __syncthreads();
        float weight[SIZE][PIXELS];
#pragma unroll
        for (int dx = 0; dx < SIZE; ++dx) read(weight[dx], &weights[dx][y][x]);
#pragma unroll
        for (int n = 0; n < CHANNELS / GROUPS; ++n) {
            float there[SPAN];
            read(there, &tile[n * GROUPS + group][y + dy][x]);
#pragma unroll
            for (int dx = 0; dx < SIZE; ++dx)
#pragma unroll
                for (int p = 0; p < PIXELS; ++p) sums[n][p] += weight[dx][p] * there[p + dx];
        }
    }
    if (at.y + y >= height) return;
#pragma unroll
    for (int n = 0; n < CHANNELS / GROUPS; ++n) {
        const int channel = at.part * CHANNELS + n * GROUPS + group;
        const Size plane = (Size)at.sample * channels + channel;
        if (channel < channels)
            store(result + (plane * height + at.y + y) * width, at.x + x, width, sums[n], 1.f / channels);
    }
}

extern "C" __global__ void __launch_bounds__(TILE_X / PIXELS * GROUPS * TILE_Y, 4)
gradient_of_first(const SCALAR* volume, const SCALAR* second, SCALAR* result, Size channels, Size height, Size width) {
    gradient<false>(volume, second, result, channels, height, width);
}

extern "C" __global__ void __launch_bounds__(TILE_X / PIXELS * GROUPS * TILE_Y, 4)
gradient_of_second(const SCALAR* volume, const SCALAR* first, SCALAR* result, Size channels, Size height, Size width) {
    gradient<true>(volume, first, result, channels, height, width);
}
