// Enough of CUDA to run a kernel on a processor: the threads of a block are fibers that take turns at __syncthreads(),
// the blocks run one after the other. A barrier that is missing shows in the results, one that not all threads of a
// block reach is an error.
#include <cstring>
#include <ucontext.h>
#include <vector>

#define __device__
#define __global__
#define __shared__ static
#define __launch_bounds__(...)

struct Index { unsigned x, y, z; };
static Index threadIdx, blockIdx, blockDim;

inline unsigned __float_as_uint(float value) { unsigned bits; memcpy(&bits, &value, 4); return bits; }
inline float __uint_as_float(unsigned bits) { float value; memcpy(&value, &bits, 4); return value; }

#ifdef TEST_HALF  // not every compiler has the type
inline float half_to_float(unsigned short bits) { _Float16 value; memcpy(&value, &bits, 2); return value; }
inline unsigned short float_to_half(float value) {
    const _Float16 half = value;
    unsigned short bits;
    memcpy(&bits, &half, 2);
    return bits;
}
#else
float half_to_float(unsigned short);
unsigned short float_to_half(float);
#endif

typedef void (*Kernel)(const void*, const void*, void*, long long, long long, long long);

struct Launch { Kernel kernel; const void *first, *second; void* result; long long sizes[3]; };
struct Fiber { ucontext_t context; std::vector<char> stack; bool waits; };
static Launch launched;
static ucontext_t scheduler;
static Fiber* running;

inline void __syncthreads() {
    running->waits = true;
    swapcontext(&running->context, &scheduler);
}

static void run_thread() {
    const Launch& l = launched;
    l.kernel(l.first, l.second, l.result, l.sizes[0], l.sizes[1], l.sizes[2]);
    running->waits = false;
}

// Runs one block; false if some threads ended while others waited for them.
static bool run_block(std::vector<Fiber>& fibers) {
    for (Fiber& fiber : fibers) {
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.data();
        fiber.context.uc_stack.ss_size = fiber.stack.size();
        fiber.context.uc_link = &scheduler;
        makecontext(&fiber.context, run_thread, 0);
    }
    for (;;) {
        unsigned waiting = 0;
        for (unsigned i = 0; i < fibers.size(); ++i) {
            threadIdx = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
            running = &fibers[i];
            swapcontext(&scheduler, &running->context);
            waiting += running->waits;
        }
        if (waiting < fibers.size()) return waiting == 0;
    }
}

extern "C" bool launch(Kernel kernel, unsigned blocks, unsigned x, unsigned y, unsigned z, const void* first,
                       const void* second, void* result, long long channels, long long height, long long width) {
    launched = {kernel, first, second, result, {channels, height, width}};
    blockDim = {x, y, z};
    std::vector<Fiber> fibers(x * y * z);
    for (Fiber& fiber : fibers) fiber.stack.resize(1 << 16);
    for (unsigned block = 0; block < blocks; ++block) {
        blockIdx = {block, 0, 0};
        if (!run_block(fibers)) return false;
    }
    return true;
}
